"""Replay rows from recordings: the message stream of the graph, read from bags."""
