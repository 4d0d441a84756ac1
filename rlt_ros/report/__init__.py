"""Figures and pages about runs: statistics with intervals, charts, HTML reports."""
