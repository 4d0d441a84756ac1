"""YAML and JSON of others: right values, or one line that names the fault and a remedy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.store.documents import DocumentError, parse_json, parse_yaml, read_json_object, read_yaml_file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50", 50),
        ("-7", -7),
        ("+5", 5),
        ("0", 0),
        ("0x1F", 31),
        ("3e-4", 3e-4),
        ("1E5", 1e5),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("~/joint_states", "~/joint_states"),
        ("'050'", "050"),
        ('"on"', "on"),
        ("!!str no", "no"),
        ("y", "y"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3", "1.2.3"),
        ("robot_050", "robot_050"),
        ("one", "one"),
        ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}),
    ],
)
def test_plain_scalars(text: str, value: Any) -> None:
    found = parse_yaml(text, origin="a test")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("050", "write 50"),
        ("-007", "write -7"),
        ("08", "write 8"),
        ("0_7", "07"),
        ("1_000", "write 1000"),
        ("1_0.5", "a plain decimal number"),
        ("0o17", "a plain decimal number"),
        ("0b11", "a plain decimal number"),
        ("1:30", "a plain decimal number"),
        ("190:20:30.15", "a plain decimal number"),
        ("yes", "write true"),
        ("Off", "write false"),
    ],
)
@pytest.mark.parametrize("place", ["{}", "a: {}", "[1, {}]", "{}: 1", "a: {{b: [{}]}}"])
def test_scalars_that_yaml_versions_read_differently_are_refused(text: str, remedy: str, place: str) -> None:
    if place == "{}: 1" and ":" in text:
        place = "? {}\n: 1"
    with pytest.raises(DocumentError, match="is read differently") as caught:
        parse_yaml(place.format(text), origin="a file")
    assert f"`{text}`" in str(caught.value)
    assert remedy in str(caught.value) or f'"{text}" for text' in str(caught.value)


_plain = st.from_regex(r"[-+]?[0-9][0-9_:.eExXoObB]{0,8}", fullmatch=True)


@given(_plain)
def test_a_plain_scalar_is_its_decimal_number_or_text_or_refused(text: str) -> None:
    try:
        value = parse_yaml(text, origin="x")
    except DocumentError:
        return
    if isinstance(value, dict):  # `1:` is a key
        return
    if isinstance(value, int):
        assert value == int(text, 16 if "x" in text.lower() else 10)
        assert text.lstrip("+-") == "0" or not text.lstrip("+-").startswith("0") or "x" in text
    elif isinstance(value, float):
        assert "_" not in text and ":" not in text
        assert value == float(text)
    else:
        assert value == text


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_what_json_and_yaml_writers_write_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value), origin="x") == value
    assert parse_yaml(yaml.safe_dump(value), origin="x") == value


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_end_in_a_value_or_one_line(data: bytes) -> None:
    text = data.decode("latin-1")
    for parse in (parse_yaml, parse_json):
        try:
            parse(text, origin="x")
        except DocumentError as error:
            assert "\n" not in str(error)
            assert str(error).startswith("x: ")


_BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))])
_MERGE_BOMB = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))]
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * 20_000, "nested too deep"),
        ("{a: " * 20_000, "nested too deep"),
        ("- " * 20_000 + "a", "nested too deep"),
        (_BOMB, "aliases"),
        (_MERGE_BOMB, "aliases"),
        ("a: &a [*a]", "contains itself"),
        ("a: &a {b: *a}", "contains itself"),
        ("a: 1\na: 2", "given twice"),
        ("[a]: 1", "is a key"),
        ("a: *nowhere", "alias"),
        ("a: [1", "line 1"),
        ("a: 1\n b: 2", "line 2"),
        ("a: 1\n---\nb: 2", "document"),
        ("!!python/object/apply:os.system [ls]", "python/object"),
        ("!!int ''", "invalid"),
        ("!!bool maybe", "maybe"),
        ("!!timestamp x", "not valid"),
        ("!!binary ü", "base64"),
        ("a: \x00", "not valid"),
        ("9" * 5000, "not valid"),
    ],
)
def test_yaml_faults_are_one_sentence(text: str, fault: str) -> None:
    with pytest.raises(DocumentError, match=fault) as caught:
        parse_yaml(text, origin="profile.yaml")
    message = str(caught.value)
    assert message.startswith("profile.yaml: is not valid YAML")
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize("text", ["[" * 20_000, "{", "", "nan,", '{"a": 1} x', "9" * 5000])
def test_json_faults_are_one_sentence(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_json(text, origin="config.json")
    assert str(caught.value).startswith("config.json: is not JSON")
    assert "\n" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(DocumentError, match=r"file: cannot be read \(No such file"):
        read_yaml_file(path)
    with pytest.raises(DocumentError, match="Is a directory"):
        read_json_object(tmp_path)
    path.write_bytes(b"name: \xff\xfe")
    for read in (read_yaml_file, read_json_object):
        with pytest.raises(DocumentError, match=r"is not text .* at byte 6\); save it as UTF-8"):
            read(path)
    path.write_text("[1]")
    with pytest.raises(DocumentError, match="is a JSON list, not an object"):
        read_json_object(path)
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json_object(path) == read_yaml_file(path) == {"a": 1}
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(DocumentError, match="1,073,741,824 bytes"):
        read_yaml_file(path)
