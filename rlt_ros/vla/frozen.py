"""Frozen encoder of RLT on one robot: observations → RL token, proprioception and reference chunk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlt_ros.perception import Observation
from rlt_ros.rlt.ranges import out_of_range
from rlt_ros.rlt.token_readouts import Readout
from rlt_ros.rlt.transition import RLState
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.turns import Mask
from rlt_ros.store.lineage import Lineage
from rlt_ros.vla.protocol import VLA, ObservationBatch, VLASpec, check_observations

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class VLAFeatures:
    """Outputs of the frozen encoder for B observations.

    Attributes:
        z: (B, Z) RL tokens.
        proprio: (B, P) joint positions, then velocities.
        chunk: (B, H, A) the VLA's action chunks, policy units.
    """

    z: FloatArray
    proprio: FloatArray
    chunk: FloatArray

    def states(self, steps: Sequence[int], observations: Sequence[Observation], chunk: int) -> list[RLState]:
        """RL states of the control steps that follow B observations; references are the first ``chunk`` (C) steps."""
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

    def extrapolate(
        self,
        index: int,
        state: RLState,
        lookahead: int,
        position: NDArray[np.float64],
        space: ActionSpace,
        hz: float,
    ) -> RLState:
        """RL state of a control step ``lookahead`` steps after the observation.

        The token stays that of the observation. The reference is the VLA's plan from the step on, or its end, relative
        to the joint positions at the step. Velocities are the mean ones over these steps.

        Args:
            index: of the observation in the batch.
            state: RL state of the observation, for the step.
            lookahead: at least 1.
            position: (A,) rad, joint positions at the step.
            space: action space.
            hz: control rate, 1/s.
        """
        rows = np.minimum(lookahead + np.arange(len(state.reference)), self.chunk.shape[1] - 1)
        targets = space.decode(state.anchor.astype(np.float64), self.chunk[index, rows].astype(np.float64))
        velocity = (position - state.anchor) * hz / lookahead
        return dataclasses.replace(
            state,
            proprio=np.concatenate([position, velocity]).astype(np.float32),
            reference=space.encode(position, targets).astype(np.float32),
            anchor=position.astype(np.float32),
        )


class FrozenEncoder(Protocol):
    """Encoder of observations to RL states; stubbed by tests."""

    @property
    def action_space(self) -> ActionSpace:
        """Conversion between policy units and joint positions."""
        ...

    @property
    def z_dim(self) -> int:
        """Width Z of the token."""
        ...

    @property
    def lineage(self) -> Lineage:
        """Fingerprints of VLA, token and statistics."""
        ...

    def encode(
        self, observations: Sequence[Observation], instruction: str, generator: torch.Generator
    ) -> VLAFeatures:
        """Token, proprioception and chunk of every observation, from one pass of the VLA."""
        ...


class FeatureRangeError(ValueError):
    """Token or chunk out of the range of any robot. The observation is dropped and counted."""


class FrozenVLA:
    """VLA with an RL token that was trained on its embeddings.

    Args:
        vla: any implementation of the protocol.
        token: read-out of the embeddings; its lineage must name this VLA.
        continuous: (A,) joints without a turn limit; None for none.
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
        """VLA without the token."""
        return self._vla

    @property
    def token(self) -> Readout:
        """Read-out of the embeddings."""
        return self._token

    @property
    def spec(self) -> VLASpec:
        """Shapes of the VLA's inputs and outputs."""
        return self._vla.spec

    def encode(
        self, observations: Sequence[Observation], instruction: str, generator: torch.Generator
    ) -> VLAFeatures:
        """See :class:`FrozenEncoder`.

        Raises:
            ObservationError: the VLA refuses an observation.
            FeatureRangeError: an output is out of range, see `rlt_ros.rlt.ranges`.
        """
        batch = self._batch(observations, instruction)
        output = self._vla.act(batch, generator=generator)
        with torch.no_grad():
            z = self._token(output.embeddings, output.mask)
        features = VLAFeatures(z.numpy(), batch.proprio.numpy(), output.chunk.numpy())
        for name, values in (("token", features.z), ("chunk", features.chunk)):
            wrong = out_of_range(values)
            if wrong:
                raise FeatureRangeError(f"the {name} that the VLA gives holds {wrong}; the frame is not used")
        return features

    def check(self, observation: Observation) -> None:
        """Raise ValueError unless :meth:`encode` accepts ``observation``."""
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
