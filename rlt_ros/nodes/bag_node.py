"""Import of bags into the replay, in place of `replay_node`; ends the graph when the learner has used all rows.

`rlt_ros.ros.bag_import` reads the bags; `rlt-ros bag to-replay` does the same without a graph. After the import the
node waits until the learner has caught up. If the learner waits for data that the bags lack, such as more failures, the
node reports that and ends as well: the rows are stored, and the run can continue.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.bags.errors import BagError
from rlt_ros.bags.sampling import SamplingConfig
from rlt_ros.middleware import Clock, ClockType, Node
from rlt_ros.middleware.messages import LearnerStatus, ReplayStatus
from rlt_ros.nodes.replay_node import replay_status
from rlt_ros.perception.synchroniser import SyncConfig
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.ros import qos
from rlt_ros.ros.bag_import import BagImport, ImportSettings
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics, Report
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import NodeConfigurationError, ShutdownRequested, run_node
from rlt_ros.ros.settings import BagConfig, Setup
from rlt_ros.ros.topics import Topics
from rlt_ros.store.lineage import LineageError
from rlt_ros.store.storage import StorageError

_SLICE = 0.05
"""s of reading between two callbacks."""
_LOG_PERIOD = 10.0
"""s between two log lines of the progress."""


class BagNode(Node):
    """Import of bags in the graph."""

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
        # One thread: results of the VLA must equal those of the live inference.
        torch.set_num_threads(1)
        diagnostics = Diagnostics(self)
        diagnostics.add("bags", self._report)
        topics = Topics(self, diagnostics)
        self._status = topics.publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
        self._bags: BagImport | None = None
        try:
            self._bags = BagImport(settings, committed=self._publish_status)
        except (BagError, LineageError, StorageError) as error:
            raise NodeConfigurationError(str(error)) from error
        self._seconds, self._logged, self._complete = 0.0, time.monotonic(), False
        self._run: Iterator[float] = self._bags.run()
        if self._bags.store.replay is not None:
            self._publish_status()
        topics.subscription(LearnerStatus, "rlt/learner_status", self._on_learner, qos.LEARNER_STATUS)
        self._worker = self.create_timer(
            0.001, self._read_slice, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def destroy_node(self) -> None:
        """Close the replay; stored rows are safe."""
        if self._bags is not None:
            self._bags.close()
            self._bags = None
        super().destroy_node()

    def _read_slice(self) -> None:
        """Read for one slice."""
        end = time.monotonic() + _SLICE
        try:
            for seconds in self._run:
                self._seconds = seconds
                if time.monotonic() >= end:
                    break
            else:
                self._worker.cancel()
                self._finish()
        except (LineageError, StorageError) as error:
            raise NodeConfigurationError(str(error)) from error
        if time.monotonic() - self._logged >= _LOG_PERIOD:
            self._logged = time.monotonic()
            assert self._bags is not None
            self.get_logger().info(f"{self._seconds:.0f} of {self._bags.seconds:.0f} s read")

    def _finish(self) -> None:
        """Log the result after the last bag."""
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
                "no episode in the bags gives rows; `rlt-ros bag inspect` lists their content"
            )
        self._complete = True
        self._publish_status()

    def _on_learner(self, message: Any) -> None:
        """End when the learner can make no further progress with the rows."""
        if not self._complete or self._bags is None or self._bags.store.replay is None:
            return
        if message.rows < self._bags.store.replay.total:
            return
        if message.state == LearnerStatus.CAUGHT_UP:
            raise ShutdownRequested(
                f"the learner has used all {message.rows} rows, {message.critic_steps} updates"
            )
        if message.state == LearnerStatus.WAITING:
            raise ShutdownRequested(
                f"the learner waits for {message.waiting_for}, which the bags lack; all rows are stored. Add bags, "
                "continue live with `rlt-ros launch train` and the same `out`, or lower `rlt.min_…` and "
                "`rlt.warmup_episodes`"
            )
        if message.state == LearnerStatus.PAUSED:
            raise ShutdownRequested("the learner has stopped, see its log; all rows are stored")

    def _publish_status(self) -> None:
        """Publish the status of the replay."""
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
        return (
            (WARN if bags.skipped else OK),
            "waiting for the learner" if self._complete else "reading",
            values,
        )


def main() -> int:
    """Run the node."""
    return run_node(BagNode)


if __name__ == "__main__":
    sys.exit(main())
