"""Benchmarks: each module's ``run()`` measures one part beside the best known peers and returns the figures."""
