"""ROS side of the nodes: conversions, topics, quality of service, parameters, diagnostics, drivers."""
