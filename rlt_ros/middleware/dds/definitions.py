"""Interface definitions of this package's ``msg/`` folder and of `rosbags`."""

from __future__ import annotations

import functools
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

import rlt_ros

PACKAGE = "rlt_ros"

# Discovery messages since Iron. `rosbags` has `char`, of the same size but with another type hash.
_GRAPH_DEFINITIONS = {
    "rmw_dds_common/msg/Gid": "uint8[16] data",
    "rmw_dds_common/msg/NodeEntitiesInfo": """\
string<=256 node_namespace
string<=256 node_name
Gid[] reader_gid_seq
Gid[] writer_gid_seq""",
    "rmw_dds_common/msg/ParticipantEntitiesInfo": """\
Gid gid
NodeEntitiesInfo[] node_entities_info_seq""",
}

# Commands of Trossen's driver of X-series arms (Interbotix/interbotix_ros_core).
_FOREIGN_DEFINITIONS = {
    "interbotix_xs_msgs/msg/JointGroupCommand": "string name\nfloat32[] cmd",
    "interbotix_xs_msgs/msg/JointSingleCommand": "string name\nfloat32 cmd",
}


class UnknownType(ValueError):
    """Undefined message type."""


def message_folder() -> Path:
    """Folder ``msg/``: next to the package in a checkout, in ``share/rlt_ros`` of an installation.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(rlt_ros.__file__).resolve().parent
    if (package.parent / "package.xml").exists():
        return package.parent / "msg"
    for parent in package.parents:
        folder = parent / "share" / PACKAGE / "msg"
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no share/{PACKAGE}/msg above {package}; install {PACKAGE} again")


@functools.cache
def type_store() -> Typestore:
    """Store of all definitions, with generated code for serialisation and the classes of `message`."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in _GRAPH_DEFINITIONS:
        del store.fielddefs[name], store.types[name]
    own = {
        f"{PACKAGE}/msg/{path.stem}": path.read_text(encoding="utf-8")
        for path in message_folder().glob("*.msg")
    }
    for name, text in (*_GRAPH_DEFINITIONS.items(), *_FOREIGN_DEFINITIONS.items(), *sorted(own.items())):
        store.register(get_types_from_msg(text, name))
    return store


@functools.cache
def type_hash(name: str) -> str:
    """REP-2016 hash of a type, ``RIHS01_…``."""
    require_known(name)
    return str(type_store().hash_rihs01(name))


def require_known(name: str) -> None:
    """Raise :class:`UnknownType` unless message type ``name`` is defined."""
    if name not in type_store().fielddefs:
        packages = ", ".join(sorted({known.split("/")[0] for known in type_store().fielddefs}))
        raise UnknownType(f"message type `{name}` is unknown; packages with definitions: {packages}")
