"""WebSocket server for all protocols: admission, message sizes, and error answers.

A peer that stalls in its handshake, in the middle of a message or afterwards occupies one of a few slots. It is
disconnected if it does not answer pings, or if another peer needs the slot. Large messages are received one at a time
(`rlt_ros.serving.receive_lock`). Requests of browser pages are refused: any open page could otherwise send requests to
a server on the loopback.
"""

from __future__ import annotations

import http
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol, cast

from rlt_ros.serving.errors import RequestError
from rlt_ros.serving.receive_lock import MeteredSocket, ReceiveLock
from rlt_ros.serving.slots import ConnectionSlot, ConnectionSlots
from rlt_ros.vla.access import admits

Message = bytes | str

_LOG = logging.getLogger(__name__)
_TOO_BIG, _TRY_AGAIN_LATER = 1009, 1013
"""Close codes of RFC 6455's registry."""
MAX_FRAGMENTS = 1024
"""Frames per message. Each costs an object, and an empty one does not count towards the largest message."""
_CLOSE_TIMEOUT = 1.0
"""s, time-out of a peer's answer to a close frame."""
MAX_REFUSAL_LENGTH = 1000
"""Characters of an error in answer and log."""


class PeerSession(Protocol):
    """Server side of a protocol on one connection."""

    def greeting(self) -> Message | None:
        """First message of the server; None to wait for the peer."""
        ...

    def answer(self, message: Message) -> Message:
        """Answer a message. Raises `RequestError` for an invalid one."""
        ...

    def refusal(self, reason: str) -> Message:
        """Error answer of the protocol."""
        ...


class WebSocketServer:
    """Server of sessions, one thread per connection, until `close`.

    Args:
        session: creates the session of a new connection.
        host: address to listen on; loopback by default.
        port: 0 for any free one.
        max_bytes: largest accepted message; a larger one ends the connection.
        connections: slots; further peers must try later.
        idle: s of silence after which a peer yields its slot to a waiting one.
        access_token: secret of admitted peers; empty admits all.
        ping: s between pings to a silent peer.
        ping_timeout: s after which a peer without an answer is disconnected.
        handshake: s, time-out of the handshake.
    """

    def __init__(
        self,
        session: Callable[[], PeerSession],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        max_bytes: int = 32 * 2**20,
        connections: int = 4,
        idle: float = 30.0,
        access_token: str = "",
        ping: float = 20.0,
        ping_timeout: float = 60.0,
        handshake: float = 10.0,
    ) -> None:
        from websockets.protocol import State
        from websockets.sync.server import ServerConnection, serve

        lock = ReceiveLock()

        def metered(connected: socket.socket, protocol: Any, *rest: Any, **options: Any) -> ServerConnection:
            meter: Any = MeteredSocket(
                connected, lock, max_bytes, lambda: protocol.state in (State.CONNECTING, State.OPEN)
            )
            return ServerConnection(meter, protocol, *rest, **options)

        self._session = session
        self._slots = ConnectionSlots(connections, idle=idle, leaving=2 * _CLOSE_TIMEOUT)
        self._access_token = access_token
        self.refused = 0
        """Number of messages with an error answer."""
        self._server = serve(
            self._serve,
            host,
            port,
            compression=None,
            max_size=max_bytes,
            ping_interval=ping,
            ping_timeout=ping_timeout,
            open_timeout=handshake,
            close_timeout=_CLOSE_TIMEOUT,
            origins=[None],
            process_request=self._admit,
            create_connection=cast(Any, metered),
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve in a background thread."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="websocket server", daemon=True
        )
        self._thread.start()

    def serve_forever(self) -> None:
        """Serve in the calling thread."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop listening and disconnect all peers."""
        self._server.shutdown()
        if self._thread is not None:
            self._thread.join()

    def _admit(self, connection: Any, request: Any) -> Any:
        if self._access_token and not admits(self._access_token, request.headers):
            _LOG.warning("peer %s shows no valid access token", connection.remote_address)
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "show the server's access token\n")
        return None

    def _serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        # It may have disconnected already.
        try:
            peer = connection.remote_address
        except OSError:
            return
        slot = self._slots.acquire(lambda: connection.close(_TRY_AGAIN_LATER, "silent, and another waits"))
        if slot is None:
            connection.close(_TRY_AGAIN_LATER, "all places are taken")
            return
        try:
            self._converse(connection, slot)
        except ConnectionClosed as closed:
            _LOG.info("peer %s disconnected: %s", peer, closed)
        finally:
            connection.socket.message_answered()
            self._slots.release(slot)

    def _converse(self, connection: Any, slot: ConnectionSlot) -> None:
        session = self._session()
        greeting = session.greeting()
        if greeting is not None:
            connection.send(greeting)
        while (message := _receive(connection)) is not None:
            connection.socket.message_received()
            self._slots.mark_busy(slot)
            answer = self._answer(session, message)
            # Otherwise it would occupy memory until the next message.
            message = None
            connection.socket.message_answered()
            self._slots.mark_silent(slot)
            connection.send(answer)

    def _answer(self, session: PeerSession, message: Message) -> Message:
        try:
            return session.answer(message)
        except RequestError as error:
            reason = str(error)[:MAX_REFUSAL_LENGTH]
            _LOG.warning("a request was refused: %s", reason)
        # A fault of server or model must not end the peer's episode without an answer.
        except Exception as error:
            reason = f"the server failed on this request ({type(error).__name__}); its log has the details"
            _LOG.exception("a request could not be answered")
        self.refused += 1
        return session.refusal(reason)


def _receive(connection: Any) -> Message | None:
    """Receive the next message; None after disconnecting a peer that sent more than `MAX_FRAGMENTS` frames."""
    parts: list[Any] = []
    for part in connection.recv_streaming():
        parts.append(part)
        if len(parts) > MAX_FRAGMENTS:
            connection.close(_TOO_BIG, f"a message of more than {MAX_FRAGMENTS} frames")
            return None
    return parts[0] if len(parts) == 1 else type(parts[0])().join(parts)
