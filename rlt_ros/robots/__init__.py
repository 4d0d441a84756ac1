"""Robots: kinematics, action space and safety limits of an arm described by data."""
