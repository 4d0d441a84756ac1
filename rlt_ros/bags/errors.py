"""Errors of recordings and their labels."""

from __future__ import annotations


class BagError(ValueError):
    """Unusable bag or label file. The message names it and the remedy."""
