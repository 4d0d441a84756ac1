"""Render the animation of the README: frozen VLA and trained policy on the same episodes, side by side.

.venv/bin/python tools/make_animation.py runs/charger docs/images/charger.webp
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rlt_ros.sim.opengl import ensure_opengl

# Before any import of MuJoCo, which selects its back end once.
ensure_opengl()

from rlt_ros.experiments.evaluation import evaluation_seeds  # noqa: E402
from rlt_ros.experiments.policy import LoadedPolicy, open_policy  # noqa: E402
from rlt_ros.learning.checkpoint import PolicyUpdate  # noqa: E402

_SIZE = (360, 300)
_STEPS_PER_PICTURE = 4
"""Control steps; 12.5 pictures per second in real time."""
_GAP = 8
"""Pixels between the two videos."""
_FINAL_PICTURES = 10
"""Repetitions of the last picture."""

Pictures = list[NDArray[np.uint8]]


def main() -> None:
    """Write the animation of a finished run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, help="animated .webp to write")
    parser.add_argument("--episodes", type=int, default=2, help="number of episodes, in sequence")
    args = parser.parse_args()
    policy = open_policy(args.run)
    seeds = evaluation_seeds(args.episodes)
    left = _pictures(policy, None, seeds)
    right = _pictures(policy, policy.update, seeds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    _write(
        args.out,
        [_side_by_side(*pair) for episode in zip(left, right, strict=True) for pair in _aligned(*episode)],
    )


def _pictures(policy: LoadedPolicy, actor: PolicyUpdate | None, seeds: Sequence[int]) -> list[Pictures]:
    episodes = []
    for seed in seeds:
        taken: Pictures = []
        count = iter(range(10**9))

        def watch(taken: Pictures = taken, count: object = count) -> None:
            if next(count) % _STEPS_PER_PICTURE == 0:  # type: ignore[call-overload]
                taken.append(policy.workcell.picture(*_SIZE))

        policy.rollout.run(seed, actor, watch=watch)
        episodes.append([*taken, *[policy.workcell.picture(*_SIZE)] * _FINAL_PICTURES])
    return episodes


def _aligned(left: Pictures, right: Pictures) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Pairs of pictures at the same time; the shorter episode repeats its last picture."""
    length = max(len(left), len(right))
    return [(left[min(i, len(left) - 1)], right[min(i, len(right) - 1)]) for i in range(length)]


def _side_by_side(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def _write(path: Path, pictures: Pictures) -> None:
    height, width, _ = pictures[0].shape
    with av.open(str(path), "w", format="webp", options={"loop": "0"}) as container:
        stream = container.add_stream("libwebp_anim", rate=Fraction(25, 2), options={"quality": "60"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
