"""MuJoCo simulation of the AgiBot G1 and its precision tasks."""

SCENES = ("charger", "ethernet", "screw")
"""Tasks that it has a scene for, known without loading MuJoCo."""
