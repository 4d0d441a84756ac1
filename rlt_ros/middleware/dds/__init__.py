"""ROS graph without ROS 2: the names of rclpy that this package's nodes use, on Cyclone DDS.

Wire-compatible with ROS 2 and `rmw_cyclonedds_cpp`: topic and type names, CDR, quality of service, type hashes, node
names. Topics and parameters only: services and actions differ between middlewares on the wire.
"""
