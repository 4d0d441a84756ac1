"""Benchmarks: ``run()`` of each module measures one part, next to the best known peers, and returns the figures."""
