"""JSON from anywhere: whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
from typing import Any


def parse(text: bytes | str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none, or is nested so deeply that Python gives up.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
