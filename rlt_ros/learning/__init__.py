"""Learner at run time: update debt, checkpoints, policy updates and the folder of a run."""
