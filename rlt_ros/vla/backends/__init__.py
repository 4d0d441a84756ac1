"""Back ends for external VLAs. Each module imports its library only when one is loaded."""

from __future__ import annotations

from rlt_ros.vla.adapter import AdapterConfig, load_adapter
from rlt_ros.vla.address import VLAAddress
from rlt_ros.vla.errors import VLALoadError
from rlt_ros.vla.protocol import VLA

_EXTRAS = {"transformers": "vla", "lerobot": "lerobot", "openpi": "remote", "go1": "remote"}
"""Kind of VLA → extra of this package with its libraries."""


def open_backend(address: VLAAddress) -> VLA:
    """Open the VLA at an address, with its adapter.

    Raises:
        ConfigError: the adapter does not fit the model.
        VLALoadError: the checkpoint cannot be loaded, or its library is not installed.
        VLAUnavailableError: the server does not answer, or returns no hidden states.
    """
    assert address.adapter is not None, address
    adapter = load_adapter(address.adapter)
    try:
        return _open(address, adapter)
    except ModuleNotFoundError as error:
        raise VLALoadError(
            f"{address.kind}:{address.location}: needs {error.name}, which is not installed; install it with: "
            f"pip install 'rlt_ros[{_EXTRAS[address.kind]}]'"
        ) from error


def _open(address: VLAAddress, adapter: AdapterConfig) -> VLA:
    if address.kind == "transformers":
        from rlt_ros.vla.backends.transformers_pi0 import TransformersPI0

        return TransformersPI0.load(address.location, adapter)
    if address.kind == "lerobot":
        from rlt_ros.vla.backends.lerobot_policy import LeRobotVLA

        return LeRobotVLA.load(address.location, adapter)
    if address.kind == "openpi":
        from rlt_ros.vla.backends.openpi_client import OpenPIVLA

        return OpenPIVLA.connect(address.location, adapter)
    from rlt_ros.vla.backends.go1_client import GO1VLA

    return GO1VLA.connect(address.location, adapter)
