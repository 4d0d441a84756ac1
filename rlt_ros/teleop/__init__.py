"""Teleoperation: devices, meaning of their axes and buttons, take-over.

Only :mod:`rlt_ros.teleop.devices` and `keyboard` do I/O. `nodes/teleop_node.py` connects this package to the graph.
"""
