"""Reader of YAML and JSON files and texts, with one-line errors.

All configuration, parameter, label and metadata files are read here. Launch files are read on the system's Python, so
this needs the standard library and PyYAML alone.

YAML scalars are those on which YAML 1.1, YAML 1.2 and ROS 2 agree, with ``3e-4`` a number as in ROS 2. Ambiguous
scalars are rejected: ``050`` is 40 or 50, ``on`` a boolean or a word. A date is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

_MAX_YAML_BYTES = 4 * 2**20
"""Largest YAML file; PyYAML reads some 90 kB/s, and settings are much smaller."""
_MAX_DEPTH = 64
"""Largest nesting depth, levels; the deepest file in use has 8."""
_MAX_VALUES = 1_000_000
"""Largest number of values, with aliases expanded."""


Kind = type | tuple[type, ...]
"""Type of a value of a document, or types."""

NUMBER = (int, float)


class DocumentError(ValueError):
    """Unreadable YAML or JSON document. The message is one line: origin, place, fault and remedy."""


def read_yaml_file(path: str | Path) -> Any:
    """Read a YAML file.

    Raises:
        DocumentError: it cannot be read, is no text, or is no YAML.
    """
    return parse_yaml(_text(Path(path), _MAX_YAML_BYTES), origin=str(path))


def read_json_file(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        DocumentError: it cannot be read, is no text, or is no JSON.
    """
    return parse_json(_text(Path(path)), origin=str(path))


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that is one object.

    Raises:
        DocumentError: it cannot be read, is no text, or is no JSON object.
    """
    document = read_json_file(path)
    if not isinstance(document, dict):
        raise DocumentError(
            f"{path}: is a JSON {type(document).__name__}, not an object; restore or remove it"
        )
    return document


def require_keys(
    record: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    *,
    origin: object,
    remedy: str = "restore or remove it",
) -> None:
    """Check that a section of a document has its keys, each with a value of its kind.

    Args:
        record: the section.
        kinds: key → type of its value, or types.
        origin: file or place in it, for the error message.
        remedy: its end.

    Raises:
        DocumentError: keys are missing, or one has a value of another kind.
    """
    if missing := [key for key in kinds if key not in record]:
        raise DocumentError(f"{origin}: lacks {', '.join(missing)}; {remedy}")
    for key, kind in kinds.items():
        value, allowed = record[key], kind if isinstance(kind, tuple) else (kind,)
        # A truth value is a whole number to Python, and no number to whoever reads one.
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join(one.__name__ for one in allowed)
            raise DocumentError(f"{origin}: `{key}` is {str(value)[:80]!r}, not {names}; {remedy}")


def parse_yaml(text: str, *, origin: str) -> Any:
    """Value of a YAML text.

    Args:
        text: one document.
        origin: file or option, for the error message.

    Raises:
        DocumentError: it is no YAML, or has ambiguous scalars.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except RecursionError as error:
        raise DocumentError(f"{origin}: is not valid YAML: {_TOO_DEEP}") from error
    except yaml.MarkedYAMLError as error:
        raise DocumentError(f"{origin}: is not valid YAML{_place(error)}: {_problem(error)}") from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        # PyYAML raises errors of int(), float() and base64 for values with explicit tags.
        raise DocumentError(f"{origin}: is not valid YAML: {_one_line(error)}; correct it") from error


def parse_json(text: bytes | str, *, origin: str = "it") -> Any:
    """Value of a JSON text.

    Args:
        text: one document; bytes are UTF-8, UTF-16 or UTF-32.
        origin: file or peer, for the error message.

    Raises:
        DocumentError: it is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DocumentError(f"{origin}: is not JSON: {_TOO_DEEP}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{origin}: {_no_text(error)}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DocumentError(
            f"{origin}: is not JSON ({place}: {error.msg}); it is cut off or damaged: restore it"
        ) from error
    except ValueError as error:
        raise DocumentError(f"{origin}: is not JSON ({_one_line(error)}); restore it") from error


_TOO_DEEP = "it is nested too deep; remove brackets"


def _text(path: Path, most: int | None = None) -> str:
    try:
        if most is not None and (size := path.stat().st_size) > most:
            raise DocumentError(
                f"{path}: has {size:,} bytes, more than {most:,}; give a file of settings, not of data"
            )
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}: {_no_text(error)}") from error


def _no_text(error: UnicodeDecodeError) -> str:
    return f"is not text ({error.reason} at byte {error.start}); save it as UTF-8, or restore it"


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = _one_line(error.problem or error.context or "it cannot be parsed")
    return problem if isinstance(error, _Refusal) else f"{problem}; correct that line"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


class _Refusal(yaml.MarkedYAMLError):
    """Rejection of valid YAML; its problem text includes the remedy."""

    def __init__(self, problem: str, node: yaml.Node | yaml.Event) -> None:
        super().__init__(problem=problem, problem_mark=cast(Any, node.start_mark))


class _Loader(yaml.SafeLoader):
    """Loader of safe YAML that rejects ambiguous scalars, duplicate keys, cycles and exploding aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Refusal(_TOO_DEEP, self.peek_event())
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _expanded(node, {}) > _MAX_VALUES:
            raise _Refusal(f"its aliases expand to more than {_MAX_VALUES:,} values; write them out", node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _Refusal("a list or section is a key; give a name", key_node)
            if key in seen:
                raise _Refusal(f"key `{key}` is given twice; remove one", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def refuse_ambiguous(self, node: yaml.ScalarNode) -> Any:
        """Reject an ambiguous scalar, with unambiguous alternatives."""
        raise _Refusal(f"`{node.value}` is read differently by YAML 1.1 and 1.2; {_remedy(node.value)}", node)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Whole number, decimal or hexadecimal."""
        text = str(self.construct_scalar(node)).lower()
        return int(text, 16 if "0x" in text else 10)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        """Number, `.inf` or `.nan`."""
        return float(re.sub(r"\.(inf|nan)$", r"\1", str(self.construct_scalar(node)).lower()))


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values of a node, with aliases expanded."""
    if id(node) in known:
        if not known[id(node)]:
            raise _Refusal("it contains itself by an alias; write it out", node)
        return known[id(node)]
    known[id(node)] = 0
    count = 1
    if isinstance(node, yaml.MappingNode):
        count += sum(_expanded(key, known) + _expanded(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_expanded(item, known) for item in node.value)
    known[id(node)] = count
    return count


def _remedy(text: str) -> str:
    if text.lower() in ("yes", "on"):
        return f'write true, or "{text}" for the word'
    if text.lower() in ("no", "off"):
        return f'write false, or "{text}" for the word'
    decimal = re.fullmatch(r"([-+]?)0+([0-9]+)", text)
    number = f"{decimal[1]}{int(decimal[2])}" if decimal else text.replace("_", "")
    return f'write {number if _INT.match(number) else "a plain decimal number"}, or "{text}" for text'


_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_AMBIGUOUS = "!ambiguous"
_INT = re.compile(r"^(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_REFUSED = re.compile(
    r"^(?:[-+]?0[0-9_]+"  # octal, or a decimal number with zeros in front
    r"|[-+]?0[oObB][0-7_]+|[-+]0x[0-9a-fA-F_]+|0x[0-9a-fA-F]*_[0-9a-fA-F_]*"
    r"|[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+\.[0-9]*_[0-9_]*"  # 1_000
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"  # in base 60
    r"|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$"
)
_Loader.yaml_implicit_resolvers = {}  # not those of YAML 1.1
_SIGNS_AND_DIGITS = list("-+.0123456789")
for _name, _pattern, _first in (
    (_AMBIGUOUS, _REFUSED, [*_SIGNS_AND_DIGITS, *"yYnNoO"]),
    (f"{_TAG}int", _INT, _SIGNS_AND_DIGITS),
    (f"{_TAG}float", _FLOAT, _SIGNS_AND_DIGITS),
    (f"{_TAG}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    (f"{_TAG}null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    (_MERGE, re.compile(r"^<<$"), ["<"]),
):
    _Loader.add_implicit_resolver(_name, _pattern, _first)
_Loader.add_constructor(_AMBIGUOUS, _Loader.refuse_ambiguous)
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_float)
