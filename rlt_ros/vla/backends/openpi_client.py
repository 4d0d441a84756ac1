"""A VLA behind openpi's WebSocket protocol, which is asked for hidden states beside the actions.

The protocol (Physical-Intelligence/openpi, `websocket_policy_server.py`): the server greets with a map of metadata,
then every binary message is one observation and every answer one map with `actions`; an error comes as text. All is
msgpack with arrays (`rlt_ros.vla.wire`). Added here, and ignored by servers that do not know it:
``return_hidden_states`` and ``seed`` in the observation, ``hidden_states`` and ``hidden_mask`` in the answer.
`rlt-ros serve` speaks it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from rlt_ros.vla.access import access_headers
from rlt_ros.vla.backends.remote import RemoteVLA
from rlt_ros.vla.card import ServerCard, VLACard
from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.wire import WireError, pack, unpack


class OpenPIConnection:
    """One connection, made when it is needed and made again after it broke. Safe to use from several threads.

    Args:
        address: ``ws://host:port``.
        card: how long anything is waited for.
        access_token: secret that the server asks for; empty for none.
    """

    def __init__(self, address: str, card: ServerCard, *, access_token: str = "") -> None:
        self._address, self._card = address, card
        self._headers = access_headers(access_token)
        self._socket: Any = None
        self._open = contextlib.ExitStack()
        self._metadata: Mapping[str, Any] = {}
        self._next_attempt = 0.0
        self._lock = threading.Lock()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the server said of itself; connects if need be."""
        with self._lock:
            self._connected()
            return self._metadata

    def ask(self, message: Mapping[str, Any]) -> Any:
        """The answer to one observation.

        Raises:
            VLAUnavailableError: there is no connection, or no answer in time, or none that can be read. The connection
                is closed then: an answer that comes later would belong to an older question.
        """
        data = pack(message)
        with self._lock:
            socket = self._connected()
            with self._or_unavailable("the connection broke ({})"):
                socket.send(data)
                return self._received(socket, self._card.timeout)

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._drop()

    def _connected(self) -> Any:
        if self._socket is not None:
            return self._socket
        wait = self._next_attempt - time.monotonic()
        if wait > 0:
            raise VLAUnavailableError(f"{self._address}: not connected; the next attempt is in {wait:.1f} s")
        self._next_attempt = time.monotonic() + self._card.retry
        with self._or_unavailable("no VLA server answers ({}); start it, or correct the address"):
            self._socket = self._open.enter_context(
                connect(
                    self._address,
                    open_timeout=self._card.connect_timeout,
                    close_timeout=0.2,  # a peer that is gone does not answer the farewell
                    compression=None,
                    max_size=self._card.max_bytes,
                    proxy=None,
                    additional_headers=self._headers,
                )
            )
        with self._or_unavailable("hung up before its greeting ({})"):
            metadata = self._received(self._socket, self._card.connect_timeout)
        self._metadata = metadata if isinstance(metadata, Mapping) else {}
        self._next_attempt = 0.0
        return self._socket

    @contextlib.contextmanager
    def _or_unavailable(self, what: str) -> Iterator[None]:
        """Hang up where this fails, and say ``what`` with the reason in its place."""
        try:
            yield
        except VLAUnavailableError:
            self._drop()
            raise
        except (OSError, WebSocketException) as error:
            self._drop()
            raise VLAUnavailableError(f"{self._address}: {what.format(_reason(error))}") from error

    def _received(self, socket: Any, timeout: float) -> Any:
        try:
            data = socket.recv(timeout)
        except TimeoutError as error:
            raise VLAUnavailableError(
                f"{self._address}: no answer within {timeout:g} s; the server stalls, or `server.timeout` of the card "
                "is too short for it"
            ) from error
        if isinstance(data, str):
            raise VLAUnavailableError(f"{self._address}: the server reports an error: {_last_line(data)}")
        try:
            return unpack(data, limit=self._card.max_bytes)
        except WireError as error:
            raise VLAUnavailableError(f"{self._address}: its message cannot be read: {error}") from error

    def _drop(self) -> None:
        self._socket = None
        self._open.close()


class OpenPIVLA(RemoteVLA):
    """Implements `rlt_ros.vla.VLA` over a connection."""

    def __init__(self, connection: OpenPIConnection, card: VLACard, *, address: str) -> None:
        self.connection = connection
        identity = connection.metadata.get("fingerprint", "")
        super().__init__(
            self._question,
            card,
            who=address,
            identity=str(identity),
            greeting=lambda: pack(connection.metadata),
        )

    @classmethod
    def connect(cls, where: str, card: VLACard) -> OpenPIVLA:
        """Connect, and see that the server gives what is needed.

        Raises:
            VLAUnavailableError: it does not.
        """
        return cls(OpenPIConnection(where, card.server, access_token=card.access_token), card, address=where)

    def _question(self, images: Mapping[str, np.ndarray], state: np.ndarray, prompt: str, seed: int) -> Any:
        named = {self._card.cameras[camera]: image for camera, image in images.items()}
        # Configurations of openpi for DROID and LIBERO have flat names with a slash, that for ALOHA a map of pictures.
        flat = {name: image for name, image in named.items() if "/" in name}
        return self.connection.ask(
            {
                **flat,
                "images": {name: image for name, image in named.items() if name not in flat},
                "observation/state" if flat else "state": state,
                "prompt": prompt,
                "return_hidden_states": True,
                "seed": seed,
            }
        )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(empty)"
