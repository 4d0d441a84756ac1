"""Online learner in the graph: reads the replay file, pays the update debt, and publishes the actor.

The replay file is opened for reading on the same machine; the status message only announces new rows. Updates run in
slices between callbacks, so that the node stays responsive with one thread.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import torch

from rlt_ros.episodes.tasks import load_task
from rlt_ros.learning.online import Measurement, OnlineLearner
from rlt_ros.learning.run_folder import CHECKPOINT_FILE, METRICS_FILE, REPLAY_FILE, keep_config
from rlt_ros.middleware import Clock, ClockType, Node
from rlt_ros.middleware.messages import LearnerStatus, PolicyUpdate, ReplayStatus
from rlt_ros.replay.ring import Replay, ReplayError, ReplayFormat
from rlt_ros.rlt.batch import BatchError
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.learner import NonFiniteError
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import named, write_lineage, write_policy
from rlt_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.realtime import renice
from rlt_ros.ros.run import NodeConfigurationError, run_node
from rlt_ros.ros.settings import LearnerConfig, Setup
from rlt_ros.ros.topics import Topics
from rlt_ros.store.journal import Journal
from rlt_ros.store.lineage import Lineage, LineageError
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import StorageError

_STATUS_PERIOD = 1.0
"""s between two status messages."""
_SLICE = 0.05
"""s of updates between two callbacks."""


class LearnerNode(Node):
    """Online learner in the graph."""

    def __init__(self, **options: Any) -> None:
        super().__init__("learner_node", **options)
        setup, self._config = declare(self, "", Setup), declare(self, "", LearnerConfig)
        self._rlt = declare(self, "rlt", RLTConfig)
        self._hz = load_profile(setup.robot).control_hz
        renice(self._config.niceness)
        torch.set_num_threads(self._config.threads)
        self._device = _device(self._config.device)
        self._folder = Path(self._config.out).expanduser().absolute()
        keep_config(
            self._folder,
            {
                "task": load_task(setup.task).name,
                "seed": self._config.seed,
                "vla": setup.vla,
                "rlt": dataclasses.asdict(self._rlt),
                # The other settings of this section belong to training in one process.
                "run": {"robot": setup.robot},
            },
        )
        self._online: OnlineLearner | None = None
        self._replay: Replay | None = None
        self._metrics: Journal | None = None
        self._newest: Measurement | None = None
        self._fault = ""
        # Critic steps of the published actor, and its lineage.
        self._published, self._actor = -1, Lineage()
        self._saved, self._saved_at = 0, time.monotonic()
        self._last_state: tuple[int, str] | None = None
        self._rated = (0, time.monotonic())
        self._version, self._per_second = 0, 0.0

        diagnostics = Diagnostics(self)
        diagnostics.add("learner", self._report)
        topics = Topics(self, diagnostics)
        self._policy = topics.publisher(PolicyUpdate, "rlt/policy_update", qos.POLICY_UPDATE)
        self._status = topics.publisher(LearnerStatus, "rlt/learner_status", qos.LEARNER_STATUS)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._worker = self.create_timer(0.001, self._train_slice, clock=steady)
        self._worker.cancel()
        self.create_timer(_STATUS_PERIOD, self._on_status_timer, clock=steady)
        self._read_rows()
        topics.subscription(ReplayStatus, "rlt/replay_status", self._on_replay, qos.REPLAY_STATUS)

    def destroy_node(self) -> None:
        """Save a checkpoint and close the files."""
        try:
            if self._online is not None and self._online.learner.critic_steps > self._saved:
                self._save()
        finally:
            if self._metrics is not None:
                self._metrics.close()
            if self._replay is not None:
                self._replay.close()
            self._online = self._replay = None
            super().destroy_node()

    def _on_replay(self, _: Any) -> None:
        self._read_rows()

    def _read_rows(self) -> None:
        """Read new rows, and start updates if they are owed."""
        if self._online is None and not self._open():
            self._publish_status()
            return
        assert self._online is not None
        fresh = self._online.count_new_rows()
        if self._online.debt.due() and not self._fault and self._worker.is_canceled():
            self._worker.reset()
        if fresh:
            self._publish_status()
        self._publish_actor()

    def _open(self) -> bool:
        """Open the replay, if it exists."""
        path = self._folder / REPLAY_FILE
        if not path.exists():
            return False
        try:
            found = ReplayFormat.read(path)
            if (found.shapes.chunk, found.gamma) != (self._rlt.chunk, self._rlt.gamma):
                raise ConfigError(
                    f"replay {path} was made with chunk {found.shapes.chunk} and gamma {found.gamma}, and `rlt.chunk` "
                    f"is {self._rlt.chunk}, `rlt.gamma` {self._rlt.gamma}; set both nodes to the same values"
                )
            self._replay = Replay.attach(path, found.shapes, lineage=found.lineage)
            self._online = OnlineLearner(
                self._rlt,
                self._replay,
                self._folder / CHECKPOINT_FILE,
                seed=self._config.seed,
                device=self._device,
                metrics_every=self._config.metrics_every,
                rolling=self._config.rolling,
            )
        except (ReplayError, StorageError, LineageError, ConfigError) as error:
            raise NodeConfigurationError(str(error)) from error
        self._metrics = Journal(self._folder / METRICS_FILE)
        learner = self._online.learner
        self._saved = learner.critic_steps
        self._rated = (learner.critic_steps, time.monotonic())
        origin = f"resumes after {learner.critic_steps} updates" if learner.critic_steps else "starts"
        self.get_logger().info(f"{origin} on {self._device} with {path}")
        return True

    def _train_slice(self) -> None:
        """Make updates for one slice."""
        online = self._online
        assert online is not None and self._metrics is not None
        try:
            for measurement in online.train_slice(_SLICE):
                self._newest = measurement
                self._metrics.append(measurement.line(self._minutes(measurement.rows)))
        except (NonFiniteError, BatchError) as error:
            self._fault = str(error)
            self.get_logger().error(f"learning has stopped: {error}")
        self._publish_actor()
        paid = not online.debt.due()
        if paid or self._fault:
            self._worker.cancel()
        if paid and time.monotonic() - self._saved_at >= self._config.checkpoint_period:
            self._save()
        self._publish_status_on_change()

    def _publish_actor(self) -> None:
        """Publish the actor after the warm-up, if it has made enough updates since the last publication."""
        online = self._online
        if online is None or not online.acting or self._fault:
            return
        behind = online.learner.critic_steps - self._published
        wanted = self._config.publish_every if online.debt.due() else 1
        if self._published >= 0 and behind < wanted:
            return
        data, self._actor, self._version = online.export()
        stamp = int(self.get_clock().now().nanoseconds)
        self._policy.publish(write_policy(data, stamp=stamp, version=self._version, lineage=self._actor))
        if self._published < 0:
            self.get_logger().info(f"the actor takes over, after {online.learner.critic_steps} updates")
        self._published = online.learner.critic_steps

    def _save(self) -> None:
        """Write the checkpoint. A full disk ends the node; the next start repeats the updates from the replay."""
        assert self._online is not None
        self._online.save()
        self._saved, self._saved_at = self._online.learner.critic_steps, time.monotonic()

    def _minutes(self, rows: int) -> float:
        """Critical-phase robot minutes of ``rows``: a row starts at every ``stride``-th control step."""
        return rows * self._rlt.stride / self._hz / 60.0

    def _on_status_timer(self) -> None:
        """Read new rows, save if due, and publish the status."""
        self._read_rows()
        online = self._online
        due = time.monotonic() - self._saved_at >= self._config.checkpoint_period
        if online and due and online.learner.critic_steps > self._saved:
            self._save()
        self._publish_status()

    def _state(self) -> tuple[int, str]:
        """State of the status message, and the awaited data."""
        online = self._online
        if self._fault:
            return LearnerStatus.PAUSED, ""
        if online is None:
            return LearnerStatus.WAITING, f"replay {self._folder / REPLAY_FILE}"
        if online.debt.waiting_for:
            return LearnerStatus.WAITING, online.debt.waiting_for
        return (LearnerStatus.LEARNING if online.debt.due() else LearnerStatus.CAUGHT_UP), ""

    def _publish_status_on_change(self) -> None:
        if self._state() != self._last_state:
            self._publish_status()

    def _publish_status(self) -> None:
        self._last_state = state, waiting_for = self._state()
        message = LearnerStatus(state=state, waiting_for=waiting_for, lineage=write_lineage(self._actor))
        message.version = self._version
        if self._online is not None:
            learner, debt = self._online.learner, self._online.debt
            message.rows, message.owed = debt.rows, float(debt.owed)
            message.critic_steps, message.actor_steps = learner.critic_steps, learner.actor_steps
            message.rate = self._rate(learner.critic_steps)
            if not self._actor.actor:
                message.lineage = write_lineage(self._online.lineage)
        if self._newest is not None:
            fields = named(self._newest.values)
            message.metrics, message.values = fields["metrics"], fields["values"]
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)

    def _rate(self, steps: int) -> float:
        """Critic updates per second, over at least half a status period."""
        before, since = self._rated
        seconds = time.monotonic() - since
        if seconds >= _STATUS_PERIOD / 2:
            self._rated, self._per_second = (steps, time.monotonic()), (steps - before) / seconds
        return self._per_second

    def _report(self) -> Report:
        _, waiting_for = self._state()
        values: dict[str, Any] = {"device": str(self._device), "version": self._version}
        if self._online is not None:
            learner, debt = self._online.learner, self._online.debt
            values.update(
                rows=debt.rows,
                updates=learner.critic_steps,
                utd_debt=debt.owed,
                updates_per_s=self._per_second,
                damaged_rows=self._online.damaged_rows,
            )
        if self._fault:
            return ERROR, f"learning has stopped: {self._fault}", values
        if values.get("damaged_rows"):
            file = self._folder / REPLAY_FILE
            message = (
                f"skips {values['damaged_rows']} damaged rows of {file}; `rlt-ros replay check` lists them"
            )
            return WARN, message, values
        return OK, f"waiting for {waiting_for}" if waiting_for else "", values


def _device(wanted: str) -> torch.device:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ConfigError("`device` is cuda, but PyTorch finds no GPU; set it to auto or cpu")
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


def main() -> int:
    """Run the node."""
    return run_node(LearnerNode)


if __name__ == "__main__":
    sys.exit(main())
