"""Episodes: what is done when, from reset over approach and critical phase to the label, and what has been done."""

from __future__ import annotations
