"""The human at hand: devices, what their sticks and buttons mean, and how a take-over goes.

Pure but for the devices that are read directly. `nodes/teleop_node.py` connects it to the graph.
"""
