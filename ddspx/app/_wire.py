"""HTTP that waits for nobody without end."""

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A request of this machine is there in no time; so long it may take, and a second more for each
# so many bytes, which an upload from a slow disk has.
PATIENCE_S = 10.0
_SLOWEST = 1 << 16
_LOOK_S = 1.0
# A browser has six, and a page of them keeps two; a system may give a process 256 files.
_MOST_CONNECTIONS = 128


class Wire(H11Protocol):
    """One connection, which is closed when a request on it does not come to its end.

    uvicorn closes a connection that rests between two requests, but waits for ever for the rest of
    one that has begun, or for the first.
    """

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait_anew()
        self._looking = self.loop.call_later(_LOOK_S, self._look)
        if len(self.connections) > _MOST_CONNECTIONS:
            # Whoever is waited for longest makes room.
            waiting = [wire for wire in self.connections if isinstance(wire, Wire) and wire._owes()]
            min(waiting, key=lambda wire: wire._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what has come; what is no HTTP in the middle of an answer ends it."""
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
        """Whether a request, or the rest of it, has still to come."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _look(self) -> None:
        """Closes the connection if its peer owes something for too long."""
        waited = self.loop.time() - self._since
        if not self._owes():
            # The request is there, and the answer may take what it takes.
            self._wait_anew()
        elif waited > PATIENCE_S + self._received / _SLOWEST:
            self.transport.abort()
            return
        self._looking = self.loop.call_later(_LOOK_S, self._look)
