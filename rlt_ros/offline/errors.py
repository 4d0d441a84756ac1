"""What is wrong with a recording or with what is said about it."""

from __future__ import annotations


class BagError(ValueError):
    """A bag, or a file of labels, that cannot be used. The message names it and the remedy."""
