"""Connections: how many there may be, how long the head of a request may take, and an answer that nobody reads."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from lwisp.serve.guard import HEADERS, LONGEST_HEAD
from lwisp.serve.limits import Limits
from lwisp.serve.refusals import BAD_REQUEST, HEAD_TOO_LARGE, STOPPED, TOO_SLOW

LINGER = 2.0
"""Seconds in which a client that is refused may read why; what it sends meanwhile is thrown away."""
MOST_LINGERING = 64
"""Connections that are refused and not closed yet; the oldest goes at once."""


def bounded_by(limits: Limits) -> type[H11Protocol]:
    """The protocol of uvicorn with bounds on what a connection may do.

    Args:
        limits: Of the server.
    """
    return type("BoundedConnection", (Connection,), {"limits": limits})


class Connection(H11Protocol):
    """A connection of uvicorn, which bounds the body of a request itself by nothing but its application's patience.

    The head must come within `Limits.head_seconds`: of the connection, and of its own first byte where a request was
    answered before. A client that does not read its answer for `Limits.patience` seconds is cut off. Where more than
    `Limits.connections` are open, the one that has waited longest without a request gives way.
    """

    limits = Limits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.is_over = False
        """Whether it is answered for good, and only lingers."""
        self.quiet_since = self.loop.time()
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the head of a request has come, and its answer has not gone."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._time_head()
        known = [other for other in self.connections if isinstance(other, Connection)]
        lingering = [other for other in known if other.is_over]
        if len(known) - len(lingering) > self.limits.connections:
            idle = [other for other in known if not (other.is_over or other.is_busy or other is self)]
            leaving = min(idle, key=_waited_longest, default=self)
            sentence = "too many connections are open; try again in 5 seconds"
            leaving.refuse(STOPPED, "busy", sentence, {"Retry-After": "5"})
            lingering.append(leaving)
        if len(lingering) > MOST_LINGERING:
            min(lingering, key=_waited_longest).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; in pieces, so that no head is parsed that is much longer than it may be."""
        for start in range(0, len(data), LONGEST_HEAD):
            if self.is_over or self.transport.is_closing():
                return
            super().data_received(data[start : start + LONGEST_HEAD])
        self._time_head()

    def on_response_complete(self) -> None:
        """An answer has been written, if not sent yet."""
        self.quiet_since = self.loop.time()
        super().on_response_complete()
        self._watch_unread()
        if self.conn.trailing_data[0]:
            self._time_head()

    def pause_writing(self) -> None:
        """More of an answer is unsent than should be."""
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        """The answer can go on."""
        super().resume_writing()
        self._watch_unread()

    def shutdown(self) -> None:
        """The server is being stopped."""
        if self.is_over:
            self.transport.abort()
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or was sent away."""
        super().connection_lost(exc)
        self._stop_head()
        self._stop_unread()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request."""
        if not self.is_busy and len(self.conn.trailing_data[0]) > LONGEST_HEAD:
            most = f"{LONGEST_HEAD // 1000} kB"
            self.refuse(HEAD_TOO_LARGE, "head", f"expected the head of a request within {most}, got a longer one")
        else:
            self.refuse(BAD_REQUEST, "http", "expected a request as HTTP/1.1 has it, got something else")

    def refuse(self, status: int, kind: str, sentence: str, more: Mapping[str, str] | None = None) -> None:
        """Say why, as far as there is no answer yet, and close the connection.

        Args:
            status: Of the answer.
            kind: One word for programs.
            sentence: Why.
            more: Other headers.
        """
        if self.is_over or self.transport.is_closing():
            return
        self.is_over = True
        self._stop_head()
        self._stop_unread()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": sentence, "kind": kind}).encode()
            told = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            headers = [*{**HEADERS, **told, **(more or {})}.items()]
            for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:  # an application that is at it is told
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write_eof()  # closed at once, what the client still sends would cost it the answer
        self._head_timer = self.loop.call_later(LINGER, self.transport.abort)

    def _time_head(self) -> None:
        """Begin the time in which the head of a request must come, or end it."""
        if self.is_over:
            return
        if self.is_busy:
            self._stop_head()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._end_head)

    def _end_head(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.conn.trailing_data[0]:
            self.timeout_keep_alive_handler()  # it asks nothing more
            return
        seconds = f"{self.limits.head_seconds:g} seconds"
        self.refuse(TOO_SLOW, "too-slow", f"the head of a request did not come within {seconds}; send it again")

    def _watch_unread(self) -> None:
        """Begin anew the time in which the client must read what is unsent."""
        self._stop_unread()
        if self.transport.get_write_buffer_size():
            self._unread_timer = self.loop.call_later(self.limits.patience, self._end_unread)

    def _end_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _stop_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


def _waited_longest(connection: Connection) -> float:
    return connection.quiet_since
