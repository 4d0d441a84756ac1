"""How a VLA is named: ``builtin[:ROBOT]``, a folder that `rlt-ros pretrain` made, or ``KIND:WHERE[@CARD.yaml]``.

=========================================  ========================================================================
``builtin``                                the weights that ship with the package for the robot at hand
``builtin:ur5e``                           those for another robot
``runs/weights``                           a folder that `rlt-ros pretrain` made
``transformers:/models/pi0``               a checkpoint folder for 🤗 transformers, with its card `rlt_vla.yaml`
``transformers:me/pi0@arm.yaml``           the same from the hub, with a card of one's own
``lerobot:lerobot/smolvla_base@arm.yaml``  a policy of lerobot: SmolVLA, pi0, pi0.5
``openpi:ws://gpu:8000@arm.yaml``          a server that speaks openpi's protocol and returns hidden states
``go1:http://gpu:9000/act@arm.yaml``       a GO-1 server that returns hidden states
=========================================  ========================================================================

The card says how the model's cameras, state and actions belong to the robot: `rlt_ros.vla.card`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rlt_ros.rlt.parameters import ConfigError

BUILTIN = "builtin"
CHECKPOINTS = ("transformers", "lerobot")
"""Kinds that load weights here."""
SERVERS = {"openpi": ("ws", "wss"), "go1": ("http", "https")}
"""Kinds that ask a server → schemes of its address."""
CARD = "rlt_vla.yaml"

_HUB = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_WITH_CARD = re.compile(r"^(?P<where>.+)@(?P<card>[^@]+\.ya?ml)$")


@dataclass(frozen=True)
class Reference:
    """A VLA's name, taken apart.

    Attributes:
        kind: `builtin`, or one of `CHECKPOINTS` and `SERVERS`.
        where: folder, hub id or address; empty for the weights that ship with the package.
        robot: whose shipped weights are meant; empty for those of the robot at hand.
        card: file that says how the model belongs to the robot; None for the built-in VLA, which needs none.
    """

    kind: str
    where: str = ""
    robot: str = ""
    card: Path | None = None

    @property
    def folder(self) -> Path | None:
        """The checkpoint as a folder of this machine; None for a hub id or a server."""
        path = Path(self.where).expanduser()
        return path if self.kind not in SERVERS and path.is_dir() else None


def parse(vla: str) -> Reference:
    """Take a name apart.

    Raises:
        ConfigError: the kind is unknown, there is no such folder, or the card is missing.
    """
    kind, colon, rest = vla.partition(":")
    if vla == BUILTIN:
        return Reference(BUILTIN)
    if not colon or Path(vla).is_dir():
        return Reference(BUILTIN, where=vla)
    if kind == BUILTIN:
        return Reference(BUILTIN, robot=rest)
    kinds = (*CHECKPOINTS, *SERVERS)
    if kind not in kinds:
        raise ConfigError(
            f"vla `{vla}`: there is no folder of that name, and `{kind}` is no kind of VLA; give `{BUILTIN}`, a folder "
            f"that `rlt-ros pretrain` made, or one of {', '.join(f'{name}:WHERE' for name in kinds)}"
        )
    with_card = _WITH_CARD.match(rest)
    where = with_card["where"] if with_card else rest
    if kind in SERVERS:
        _check_address(vla, where, SERVERS[kind])
    elif not Path(where).expanduser().is_dir() and not _HUB.match(where):
        raise ConfigError(
            f"vla `{vla}`: `{where}` is neither a folder of this machine nor a hub id like `lerobot/pi0_base`"
        )
    card = Path(with_card["card"]) if with_card else Path(where).expanduser() / CARD
    if not card.is_file():
        raise ConfigError(
            f"vla `{vla}`: there is no card {card}; write one that says how the model's cameras, state and actions "
            f"belong to the robot, and give it as `{kind}:{where}@FILE.yaml`"
        )
    return Reference(kind, where, card=card)


def _check_address(vla: str, where: str, schemes: tuple[str, ...]) -> None:
    address = urlsplit(where)
    if address.scheme not in schemes or not address.hostname:
        raise ConfigError(
            f"vla `{vla}`: `{where}` is no address; expected {' or '.join(f'{s}://HOST:PORT' for s in schemes)}"
        )
