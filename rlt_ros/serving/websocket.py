"""One WebSocket server for every protocol here: who may connect, how large a message may be, how an error is told.

A peer that stalls in its handshake, in the middle of a frame or afterwards costs one of a few places and is hung up
on when it does not answer pings. Nobody else waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from rlt_ros.serving.errors import RequestError

Message = bytes | str

_LOG = logging.getLogger(__name__)
_TRY_AGAIN_LATER = 1013  # RFC 6455's registry of close codes


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
        connections: places; a peer beyond them is told to try later.
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
        max_bytes: int = 64 * 2**20,
        connections: int = 4,
        ping: float = 20.0,
        ping_timeout: float = 60.0,
        handshake: float = 10.0,
    ) -> None:
        from websockets.sync.server import serve

        self._session = session
        self._places = threading.Semaphore(connections)
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
            close_timeout=1.0,
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

    def _serve(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        if not self._places.acquire(blocking=False):
            connection.close(_TRY_AGAIN_LATER, "all places are taken")
            return
        try:
            session = self._session()
            greeting = session.greeting()
            if greeting is not None:
                connection.send(greeting)
            for message in connection:
                connection.send(self._answer(session, message))
        except ConnectionClosed as closed:
            _LOG.info("peer %s is gone: %s", connection.remote_address, closed)
        finally:
            self._places.release()

    def _answer(self, session: Session, message: Message) -> Message:
        try:
            return session.answer(message)
        except RequestError as error:
            self.refused += 1
            _LOG.warning("a request was refused: %s", error)
            return session.refusal(str(error))
