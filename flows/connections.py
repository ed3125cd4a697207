"""Connections: how many, of whom, and how long each may take to say what it wants.

Uvicorn waits for ever for the rest of a request's head, and reads heads of any length; a few
thousand connections that send a byte a minute would use up all there are.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core.senders import Networks, Source, is_among, read_address

HEAD_WITHIN_S: Final = 5.0
HEAD_LIMIT: Final = 32 * 1024  # bytes of everything before the body
MOST: Final = 800  # fits the 1,024 files that a process may usually open
MOST_OF_ONE_SOURCE: Final = 100


@dataclass(slots=True, kw_only=True)
class Connections:
    """All that are open. One too many takes the place of the one that has waited for longest."""

    trusted: Networks = ()  # proxies, which speak for many
    head_within_s: float = HEAD_WITHIN_S
    most: int = MOST
    most_of_one_source: int = MOST_OF_ONE_SOURCE
    open: Counter[str] = field(default_factory=Counter)
    waiting: dict["GuardedProtocol", None] = field(default_factory=dict)  # for a whole head

    def admit(self, source: Source) -> bool:
        """Count a new connection; False, and not counted, if its source has too many."""
        is_proxy = is_among(source.address, self.trusted)
        if not is_proxy and self.open[source.key] >= self.most_of_one_source:
            return False
        if self.open.total() >= self.most:
            oldest = next(iter(self.waiting), None)
            if oldest is None:
                return False
            oldest.give_up()
        self.open[source.key] += 1
        return True

    def leave(self, source: Source) -> None:
        """Count a connection that ended."""
        self.open[source.key] -= 1
        if not self.open[source.key]:
            del self.open[source.key]


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with a limit for the time and the length of a request's head."""

    guard: ClassVar[Connections]

    def connection_made(  # type: ignore[override]  # as Uvicorn's own does
        self, transport: asyncio.Transport
    ) -> None:
        """Count the connection, or end it at once."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_length = 0
        self._source: Source | None = None
        peer = None if self.client is None else read_address(self.client[0])
        source = Source(address=peer, is_by_proxy=False)
        if not self.guard.admit(source):
            transport.abort()
            return
        self._source = source
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it as ended."""
        self._wait_no_more()
        if self._source is not None:
            self.guard.leave(self._source)
            self._source = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and look whether a request has begun."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._wait_no_more()
            return
        self._head_length += len(data)
        if self._head_length > HEAD_LIMIT:
            self.give_up()
        elif self._deadline is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Begin to count the next request's head."""
        self._head_length = 0
        super().on_response_complete()

    def give_up(self) -> None:
        """End the connection, unanswered."""
        self._wait_no_more()
        if not self.transport.is_closing():
            self.transport.abort()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.guard.head_within_s, self.give_up)
        self.guard.waiting[self] = None

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.guard.waiting.pop(self, None)


def guarded_by(guard: Connections) -> type[asyncio.Protocol]:
    """Return the protocol for Uvicorn whose connections `guard` counts."""
    members: dict[str, Any] = {"guard": guard}
    return type("GuardedProtocol", (GuardedProtocol,), members)
