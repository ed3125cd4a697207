"""The control interface, for loopback only: prices, faults, a person's hand, and the books."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Literal

import msgspec
from aiohttp import web

from paper.errors import RefusedError
from paper.exchange import Exchange
from paper.faults import Fault, Schedule
from paper.hub import ROUTES

LOOPBACK = ("127.0.0.1", "::1")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Handle = Callable[[Exchange, web.Request], Awaitable[Any]]


class _Ask(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the bodies: an unknown field is a mistake and is said so."""


class _Trade(_Ask):
    symbol: str
    price: Decimal
    quantity: Decimal = Decimal(100)
    is_buyer_maker: bool = False
    time_ms: int | None = None


class _Price(_Ask):
    symbol: str
    price: Decimal


class _Liquidity(_Ask):
    symbol: str
    quantity: Decimal | None = None


class _Funding(_Ask):
    symbol: str
    rate: Decimal


class _Adl(_Ask):
    symbol: str
    position_side: Literal["BOTH", "LONG", "SHORT"]
    quantity: Decimal


class _Expire(_Ask):
    client_id: str
    self_trade: bool = False


class _OutsideOrder(_Ask, tag_field="action", tag="order"):
    symbol: str
    side: Literal["BUY", "SELL"]
    position_side: Literal["BOTH", "LONG", "SHORT"]
    quantity: Decimal
    price: Decimal | None = None  # None: a MARKET order


class _OutsideCancel(_Ask, tag_field="action", tag="cancel"):
    client_id: str


class _Status(_Ask):
    symbol: str
    status: str


class _Steps(_Ask):
    count: int = 1


class _Streams(_Ask):
    action: Literal["drop", "mute", "unmute"]
    route: Literal["", "public", "market", "private"] = ""


def control_routes(exchange: Exchange) -> list[web.RouteDef]:
    """Return the routes under /paper."""
    posts: dict[str, _Handle] = {
        "trade": _trade,
        "mark": _mark,
        "liquidity": _liquidity,
        "funding": _funding,
        "options": _options,
        "status": _status,
        "adl": _adl,
        "liquidate": _liquidate,
        "expire": _expire,
        "outside": _outside,
        "faults": _add_fault,
        "faults/release": _release,
        "streams": _streams,
        "feed/start": _feed_start,
        "feed/pause": _feed_pause,
        "feed/step": _feed_step,
    }
    gets: dict[str, _Handle] = {
        "ledger": _ledger,
        "state": _state,
        "faults": _faults,
        "feed": _feed,
    }
    return [
        *(web.post(f"/paper/{name}", _guarded(exchange, post)) for name, post in posts.items()),
        *(web.get(f"/paper/{name}", _guarded(exchange, get)) for name, get in gets.items()),
        web.delete("/paper/faults", _guarded(exchange, _clear_faults)),
    ]


def _guarded(exchange: Exchange, handle: _Handle) -> Handler:
    """Wrap a handler: loopback only, wrong bodies are 400, refusals keep their code."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        # a browser names the page that asks: no page has any business here
        if request.remote not in LOOPBACK or "Origin" in request.headers:
            raise web.HTTPNotFound
        try:
            body = await handle(exchange, request)
        except RefusedError as refusal:
            return _json({"code": refusal.code, "msg": refusal.text}, refusal.status)
        except (ValueError, msgspec.MsgspecError) as error:
            return _json({"error": str(error)}, 400)
        exchange.flush(changed=request.method != "GET")
        return _json(body)

    return guarded


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )


# --- the market ----------------------------------------------------------------------------


async def _trade(exchange: Exchange, request: web.Request) -> Any:
    """Play one trade, or a list of them in order."""
    asked = msgspec.json.decode(await request.read(), type=_Trade | list[_Trade], strict=False)
    for one in asked if isinstance(asked, list) else [asked]:
        now_ms = exchange.now_ms()
        exchange.world.trade(
            one.symbol,
            one.price,
            one.quantity,
            is_buyer_maker=one.is_buyer_maker,
            time_ms=now_ms if one.time_ms is None else one.time_ms,
            now_ms=now_ms,
        )
    return {"last": {s: f"{p:f}" for s, p in exchange.known_prices().items()}}


async def _mark(exchange: Exchange, request: web.Request) -> Any:
    asked = msgspec.json.decode(await request.read(), type=_Price, strict=False)
    exchange.world.set_mark(asked.symbol, asked.price, exchange.now_ms())
    return {}


async def _liquidity(exchange: Exchange, request: web.Request) -> Any:
    asked = msgspec.json.decode(await request.read(), type=_Liquidity, strict=False)
    exchange.world.set_liquidity(asked.symbol, asked.quantity)
    return {}


async def _funding(exchange: Exchange, request: web.Request) -> Any:
    asked = msgspec.json.decode(await request.read(), type=_Funding, strict=False)
    exchange.world.funding(asked.symbol, asked.rate, exchange.now_ms())
    return {}


async def _options(exchange: Exchange, request: web.Request) -> Any:
    exchange.world.change_options(**msgspec.json.decode(await request.read(), type=dict[str, Any]))
    return msgspec.to_builtins(exchange.world.state.options)


async def _status(exchange: Exchange, request: web.Request) -> Any:
    asked = msgspec.json.decode(await request.read(), type=_Status)
    exchange.world.set_status(asked.symbol, asked.status)
    return {}


# --- what others do to the account ---------------------------------------------------------


async def _outside(exchange: Exchange, request: web.Request) -> Any:
    """Trade or cancel like a person in the exchange's own app."""
    asked = msgspec.json.decode(
        await request.read(), type=_OutsideOrder | _OutsideCancel, strict=False
    )
    world, now_ms = exchange.world, exchange.now_ms()
    if isinstance(asked, _OutsideCancel):
        world.outside_cancel(asked.client_id, now_ms)
        return {"clientOrderId": asked.client_id}
    where = (asked.symbol, asked.side, asked.position_side, asked.quantity)
    if asked.price is None:
        return {"clientOrderId": world.outside_market(*where, now_ms)}
    return {"clientOrderId": world.outside_limit(*where, asked.price, now_ms)}


async def _adl(exchange: Exchange, request: web.Request) -> Any:
    asked = msgspec.json.decode(await request.read(), type=_Adl, strict=False)
    exchange.world.adl(asked.symbol, asked.position_side, asked.quantity, exchange.now_ms())
    return {}


async def _liquidate(exchange: Exchange, _request: web.Request) -> Any:
    exchange.world.liquidate(exchange.now_ms())
    return {}


async def _expire(exchange: Exchange, request: web.Request) -> Any:
    asked = msgspec.json.decode(await request.read(), type=_Expire, strict=False)
    exchange.world.expire(asked.client_id, exchange.now_ms(), self_trade=asked.self_trade)
    return {}


# --- faults --------------------------------------------------------------------------------


async def _add_fault(exchange: Exchange, request: web.Request) -> Any:
    """Order a fault, a list of them or a schedule; what waits for nobody is done at once."""
    body = await request.read()
    now_ms = exchange.now_ms()
    if _is_schedule(body):
        schedule = msgspec.json.decode(body, type=Schedule)
        planned = schedule.plan()
        exchange.faults.note("schedule", schedule.seed, f"{len(planned)} faults", now_ms)
    else:
        asked = msgspec.json.decode(body, type=Fault | list[Fault])
        planned = asked if isinstance(asked, list) else [asked]
    for fault in planned:
        waits_for_nobody = not (fault.method or fault.path or fault.client_id or fault.in_ms)
        if fault.action == "stale" and waits_for_nobody:
            exchange.world.freeze_reads(now_ms + fault.delay_ms)
            exchange.faults.note("stale", fault.seed, "at once", now_ms)
        else:
            exchange.faults.add(fault, now_ms)
    for due in exchange.faults.due(now_ms):
        exchange.do(due)
    return exchange.faults.report()


def _is_schedule(body: bytes) -> bool:
    asked = msgspec.json.decode(body)
    return isinstance(asked, dict) and asked.get("action") == "schedule"


async def _faults(exchange: Exchange, _request: web.Request) -> Any:
    return exchange.faults.report()


async def _clear_faults(exchange: Exchange, _request: web.Request) -> Any:
    exchange.end_faults()
    return exchange.faults.report()


async def _release(exchange: Exchange, _request: web.Request) -> Any:
    exchange.faults.release()
    return exchange.faults.report()


async def _streams(exchange: Exchange, request: web.Request) -> Any:
    """Cut sockets, or let them stay open and silent."""
    asked = msgspec.json.decode(await request.read(), type=_Streams)
    match asked.action:
        case "drop":
            return {"dropped": exchange.hub.drop(asked.route)}
        case "mute":
            for route in [asked.route] if asked.route else ROUTES:
                exchange.hub.mute(route)
        case "unmute":
            exchange.hub.unmute(asked.route)
    return {}


# --- feed and books ------------------------------------------------------------------------


async def _feed(exchange: Exchange, _request: web.Request) -> Any:
    return _feed_report(exchange) or _player(exchange).report()


async def _feed_start(exchange: Exchange, _request: web.Request) -> Any:
    player = _player(exchange)
    player.start()
    return player.report()


async def _feed_pause(exchange: Exchange, _request: web.Request) -> Any:
    player = _player(exchange)
    player.pause()
    return player.report()


async def _feed_step(exchange: Exchange, request: web.Request) -> Any:
    asked = msgspec.json.decode(await request.read() or b"{}", type=_Steps)
    player = _player(exchange)
    player.step(asked.count)
    return player.report()


def _feed_report(exchange: Exchange) -> dict[str, Any] | None:
    """Return how far a feed is; None for the manual one."""
    if exchange.live_report is not None:
        return exchange.live_report()
    return None if exchange.player is None else exchange.player.report()


def _player(exchange: Exchange) -> Any:
    if exchange.live_report is not None:
        raise ValueError("the feed is live: there is no clock to start, pause or step")
    if exchange.player is None:
        raise ValueError("the feed is manual: POST /paper/trade")
    return exchange.player


async def _ledger(exchange: Exchange, _request: web.Request) -> Any:
    """Return the books, after proving that they add up."""
    exchange.world.check()
    return exchange.world.ledger()


async def _state(exchange: Exchange, _request: web.Request) -> Any:
    return {
        "now_ms": exchange.now_ms(),
        "last": {s: f"{p:f}" for s, p in exchange.known_prices().items()},
        "feed": _feed_report(exchange),
        "listeners": exchange.hub.report(),
        "snapshot": exchange.world.snapshot(),
    }
