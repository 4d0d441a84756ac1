"""What a peer can ask for that is not answered."""

from __future__ import annotations


class RequestError(ValueError):
    """A message that a session cannot answer; the text goes to the peer."""
