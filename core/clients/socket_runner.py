"""Keep one websocket to the exchange open for ever: reconnect, notice silence, change in time.

What is sent and received is the owner's matter (`SocketOwner`); this is only about the line.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import structlog

from core.errors import ExchangeError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long to wait for what, in seconds."""

    connect: float = 10.0
    back_off_first: float = 3.0
    back_off_most: float = 60.0
    check: float = 5.0  # between two looks at whether the line is silent
    rotate: float = 23.5 * 3600  # the exchange ends a connection after 24 h
    rotate_again: float = 60.0  # after a change that did not succeed
    overlap: float = 3.0  # both lines are open while one replaces the other
    ping: float | None = None  # the exchange must answer within half of it; None: no pings


class SocketOwner(Protocol):
    """What a runner asks and tells. All but the first two must return at once."""

    async def address(self) -> str:
        """Return where to connect; asked before every connection. May raise ExchangeError."""
        ...

    async def opened(self, socket: "Socket") -> None:
        """Subscribe, before anything is read."""
        ...

    def received(self, frame: bytes) -> None:
        """Take one message."""
        ...

    def connected(self) -> None:
        """Take note that messages flow from now on; what happened before was not told."""
        ...

    def disconnected(self, reason: str) -> None:
        """Take note that nothing is told from now on."""
        ...

    def silence(self) -> str | None:
        """Return why the line must be considered dead, though it is open."""
        ...


Socket = aiohttp.ClientWebSocketResponse[bool]


class BackOff:
    """Pauses between attempts: doubling, with jitter, so that clients do not return together."""

    def __init__(self, waits: Waits, chance: Callable[[], float]) -> None:
        self._waits = waits
        self._chance = chance  # 0 … 1
        self._next = waits.back_off_first

    def pause(self) -> float:
        """Return the next pause: between half of it and all of it."""
        pause = self._next
        self._next = min(self._waits.back_off_most, pause * 2)
        return pause * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """Start from the first pause again."""
        self._next = self._waits.back_off_first


class SocketRunner:
    """Runs the connection of one owner from `start` to `close`."""

    def __init__(
        self,
        owner: SocketOwner,
        *,
        name: str,
        waits: Waits,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._owner = owner
        self._name = name
        self._waits = waits
        self._sleep = sleep
        self._back_off = BackOff(waits, chance)
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked: str | None = None
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Connect, and stay connected."""
        assert self._task is None, f"{self._name} was started before"
        self._session = aiohttp.ClientSession()
        self._task = asyncio.create_task(self._run(), name=self._name)
        self._task.add_done_callback(self._ended)

    def reconnect(self, reason: str) -> None:
        """Give up the present line and make a new one at once."""
        self._asked = reason
        self._wake.set()

    async def wait(self) -> None:
        """Wait until closed. Raises what ended the runner otherwise: a bug in its owner."""
        assert self._task is not None, f"{self._name} was not started"
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    async def close(self) -> None:
        """End the connection and wait until everything of it is gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._session is not None:
            await self._session.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.critical("stream given up", stream=self._name, exc_info=task.exception())

    async def _run(self) -> None:
        while True:
            line = await self._open()
            if line is None:
                await self._sleep(self._back_off.pause())
                continue
            self._asked = None
            self._wake.clear()
            self._owner.connected()
            reason = "closed by us"
            try:
                reason, is_planned, lived = await self._serve(line)
            finally:
                self._owner.disconnected(reason)
            _log.warning("stream disconnected", stream=self._name, reason=reason)
            # A line that we gave up ourselves is replaced at once, unless that keeps happening.
            if not is_planned or lived < self._waits.back_off_first:
                await self._sleep(self._back_off.pause())

    async def _open(self) -> "_Line | None":
        assert self._session is not None
        socket: Socket | None = None
        try:
            async with asyncio.timeout(self._waits.connect):
                address = await self._owner.address()
                socket = await self._session.ws_connect(
                    address,
                    decode_text=False,
                    heartbeat=self._waits.ping,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
                await self._owner.opened(socket)
        except (aiohttp.ClientError, OSError, TimeoutError, ExchangeError) as error:
            # The address holds the listen key, and so may aiohttp's text: only ours is logged.
            text = str(error) if isinstance(error, ExchangeError) else type(error).__name__
            _log.warning("stream not connected", stream=self._name, error=text)
            if socket is not None:
                await socket.close()
            return None
        return _Line(socket, self._name)

    async def _serve(self, line: "_Line") -> tuple[str, bool, float]:
        """Read until the line ends; return why, whether we wanted it so, and how long it lived."""
        now = asyncio.get_running_loop().time
        started, rotate_at = now(), now() + self._waits.rotate
        wake = asyncio.create_task(self._wake.wait(), name=f"{self._name} wake")
        line.read_into(self._received)
        try:
            while True:
                await asyncio.wait({line.reader, wake}, timeout=self._waits.check)
                if wake.done():
                    return self._asked or "asked to", True, now() - started
                if line.reader.done():
                    return line.why_ended(), False, now() - started
                silent = self._owner.silence()
                if silent is not None:
                    return silent, False, now() - started
                if self._waits.ping is not None and now() - started > self._waits.ping * 1.5:
                    self._back_off.reset()  # a ping was answered
                if now() >= rotate_at:
                    line, is_new = await self._rotate(line)
                    pause = self._waits.rotate if is_new else self._waits.rotate_again
                    rotate_at = now() + pause
        finally:
            wake.cancel()
            await line.close()

    async def _rotate(self, old: "_Line") -> tuple["_Line", bool]:
        """Replace a line without a gap: what the new one says meanwhile is kept for afterwards."""
        new = await self._open()
        if new is None:
            return old, False
        kept: list[bytes] = []
        try:
            new.read_into(kept.append)
            await asyncio.wait({new.reader}, timeout=self._waits.overlap)
            if new.reader.done():
                new.why_ended()
                await new.close()
                return old, False
        except asyncio.CancelledError:
            await new.close()
            raise
        await old.close()
        for frame in kept:
            self._received(frame)
        new.handle = self._received
        _log.info("stream replaced before its end", stream=self._name)
        return new, True

    def _received(self, frame: bytes) -> None:
        self._back_off.reset()
        self._owner.received(frame)


class _Line:
    """One open socket and the task that reads it."""

    reader: asyncio.Task[str]

    def __init__(self, socket: Socket, name: str) -> None:
        self._socket = socket
        self._name = name
        self.handle: Callable[[bytes], None]

    def read_into(self, handle: Callable[[bytes], None]) -> None:
        self.handle = handle
        self.reader = asyncio.create_task(self._read(), name=f"{self._name} reader")

    def why_ended(self) -> str:
        """Return the reason; an error of our own while handling a message is logged whole."""
        error = self.reader.exception()
        if error is None:
            return self.reader.result()
        _log.error("stream handler failed", stream=self._name, exc_info=error)
        return f"handler failed: {type(error).__name__}"

    async def close(self) -> None:
        self.reader.cancel()
        await asyncio.wait({self.reader})
        if not self.reader.cancelled():
            self.reader.exception()  # said to have been looked at; `why_ended` logs it
        await self._socket.close()

    async def _read(self) -> str:
        receive = self._socket.receive
        while True:
            message = await receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self.handle(message.data)
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"broken: {type(message.data).__name__}"
            elif message.type is not aiohttp.WSMsgType.BINARY:
                return f"closed by the exchange ({self._socket.close_code})"
