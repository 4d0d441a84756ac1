"""Short films of episodes, for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av

from rlt_ros.sim.workcell import HZ, Workcell

_SIZE = (480, 360)
_EVERY = 2  # control steps a picture: 25 pictures a second in real time
_PAUSE = 12  # pictures that the last one is held, so that the end can be seen


def film(
    path: Path,
    workcell: Workcell,
    play: Callable[[int, Callable[[], None]], object],
    seeds: Sequence[int],
    poll: Callable[[], None] = lambda: None,
) -> None:
    """Film the episodes of `seeds` into one H.264 file; existing films are replaced, no seeds make none.

    Args:
        path: of the file.
        workcell: what is filmed.
        play: runs the episode of a seed and calls the function it is given after every control step.
        seeds: of the episodes.
        poll: called after every control step; may raise, which leaves an existing film as it is.
    """
    if not seeds:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.mp4")
    with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=round(HZ / _EVERY), options={"crf": "30", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        stream.time_base = Fraction(_EVERY, round(HZ))
        count = 0

        def shoot() -> None:
            nonlocal count
            poll()
            count += 1
            if count % _EVERY == 0:
                expose(1)

        def expose(times: int) -> None:
            picture = av.VideoFrame.from_ndarray(workcell.picture(*_SIZE), format="rgb24")
            for _ in range(times):
                container.mux(stream.encode(picture))

        for seed in seeds:
            play(seed, shoot)
            expose(_PAUSE)
        container.mux(stream.encode())
    partial.replace(path)
