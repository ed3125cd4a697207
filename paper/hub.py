"""The sockets: who listens to what, and the delivery that never waits for a slow listener."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from paper.events import Event

PUBLIC, MARKET, PRIVATE, UNROUTED = "public", "market", "private", ""
ROUTES = (PUBLIC, MARKET, PRIVATE)
QUEUE_SIZE = 10_000  # about a minute of a busy market; who is further behind is cut off
PING_S, PONG_WITHIN_S = 180.0, 600.0
LIFE_S = 24 * 3600.0
MAX_REQUESTS_PER_SECOND = 10
MAX_STREAMS = 1024
_METHODS = "SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY"

log = logging.getLogger("paper")


@dataclass(eq=False, slots=True)
class Listener:
    """One socket. `streams` are stream names, or listen keys on the private route."""

    route: str
    combined: bool
    socket: web.WebSocketResponse
    transport: asyncio.WriteTransport | None  # for cutting it off without a word
    streams: dict[str, None] = field(default_factory=dict)  # keeps the order of subscription
    only: frozenset[str] = frozenset()  # account events wanted; empty: all
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(maxsize=QUEUE_SIZE))
    ponged_at: float = 0.0

    def offer(self, text: str) -> bool:
        """Queue a message; return whether there was room."""
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            return False
        return True


class Hub:
    """All listeners of the exchange."""

    def __init__(
        self, *, life_s: float = LIFE_S, on_wanted: Callable[[Iterable[str]], None] | None = None
    ) -> None:
        """`on_wanted` hears which market streams somebody listens to, whenever that changes."""
        self.life_s = life_s
        self._on_wanted = on_wanted
        self._listeners: set[Listener] = set()
        self._index: dict[tuple[str, str], dict[Listener, None]] = defaultdict(dict)
        self._muted: set[str] = set()

    # --- delivery --------------------------------------------------------------------------

    def publish(self, event: Event, listen_key: str, *, by_event: bool = False) -> None:
        """Hand an event to everybody who subscribed to it on the right route.

        `by_event`: wrapped account events bear their type as the stream's name, not the key.
        """
        if event.channel == "account":
            # an expiry is the last thing that the holder of the old key hears
            key = event.data.get("listenKey", listen_key)
            listeners = self._index.get((PRIVATE, key)) if key else None
            self._deliver(PRIVATE, event, event.stream if by_event else key, listeners)
            return
        self._deliver(event.channel, event, event.stream, self._index.get(_at(event)))
        if event.channel == PUBLIC:  # all that addresses without a route still get
            unrouted = self._index.get((UNROUTED, event.stream))
            self._deliver(UNROUTED, event, event.stream, unrouted)

    def drop(self, route: str) -> int:
        """Cut every socket of a route ('' is every route); return how many."""
        hit = [one for one in self._listeners if not route or one.route == route]
        for listener in hit:
            self._cut(listener)
        return len(hit)

    def mute(self, route: str) -> None:
        """Swallow the events of a route while its sockets stay open."""
        self._muted.add(route)

    def unmute(self, route: str = "") -> None:
        """Deliver again, on one route or on all; what was swallowed stays lost."""
        if route:
            self._muted.discard(route)
        else:
            self._muted.clear()

    def report(self) -> list[dict[str, Any]]:
        """Return who listens to what, JSON-able."""
        return [
            {"route": one.route, "streams": list(one.streams), "behind": one.queue.qsize()}
            for one in self._listeners
        ]

    @property
    def muted(self) -> frozenset[str]:
        """Return the routes whose events are swallowed."""
        return frozenset(self._muted)

    def _deliver(
        self, route: str, event: Event, name: str, listeners: dict[Listener, None] | None
    ) -> None:
        if not listeners or route in self._muted:
            return
        text = msgspec.json.encode(event.data).decode()
        for listener in list(listeners):
            if listener.only and event.stream not in listener.only:
                continue
            message = f'{{"stream":"{name}","data":{text}}}' if listener.combined else text
            if not listener.offer(message):
                log.warning("a listener on /%s is too slow and was cut off", listener.route)
                self._cut(listener)

    # --- one socket ------------------------------------------------------------------------

    async def serve(self, listener: Listener) -> None:
        """Carry one socket until it ends."""
        self._listeners.add(listener)
        self._subscribe(listener, list(listener.streams))
        listener.ponged_at = asyncio.get_running_loop().time()
        tasks = [
            asyncio.create_task(_send_all(listener)),
            asyncio.create_task(self._ping(listener)),
        ]
        try:
            async with asyncio.timeout(self.life_s):
                await self._receive(listener)
        except TimeoutError:
            log.info("a listener on /%s has lived its time", listener.route)
            await listener.socket.close(code=1001, message=b"time is up")
        finally:
            self._forget(listener)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End every socket politely."""
        closing = [one.socket.close(code=1001, message=b"shutdown") for one in self._listeners]
        await asyncio.gather(*closing, return_exceptions=True)

    async def _receive(self, listener: Listener) -> None:
        loop, socket = asyncio.get_running_loop(), listener.socket
        second, count = 0, 0
        async for message in socket:
            if message.type is WSMsgType.PONG:
                listener.ponged_at = loop.time()
                continue
            now = int(loop.time())
            second, count = (now, count + 1) if now == second else (now, 1)
            if count > MAX_REQUESTS_PER_SECOND:
                await socket.close(code=1008, message=b"Too many requests")
                return
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                listener.offer(msgspec.json.encode(self._answer(listener, message.data)).decode())
                if len(listener.streams) > MAX_STREAMS:
                    await socket.close(code=1008, message=b"Too many streams")
                    return

    async def _ping(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S)
            if loop.time() - listener.ponged_at > PONG_WITHIN_S:
                self._cut(listener)
                return
            with contextlib.suppress(ConnectionError):
                await listener.socket.ping()

    def _cut(self, listener: Listener) -> None:
        self._forget(listener)
        # uvloop's transports are not instances of asyncio's classes
        if listener.transport is not None:
            listener.transport.abort()

    # --- subscriptions ---------------------------------------------------------------------

    def _answer(self, listener: Listener, text: str) -> dict[str, Any]:
        """Carry out one control message of a socket and return the reply."""
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return _control_error(3, "Invalid JSON: expected value at line 1 column 1")
        if not isinstance(request, dict) or "method" not in request:
            return _control_error(2, "Invalid request: missing field `method` at line 1 column 1")
        identity, params = request.get("id"), request.get("params", [])
        # the documents ask for an unsigned integer; clients send text too and are answered
        is_number = isinstance(identity, int) and not isinstance(identity, bool) and identity >= 0
        if not (is_number or identity is None or isinstance(identity, str)):
            return _control_error(2, "Invalid request: request ID must be an unsigned integer")
        if not isinstance(params, list):
            return _control_error(2, "Invalid request: params must be a list", identity)
        match request["method"]:
            case "SUBSCRIBE" | "UNSUBSCRIBE" as method:
                if not all(isinstance(name, str) for name in params):
                    return _control_error(2, "Invalid request: stream must be a string", identity)
                change = self._subscribe if method == "SUBSCRIBE" else self._unsubscribe
                change(listener, params)
                return {"result": None, "id": identity}
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(listener.streams), "id": identity}
            case "SET_PROPERTY" | "GET_PROPERTY" as method:
                return _property(listener, params, identity, is_set=method == "SET_PROPERTY")
            case unknown:
                text = f"Invalid request: unknown variant {unknown}, expected one of {_METHODS}"
                return _control_error(2, f"{text} at line 1 column 1", identity)

    def _subscribe(self, listener: Listener, names: list[str]) -> None:
        for name in names:
            listener.streams[name] = None
            self._index[listener.route, name][listener] = None
        self._tell_wanted(listener)

    def _unsubscribe(self, listener: Listener, names: list[str]) -> None:
        for name in names:
            listener.streams.pop(name, None)
            listeners = self._index.get((listener.route, name), {})
            listeners.pop(listener, None)
            if not listeners:
                self._index.pop((listener.route, name), None)
        self._tell_wanted(listener)

    def _forget(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.discard(listener)
            streams = dict(listener.streams)
            self._unsubscribe(listener, list(streams))
            listener.streams = streams

    def _tell_wanted(self, listener: Listener) -> None:
        if self._on_wanted is not None and listener.route != PRIVATE:
            self._on_wanted({name for route, name in self._index if route != PRIVATE})


def _at(event: Event) -> tuple[str, str]:
    return event.channel, event.stream


def _control_error(code: int, text: str, identity: object = None) -> dict[str, Any]:
    """Return the answer to a control message that is not carried out."""
    body = {"code": code, "msg": text}
    return body if identity is None else body | {"id": identity}


def _property(
    listener: Listener, params: list[Any], identity: object, *, is_set: bool
) -> dict[str, Any]:
    """Set or tell the one property that there is: whether messages come wrapped."""
    if not params or not isinstance(params[0], str):
        return _control_error(2, "Invalid request: property name must be a string", identity)
    if params[0] != "combined":
        return _control_error(0, "Unknown property", identity)
    if not is_set:
        return {"result": listener.combined, "id": identity}
    if len(params) != 2 or not isinstance(params[1], bool):
        return _control_error(1, "Invalid value type: expected Boolean", identity)
    listener.combined = params[1]
    return {"result": None, "id": identity}


async def _send_all(listener: Listener) -> None:
    while True:
        text = await listener.queue.get()
        try:
            await listener.socket.send_str(text)
        except ConnectionError:
            return
