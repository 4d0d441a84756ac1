"""Frozen VLA, RL token and actor: answers chunk requests of the executor, and publishes RL states for the replay.

The model is loaded on configure; requests are answered while the node is active. Without a usable actor the answer is
the VLA's own chunk, and the diagnostics report the reason.

A new actor is validated in parallel to the VLA's pass. It is used in the chunk of that pass, or in the newest chunk if
the arm has not started it.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlt_ros.acting.inference import Inference
from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.episodes.tasks import load_task
from rlt_ros.learning.checkpoint import load_actor
from rlt_ros.learning.policy_validator import PolicyValidator
from rlt_ros.middleware import (
    Clock,
    ClockType,
    LifecycleNode,
    LifecyclePublisher,
    MutuallyExclusiveCallbackGroup,
    State,
    Subscription,
    TransitionCallbackReturn,
)
from rlt_ros.middleware.messages import (
    ActionChunk,
    ChunkRequest,
    EpisodeState,
    ExecutedStep,
    Observation,
    PolicyUpdate,
    RLState,
)
from rlt_ros.perception import Observation as TimedObservation
from rlt_ros.replay.stream import ActionChunk as Chunk
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import qos
from rlt_ros.ros.conversions import (
    read_episode,
    read_lineage,
    read_observation,
    read_policy,
    read_request,
    to_ns,
    write_chunk,
    write_state,
)
from rlt_ros.ros.diagnostics import OK, STALE, WARN, Diagnostics, Dropped, Report
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.run import NodeConfigurationError, log_failures, run_node
from rlt_ros.ros.settings import PolicyConfig, Setup
from rlt_ros.ros.topics import Topics
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.storage import StorageError
from rlt_ros.vla.fit import require_fit
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.loading import load_frozen

_TIMEOUT_POLL = 0.05
"""s, polling period while only a time-out can make progress."""


class InferenceNode(LifecycleNode):
    """Connects the inference to the graph."""

    def __init__(self, **options: Any) -> None:
        super().__init__("inference_node", **options)
        self._setup = declare(self, "", Setup)
        self._config, self._policy = declare(self, "", InferenceConfig), declare(self, "", PolicyConfig)
        self._rlt = declare(self, "rlt", RLTConfig)
        self._frozen: FrozenVLA | None = None
        self._inference: Inference | None = None
        self._validator: PolicyValidator | None = None
        self._active = False
        self._policy_group = MutuallyExclusiveCallbackGroup()  # runs in parallel to a VLA pass
        self._subscriptions_made: list[Subscription] = []
        self._seconds: deque[float] = deque(maxlen=100)
        diagnostics = Diagnostics(self)
        self._dropped = Dropped(diagnostics)
        diagnostics.add("inference", self._report)
        self._topics = Topics(self, diagnostics)
        self._states = self._topics.publisher(RLState, "rlt/rl_state", qos.RL_STATE, while_active=True)
        self._chunks: LifecyclePublisher | None = None
        self._timer = self.create_timer(
            _TIMEOUT_POLL, self._work, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._timer.cancel()

    @log_failures
    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Load the model and warm it up."""
        torch.set_num_threads(self._policy.threads)
        try:
            self._load()
        except (StorageError, ConfigError, ValueError) as error:
            raise NodeConfigurationError(str(error)) from error
        topics = self._topics
        # After the model is loaded, because episodes start when this publisher exists.
        self._chunks = topics.publisher(ActionChunk, "rlt/action_chunk", qos.ACTION_CHUNK, while_active=True)
        # After the model is loaded, because latched messages arrive once.
        self._subscriptions_made = [
            topics.subscription(EpisodeState, "rlt/episode_state", self._on_episode, qos.EPISODE_STATE),
            topics.subscription(
                PolicyUpdate,
                "rlt/policy_update",
                self._on_policy,
                qos.POLICY_UPDATE,
                callback_group=self._policy_group,
            ),
            topics.subscription(Observation, "rlt/observation", self._on_observation, qos.OBSERVATION),
            topics.subscription(ExecutedStep, "rlt/executed_step", self._on_step, qos.EXECUTED_STEP),
            topics.subscription(ChunkRequest, "rlt/chunk_request", self._on_request, qos.CHUNK_REQUEST),
        ]
        return super().on_configure(state)

    @log_failures
    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Start answering requests."""
        self._active = True
        return super().on_activate(state)

    @log_failures
    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Stop answering requests; the executor then holds."""
        self._active = False
        return super().on_deactivate(state)

    @log_failures
    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        """Release the model."""
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        self._subscriptions_made = []
        if self._chunks is not None:
            self._topics.destroy_lifecycle_publisher(self._chunks)
        self._chunks = None
        self._frozen = self._inference = self._validator = None
        return super().on_cleanup(state)

    def _load(self) -> None:
        setup = self._setup
        task = load_task(setup.task)
        profile = load_profile(setup.robot)
        frozen = load_frozen(setup.vla, task.name, setup.robot, profile.continuous)
        require_fit(
            frozen.vla,
            profile,
            chunk=self._rlt.chunk,
            instruction=task.instruction,
            token=frozen.token,
        )
        inference = Inference(frozen, self._rlt, self._config, profile.control_hz, self._dropped.add)
        validator = PolicyValidator(inference.shapes, inference.lineage)
        if self._policy.policy:
            path = Path(self._policy.policy).expanduser()
            validator.current = load_actor(path, shapes=inference.shapes, lineage=inference.lineage)
            inference.accept(validator.current, ages=False)
            self.get_logger().info(f"acts with version {validator.current.version} of {path}")
        self._frozen, self._inference, self._validator = frozen, inference, validator
        self.get_logger().info(f"VLA {frozen.lineage.vla}, token {frozen.lineage.token}")
        try:
            # The first pass includes one-time initialisation.
            seconds = [_timed_pass(frozen, task.instruction) for _ in range(2)]
            self.get_logger().info(f"one VLA pass takes {1e3 * seconds[-1]:.0f} ms")
        except ValueError as error:
            self.get_logger().info(f"not warmed up, the first chunk may take longer: {error}")

    def _on_observation(self, message: Any) -> None:
        if self._frozen is None or self._inference is None:
            return
        try:
            observation = read_observation(message, self._frozen.action_space.dim)
            self._frozen.check(observation)
        except ValueError as error:
            self._dropped.add("bad observation", str(error))
            return
        self._inference.observe(observation)
        self._work()

    def _on_step(self, message: Any) -> None:
        if self._inference is not None:
            self._inference.add_step(message.episode, message.step, to_ns(message.header.stamp))
            self._work()

    def _on_episode(self, message: Any) -> None:
        if self._inference is None:
            return
        try:
            self._inference.update_episode(read_episode(message))
        except ValueError as error:
            self._dropped.add("bad episode state", str(error))
            return
        self._work()

    def _on_request(self, message: Any) -> None:
        if self._inference is None or not self._active:
            return
        try:
            request = read_request(message)
        except ValueError as error:
            self._dropped.add("bad request", str(error))
            return
        self._inference.request(request)
        self._work()

    def _on_policy(self, message: Any) -> None:
        inference, validator, chunks = self._inference, self._validator, self._chunks
        if inference is None or validator is None or chunks is None:
            return
        try:
            update = validator.accept(
                read_policy(message),
                version=message.version,
                lineage=read_lineage(message.lineage),
                stamp=to_ns(message.header.stamp),
            )
        except (StorageError, ValueError, KeyError) as error:
            self._dropped.add("policy update refused", str(error))
            return
        chosen_anew = inference.accept(update)
        if chosen_anew is not None and self._active:
            chunks.publish(write_chunk(chosen_anew))

    def _work(self) -> None:
        """Publish computed chunks and states; poll again while only a time-out can make progress."""
        inference, chunks = self._inference, self._chunks
        if inference is None or chunks is None or not self._active:
            return
        begun = time.monotonic()
        output = inference.work()
        if output:
            self._seconds.append(time.monotonic() - begun)
        for record in output:
            if isinstance(record, Chunk):
                chunks.publish(write_chunk(record))
            else:
                self._states.publish(write_state(record))
        if not inference.busy:
            self._timer.cancel()
        elif self._timer.is_canceled():
            self._timer.reset()

    def _report(self) -> Report:
        inference = self._inference
        if inference is None or self._frozen is None:
            return STALE, "not configured", {}
        lineage = self._frozen.lineage
        values: dict[str, Any] = {
            "version": inference.version,
            "vla": lineage.vla,
            "token": lineage.token,
            "stats": lineage.stats,
            "acts": "the VLA" if inference.fallback_reason else "the actor",
        }
        if self._seconds:
            values["pass_ms_median"] = 1e3 * float(np.median(self._seconds))
            values["pass_ms_p99"] = 1e3 * float(np.percentile(self._seconds, 99))
        if not self._active:
            return WARN, "inactive: requests are not answered", values
        if inference.missing_input:
            return WARN, f"a request waits for {inference.missing_input}", values
        if inference.fallback_reason and inference.version:
            return WARN, f"the VLA acts: {inference.fallback_reason}", values
        return OK, inference.fallback_reason or "", values


def _timed_pass(frozen: FrozenVLA, instruction: str) -> float:
    """Seconds of one pass over black pictures."""
    height, width = frozen.spec.image_size
    joints = np.zeros(frozen.action_space.dim)
    images = {camera: np.zeros((height, width, 3), np.uint8) for camera in frozen.spec.cameras}
    begun = time.monotonic()
    frozen.encode([TimedObservation(0, images, joints, joints)], instruction, torch.Generator())
    return time.monotonic() - begun


def main() -> int:
    """Run the node."""
    return run_node(InferenceNode, threads=2)


if __name__ == "__main__":
    sys.exit(main())
