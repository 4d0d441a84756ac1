"""The method: RL token, windows, replay, chunk actor-critic. Knows no robot, no simulator and no ROS."""
