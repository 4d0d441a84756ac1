"""Instructions in requests."""

from __future__ import annotations

from typing import Any

from rlt_ros.serving.errors import RequestError

MAX_PROMPT_LENGTH = 2000
"""Characters."""


def read_prompt(value: Any) -> str:
    """Check the field `prompt` of a message.

    Raises:
        RequestError: it is no text, empty, or far longer than an instruction.
    """
    if not isinstance(value, str) or not value.strip():
        raise RequestError("`prompt` is empty; send the VLA's instruction")
    if len(value) > MAX_PROMPT_LENGTH:
        raise RequestError(f"`prompt` has {len(value)} characters; the limit is {MAX_PROMPT_LENGTH}")
    return value
