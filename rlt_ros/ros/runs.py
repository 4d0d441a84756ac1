"""Run ids: outgoing messages get the id of the node's run; messages of another run are dropped and counted."""

from __future__ import annotations

import struct
from typing import Any

from rlt_ros.middleware import Node
from rlt_ros.ros.diagnostics import Diagnostics, Dropped

_WARNING_PERIOD = 10.0
"""s between two warnings of a node about other runs."""
_ID_OPTIONAL = "EpisodeEvent"
"""Message type that people publish by hand, without an id."""
_ENCAPSULATION = 4
"""Bytes before the CDR data, excluded from alignment."""
_STAMP = 8
"""Bytes of the stamp of a header."""


class RunFilter:
    """Run of a node, from its parameter ``run_id``. A node without one accepts messages of every run.

    Args:
        node: with the parameter ``run_id``, declared before.
        diagnostics: gets the task "runs" with counts of dropped messages by kind.
    """

    def __init__(self, node: Node, diagnostics: Diagnostics) -> None:
        self._node = node
        self.run_id = str(node.get_parameter("run_id").value) if node.has_parameter("run_id") else ""
        self._dropped = Dropped(diagnostics, "runs") if self.run_id else None

    def stamps(self, msg_type: type[Any]) -> bool:
        """Return True if messages of a type are sent with the id of the run."""
        return bool(self.run_id) and carries_run(msg_type)

    def takes(self, kind: str, run_id: str, topic: str) -> bool:
        """Return True for a message of this run; a message of another run is counted and logged.

        Args:
            kind: name of the message type, e.g. ``ActionChunk``.
            run_id: id in the message.
            topic: name of the topic, for the warning.
        """
        if self._dropped is None or run_id == self.run_id or (kind == _ID_OPTIONAL and not run_id):
            return True
        origin = f"run {run_id}" if run_id else "a node without run"
        self._dropped.add(f"{kind} of another run", f"{topic} from {origin}; this run is {self.run_id}")
        self._node.get_logger().warning(
            f"{topic}: {origin} (HOST-PID-TIME of its launcher) publishes into run {self.run_id}; its messages are "
            "dropped. Stop that graph, or give it another ROS_DOMAIN_ID",
            throttle_duration_sec=_WARNING_PERIOD,
        )
        return False


class RunPublisher:
    """Publisher that adds the id of the run to its messages.

    Args:
        endpoint: publisher of the node.
        run_id: id of the run.
    """

    def __init__(self, endpoint: Any, run_id: str) -> None:
        self.endpoint, self._run_id = endpoint, run_id

    def publish(self, message: Any) -> None:
        """Publish ``message`` with the id of the run."""
        message.run_id = self._run_id
        self.endpoint.publish(message)

    def get_subscription_count(self) -> int:
        """Number of matched subscriptions in all processes."""
        return int(self.endpoint.get_subscription_count())


def carries_run(msg_type: type[Any]) -> bool:
    """Return True if messages of a type have a field for the id of a run."""
    return "run_id" in msg_type.get_fields_and_field_types()


def run_id_in(data: bytes) -> str:
    """Id of the run in a serialised message of this package: the field after the header.

    Raises:
        ValueError: the bytes are truncated or no message.
    """
    order = "<" if data[1:2] in (b"\x01", b"\x07") else ">"
    body = memoryview(data)[_ENCAPSULATION:]
    try:
        (length,) = struct.unpack_from(f"{order}I", body, _STAMP)
        start = -(-(_STAMP + 4 + length) // 4) * 4  # strings begin at a multiple of four bytes
        (length,) = struct.unpack_from(f"{order}I", body, start)
    except struct.error as error:
        raise ValueError(f"{len(data)} bytes are too few for a header and a run") from error
    text = bytes(body[start + 4 : start + 4 + length])
    if len(text) != length or not text.endswith(b"\0"):
        raise ValueError(f"{len(data)} bytes hold no run after the header")
    return text[:-1].decode()
