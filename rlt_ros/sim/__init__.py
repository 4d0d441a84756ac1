"""MuJoCo simulation of the AgiBot G1 and its precision tasks."""
