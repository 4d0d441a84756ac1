"""Wait for a status message with given fields."""

from __future__ import annotations

from typing import Any


def first_with(graph: Any, statuses: list[Any], what: str, **fields: Any) -> Any:
    """First of the arriving ``statuses`` with these fields; earlier ones are dropped."""
    found: list[Any] = []

    def there() -> bool:
        while statuses and not found:
            status = statuses.pop(0)
            if all(getattr(status, name) == value for name, value in fields.items()):
                found.append(status)
        return bool(found)

    graph.until(there, what=f"a {what} with {fields}")
    return found[0]
