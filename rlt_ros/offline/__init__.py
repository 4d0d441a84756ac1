"""Rows of the replay from recordings: a second reader of the stream that the graph says, without the graph."""
