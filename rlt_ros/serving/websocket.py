"""One WebSocket server for every protocol here: who may connect, how large a message may be, how an error is reported.

A peer that stalls in its handshake, in the middle of a message or afterwards costs one of a few places. It is hung up
on when it does not answer pings, or when another peer needs the place. Large messages come one at a time
(`rlt_ros.serving.lane`). Pages in a browser are refused: whatever page
the user has open could otherwise ask a server on the loopback.
"""

from __future__ import annotations

import http
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol, cast

from rlt_ros.serving.errors import RequestError
from rlt_ros.serving.lane import Lane, MeteredSocket
from rlt_ros.serving.places import Place, Places
from rlt_ros.vla.access import admits

Message = bytes | str

_LOG = logging.getLogger(__name__)
_TOO_BIG, _TRY_AGAIN_LATER = 1009, 1013  # RFC 6455's registry of close codes
_MOST_FRAGMENTS = 1024
"""Frames of a message. Each costs an object, and one without bytes does not count towards the largest message."""
_FAREWELL = 1.0  # s that a peer has to answer a close frame
_LONGEST_REFUSAL = 1000  # characters; what is refused comes back in the answer and in the log


class Session(Protocol):
    """One connection's side of a protocol."""

    def greeting(self) -> Message | None:
        """What is said first; None to wait for the peer."""
        ...

    def answer(self, message: Message) -> Message:
        """The answer to a message. Raises `RequestError` for one that cannot be answered."""
        ...

    def refusal(self, reason: str) -> Message:
        """How the protocol says that a message cannot be answered."""
        ...


class WebSocketServer:
    """Serves sessions, a thread a connection, until `close`.

    Args:
        session: makes the session of a new connection.
        host: address to listen on; loopback unless the peer is elsewhere.
        port: 0 for any free one.
        max_bytes: largest message that is taken; a larger one ends the connection.
        connections: places; a peer beyond them must try later.
        idle: seconds of silence after which a peer makes room for another that needs its place.
        access_token: secret that a peer must show; empty lets everyone in.
        ping: seconds between pings to a silent peer.
        ping_timeout: seconds after which one that does not answer is hung up on.
        handshake: seconds in which a peer must have said what it wants.
    """

    def __init__(
        self,
        session: Callable[[], Session],
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

        lane = Lane()

        def metered(connected: socket.socket, protocol: Any, *rest: Any, **options: Any) -> ServerConnection:
            meter: Any = MeteredSocket(
                connected, lane, max_bytes, lambda: protocol.state in (State.CONNECTING, State.OPEN)
            )
            return ServerConnection(meter, protocol, *rest, **options)

        self._session = session
        self._places = Places(connections, idle=idle, leaving=2 * _FAREWELL)
        self._access_token = access_token
        self.refused = 0
        """Messages that could not be answered."""
        self._server = serve(
            self._serve,
            host,
            port,
            compression=None,
            max_size=max_bytes,
            ping_interval=ping,
            ping_timeout=ping_timeout,
            open_timeout=handshake,
            close_timeout=_FAREWELL,
            origins=[None],
            process_request=self._admit,
            create_connection=cast(Any, metered),
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="websocket server", daemon=True
        )
        self._thread.start()

    def serve_forever(self) -> None:
        """Serve in this thread."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop listening and hang up on everybody."""
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

        try:
            peer = connection.remote_address
        except OSError:  # it is gone already
            return
        place = self._places.take(lambda: connection.close(_TRY_AGAIN_LATER, "silent, and another waits"))
        if place is None:
            connection.close(_TRY_AGAIN_LATER, "all places are taken")
            return
        try:
            self._converse(connection, place)
        except ConnectionClosed as closed:
            _LOG.info("peer %s is gone: %s", peer, closed)
        finally:
            connection.socket.settle()
            self._places.give_back(place)

    def _converse(self, connection: Any, place: Place) -> None:
        session = self._session()
        greeting = session.greeting()
        if greeting is not None:
            connection.send(greeting)
        while (message := _received(connection)) is not None:
            connection.socket.whole()
            self._places.busy(place)
            answer = self._answer(session, message)
            message = None  # which would stay in memory until the next one has come
            connection.socket.settle()
            self._places.silent(place)
            connection.send(answer)

    def _answer(self, session: Session, message: Message) -> Message:
        try:
            return session.answer(message)
        except RequestError as error:
            reason = str(error)[:_LONGEST_REFUSAL]
            _LOG.warning("a request was refused: %s", reason)
        except (
            Exception
        ) as error:  # a fault of ours or of the model must not end the peer's episode without a word
            reason = f"the server failed on this request ({type(error).__name__}); its log has the details"
            _LOG.exception("a request could not be answered")
        self.refused += 1
        return session.refusal(reason)


def _received(connection: Any) -> Message | None:
    """Receive the next message; None if it came in more than `_MOST_FRAGMENTS` frames, and the peer was hung up on."""
    parts: list[Any] = []
    for part in connection.recv_streaming():
        parts.append(part)
        if len(parts) > _MOST_FRAGMENTS:
            connection.close(_TOO_BIG, f"a message of more than {_MOST_FRAGMENTS} frames")
            return None
    return parts[0] if len(parts) == 1 else type(parts[0])().join(parts)
