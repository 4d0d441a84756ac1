"""What a peer tells the VLA to do."""

from __future__ import annotations

from typing import Any

from rlt_ros.serving.errors import RequestError

_LONGEST = 2000  # characters; what is refused comes back in the answer and in the log


def read_prompt(value: Any) -> str:
    """The field `prompt` of a message.

    Raises:
        RequestError: it is no text, empty, or far longer than an instruction.
    """
    if not isinstance(value, str) or not value.strip():
        raise RequestError("`prompt` is empty; the VLA must be told what to do")
    if len(value) > _LONGEST:
        raise RequestError(f"`prompt` has {len(value)} characters; at most {_LONGEST} are taken")
    return value
