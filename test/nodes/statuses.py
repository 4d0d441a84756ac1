"""Waiting for a status message that says something in particular."""

from __future__ import annotations

from typing import Any


def first_with(graph: Any, statuses: list[Any], what: str, **fields: Any) -> Any:
    """The first of ``statuses`` with these fields, which are still coming in; those before it are forgotten."""
    found: list[Any] = []

    def there() -> bool:
        while statuses and not found:
            status = statuses.pop(0)
            if all(getattr(status, name) == value for name, value in fields.items()):
                found.append(status)
        return bool(found)

    graph.until(there, what=f"a {what} with {fields}")
    return found[0]
