"""Do VLA, robot and task belong together? Everything that can be told before the arm moves, one finding a subject.

A wrong camera, unit or token shows nowhere else than in an arm that moves oddly or a policy that does not learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlt_ros.rlt.parameters import ConfigError
from rlt_ros.robots.profile import RobotProfile
from rlt_ros.vla.protocol import VLA, ObservationBatch

_PROBES = 4
"""Different pictures that the VLA is shown."""
_SMALLEST_SPREAD = 1e-4
"""Of embeddings or tokens over different pictures, relative to their size: less is rounding."""
_LARGEST_COSINE = 0.99999
"""Between embeddings of different pictures. Tokens of pi0.5 are reported at 0.97 to 0.99, which is still
information."""
_LARGEST_UNIT, _SMALLEST_UNIT = 1.0, 1e-5
"""rad (or m) of one policy unit. A chunk of 0.2 s moves a joint by some hundredths; 1 is a card that counts in
degrees."""
_LARGEST_ACTION = 50.0
"""Policy units of a reference action. Normalised actions have unit variance."""


@dataclass(frozen=True)
class Finding:
    """One subject on which VLA and robot may disagree.

    Attributes:
        subject: in two or three words.
        vla: what the VLA has.
        robot: what robot or task have.
        remedy: what to do; empty where both agree.
    """

    subject: str
    vla: str
    robot: str
    remedy: str = ""

    @property
    def fits(self) -> bool:
        """Return whether both agree."""
        return not self.remedy


class MisfitError(ConfigError):
    """VLA, robot and task do not belong together; the message is the table of what does not."""


def require_fit(
    vla: VLA,
    profile: RobotProfile,
    *,
    chunk: int,
    instruction: str = "",
    token: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Check, and see that everything fits.

    Args:
        vla: the model.
        profile: the robot.
        chunk: C.
        instruction: the task's; empty compares specifications only and does not run the VLA.
        token: the RL token, (B, M, D) embeddings and (B, M) mask → (B, Z); None leaves it out.

    Raises:
        MisfitError: something does not fit.
    """
    findings = compare(vla, profile, chunk=chunk)
    if instruction and all(finding.fits for finding in findings):
        findings += run_probe(vla, profile, instruction, token)
    wrong = [finding for finding in findings if not finding.fits]
    if wrong:
        lines = "\n".join(f"  {f.subject}: VLA {f.vla}; robot {f.robot}: {f.remedy}" for f in wrong)
        raise MisfitError(f"VLA and robot `{profile.name}` do not belong together:\n{lines}")


def compare(vla: VLA, profile: RobotProfile, *, chunk: int) -> list[Finding]:
    """What can be told from specifications alone."""
    spec = vla.spec
    missing = [camera for camera in spec.cameras if camera not in profile.cameras]
    joints = len(profile.joints)
    scale = vla.action_scale.double().numpy()
    odd = [
        profile.joints[i] if len(scale) == joints else f"joint {i}"
        for i, unit in enumerate(scale)
        if not _SMALLEST_UNIT <= unit <= _LARGEST_UNIT
    ]
    return [
        Finding(
            "cameras",
            ", ".join(spec.cameras),
            ", ".join(profile.cameras),
            f"the robot has no camera {', '.join(missing)}; name it in the profile or the VLA's card"
            if missing
            else "",
        ),
        Finding(
            "joints",
            f"moves {spec.action_dim}",
            f"has {joints} joints",
            "" if spec.action_dim == joints else "choose those that belong together",
        ),
        Finding(
            "proprioception",
            f"{spec.proprio_dim} numbers",
            f"{2 * joints}: positions and velocities",
            "" if spec.proprio_dim == 2 * joints else "choose those that belong together",
        ),
        Finding(
            "horizon",
            f"plans {spec.horizon} steps ahead",
            f"`rlt.chunk` is {chunk}",
            "" if spec.horizon >= chunk else "lower `rlt.chunk`",
        ),
        Finding(
            "action statistics",
            f"one policy unit is {scale.min():.2g} to {scale.max():.2g} rad",
            f"expected {_SMALLEST_UNIT:g} to {_LARGEST_UNIT:g}",
            f"check `action_scale` of {', '.join(odd)}: it is in rad, not in degrees" if odd else "",
        ),
    ]


def run_probe(
    vla: VLA,
    profile: RobotProfile,
    instruction: str,
    token: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> list[Finding]:
    """What the VLA makes of pictures that are different, with the arm in its home position."""
    spec, task = vla.spec, f"task `{instruction}`"
    home = np.zeros(spec.action_dim) if profile.home is None else np.array(profile.home)
    try:
        seen = vla.act(_observations(vla, home, instruction), generator=torch.Generator().manual_seed(0))
    except ValueError as error:
        return [Finding("a pass", "fails", task, str(error))]
    wanted = (_PROBES, spec.tokens, spec.embed_dim)
    shape = tuple(seen.embeddings.shape)
    if shape != wanted or tuple(seen.mask.shape) != wanted[:2]:
        return [Finding("embeddings", f"{shape}", f"its spec says {wanted}", "correct the back end's `spec`")]
    kept = seen.embeddings * seen.mask[..., None]
    findings = [_alive("embeddings", kept.flatten(1))]
    findings.append(_actions(seen.chunk.double().numpy(), vla.action_scale.double().numpy(), home, profile))
    if token is not None:
        with torch.no_grad():
            findings.append(_alive("RL token", token(seen.embeddings, seen.mask), centred=True))
    return findings


def spread_and_cosine(values: Tensor) -> tuple[float, float]:
    """Relative spread of (n, K) over the first axis, and the least cosine between two of its rows."""
    values = values.double()
    size = values.square().mean().sqrt().clamp(min=1e-12)
    spread = float(values.std(dim=0).square().mean().sqrt() / size)
    unit = values / values.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return spread, float((unit @ unit.T).min())


def _alive(subject: str, values: Tensor, *, centred: bool = False) -> Finding:
    """Return whether different pictures make different values (n, K)."""
    if not torch.isfinite(values).all():
        return Finding(
            subject, "not finite", "must be finite", "check weights and precision (`dtype`) of the VLA"
        )
    spread, cosine = spread_and_cosine(values)
    # A token is centred, so that its direction says little; embeddings share a large common part.
    dead = spread < _SMALLEST_SPREAD or (not centred and cosine > _LARGEST_COSINE)
    return Finding(
        subject,
        f"spread {spread:.2g}, cosine {cosine:.4f}",
        f"over {_PROBES} different pictures",
        "the same whatever the cameras show; check weights, cameras and the layer that they are taken from"
        if dead
        else "",
    )


def _actions(
    chunk: NDArray[np.float64], scale: NDArray[np.float64], home: NDArray[np.float64], profile: RobotProfile
) -> Finding:
    """Return whether a reference is something that the arm could do."""
    robot = f"home of `{profile.name}`"
    if not np.isfinite(chunk).all():
        return Finding("reference", "not finite", robot, "check weights and statistics of the VLA")
    largest = float(np.abs(chunk).max())
    farthest = float(np.abs(chunk * scale).max())
    remedy = ""
    if largest > _LARGEST_ACTION:
        remedy = (
            "its actions lie far from the arm: absolute where the card says `relative`, or the other "
            "way round, in another "
            "unit, or with statistics of another robot"
        )
    return Finding("reference", f"up to {largest:.1f} policy units, {farthest:.2g} rad", robot, remedy)


def _observations(vla: VLA, home: NDArray[np.float64], instruction: str) -> ObservationBatch:
    """Black, white and noisy pictures."""
    generator = torch.Generator().manual_seed(0)
    height, width = vla.spec.image_size
    images = {}
    for camera in vla.spec.cameras:
        noise = torch.randint(256, (_PROBES, height, width, 3), dtype=torch.uint8, generator=generator)
        noise[0], noise[1] = 0, 255
        images[camera] = noise
    proprio = torch.from_numpy(np.concatenate([home, np.zeros_like(home)])).float()
    return ObservationBatch(images, proprio.repeat(_PROBES, 1), _PROBES * [instruction])


def as_rows(findings: Sequence[Finding]) -> list[dict[str, str | bool]]:
    """Findings for a table or for JSON."""
    return [
        {"subject": f.subject, "vla": f.vla, "robot": f.robot, "fits": f.fits, "remedy": f.remedy}
        for f in findings
    ]
