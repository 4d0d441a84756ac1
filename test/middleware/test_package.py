"""Inputs of colcon: package.xml and the interface definitions."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from rlt_ros.middleware import messages
from rlt_ros.robots.gripper import ACTION_TYPES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ElementTree.parse(ROOT / "package.xml").getroot()


def named(*tags: str) -> set[str]:
    return {str(element.text) for tag in tags for element in PACKAGE.findall(tag)}


def test_package_xml_says_what_colcon_needs() -> None:
    assert PACKAGE.get("format") == "3"
    assert named("name") == {"rlt_ros"}
    assert named("member_of_group") == {"rosidl_interface_packages"}
    assert [element.text for element in PACKAGE.iter("build_type")] == ["ament_cmake"]


def test_every_package_whose_messages_are_used_is_a_dependency() -> None:
    used = set(messages._PACKAGES) - {"rlt_ros"}
    used |= {action.split("/")[0] for action in ACTION_TYPES.values()}
    assert used <= named("depend", "exec_depend")


def test_definitions_need_only_what_the_build_finds() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "msg").glob("*.msg"))
    used = set(re.findall(r"^(\w+)/\w+", text, flags=re.MULTILINE))
    cmake = (ROOT / "CMakeLists.txt").read_text()
    assert used == named("depend")
    assert used == set(re.search(r"DEPENDENCIES ([\w ]+)", cmake).group(1).split())  # type: ignore[union-attr]
    assert all(f"find_package({package} REQUIRED)" in cmake for package in used)


def test_python_rules_come_after_the_generated_ones() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    generate = cmake.index("rosidl_generate_interfaces(")
    assert all(
        found.start() > generate for found in re.finditer(r"^(install|configure_file)\(", cmake, re.MULTILINE)
    )


def test_no_folder_takes_the_name_of_a_generated_one() -> None:
    folders = {path.name for path in (ROOT / "rlt_ros").iterdir() if path.is_dir()}
    assert not folders & {"msg", "srv", "action"}
