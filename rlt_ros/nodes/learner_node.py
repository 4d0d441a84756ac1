"""Learns from the replay that the replay node writes, at the pace of the data, and publishes the actor.

The replay's file is opened for reading on the same machine; what comes over the graph is only the hint that there is
more of it. Updates are made in slices between the callbacks, so that the node stays at hand without a second thread.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import torch

from rlt_ros.episodes.tasks import load_task
from rlt_ros.middleware import Clock, ClockType, Node
from rlt_ros.middleware.messages import LearnerStatus, PolicyUpdate, ReplayStatus
from rlt_ros.nodes import qos
from rlt_ros.nodes.conversions import named, write_lineage, write_policy
from rlt_ros.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from rlt_ros.nodes.parameters import declare
from rlt_ros.nodes.realtime import renice
from rlt_ros.nodes.run import NodeConfigurationError, run_node
from rlt_ros.nodes.settings import LearnerConfig, Setup
from rlt_ros.nodes.topics import Topics
from rlt_ros.rlt.batch import BatchError
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.journal import Journal
from rlt_ros.rlt.learner import NonFiniteError
from rlt_ros.rlt.lineage import Lineage, LineageError
from rlt_ros.rlt.online import Measurement, OnlineLearner
from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.rlt.replay import Replay, ReplayError, ReplayFormat
from rlt_ros.rlt.run_folder import CHECKPOINT_FILE, METRICS_FILE, REPLAY_FILE, keep_config
from rlt_ros.rlt.storage import StorageError
from rlt_ros.robots.profile import load_profile

_STATUS = 1.0  # s between two states
_SLICE = 0.05  # s of updates between two looks at the graph


class LearnerNode(Node):
    """Connects the online learner to the graph."""

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
                "run": {
                    "robot": setup.robot
                },  # the section's other settings are for what learns in one process
            },
        )
        self._online: OnlineLearner | None = None
        self._replay: Replay | None = None
        self._metrics: Journal | None = None
        self._newest: Measurement | None = None
        self._fault = ""
        self._published, self._actor = (
            -1,
            Lineage(),
        )  # critic steps behind the published actor, and its lineage
        self._saved, self._saved_at = 0, time.monotonic()
        self._said: tuple[int, str] | None = None
        self._rated = (0, time.monotonic())
        self._version, self._per_second = 0, 0.0

        diagnostics = Diagnostics(self)
        diagnostics.add("learner", self._report)
        topics = Topics(self, diagnostics)
        self._policy = topics.publisher(PolicyUpdate, "rlt/policy_update", qos.POLICY_UPDATE)
        self._status = topics.publisher(LearnerStatus, "rlt/learner_status", qos.LEARNER_STATUS)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._worker = self.create_timer(0.001, self._slice, clock=steady)
        self._worker.cancel()
        self.create_timer(_STATUS, self._tell, clock=steady)
        self._look()
        topics.subscription(ReplayStatus, "rlt/replay_status", self._on_replay, qos.REPLAY_STATUS)

    def destroy_node(self) -> None:
        """Keep what was learned, and let go of the files."""
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
        self._look()

    def _look(self) -> None:
        """Account for what is new in the replay, and work if something is owed."""
        if self._online is None and not self._open():
            self._say()
            return
        assert self._online is not None
        fresh = self._online.count_new_rows()
        if self._online.debt.due() and not self._fault and self._worker.is_canceled():
            self._worker.reset()
        if fresh:
            self._say()
        self._publish()

    def _open(self) -> bool:
        """Attach to the replay, if it is there by now."""
        path = self._folder / REPLAY_FILE
        if not path.exists():
            return False
        try:
            found = ReplayFormat.read(path)
            if (found.shapes.chunk, found.gamma) != (self._rlt.chunk, self._rlt.gamma):
                raise ConfigError(
                    f"replay {path} was made with chunk {found.shapes.chunk} and gamma {found.gamma}, and `rlt.chunk` "
                    f"is {self._rlt.chunk}, `rlt.gamma` {self._rlt.gamma}; give both nodes the same"
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
        origin = f"goes on after {learner.critic_steps} updates" if learner.critic_steps else "starts anew"
        self.get_logger().info(f"{origin}, on {self._device}, with {path}")
        return True

    def _slice(self) -> None:
        """Pay for a moment."""
        online = self._online
        assert online is not None and self._metrics is not None
        try:
            for measurement in online.train_slice(_SLICE):
                self._newest = measurement
                self._metrics.append(measurement.line(self._minutes(measurement.rows)))
        except (NonFiniteError, BatchError) as error:
            self._fault = str(error)
            self.get_logger().error(f"learning has stopped: {error}")
        self._publish()
        paid = not online.debt.due()
        if paid or self._fault:
            self._worker.cancel()
        if paid and time.monotonic() - self._saved_at >= self._config.checkpoint_period:
            self._save()
        self._say_if_new()

    def _publish(self) -> None:
        """Publish the actor if it may act, and has learned enough since it was published."""
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
        """Write the checkpoint. A full disk ends the node: the next start learns the rest from the replay again."""
        assert self._online is not None
        self._online.save()
        self._saved, self._saved_at = self._online.learner.critic_steps, time.monotonic()

    def _minutes(self, rows: int) -> float:
        """Robot time in the critical phase behind ``rows``: a row starts at every ``stride``-th control step."""
        return rows * self._rlt.stride / self._hz / 60.0

    def _tell(self) -> None:
        """Look for more, save now and then, and say how things are."""
        self._look()
        online = self._online
        due = time.monotonic() - self._saved_at >= self._config.checkpoint_period
        if online and due and online.learner.critic_steps > self._saved:
            self._save()
        self._say()

    def _state(self) -> tuple[int, str]:
        """State of the status message, and what is waited for."""
        online = self._online
        if self._fault:
            return LearnerStatus.PAUSED, ""
        if online is None:
            return LearnerStatus.WAITING, f"replay {self._folder / REPLAY_FILE}"
        if online.debt.waiting_for:
            return LearnerStatus.WAITING, online.debt.waiting_for
        return (LearnerStatus.LEARNING if online.debt.due() else LearnerStatus.CAUGHT_UP), ""

    def _say_if_new(self) -> None:
        if self._state() != self._said:
            self._say()

    def _say(self) -> None:
        self._said = state, waiting_for = self._state()
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
        """Critic updates a second, over at least half a status period."""
        before, since = self._rated
        seconds = time.monotonic() - since
        if seconds >= _STATUS / 2:
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
            left_out = f"leaves {values['damaged_rows']} damaged rows of {file} out; `rlt-ros replay check` lists them"
            return WARN, left_out, values
        return OK, f"waits for {waiting_for}" if waiting_for else "", values


def _device(wanted: str) -> torch.device:
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ConfigError("`device` is cuda, and PyTorch sees no GPU; set it to auto or cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def main() -> int:
    """Run the node."""
    return run_node(LearnerNode)


if __name__ == "__main__":
    sys.exit(main())
