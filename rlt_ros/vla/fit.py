"""Checks that VLA, robot and task fit together, before the arm moves.

Without them a wrong camera, unit or token shows only as an arm that moves oddly or a policy that does not learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlt_ros.robots.profile import RobotProfile
from rlt_ros.store.parameters import ConfigError
from rlt_ros.vla.protocol import VLA, ObservationBatch

PROBE_IMAGES = 4
"""Different images of the probe."""
MIN_RELATIVE_SPREAD = 1e-4
"""Spread of embeddings or tokens over different images, relative to their size; less is rounding."""
MAX_COSINE = 0.99999
"""Cosine between embeddings of different images. Tokens of pi0.5 are reported at 0.97 to 0.99, which is still
information."""
MAX_UNIT, MIN_UNIT = 1.0, 1e-5
"""rad (or m) of one policy unit. A chunk of 0.2 s moves a joint by some hundredths; 1 means an adapter in degrees."""
MAX_ACTION = 50.0
"""Policy units of a reference action. Normalised actions have unit variance."""


@dataclass(frozen=True)
class FitResult:
    """Comparison of VLA and robot on one subject.

    Attributes:
        subject: two or three words.
        vla: property of the VLA.
        robot: property of robot or task.
        remedy: action to take; empty if both fit.
    """

    subject: str
    vla: str
    robot: str
    remedy: str = ""

    @property
    def fits(self) -> bool:
        """True without a remedy."""
        return not self.remedy


class MisfitError(ConfigError):
    """VLA, robot and task do not fit; the message lists the misfits."""


def require_fit(
    vla: VLA,
    profile: RobotProfile,
    *,
    chunk: int,
    instruction: str = "",
    token: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Raise an error unless VLA, robot and task fit together.

    Args:
        vla: the model.
        profile: the robot.
        chunk: C.
        instruction: the task's; empty compares specifications only, without running the VLA.
        token: RL token, (B, M, D) embeddings and (B, M) mask → (B, Z); None skips it.

    Raises:
        MisfitError: at least one subject does not fit.
    """
    results = compare(vla, profile, chunk=chunk)
    if instruction and all(result.fits for result in results):
        results += run_probe(vla, profile, instruction, token)
    wrong = [result for result in results if not result.fits]
    if wrong:
        lines = "\n".join(f"  {f.subject}: VLA {f.vla}; robot {f.robot}: {f.remedy}" for f in wrong)
        raise MisfitError(f"VLA and robot `{profile.name}` do not fit together:\n{lines}")


def compare(vla: VLA, profile: RobotProfile, *, chunk: int) -> list[FitResult]:
    """Compare the specifications of VLA and robot."""
    spec = vla.spec
    missing = [camera for camera in spec.cameras if camera not in profile.cameras]
    joints = len(profile.joints)
    scale = vla.action_scale.double().numpy()
    odd = [
        profile.joints[i] if len(scale) == joints else f"joint {i}"
        for i, unit in enumerate(scale)
        if not MIN_UNIT <= unit <= MAX_UNIT
    ]
    return [
        FitResult(
            "cameras",
            ", ".join(spec.cameras),
            ", ".join(profile.cameras),
            f"the robot has no camera {', '.join(missing)}; name it in the profile or the VLA's adapter"
            if missing
            else "",
        ),
        FitResult(
            "joints",
            f"moves {spec.action_dim}",
            f"has {joints} joints",
            "" if spec.action_dim == joints else "choose a VLA and a robot with the same joints",
        ),
        FitResult(
            "proprioception",
            f"{spec.proprio_dim} numbers",
            f"{2 * joints}: positions and velocities",
            "" if spec.proprio_dim == 2 * joints else "choose a VLA and a robot with the same joints",
        ),
        FitResult(
            "horizon",
            f"plans {spec.horizon} steps ahead",
            f"`rlt.chunk` is {chunk}",
            "" if spec.horizon >= chunk else "lower `rlt.chunk`",
        ),
        FitResult(
            "action statistics",
            f"one policy unit is {scale.min():.2g} to {scale.max():.2g} rad",
            f"expected {MIN_UNIT:g} to {MAX_UNIT:g}",
            f"check `action_scale` of {', '.join(odd)}: it is in rad, not in degrees" if odd else "",
        ),
    ]


def run_probe(
    vla: VLA,
    profile: RobotProfile,
    instruction: str,
    token: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> list[FitResult]:
    """Run the VLA on different images, with the arm in its home position."""
    spec, task = vla.spec, f"task `{instruction}`"
    home = np.zeros(spec.action_dim) if profile.home is None else np.array(profile.home)
    try:
        output = vla.act(_observations(vla, home, instruction), generator=torch.Generator().manual_seed(0))
    except ValueError as error:
        return [FitResult("a pass", "fails", task, str(error))]
    expected = (PROBE_IMAGES, spec.tokens, spec.embed_dim)
    shape = tuple(output.embeddings.shape)
    if shape != expected or tuple(output.mask.shape) != expected[:2]:
        return [
            FitResult("embeddings", f"{shape}", f"its spec has {expected}", "correct the back end's `spec`")
        ]
    kept = output.embeddings * output.mask[..., None]
    results = [_compare_images("embeddings", kept.flatten(1))]
    results.append(
        _compare_actions(output.chunk.double().numpy(), vla.action_scale.double().numpy(), home, profile)
    )
    if token is not None:
        with torch.no_grad():
            results.append(_compare_images("RL token", token(output.embeddings, output.mask), centred=True))
    return results


def spread_and_cosine(values: Tensor) -> tuple[float, float]:
    """Relative spread of (n, K) over the first axis, and the least cosine between two rows."""
    values = values.double()
    size = values.square().mean().sqrt().clamp(min=1e-12)
    spread = float(values.std(dim=0).square().mean().sqrt() / size)
    unit = values / values.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return spread, float((unit @ unit.T).min())


def _compare_images(subject: str, values: Tensor, *, centred: bool = False) -> FitResult:
    """Check that different images produce different values (n, K)."""
    if not torch.isfinite(values).all():
        return FitResult(
            subject, "not finite", "must be finite", "check weights and precision (`dtype`) of the VLA"
        )
    spread, cosine = spread_and_cosine(values)
    # A token is centred, so that its direction carries little; embeddings share a large common part.
    dead = spread < MIN_RELATIVE_SPREAD or (not centred and cosine > MAX_COSINE)
    return FitResult(
        subject,
        f"spread {spread:.2g}, cosine {cosine:.4f}",
        f"over {PROBE_IMAGES} different images",
        "the same for all camera images; check weights, cameras and the layer that they are taken from"
        if dead
        else "",
    )


def _compare_actions(
    chunk: NDArray[np.float64], scale: NDArray[np.float64], home: NDArray[np.float64], profile: RobotProfile
) -> FitResult:
    """Check that the reference is within reach of the arm."""
    robot = f"home of `{profile.name}`"
    if not np.isfinite(chunk).all():
        return FitResult("reference", "not finite", robot, "check weights and statistics of the VLA")
    largest = float(np.abs(chunk).max())
    farthest = float(np.abs(chunk * scale).max())
    remedy = ""
    if largest > MAX_ACTION:
        remedy = (
            "its actions lie far from the arm; check the adapter's `relative`, its units, and that its statistics are "
            "of this robot"
        )
    return FitResult("reference", f"up to {largest:.1f} policy units, {farthest:.2g} rad", robot, remedy)


def _observations(vla: VLA, home: NDArray[np.float64], instruction: str) -> ObservationBatch:
    """Black, white and noise images."""
    generator = torch.Generator().manual_seed(0)
    height, width = vla.spec.image_size
    images = {}
    for camera in vla.spec.cameras:
        noise = torch.randint(256, (PROBE_IMAGES, height, width, 3), dtype=torch.uint8, generator=generator)
        noise[0], noise[1] = 0, 255
        images[camera] = noise
    proprio = torch.from_numpy(np.concatenate([home, np.zeros_like(home)])).float()
    return ObservationBatch(images, proprio.repeat(PROBE_IMAGES, 1), PROBE_IMAGES * [instruction])


def as_rows(results: Sequence[FitResult]) -> list[dict[str, str | bool]]:
    """Results as rows of a table or of JSON."""
    return [
        {"subject": f.subject, "vla": f.vla, "robot": f.robot, "fits": f.fits, "remedy": f.remedy}
        for f in results
    ]
