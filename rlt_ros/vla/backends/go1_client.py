"""GO-1 behind its HTTP server: one POST per observation, arrays as JSON.

The request of OpenDriveLab/AgiBot-World's `evaluate/deploy.py` is ``top``, ``right``, ``left`` (images),
``instruction``, ``state`` and ``ctrl_freqs``; its answer is the array of actions (30, 16). Arrays are base64 with
type and shape (json_numpy). Extensions: ``return_hidden_states`` and ``seed`` in the request; the answer is then a
map of ``actions``, ``hidden_states`` and ``hidden_mask``.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlt_ros.vla.access import access_headers
from rlt_ros.vla.adapter import AdapterConfig
from rlt_ros.vla.backends.remote import RemoteVLA
from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.wire import WireError, array
from rlt_ros.vla.wire_scan import MAX_ITEMS

CONTROL_HZ = 30.0
"""Planning rate of GO-1, 1/s; all policies of AgiBot run at it."""


class GO1VLA(RemoteVLA):
    """GO-1 over HTTP. Implements `rlt_ros.vla.VLA`."""

    def __init__(self, location: str, adapter: AdapterConfig) -> None:
        self._address = location if location.rstrip("/").endswith("/act") else f"{location.rstrip('/')}/act"
        # The user names the server, so no proxy of the environment stands between robot and server.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._headers = {"Content-Type": "application/json", **access_headers(adapter.access_token)}
        super().__init__(self._request, adapter, name=self._address)

    @classmethod
    def connect(cls, location: str, adapter: AdapterConfig) -> GO1VLA:
        """Connect and check the server's first answer.

        Raises:
            VLAUnavailableError: no answer, or one without hidden states.
        """
        return cls(location, adapter)

    def _request(self, images: Mapping[str, np.ndarray], state: np.ndarray, prompt: str, seed: int) -> Any:
        named = {self._adapter.cameras[camera]: image for camera, image in images.items()}
        body = {
            **named,
            "instruction": prompt,
            "state": state,
            "ctrl_freqs": np.array([CONTROL_HZ], np.float32),
            "return_hidden_states": True,
            "seed": seed,
        }
        reply = self._post(json.dumps(body, default=to_json).encode())
        return {"actions": reply} if isinstance(reply, np.ndarray | list) else reply

    def _post(self, body: bytes) -> Any:
        adapter = self._adapter.server
        request = urllib.request.Request(self._address, data=body, headers=self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=adapter.timeout) as response:
                data = _read(response, adapter.max_bytes, time.monotonic() + adapter.timeout)
        except urllib.error.HTTPError as error:
            detail = error.read(300).decode("utf-8", "replace")
            raise VLAUnavailableError(
                f"{self._address}: the server answers {error.code}: {detail}"
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise VLAUnavailableError(
                f"{self._address}: no answer within {adapter.timeout:g} s ({reason}); start the server, "
                "or correct the address"
            ) from error
        if len(data) > adapter.max_bytes:
            raise VLAUnavailableError(f"{self._address}: its answer is larger than {adapter.max_bytes} bytes")
        items = sum(data.count(mark) for mark in (b",", b"[", b"{"))
        if items > MAX_ITEMS:
            raise VLAUnavailableError(
                f"{self._address}: its answer has some {items} items, more than {MAX_ITEMS}; send arrays as json_numpy"
            )
        try:
            return json.loads(data, object_hook=from_json)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise VLAUnavailableError(f"{self._address}: its answer cannot be read: {error}") from error


def _read(response: http.client.HTTPResponse, most: int, deadline: float) -> bytes:
    """Read up to ``most`` + 1 bytes. Raises TimeoutError at the deadline, although the server still sends."""
    data = bytearray()
    while len(data) <= most and (part := response.read1(min(2**16, most + 1 - len(data)))):
        data += part
        if time.monotonic() > deadline:
            raise TimeoutError("its answer does not end")
    return bytes(data)


def to_json(value: Any) -> Any:
    """Array in the form of json_numpy. Raises TypeError for anything else that JSON does not know."""
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"__numpy__": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


def from_json(value: dict[str, Any]) -> Any:
    """Array that a JSON object encodes, or the object. Raises `WireError` for a damaged one."""
    if "__numpy__" not in value:
        return value
    try:
        data = base64.b64decode(value["__numpy__"], validate=True)
    except (TypeError, binascii.Error) as error:
        raise WireError(f"an array is no base64 ({error})") from error
    return array(data, value.get("dtype"), value.get("shape"))
