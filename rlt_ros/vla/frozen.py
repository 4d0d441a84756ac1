"""The frozen half of RLT on one robot: observations in; RL token, proprioception and reference chunk out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.perception import Observation
from rlt_ros.rlt.lineage import Lineage
from rlt_ros.rlt.ranges import out_of_range
from rlt_ros.rlt.token_readouts import Readout
from rlt_ros.rlt.transition import RLState
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.turns import Mask
from rlt_ros.vla.protocol import VLA, ObservationBatch, VLASpec, check_observations

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Perceived:
    """What the frozen parts make of B observations.

    Attributes:
        z: (B, Z) RL tokens.
        proprio: (B, P) joint positions, then velocities.
        chunk: (B, H, A) the VLA's action chunks, policy units.
    """

    z: FloatArray
    proprio: FloatArray
    chunk: FloatArray

    def states(self, steps: Sequence[int], observations: Sequence[Observation], chunk: int) -> list[RLState]:
        """RL states of the control steps that B observations precede; references are the first ``chunk`` (C) steps."""
        return [
            RLState(
                step=step,
                z=self.z[i],
                proprio=self.proprio[i],
                reference=self.chunk[i, :chunk],
                anchor=observation.position.astype(np.float32),
            )
            for i, (step, observation) in enumerate(zip(steps, observations, strict=True))
        ]

    def later(
        self,
        index: int,
        state: RLState,
        ahead: int,
        position: NDArray[np.float64],
        space: ActionSpace,
        hz: float,
    ) -> RLState:
        """The state of a control step that is ``ahead`` steps after what was seen.

        What was seen stays as it was, and so does the token. The reference is the VLA's plan from the step on, or its
        end, as seen from where the arm is then; velocities are the mean ones until there, so they say how far that is.

        Args:
            index: of the observation in the batch.
            state: of the observation, for the step.
            ahead: at least 1.
            position: (A,) rad, where the arm is at the step.
            space: of the actions.
            hz: control rate, 1/s.
        """
        rows = np.minimum(ahead + np.arange(len(state.reference)), self.chunk.shape[1] - 1)
        targets = space.decode(state.anchor.astype(np.float64), self.chunk[index, rows].astype(np.float64))
        velocity = (position - state.anchor) * hz / ahead
        return dataclasses.replace(
            state,
            proprio=np.concatenate([position, velocity]).astype(np.float32),
            reference=space.encode(position, targets).astype(np.float32),
            anchor=position.astype(np.float32),
        )


class Perceiver(Protocol):
    """Anything that turns observations into RL states."""

    @property
    def action_space(self) -> ActionSpace:
        """What the chunk's numbers mean to the robot."""
        ...

    @property
    def z_dim(self) -> int:
        """Width Z of the token."""
        ...

    @property
    def lineage(self) -> Lineage:
        """Which frozen parts these are."""
        ...

    def perceive(
        self, observations: Sequence[Observation], instruction: str, generator: torch.Generator
    ) -> Perceived:
        """Token, proprioception and chunk of every observation, from one pass of the VLA."""
        ...


class PerceptionError(ValueError):
    """A token or chunk that no robot can have meant. The observation is dropped and counted, as one that is refused."""


class FrozenVLA:
    """A VLA and an RL token that was trained on its embeddings.

    Args:
        vla: any model behind the protocol.
        token: read-out of the embeddings; its lineage must name this VLA.
        continuous: (A,) joints of the robot that turn without end; None for none.
    """

    def __init__(self, vla: VLA, token: Readout, continuous: Mask | None = None) -> None:
        self._vla, self._token = vla, token
        self.action_space = ActionSpace(vla.action_scale.double().numpy(), continuous)
        self.z_dim = token.z_dim
        self.lineage = Lineage(
            vla=vla.fingerprint, token=token.fingerprint, stats=self.action_space.fingerprint
        )

    @property
    def vla(self) -> VLA:
        """The VLA alone."""
        return self._vla

    @property
    def token(self) -> Readout:
        """Read-out of its embeddings."""
        return self._token

    @property
    def spec(self) -> VLASpec:
        """What the VLA looks at, and what it proposes."""
        return self._vla.spec

    def perceive(
        self, observations: Sequence[Observation], instruction: str, generator: torch.Generator
    ) -> Perceived:
        """See :class:`Perceiver`.

        Raises:
            ObservationError: the VLA cannot take an observation.
            PerceptionError: what it gives is out of range, see `rlt_ros.rlt.ranges`.
        """
        batch = self._batch(observations, instruction)
        seen = self._vla.act(batch, generator=generator)
        with torch.no_grad():
            z = self._token(seen.embeddings, seen.mask)
        perceived = Perceived(z.numpy(), batch.proprio.numpy(), seen.chunk.numpy())
        for name, values in (("token", perceived.z), ("chunk", perceived.chunk)):
            wrong = out_of_range(values)
            if wrong:
                raise PerceptionError(f"the {name} that the VLA gives holds {wrong}; the frame is not used")
        return perceived

    def check(self, observation: Observation) -> None:
        """Raise ValueError unless :meth:`perceive` can take ``observation``."""
        check_observations(self._batch([observation], ""), self._vla.spec)

    def _batch(self, observations: Sequence[Observation], instruction: str) -> ObservationBatch:
        proprio = torch.from_numpy(np.stack([o.proprio for o in observations])).float()
        images = {
            camera: torch.from_numpy(np.stack([_camera(o, camera) for o in observations]))
            for camera in self._vla.spec.cameras
        }
        return ObservationBatch(images, proprio, [instruction] * len(observations))


def _camera(observation: Observation, camera: str) -> NDArray[np.uint8]:
    try:
        return observation.images[camera]
    except KeyError:
        have = ", ".join(observation.images) or "none"
        raise ValueError(
            f"observation at {observation.stamp} ns lacks camera '{camera}' (it has: {have}); "
            "the VLA needs it, so the frame cannot be used"
        ) from None
