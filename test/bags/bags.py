"""Bags for tests: records of this package and messages of robots, as a recorder writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from stream_source import PERIOD

from rlt_ros.middleware.choice import IMPLEMENTATION
from rlt_ros.middleware.dds.definitions import type_store
from rlt_ros.middleware.dds.message import serialize_message
from rlt_ros.middleware.messages import type_name
from rlt_ros.replay.stream import StateRecord, StepRecord
from rlt_ros.ros.conversions import write_episode, write_state, write_step

# ns
START = 1_700_000_000_000_000_000
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
PLAIN, MESSAGE, FILE, STORAGE = (
    CompressionMode.NONE,
    CompressionMode.MESSAGE,
    CompressionMode.FILE,
    CompressionMode.STORAGE,
)


def write_bag(
    path: Path,
    messages: Iterable[tuple[str, int, Any]],
    *,
    storage: StoragePlugin = MCAP,
    compression: CompressionMode = PLAIN,
) -> Path:
    """A bag of (topic, ns after the start, message)."""
    bag = Writer(path, version=9, storage_plugin=storage)
    bag.set_compression(compression, CompressionFormat.ZSTD)
    bag.open()
    connections: dict[str, Any] = {}
    for topic, when, message in messages:
        if topic not in connections:
            connections[topic] = bag.add_connection(topic, type_name(message), typestore=type_store())
        bag.write(connections[topic], START + when, _cdr(message))
    bag.close()
    return path


def _cdr(message: Any) -> bytes:
    if IMPLEMENTATION != "rclpy":
        return serialize_message(message)
    from rclpy.serialization import serialize_message as serialize

    return bytes(serialize(message))


def own(records: Iterable[Any], *, namespace: str = "") -> list[tuple[str, int, Any]]:
    """Records of this package as messages, one a millisecond."""
    prefix = f"/{namespace}" if namespace else ""
    made = []
    for number, record in enumerate(records):
        if isinstance(record, StateRecord):
            topic, message = "rlt/rl_state", write_state(record)
        elif isinstance(record, StepRecord):
            topic, message = "rlt/executed_step", write_step(record)
        else:
            topic, message = "rlt/episode_state", write_episode(record)
        made.append((f"{prefix}/{topic}", number * PERIOD // 20, message))
    return made
