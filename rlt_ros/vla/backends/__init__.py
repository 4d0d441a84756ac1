"""Foreign VLAs behind the protocol. Each module imports its library only when one is loaded."""

from __future__ import annotations

from rlt_ros.vla.card import VLACard, load_card
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import VLA
from rlt_ros.vla.reference import Reference

_EXTRAS = {"transformers": "vla", "lerobot": "lerobot", "openpi": "remote", "go1": "remote"}
"""Kind of VLA → the extra of this package that brings what it needs."""


def open_backend(reference: Reference) -> VLA:
    """The VLA that a reference names, with its card.

    Raises:
        ConfigError: the card does not fit the model.
        VLALoadError: the checkpoint cannot be loaded, or the library for it is not installed.
        VLAUnavailableError: the server does not answer, or gives no hidden states.
    """
    assert reference.card is not None, reference
    card = load_card(reference.card)
    try:
        return _opened(reference, card)
    except ModuleNotFoundError as error:
        raise VLALoadError(
            f"{reference.kind}:{reference.where}: needs {error.name}, which is not installed; install it with: "
            f"pip install 'rlt_ros[{_EXTRAS[reference.kind]}]'"
        ) from error


def _opened(reference: Reference, card: VLACard) -> VLA:
    if reference.kind == "transformers":
        from rlt_ros.vla.backends.transformers_pi0 import TransformersPI0

        return TransformersPI0.load(reference.where, card)
    if reference.kind == "lerobot":
        from rlt_ros.vla.backends.lerobot_policy import LeRobotVLA

        return LeRobotVLA.load(reference.where, card)
    if reference.kind == "openpi":
        from rlt_ros.vla.backends.openpi_client import OpenPIVLA

        return OpenPIVLA.connect(reference.where, card)
    from rlt_ros.vla.backends.go1_client import GO1VLA

    return GO1VLA.connect(reference.where, card)
