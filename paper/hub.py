"""The sockets: who listens to what, and the delivery that never waits for a slow listener."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from paper.events import Event

PUBLIC, MARKET, PRIVATE, UNROUTED = "public", "market", "private", ""
ROUTES = (PUBLIC, MARKET, PRIVATE)
QUEUE_SIZE = 10_000  # about a minute of a busy market; who is further behind is cut off
PING_S = 180.0
MAX_REQUESTS_PER_SECOND = 10

log = logging.getLogger("paper")


@dataclass(eq=False, slots=True)
class Listener:
    """One socket. `streams` are stream names, or listen keys on the private route."""

    route: str
    combined: bool
    socket: web.WebSocketResponse
    transport: asyncio.BaseTransport | None  # for cutting it off without a word
    streams: dict[str, None] = field(default_factory=dict)  # keeps the order of subscription
    only: frozenset[str] = frozenset()  # account events wanted; empty: all
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(maxsize=QUEUE_SIZE))

    def offer(self, text: str) -> bool:
        """Queue a message; return whether there was room."""
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            return False
        return True


class Hub:
    """All listeners of the exchange."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._muted: set[str] = set()

    # --- delivery --------------------------------------------------------------------------

    def publish(self, event: Event, listen_key: str) -> None:
        """Hand an event to everybody who subscribed to it on the right route."""
        route = PRIVATE if event.channel == "account" else MARKET
        if route in self._muted:
            return
        text = ""
        for listener in list(self._listeners):
            name = _name_for(listener, route, event, listen_key)
            if name is None:
                continue
            text = text or msgspec.json.encode(event.data).decode()
            message = f'{{"stream":"{name}","data":{text}}}' if listener.combined else text
            if not listener.offer(message):
                log.warning("a listener on /%s is too slow and was cut off", listener.route)
                self._cut(listener)

    def drop(self, route: str) -> int:
        """Cut every socket of a route ('' is every route); return how many."""
        hit = [one for one in self._listeners if not route or one.route == route]
        for listener in hit:
            self._cut(listener)
        return len(hit)

    def mute(self, route: str) -> None:
        """Swallow the events of a route while its sockets stay open."""
        self._muted.add(route)

    def unmute(self) -> None:
        """Deliver on all routes again; what was swallowed stays lost."""
        self._muted.clear()

    def report(self) -> list[dict[str, Any]]:
        """Return who listens to what, JSON-able."""
        return [
            {"route": one.route, "streams": list(one.streams), "behind": one.queue.qsize()}
            for one in self._listeners
        ]

    # --- one socket ------------------------------------------------------------------------

    async def serve(self, listener: Listener) -> None:
        """Carry one socket until it ends."""
        self._listeners.add(listener)
        sender = asyncio.create_task(_send_all(listener))
        try:
            await self._receive(listener)
        finally:
            self._listeners.discard(listener)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    async def close(self) -> None:
        """End every socket politely."""
        closing = [one.socket.close(code=1001, message=b"shutdown") for one in self._listeners]
        await asyncio.gather(*closing, return_exceptions=True)

    async def _receive(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        second, count = 0, 0
        async for message in listener.socket:
            now = int(loop.time())
            second, count = (now, count + 1) if now == second else (now, 1)
            if count > MAX_REQUESTS_PER_SECOND:
                await listener.socket.close(code=1008, message=b"Too many requests")
                return
            if message.type is WSMsgType.TEXT:
                listener.offer(msgspec.json.encode(answer(listener, message.data)).decode())

    def _cut(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if isinstance(listener.transport, asyncio.WriteTransport):
            listener.transport.abort()


def answer(listener: Listener, text: str) -> dict[str, Any]:
    """Carry out one control message of a socket and return the reply."""
    try:
        request = msgspec.json.decode(text)
        method, identity = request["method"], request.get("id")
        params = request.get("params") or []
        if not isinstance(params, list):
            raise TypeError
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return {"code": 2, "msg": "Invalid request: unknown format"}
    match method:
        case "SUBSCRIBE":
            listener.streams.update(dict.fromkeys(str(name) for name in params))
        case "UNSUBSCRIBE":
            for name in params:
                listener.streams.pop(str(name), None)
        case "LIST_SUBSCRIPTIONS":
            return {"result": list(listener.streams), "id": identity}
        case "SET_PROPERTY" if len(params) == 2 and params[0] == "combined":
            listener.combined = bool(params[1])
        case "GET_PROPERTY" if params == ["combined"]:
            return {"result": listener.combined, "id": identity}
        case _:
            return {"code": 2, "msg": f"Invalid request: unknown method {method}", "id": identity}
    return {"result": None, "id": identity}


def _name_for(listener: Listener, route: str, event: Event, listen_key: str) -> str | None:
    """Return the stream name under which a listener gets an event, None when it does not."""
    if listener.route != route:
        return None
    if route == PRIVATE:
        # an expiry is the last thing that the holder of the old key hears
        key = event.data.get("listenKey", listen_key)
        wanted = not listener.only or event.stream in listener.only
        return key if key and key in listener.streams and wanted else None
    if event.stream in listener.streams:
        return event.stream
    plain = event.stream.removesuffix("@1s")
    return plain if plain in listener.streams else None


async def _send_all(listener: Listener) -> None:
    while True:
        text = await listener.queue.get()
        try:
            await listener.socket.send_str(text)
        except ConnectionError:
            return
