"""The graph without ROS 2: the names of rclpy that this package's nodes use, on Cyclone DDS.

Wire-compatible with ROS 2 and `rmw_cyclonedds_cpp`: topic and type names, CDR, quality of service, type hashes, node
names. There are topics and parameters, no services and no actions: these differ between middlewares on the wire.
"""
