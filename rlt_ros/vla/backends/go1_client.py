"""GO-1 behind its HTTP server: one POST an observation, arrays as JSON.

The request of OpenDriveLab/AgiBot-World's `evaluate/deploy.py` is ``top``, ``right``, ``left`` (pictures),
``instruction``, ``state`` and ``ctrl_freqs``; its answer is the array of actions (30, 16). Arrays are base64 with
type and shape (json_numpy). Added here: ``return_hidden_states`` and ``seed`` in the request; the answer then is a
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
from rlt_ros.vla.backends.remote import RemoteVLA
from rlt_ros.vla.card import VLACard
from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.wire import WireError, array
from rlt_ros.vla.wire_scan import MOST_ITEMS

CONTROL_HZ = 30.0
"""Rate that GO-1 plans at, 1/s; the policies of AgiBot all run at it."""


class GO1VLA(RemoteVLA):
    """Implements `rlt_ros.vla.VLA` over HTTP."""

    def __init__(self, where: str, card: VLACard) -> None:
        self._address = where if where.rstrip("/").endswith("/act") else f"{where.rstrip('/')}/act"
        # The address is the user's own, so no proxy of the environment stands between robot and server.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._headers = {"Content-Type": "application/json", **access_headers(card.access_token)}
        super().__init__(self._question, card, who=self._address)

    @classmethod
    def connect(cls, where: str, card: VLACard) -> GO1VLA:
        """See that the server gives what is needed.

        Raises:
            VLAUnavailableError: it does not.
        """
        return cls(where, card)

    def _question(self, images: Mapping[str, np.ndarray], state: np.ndarray, prompt: str, seed: int) -> Any:
        named = {self._card.cameras[camera]: image for camera, image in images.items()}
        body = {
            **named,
            "instruction": prompt,
            "state": state,
            "ctrl_freqs": np.array([CONTROL_HZ], np.float32),
            "return_hidden_states": True,
            "seed": seed,
        }
        reply = self._posted(json.dumps(body, default=to_json).encode())
        return {"actions": reply} if isinstance(reply, np.ndarray | list) else reply

    def _posted(self, body: bytes) -> Any:
        card = self._card.server
        request = urllib.request.Request(self._address, data=body, headers=self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=card.timeout) as response:
                data = _read(response, card.max_bytes, time.monotonic() + card.timeout)
        except urllib.error.HTTPError as error:
            detail = error.read(300).decode("utf-8", "replace")
            raise VLAUnavailableError(
                f"{self._address}: the server answers {error.code}: {detail}"
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise VLAUnavailableError(
                f"{self._address}: no answer within {card.timeout:g} s ({reason}); start the server, "
                "or correct the address"
            ) from error
        if len(data) > card.max_bytes:
            raise VLAUnavailableError(f"{self._address}: its answer is larger than {card.max_bytes} bytes")
        items = sum(data.count(mark) for mark in (b",", b"[", b"{"))
        if items > MOST_ITEMS:
            raise VLAUnavailableError(
                f"{self._address}: its answer has some {items} items, more than {MOST_ITEMS}; send arrays as json_numpy"
            )
        try:
            return json.loads(data, object_hook=from_json)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise VLAUnavailableError(f"{self._address}: its answer cannot be read: {error}") from error


def _read(response: http.client.HTTPResponse, most: int, deadline: float) -> bytes:
    """Read up to ``most`` + 1 bytes. Raises TimeoutError for a server that sends a byte now and then without end."""
    data = bytearray()
    while len(data) <= most and (part := response.read1(min(2**16, most + 1 - len(data)))):
        data += part
        if time.monotonic() > deadline:
            raise TimeoutError("its answer does not end")
    return bytes(data)


def to_json(value: Any) -> Any:
    """An array as json_numpy writes it. Raises TypeError for anything else that JSON does not know."""
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"__numpy__": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    raise TypeError(f"{type(value).__name__} cannot travel as JSON")


def from_json(value: dict[str, Any]) -> Any:
    """The array that a JSON object stands for, or the object. Raises `WireError` for a damaged one."""
    if "__numpy__" not in value:
        return value
    try:
        data = base64.b64decode(value["__numpy__"], validate=True)
    except (TypeError, binascii.Error) as error:
        raise WireError(f"an array is no base64 ({error})") from error
    return array(data, value.get("dtype"), value.get("shape"))
