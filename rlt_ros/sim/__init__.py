"""MuJoCo simulation of the AgiBot G1 and its precision tasks."""

SCENES = ("charger", "ethernet", "screw")
"""Tasks with a scene, listed without loading MuJoCo."""
