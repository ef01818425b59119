"""HTTP connections with time limits, so that a slow client cannot occupy the server."""

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A request must arrive within this time, and one more second for each `_SLOWEST` bytes of it: an
# upload from a slow disk. Requests from the same machine usually arrive at once.
TIMEOUT_S = 10.0
_SLOWEST = 1 << 16
_LOOK_S = 1.0
# A browser opens up to six connections, of which a page keeps two. Some systems allow a process
# only 256 open files.
_MOST_CONNECTIONS = 128


class TimedConnection(H11Protocol):
    """A connection that is closed if a request on it does not arrive completely in time.

    uvicorn closes a connection that is idle between two requests, but waits without limit for the
    first request, and for the rest of a request that has begun.
    """

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait_anew()
        self._looking = self.loop.call_later(_LOOK_S, self._look)
        if len(self.connections) > _MOST_CONNECTIONS:
            # The connection that the server has waited for longest is closed.
            waiting = [c for c in self.connections if isinstance(c, TimedConnection) and c._owes()]
            min(waiting, key=lambda connection: connection._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes the data; closes the connection if it is not HTTP in the middle of an answer."""
        self._received += len(data)
        try:
            super().data_received(data)
        except h11.ProtocolError:
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        self._wait_anew()
        super().on_response_complete()

    def _wait_anew(self) -> None:
        self._received, self._since = 0, self.loop.time()

    def _owes(self) -> bool:
        """Tells whether a request, or the rest of it, has not arrived yet."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _look(self) -> None:
        """Closes the connection if its client has taken too long to send a request."""
        waited = self.loop.time() - self._since
        if not self._owes():
            # The request has arrived, and the answer has no time limit.
            self._wait_anew()
        elif waited > TIMEOUT_S + self._received / _SLOWEST:
            self.transport.abort()
            return
        self._looking = self.loop.call_later(_LOOK_S, self._look)
