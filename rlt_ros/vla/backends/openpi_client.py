"""VLA behind openpi's WebSocket protocol, extended by hidden states.

Protocol (Physical-Intelligence/openpi, `websocket_policy_server.py`): the server greets with a map of metadata; every
binary message is one observation and every answer one map with `actions`; errors are text. All is msgpack with arrays
(`rlt_ros.vla.wire`). Extensions, which other servers ignore: ``return_hidden_states`` and ``seed`` in the observation,
``hidden_states`` and ``hidden_mask`` in the answer. `rlt-ros serve` implements both sides.
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
from rlt_ros.vla.adapter import AdapterConfig, ServerConfig
from rlt_ros.vla.backends.remote import RemoteVLA
from rlt_ros.vla.errors import VLAUnavailableError
from rlt_ros.vla.wire import WireError, pack, unpack


class OpenPIConnection:
    """Connection that opens on first use and reopens after a failure. Safe to use from several threads.

    Args:
        address: ``ws://host:port``.
        adapter: time-outs and sizes.
        access_token: secret of the server; empty for none.
    """

    def __init__(self, address: str, adapter: ServerConfig, *, access_token: str = "") -> None:
        self._address, self._adapter = address, adapter
        self._headers = access_headers(access_token)
        self._socket: Any = None
        self._open = contextlib.ExitStack()
        self._metadata: Mapping[str, Any] = {}
        self._next_attempt = 0.0
        self._lock = threading.Lock()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata of the server's greeting; connects if needed."""
        with self._lock:
            self._connect()
            return self._metadata

    def request(self, message: Mapping[str, Any]) -> Any:
        """Send one observation and return the answer.

        Raises:
            VLAUnavailableError: no connection, or no readable answer in time. The connection is closed then, since a
                later answer would belong to an older request.
        """
        data = pack(message)
        with self._lock:
            socket = self._connect()
            with self._or_unavailable("the connection broke ({})"):
                socket.send(data)
                return self._receive(socket, self._adapter.timeout)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _connect(self) -> Any:
        if self._socket is not None:
            return self._socket
        wait = self._next_attempt - time.monotonic()
        if wait > 0:
            raise VLAUnavailableError(f"{self._address}: not connected; the next attempt is in {wait:.1f} s")
        self._next_attempt = time.monotonic() + self._adapter.retry
        with self._or_unavailable("no VLA server answers ({}); start it, or correct the address"):
            self._socket = self._open.enter_context(
                connect(
                    self._address,
                    open_timeout=self._adapter.connect_timeout,
                    # A peer that is gone does not answer the closing handshake.
                    close_timeout=0.2,
                    compression=None,
                    max_size=self._adapter.max_bytes,
                    proxy=None,
                    additional_headers=self._headers,
                )
            )
        with self._or_unavailable("hung up before its greeting ({})"):
            metadata = self._receive(self._socket, self._adapter.connect_timeout)
        self._metadata = metadata if isinstance(metadata, Mapping) else {}
        self._next_attempt = 0.0
        return self._socket

    @contextlib.contextmanager
    def _or_unavailable(self, message: str) -> Iterator[None]:
        """Close the connection on failure, and raise ``message`` with the reason in its place."""
        try:
            yield
        except VLAUnavailableError:
            self._drop()
            raise
        except (OSError, WebSocketException) as error:
            self._drop()
            raise VLAUnavailableError(f"{self._address}: {message.format(_reason(error))}") from error

    def _receive(self, socket: Any, timeout: float) -> Any:
        try:
            data = socket.recv(timeout)
        except TimeoutError as error:
            raise VLAUnavailableError(
                f"{self._address}: no answer within {timeout:g} s; the server stalls, or the adapter's "
                "`server.timeout` is too short for it"
            ) from error
        if isinstance(data, str):
            raise VLAUnavailableError(f"{self._address}: the server reports an error: {_last_line(data)}")
        try:
            return unpack(data, limit=self._adapter.max_bytes)
        except WireError as error:
            raise VLAUnavailableError(f"{self._address}: its message cannot be read: {error}") from error

    def _drop(self) -> None:
        self._socket = None
        self._open.close()


class OpenPIVLA(RemoteVLA):
    """VLA over an `OpenPIConnection`. Implements `rlt_ros.vla.VLA`."""

    def __init__(self, connection: OpenPIConnection, adapter: AdapterConfig, *, address: str) -> None:
        self.connection = connection
        identity = connection.metadata.get("fingerprint", "")
        super().__init__(
            self._request,
            adapter,
            name=address,
            identity=str(identity),
            greeting=lambda: pack(connection.metadata),
        )

    @classmethod
    def connect(cls, location: str, adapter: AdapterConfig) -> OpenPIVLA:
        """Connect and check the server's first answer.

        Raises:
            VLAUnavailableError: no answer, or one without hidden states.
        """
        return cls(
            OpenPIConnection(location, adapter.server, access_token=adapter.access_token),
            adapter,
            address=location,
        )

    def _request(self, images: Mapping[str, np.ndarray], state: np.ndarray, prompt: str, seed: int) -> Any:
        named = {self._adapter.cameras[camera]: image for camera, image in images.items()}
        # openpi's configurations for DROID and LIBERO have flat names with a slash, that for ALOHA a map of images.
        flat = {name: image for name, image in named.items() if "/" in name}
        return self.connection.request(
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
