"""Errors of requests."""

from __future__ import annotations


class RequestError(ValueError):
    """Request without a valid answer; the text is sent to the peer."""
