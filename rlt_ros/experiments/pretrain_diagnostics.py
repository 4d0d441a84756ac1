"""Diagnostics of a VLA's predictions, embeddings and tokens on held-out episodes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rlt_ros.data.frames import Frames
from rlt_ros.rlt.token import TokenAutoencoder
from rlt_ros.rlt.token_diagnostics import effective_rank, linear_probe, pairwise_cosine, reconstruction
from rlt_ros.rlt.token_readouts import Readout
from rlt_ros.vla.protocol import VLA

_BATCH = 32
_NEAR_DISTANCE = 0.03
"""m, distance to the target in the critical phase."""
_MAX_PROBE_FRAMES = 6000
"""Enough frames for a ridge regression on a few hundred features."""


def describe_frames(frames: Frames) -> dict[str, int]:
    """Size of a data set."""
    episodes = frames.demonstrations
    return {
        "episodes": len(episodes),
        "successes": sum(d.success for d in episodes),
        "frames": len(frames),
        "control_steps": sum(d.steps for d in episodes),
    }


def action_error(vla: VLA, frames: Frames, *, limit: int, chunk: int, seed: int = 0) -> dict[str, float]:
    """Root-mean-square error of sampled chunks in policy units, over the first C and over all H steps.

    ``hold`` is the error of standing still. Hesitations of samples and demonstrations differ, so the error does not
    reach zero.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = _spread(len(frames), limit)
    wanted = frames.displacements(rows, vla.spec.horizon) / vla.action_scale
    batches = [frames.observations(part) for part in rows.split(_BATCH)]
    predicted = torch.cat([vla.act(batch, generator=generator).chunk for batch in batches])
    error = predicted - wanted
    return {
        "chunk": _rms(error[:, :chunk]),
        "horizon": _rms(error),
        "hold_chunk": _rms(wanted[:, :chunk]),
        "hold_horizon": _rms(wanted),
    }


def token_report(
    vla: VLA, autoencoder: TokenAutoencoder, readouts: Mapping[str, Readout], seen: Frames, unseen: Frames
) -> dict[str, dict[str, float]]:
    """Diagnostics of a token and of alternative ``readouts`` of the same embeddings.

    ``probe_*``, for recordings with simulator truth whose first three numbers are the target's position in the tool's
    frame, are the root-mean-square errors in mm of a linear read-out of its two lateral coordinates near the target,
    fitted on ``seen`` episodes and tested on ``unseen`` ones.
    """
    features, truths = {}, {}
    for part, frames in (("seen", seen), ("unseen", unseen)):
        rows = _near(frames)
        embedded = [vla.embed(frames.observations(batch)) for batch in rows.split(_BATCH)]
        embeddings, mask = (torch.cat(list(parts)) for parts in zip(*embedded, strict=True))
        features[part] = (embeddings, mask)
        if frames.demonstrations[0].privileged is not None:
            truths[part] = frames.privileged(rows)[:, :2] * 1e3
    report = {"reconstruction": _reconstruction(autoencoder, *features["unseen"])}
    for name, readout in readouts.items():
        with torch.no_grad():
            z = {part: readout(*pair) for part, pair in features.items()}
        numbers = {
            "pairwise_cosine": pairwise_cosine(z["unseen"]),
            "effective_rank": effective_rank(z["unseen"]),
        }
        if truths:
            error = linear_probe((z["seen"], truths["seen"]), (z["unseen"], truths["unseen"]))
            numbers |= {"probe_x_mm": float(error[0]), "probe_y_mm": float(error[1])}
        report[name] = numbers
    if truths:
        spread = truths["unseen"].std(dim=0)
        report["target"] = {"spread_x_mm": float(spread[0]), "spread_y_mm": float(spread[1])}
    return report


def _reconstruction(autoencoder: TokenAutoencoder, embeddings: Tensor, mask: Tensor) -> dict[str, float]:
    forced = reconstruction(autoencoder, embeddings, mask, context_dropout=0.0)
    alone = reconstruction(autoencoder, embeddings, mask, context_dropout=1.0)
    return {f"forced_{name}": value for name, value in forced.items()} | {
        f"alone_{name}": value for name, value in alone.items()
    }


def _near(frames: Frames) -> Tensor:
    """Rows near the target, or all without simulator truth, evenly reduced to `_MAX_PROBE_FRAMES`."""
    rows = torch.arange(len(frames))
    if frames.demonstrations[0].privileged is not None:
        near = rows[frames.privileged(rows)[:, :3].norm(dim=1) < _NEAR_DISTANCE]
        rows = near if len(near) > 1 else rows
    return rows[_spread(len(rows), _MAX_PROBE_FRAMES)]


def _spread(count: int, limit: int) -> Tensor:
    """At most ``limit`` indices below ``count``, evenly spread."""
    return torch.linspace(0, count - 1, min(count, limit)).round().long()


def _rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())
