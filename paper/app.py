"""The wire: signed REST and routed websockets around an `Exchange`."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from paper.control import control_routes
from paper.exchange import Exchange, wall_ms
from paper.faults import Fault
from paper.hub import PING_S, PRIVATE, ROUTES, UNROUTED, Listener
from paper.routes import ROUTES as REST_ROUTES
from paper.routes import Route, Security
from paper.world import Answer, check_timing, missing_parameter

log = logging.getLogger("paper")

UNKNOWN_OUTCOME = "Unknown error, please check your request or try again later."
_ORDER_PATHS = ("/fapi/v1/order", "/fapi/v1/algoOrder")


@dataclass(slots=True)
class _Meter:
    """What the rate-limit headers say; nothing is refused for it yet."""

    minute: int = 0
    ten_seconds: int = 0
    weight: int = 0
    orders_minute: int = 0
    orders_ten_seconds: int = 0

    def count(self, route: Route, params: Mapping[str, str], *, is_order: bool) -> dict[str, str]:
        """Count one request in the windows of the wall clock; return its headers."""
        now = wall_ms() // 1000
        if now // 60 != self.minute:
            self.minute, self.weight, self.orders_minute = now // 60, 0, 0
        if now // 10 != self.ten_seconds:
            self.ten_seconds, self.orders_ten_seconds = now // 10, 0
        self.weight += route.weigh(params)
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.weight)}
        if is_order:
            self.orders_minute += 1
            self.orders_ten_seconds += 1
            headers["X-MBX-ORDER-COUNT-1M"] = str(self.orders_minute)
            headers["X-MBX-ORDER-COUNT-10S"] = str(self.orders_ten_seconds)
        return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wire:
    """What the handlers share."""

    exchange: Exchange
    api_key: str
    api_secret: str
    meter: _Meter = field(default_factory=_Meter)


_WIRE = web.AppKey("wire", _Wire)


def build_app(exchange: Exchange, *, api_key: str, api_secret: str) -> web.Application:
    """Return the web application of the exchange."""
    app = web.Application(client_max_size=1024 * 1024)
    app[_WIRE] = _Wire(exchange=exchange, api_key=api_key, api_secret=api_secret)
    app.add_routes(control_routes(exchange))
    app.router.add_route("*", "/fapi/{tail:.*}", _rest)
    for path in ("/ws", "/ws/{streams:.*}", "/stream"):
        app.router.add_get(path, _socket)
    for path in ("/{route}/ws", "/{route}/ws/{streams:.*}", "/{route}/stream", "/{route}"):
        app.router.add_get(path, _socket)
    return app


# --- REST ----------------------------------------------------------------------------------


async def _rest(request: web.Request) -> web.StreamResponse:
    wire = request.app[_WIRE]
    query = request.raw_path.partition("?")[2]
    body = await request.text()
    params = _params(query, body)
    route = REST_ROUTES.get((request.method, request.path))
    if route is None:
        return _json(wire.exchange.world.request(request.method, request.path, {}, wall_ms()))
    refused = _check_security(wire, request, route, params, query, body)
    if refused is not None:
        _log_refusal(request, refused)
        return _json(refused)
    headers = wire.meter.count(route, params, is_order=_is_order(request))
    fault = wire.exchange.faults.take(request.method, request.path, params)
    if fault is not None and fault.action == "stale":
        wire.exchange.world.freeze_reads(wall_ms() + fault.delay_ms)
        fault = None
    if fault is not None:
        log.info("fault  %s %s %s %s", fault.action, fault.when, request.method, request.path)
    if fault is not None and fault.when == "before":
        failed = await _suffer(wire, request, fault)
        if failed is not None:
            return failed
    answer = wire.exchange.world.request(request.method, request.path, params, wall_ms())
    wire.exchange.flush(changed=request.method != "GET" and answer.status == 200)
    if answer.status != 200:
        _log_refusal(request, answer)
    if fault is not None and fault.when == "after":
        failed = await _suffer(wire, request, fault)
        if failed is not None:
            return failed
    return _json(answer, headers)


async def _suffer(wire: _Wire, request: web.Request, fault: Fault) -> web.StreamResponse | None:
    """Do what the fault says; return an answer when the real one must not be given."""
    match fault.action:
        case "delay":
            await asyncio.sleep(fault.delay_ms / 1000)
        case "hold":
            await wire.exchange.faults.hold()
        case "refuse":
            return _json(Answer(status=fault.status, body={"code": fault.code, "msg": fault.msg}))
        case "lose" if fault.how == "503":
            return _json(Answer(status=503, body={"code": -1000, "msg": UNKNOWN_OUTCOME}))
        case "lose":
            _reset(request)
            return web.Response()  # goes nowhere: the connection is gone
        case "stale":
            pass  # taken care of before the request
    return None


def _reset(request: web.Request) -> None:
    """Break the connection the hard way, so that the client sees a reset and not an end."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _params(query: str, body: str) -> dict[str, str]:
    """Return the parameters; where a name is in both, the query wins."""
    values = dict(parse_qsl(body, keep_blank_values=True))
    return values | dict(parse_qsl(query, keep_blank_values=True))


def _check_security(
    wire: _Wire,
    request: web.Request,
    route: Route,
    params: dict[str, str],
    query: str,
    body: str,
) -> Answer | None:
    """Return the refusal of a request that lacks its key, signature or timestamp."""
    if route.security is Security.NONE:
        return None
    key = request.headers.get("X-MBX-APIKEY", "")
    if not key:
        return Answer(status=401, body={"code": -2014, "msg": "API-key format invalid."})
    if not hmac.compare_digest(key.encode(), wire.api_key.encode()):
        text = "Invalid API-key, IP, or permissions for action."
        return Answer(status=401, body={"code": -2015, "msg": text})
    if route.security is Security.KEY:
        return None
    for name in ("timestamp", "signature"):
        if not params.get(name):
            return missing_parameter(name)
    text = _without_signature(query) + _without_signature(body)
    expected = hmac.new(wire.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, params["signature"].lower()):
        text = "Signature for this request is not valid."
        return Answer(status=400, body={"code": -1022, "msg": text})
    return check_timing(params, wall_ms())


def _without_signature(text: str) -> str:
    """Return the part of the transmitted text that is signed: all before the last parameter."""
    if text.startswith("signature="):
        return ""
    return text.partition("&signature=")[0]


def _is_order(request: web.Request) -> bool:
    return request.method in ("POST", "PUT") and request.path in _ORDER_PATHS


def _json(answer: Answer, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=answer.status,
        body=msgspec.json.encode(answer.body),
        content_type="application/json",
        headers=headers,
    )


def _log_refusal(request: web.Request, answer: Answer) -> None:
    body: dict[str, Any] = answer.body
    log.info("refused %s %s %s %s", request.method, request.path, body["code"], body["msg"])


# --- websockets ----------------------------------------------------------------------------


async def _socket(request: web.Request) -> web.StreamResponse:
    """Accept any socket; a wrong route or key connects and stays silent, like the exchange."""
    route = request.match_info.get("route", UNROUTED)
    if route and route not in ROUTES:
        raise web.HTTPNotFound
    ws = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=1024 * 1024)
    if not ws.can_prepare(request).ok:
        raise web.HTTPNotFound
    await ws.prepare(request)
    listener = Listener(
        route=route,
        combined=request.path.endswith("/stream"),
        socket=ws,
        transport=request.transport,
    )
    names = unquote(request.match_info.get("streams", "")).split("/")
    names += request.query.get("streams", "").split("/")
    if route == PRIVATE:
        names += request.query.getall("listenKey", [])
        events = [name for part in request.query.getall("events", []) for name in part.split("/")]
        listener.only = frozenset(filter(None, events))
    listener.streams.update(dict.fromkeys(filter(None, names)))
    await request.app[_WIRE].exchange.hub.serve(listener)
    return ws
