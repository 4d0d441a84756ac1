"""Executed stream to overlapping chunk transitions, the rows of the replay.

The robot executes chunks, but learning uses the stream of executed commands: every `stride`-th control step k starts a
window (x_k, a_k:k+C, reference_k, R, x_k+C), across chunk borders (arXiv:2604.23073, section on the replay buffer). A
window that meets the end of the episode has n < C steps, so every window that reaches the end has the terminal reward.

    R = sum_{j<n} gamma^j r_{k+j}
    y = R + discount * Q'(x_{k+n}, a'),   discount = gamma^n, 0 if terminated

This module knows neither robot nor file: `encode` converts joint targets to policy units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.transition import (
    ExecutedStep,
    FloatArray,
    RLState,
    RowOutcome,
    Source,
    Window,
    WindowError,
    lineage_id,
    require_array,
)

__all__ = [
    "Encode",
    "ExecutedStep",
    "RLState",
    "RowOutcome",
    "Source",
    "Window",
    "WindowBuilder",
    "WindowError",
    "lineage_id",
]

Encode = Callable[[Any, Any], Any]
"""``encode(anchor (A,), targets (n, A)) -> (n, A)``: absolute joint targets to policy units."""


class WindowBuilder:
    """Incremental builder of the windows of one episode.

    States and steps may arrive in any interleaving, each in its own order; a state may lag behind its step, because the
    VLA computes it while the chunk is executed. A window is returned once it is final: when the states at k and k + C
    have arrived and step k + 2C - 1 was executed. The second C steps matter because an end of the episode among them
    shortens the *next* window, and with it ``next_valid``.

    Args:
        shapes: sizes of states and actions.
        encode: absolute joint targets to policy units, see :data:`Encode`.
        episode: episode id.
        lineage: id of the frozen parts, from :func:`lineage_id`.
        stride: control steps between two windows; a divisor of the chunk, so that x_k+C is one of the states.
        gamma: discount per control step.
    """

    def __init__(
        self, shapes: Shapes, encode: Encode, *, episode: int, lineage: int, stride: int, gamma: float
    ) -> None:
        if stride < 1 or shapes.chunk % stride:
            raise WindowError(
                f"stride {stride} does not divide the chunk of {shapes.chunk} steps; choose a divisor, "
                "so that no next state falls between two states"
            )
        if not 0.0 <= gamma <= 1.0:
            raise WindowError(f"gamma is {gamma}, expected 0 to 1")
        self._shapes, self._encode = shapes, encode
        self._episode, self._lineage = episode, lineage
        self._stride, self._powers = stride, gamma ** np.arange(shapes.chunk + 1, dtype=np.float64)
        self._states: dict[int, RLState] = {}
        self._steps: dict[int, ExecutedStep] = {}
        # Control steps of the next expected state, executed step and window.
        self._next_state: int | None = None
        self._next_step: int | None = None
        self._next_window: int | None = None
        self._finished = False

    def add_state(self, state: RLState) -> list[Window]:
        """Add the state of the next window start; returns the completed windows, oldest first."""
        self._require_running()
        self._start_at(state.step)
        if state.step != self._next_state:
            raise WindowError(
                f"state of step {state.step} in episode {self._episode}, expected step {self._next_state}; "
                f"give one state every {self._stride} steps, in order, each once"
            )
        self._states[state.step] = self._checked_state(state)
        self._next_state += self._stride
        return self._emit_known()

    def add_step(self, step: ExecutedStep) -> list[Window]:
        """Add the next executed control step; returns the completed windows, oldest first."""
        self._require_running()
        self._start_at(step.step)
        if step.step != self._next_step:
            raise WindowError(
                f"executed step {step.step} in episode {self._episode}, expected step {self._next_step}; "
                "give every control step, in order, each once"
            )
        name = f"step {step.step} of episode {self._episode}"
        command = require_array(step.command, (self._shapes.action_dim,), f"`command` of {name}")
        if not np.isfinite(step.reward):
            raise WindowError(f"`reward` of {name} is {step.reward}; give a finite number")
        source = Source(step.source)
        self._steps[step.step] = dataclasses.replace(step, command=command, source=source)
        self._next_step += 1
        return self._emit_known()

    def finish(
        self, *, terminated: bool, reward: float = 0.0, final_state: RLState | None = None
    ) -> list[Window]:
        """End the episode and return the remaining windows, oldest first.

        Args:
            terminated: True for success or failure, False for time-out or abort.
            reward: added to the last executed step's own; positive at a terminal state means success.
            final_state: state after the last step, from which a truncated episode bootstraps; required there unless
                that state was already added.
        """
        self._require_running()
        if not np.isfinite(reward):
            raise WindowError(f"terminal reward of episode {self._episode} is {reward}; give a finite number")
        if self._next_step is None or self._next_window is None or not self._steps:
            self._finished = True
            return []
        end = self._next_step
        self._require_states_until(end)
        final = self._final_state(end, terminated, final_state)
        last = self._steps[end - 1]
        self._steps[end - 1] = dataclasses.replace(last, reward=last.reward + reward)
        outcome = RowOutcome.TRUNCATED
        if terminated:
            outcome = RowOutcome.SUCCESS if reward > 0.0 else RowOutcome.FAILURE
        windows = []
        for start in range(self._next_window, end, self._stride):
            is_last = start + self._stride >= end
            windows.append(
                self._window(start, end, final, terminated, outcome if is_last else RowOutcome.NONE)
            )
        self._finished = True
        self._states.clear()
        self._steps.clear()
        return windows

    def _start_at(self, step: int) -> None:
        """Set the first control step of the episode from the first state or step."""
        if self._next_window is None:
            self._next_state = self._next_step = self._next_window = step

    def _emit_known(self) -> list[Window]:
        assert self._next_step is not None and self._next_window is not None
        windows, chunk = [], self._shapes.chunk
        while (
            self._next_window + 2 * chunk <= self._next_step
            and self._next_window in self._states
            and self._next_window + chunk in self._states
        ):
            start = self._next_window
            windows.append(self._window(start, self._next_step, None, False, RowOutcome.NONE))
            del self._states[start]
            for step in range(start, start + self._stride):
                del self._steps[step]
            self._next_window += self._stride
        return windows

    def _window(
        self, start: int, end: int, final: RLState | None, terminated: bool, outcome: RowOutcome
    ) -> Window:
        """Window at ``start`` of a stream that is known up to, but without, step ``end``.

        ``final`` is the state at ``end`` from which a truncated episode bootstraps, or None.
        """
        chunk = self._shapes.chunk
        valid = min(chunk, end - start)
        at_end = start + valid == end
        state = self._states[start]
        following = (final or state) if at_end else self._states[start + chunk]
        steps = [self._steps[step] for step in range(start, start + valid)]
        action = np.zeros((chunk, self._shapes.action_dim), np.float32)
        action[:valid] = self._encoded(state, steps)
        source = np.zeros(chunk, np.uint8)
        source[:valid] = [step.source for step in steps]
        ends_terminated = at_end and terminated
        return Window(
            episode=self._episode,
            step=start,
            z=state.z,
            proprio=state.proprio,
            reference=state.reference,
            action=action,
            reward=float(self._powers[:valid] @ [step.reward for step in steps]),
            discount=0.0 if ends_terminated else float(self._powers[valid]),
            next_z=following.z,
            next_proprio=following.proprio,
            next_reference=following.reference,
            valid=valid,
            next_valid=chunk if at_end else min(chunk, end - start - chunk),
            terminated=ends_terminated,
            truncated=at_end and not terminated,
            outcome=outcome,
            source=source,
            lineage=self._lineage,
        )

    def _encoded(self, state: RLState, steps: list[ExecutedStep]) -> FloatArray:
        targets = np.stack([step.command for step in steps])
        name = f"encoded action of window {state.step} of episode {self._episode}"
        return require_array(self._encode(state.anchor, targets), targets.shape, name)

    def _checked_state(self, state: RLState) -> RLState:
        shapes, name = self._shapes, f"state {state.step} of episode {self._episode}"
        return RLState(
            step=state.step,
            z=require_array(state.z, (shapes.z_dim,), f"`z` of {name}"),
            proprio=require_array(state.proprio, (shapes.proprio_dim,), f"`proprio` of {name}"),
            reference=require_array(
                state.reference, (shapes.chunk, shapes.action_dim), f"`reference` of {name}"
            ),
            anchor=require_array(state.anchor, (shapes.action_dim,), f"`anchor` of {name}"),
        )

    def _require_states_until(self, end: int) -> None:
        """Raise WindowError unless every window start before ``end`` has its state and no state lies behind it."""
        assert self._next_state is not None
        if self._next_state < end:
            raise WindowError(
                f"episode {self._episode} ends at step {end} without the state of step {self._next_state}; "
                "add the states that are still being computed before finish()"
            )
        newest = self._next_state - self._stride
        if newest > end:
            raise WindowError(
                f"state of step {newest} lies behind the end of episode {self._episode} at step {end}; "
                "add every executed step before finish()"
            )

    def _final_state(self, end: int, terminated: bool, given: RLState | None) -> RLState | None:
        if terminated:
            return None
        if given is None:
            if end in self._states:
                return self._states[end]
            raise WindowError(
                f"episode {self._episode} is truncated at step {end} without a final state to bootstrap "
                "from; give finish() the state observed after the last step"
            )
        if given.step != end:
            raise WindowError(
                f"final state of episode {self._episode} is of step {given.step}, expected step {end}, "
                "the one after the last executed step"
            )
        return self._checked_state(given)

    def _require_running(self) -> None:
        if self._finished:
            raise WindowError(
                f"episode {self._episode} is finished; start a new WindowBuilder for the next one"
            )
