"""Address of a VLA: ``builtin[:ROBOT]``, a folder of `rlt-ros pretrain`, or ``KIND:LOCATION[@ADAPTER.yaml]``.

=========================================  ========================================================================
``builtin``                                shipped weights of the current robot
``builtin:ur5e``                           shipped weights of another robot
``runs/weights``                           folder of `rlt-ros pretrain`
``transformers:/models/pi0``               checkpoint folder of 🤗 transformers, with its adapter `rlt_vla.yaml`
``transformers:me/pi0@arm.yaml``           the same from the hub, with another adapter
``lerobot:lerobot/smolvla_base@arm.yaml``  policy of lerobot: SmolVLA, pi0, pi0.5
``openpi:ws://gpu:8000@arm.yaml``          server of openpi's protocol that returns hidden states
``go1:http://gpu:9000/act@arm.yaml``       GO-1 server that returns hidden states
=========================================  ========================================================================

The adapter maps the model's cameras, state and actions to the robot: `rlt_ros.vla.adapter`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rlt_ros.store.parameters import ConfigError

BUILTIN = "builtin"
CHECKPOINTS = ("transformers", "lerobot")
"""Kinds with weights on this machine."""
SERVERS = {"openpi": ("ws", "wss"), "go1": ("http", "https")}
"""Kinds behind a server → schemes of its URL."""
ADAPTER = "rlt_vla.yaml"

_HUB = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_WITH_ADAPTER = re.compile(r"^(?P<location>.+)@(?P<adapter>[^@]+\.ya?ml)$")


@dataclass(frozen=True)
class VLAAddress:
    """Parsed address of a VLA.

    Attributes:
        kind: `builtin`, or one of `CHECKPOINTS` and `SERVERS`.
        location: folder, hub id or URL; empty for shipped weights.
        robot: robot of the shipped weights; empty for the current one.
        adapter: adapter file; None for the built-in VLA.
    """

    kind: str
    location: str = ""
    robot: str = ""
    adapter: Path | None = None


def parse_address(vla: str) -> VLAAddress:
    """Parse the address of a VLA.

    Raises:
        ConfigError: unknown kind, missing folder, or missing adapter.
    """
    kind, colon, rest = vla.partition(":")
    if vla == BUILTIN:
        return VLAAddress(BUILTIN)
    if not colon or Path(vla).is_dir():
        return VLAAddress(BUILTIN, vla)
    if kind == BUILTIN:
        return VLAAddress(BUILTIN, robot=rest)
    kinds = (*CHECKPOINTS, *SERVERS)
    if kind not in kinds:
        raise ConfigError(
            f"vla `{vla}`: there is no folder of that name, and `{kind}` is no kind of VLA; give `{BUILTIN}`, a folder "
            f"of `rlt-ros pretrain`, or one of {', '.join(f'{name}:LOCATION' for name in kinds)}"
        )
    with_adapter = _WITH_ADAPTER.match(rest)
    location = with_adapter["location"] if with_adapter else rest
    if kind in SERVERS:
        _check_url(vla, location, SERVERS[kind])
    elif not Path(location).expanduser().is_dir() and not _HUB.match(location):
        raise ConfigError(
            f"vla `{vla}`: `{location}` is neither a folder of this machine nor a hub id like `lerobot/pi0_base`"
        )
    adapter = Path(with_adapter["adapter"]) if with_adapter else Path(location).expanduser() / ADAPTER
    if not adapter.is_file():
        raise ConfigError(
            f"vla `{vla}`: there is no adapter {adapter}; write one that maps the model's cameras, state and actions "
            f"to the robot, and give it as `{kind}:{location}@FILE.yaml`"
        )
    return VLAAddress(kind, location, adapter=adapter)


def _check_url(vla: str, location: str, schemes: tuple[str, ...]) -> None:
    url = urlsplit(location)
    if url.scheme not in schemes or not url.hostname:
        raise ConfigError(
            f"vla `{vla}`: `{location}` is no URL; expected {' or '.join(f'{s}://HOST:PORT' for s in schemes)}"
        )
