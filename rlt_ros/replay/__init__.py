"""Durable replay: stream records, episode assembly, and the memory-mapped ring of windows."""
