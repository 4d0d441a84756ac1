"""Fills the replay from bags, in the place of `replay_node`, and ends the graph when the learner has learned from it.

What bags are read and how rows come out of them is in `rlt_ros.nodes.bag_import`; `rlt-ros bag to-replay` does the
same without a graph. When all is read it waits until the learner is caught up with every row. Where the learner waits
for what no bag brings, such as more failures, it says so and ends too: the rows are stored, and a run goes on with
them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from rlt_ros.middleware import Clock, ClockType, Node
from rlt_ros.middleware.messages import LearnerStatus, ReplayStatus
from rlt_ros.nodes import qos
from rlt_ros.nodes.bag_import import BagImport, ImportSettings
from rlt_ros.nodes.diagnostics import OK, WARN, Diagnostics, Report
from rlt_ros.nodes.parameters import declare
from rlt_ros.nodes.replay_node import replay_status
from rlt_ros.nodes.run import NodeConfigurationError, ShutdownRequested, run_node
from rlt_ros.nodes.settings import BagConfig, Setup
from rlt_ros.nodes.topics import Topics
from rlt_ros.offline.errors import BagError
from rlt_ros.offline.sampling import SamplingConfig
from rlt_ros.perception.synchroniser import SyncConfig
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.lineage import LineageError
from rlt_ros.rlt.storage import StorageError
from rlt_ros.vla.config import InferenceConfig

_SLICE = 0.05  # s of reading between two looks at the graph
_TELL = 10.0  # s between two lines about the progress


class BagNode(Node):
    """Connects the import of bags to the graph."""

    def __init__(self, **options: Any) -> None:
        super().__init__("bag_node", **options)
        settings = ImportSettings(
            declare(self, "", Setup),
            declare(self, "", BagConfig),
            declare(self, "rlt", RLTConfig),
            declare(self, "sync", SyncConfig),
            declare(self, "inference", InferenceConfig),
            declare(self, "sampling", SamplingConfig),
        )
        torch.set_num_threads(1)  # the VLA's numbers must be those of the live inference
        diagnostics = Diagnostics(self)
        diagnostics.add("bags", self._report)
        topics = Topics(self, diagnostics)
        self._status = topics.publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
        self._bags: BagImport | None = None
        try:
            self._bags = BagImport(settings, committed=self._say)
        except (BagError, LineageError, StorageError) as error:
            raise NodeConfigurationError(str(error)) from error
        self._seconds, self._told, self._complete = 0.0, time.monotonic(), False
        self._run: Iterator[float] = self._bags.run()
        if self._bags.store.replay is not None:
            self._say()
        topics.subscription(LearnerStatus, "rlt/learner_status", self._on_learner, qos.LEARNER_STATUS)
        self._worker = self.create_timer(0.001, self._slice, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        """Let go of the file; what is stored is safe."""
        if self._bags is not None:
            self._bags.close()
            self._bags = None
        super().destroy_node()

    def _slice(self) -> None:
        """Read for a moment."""
        end = time.monotonic() + _SLICE
        try:
            for seconds in self._run:
                self._seconds = seconds
                if time.monotonic() >= end:
                    break
            else:
                self._worker.cancel()
                self._conclude()
        except (LineageError, StorageError) as error:
            raise NodeConfigurationError(str(error)) from error
        if time.monotonic() - self._told >= _TELL:
            self._told = time.monotonic()
            assert self._bags is not None
            self.get_logger().info(f"{self._seconds:.0f} of {self._bags.seconds:.0f} s read")

    def _conclude(self) -> None:
        """All is read."""
        assert self._bags is not None
        report = self._bags.report()
        for kind, skipped in report["skipped"].items():
            self.get_logger().warning(f"skipped {skipped['count']} × {kind}, e.g. {skipped['example']}")
        for warning in report["warnings"]:
            self.get_logger().warning(warning)
        for fault in report["damaged"]:
            self.get_logger().warning(f"damaged: {fault}")
        self.get_logger().info(
            f"{report['rows']} rows of {report['episodes']} episodes, {report['successes']} successes and "
            f"{report['failures']} failures; {report['new_rows']} rows are new"
        )
        if not report["rows_in_replay"]:
            raise NodeConfigurationError(
                "the bags hold no episode that leaves rows; `rlt-ros bag inspect` shows what is in them"
            )
        self._complete = True
        self._say()

    def _on_learner(self, message: Any) -> None:
        """End when nothing more is to be learned from what was read."""
        if not self._complete or self._bags is None or self._bags.store.replay is None:
            return
        if message.rows < self._bags.store.replay.total:
            return
        if message.state == LearnerStatus.CAUGHT_UP:
            raise ShutdownRequested(
                f"the learner has learned from all {message.rows} rows, {message.critic_steps} updates"
            )
        if message.state == LearnerStatus.WAITING:
            raise ShutdownRequested(
                f"the learner waits for {message.waiting_for}, which no bag brings; all rows are stored. Give more "
                "bags, go on live with `rlt-ros launch train` and the same `out`, or lower `rlt.min_…` and "
                "`rlt.warmup_episodes`"
            )
        if message.state == LearnerStatus.PAUSED:
            raise ShutdownRequested("the learner has stopped, its log says why; all rows are stored")

    def _say(self) -> None:
        """Publish what the replay holds."""
        assert self._bags is not None
        skipped, examples = self._bags.skipped.total(), self._bags.last_skipped
        message = replay_status(self._bags.store, rejected=skipped, last_rejection=examples)
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)

    def _report(self) -> Report:
        bags = self._bags
        if bags is None:
            return OK, "", {}
        values = {
            "seconds_read": self._seconds,
            "seconds": bags.seconds,
            "rows": bags.store.replay.total if bags.store.replay else 0,
            **{f"skipped_{kind}": count for kind, count in bags.skipped.items()},
        }
        return (WARN if bags.skipped else OK), "waits for the learner" if self._complete else "reads", values


def main() -> int:
    """Run the node."""
    return run_node(BagNode)


if __name__ == "__main__":
    sys.exit(main())
