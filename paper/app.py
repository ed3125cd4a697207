"""The wire: signed REST and routed websockets around an `Exchange`."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from paper.control import control_routes
from paper.exchange import Exchange
from paper.faults import ERRORS, Fault
from paper.hub import PRIVATE, ROUTES, UNROUTED, Listener
from paper.limits import FIRST_BAN_MS
from paper.routes import ROUTES as REST_ROUTES
from paper.routes import Route, Security
from paper.world import Answer, check_timing, missing_parameter

log = logging.getLogger("paper")

_BYTES = "surrogateescape"  # bytes that are not UTF-8 come back as they were
_PAGE = "<html><head><title>Request blocked</title></head><body>Request blocked.</body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wire:
    """What the handlers share."""

    exchange: Exchange
    api_key: str
    api_secret: str


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
    body = (await request.read()).decode(errors=_BYTES)  # whatever it says it is encoded in
    params = _params(query, body)
    exchange = wire.exchange
    if exchange.now_ms() < exchange.closed_until_ms:
        return _error_answer("maintenance", exchange.now_ms())
    route = REST_ROUTES.get((request.method, request.path))
    if route is None:
        return _json(exchange.world.request(request.method, request.path, {}, exchange.now_ms()))
    headers, refused = exchange.limits.count(
        request.remote or "", route, params, exchange.world.state.options, exchange.now_ms()
    )
    refused = (
        refused
        or _check_duplicates(query, body)
        or _check_security(wire, request, route, params, query, body)
    )
    if refused is not None:
        _log_refusal(request, refused)
        return _json(refused, headers)
    fault = exchange.faults.take(request.method, request.path, params, exchange.now_ms())
    if fault is None:
        return _json(_carry_out(exchange, request, params), headers)
    return await _carry_out_faulty(exchange, request, params, headers, fault)


def _carry_out(exchange: Exchange, request: web.Request, params: dict[str, str]) -> Answer:
    answer = exchange.world.request(request.method, request.path, params, exchange.now_ms())
    is_change = request.method != "GET" and answer.status == 200
    exchange.flush(changed=is_change, symbol=params.get("symbol", ""))
    if answer.status != 200:
        _log_refusal(request, answer)
    return answer


async def _carry_out_faulty(
    exchange: Exchange,
    request: web.Request,
    params: dict[str, str],
    headers: dict[str, str],
    fault: Fault,
) -> web.StreamResponse:
    log.info("fault  %s %s %s %s", fault.action, fault.when, request.method, request.path)
    if fault.action == "stale":
        exchange.world.freeze_reads(exchange.now_ms() + fault.delay_ms)
    elif fault.when == "before":
        failed = await _suffer(exchange, request, fault)
        if failed is not None:
            return failed
    with _scarce(exchange, params, fault):
        answer = _carry_out(exchange, request, params)
    if fault.when == "after" and fault.action != "stale":
        failed = await _suffer(exchange, request, fault)
        if failed is not None:
            return failed
    return _json(answer, headers)


@contextlib.contextmanager
def _scarce(exchange: Exchange, params: dict[str, str], fault: Fault) -> Iterator[None]:
    """Let a taker find only a part of what it asks for, where the fault says so."""
    market = exchange.world.state.markets.get(params.get("symbol", ""))
    if fault.action != "partial" or market is None:
        yield
        return
    before = market.liquidity
    quantity = params.get("quantity", "0")
    rules = exchange.world.state.rules[params["symbol"]]
    found = Decimal(quantity if quantity.replace(".", "", 1).isdigit() else 0)
    market.liquidity = found * Decimal(str(fault.part)) // rules.step * rules.step
    try:
        yield
    finally:
        market.liquidity = before


async def _suffer(
    exchange: Exchange, request: web.Request, fault: Fault
) -> web.StreamResponse | None:
    """Do what the fault says; return an answer when the real one must not be given."""
    match fault.action:
        case "delay":
            await asyncio.sleep(fault.delay_ms / 1000)
        case "hold":
            await exchange.faults.hold()
        case "refuse":
            return _json(Answer(status=fault.status, body={"code": fault.code, "msg": fault.msg}))
        case "error":
            return _error_answer(fault.error, exchange.now_ms())
        case "lose" if fault.how == "503":
            return _error_answer("unknown", exchange.now_ms())
        case "lose":
            _reset(request)
            return web.Response()  # goes nowhere: the connection is gone
        case _:
            pass  # taken care of elsewhere
    return None


def _error_answer(name: str, now_ms: int) -> web.Response:
    status, code, text = ERRORS[name]
    if not code:
        return web.Response(status=status, text=_PAGE, content_type="text/html")
    text = text.replace("{until}", str(now_ms + FIRST_BAN_MS))
    return _json(Answer(status=status, body={"code": code, "msg": text}))


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


def _check_duplicates(*parts: str) -> Answer | None:
    """Return the refusal of a request that says the same parameter twice in one place."""
    for part in parts:
        names = [name for name, _ in parse_qsl(part, keep_blank_values=True)]
        if len(names) != len(set(names)):
            text = "Duplicate values for a parameter detected."
            return Answer(status=400, body={"code": -1101, "msg": text})
    return None


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
    if not hmac.compare_digest(key.encode(errors=_BYTES), wire.api_key.encode()):
        text = "Invalid API-key, IP, or permissions for action."
        return Answer(status=401, body={"code": -2015, "msg": text})
    if route.security is Security.KEY:
        return None
    for name in ("timestamp", "signature"):
        if not params.get(name):
            return missing_parameter(name)
    text = _without_signature(query) + _without_signature(body)
    signed, given = text.encode(errors=_BYTES), params["signature"].lower()
    expected = hmac.new(wire.api_secret.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), given.encode(errors=_BYTES)):
        text = "Signature for this request is not valid."
        return Answer(status=400, body={"code": -1022, "msg": text})
    longest = wire.exchange.world.state.options.longest_window_ms
    return check_timing(params, wire.exchange.now_ms(), longest)


def _without_signature(text: str) -> str:
    """Return the part of the transmitted text that is signed: all but a signature at its end.

    A signature that is not the last parameter stays in, so that it never fits: nobody signed what
    comes after it.
    """
    head, _, last = text.rpartition("&")
    return head if last.startswith("signature=") else text


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
    ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1024 * 1024)
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
