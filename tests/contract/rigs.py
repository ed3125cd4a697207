"""The same gateway twice: over the paper world in memory, and over sockets to the paper exchange.

A case is a coroutine that is given a rig. In memory it runs in virtual time, over sockets in real
time, so a case never sleeps longer than a moment of the exchange takes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web
from pydantic import SecretStr

from core.clients.binance import BinanceGateway
from core.clients.binance_rest import connect_gateway
from core.domain.cycle import Kind, OrderState, PositionSide, Request, Role, Side
from paper.app import build_app
from paper.exchange import Exchange, wall_ms
from paper.faults import Fault as PaperFault
from paper.world import World
from simulation.faults import Fault, FaultKind
from simulation.gateway import SimulatedGateway
from simulation.loop import VirtualClock, run

SYMBOLS = ("BTCUSDT", "ETHUSDT")
API_KEY, API_SECRET = "contract-key", "contract-secret-0123456789"

WorldOptions = dict[str, Any]


@dataclass(slots=True)
class Rig:
    """A gateway, the world behind it, and the hand that spoils requests."""

    gateway: BinanceGateway
    world: World
    now_ms: Callable[[], int]
    told: Callable[[], None]  # hands on what the world emitted
    lose_answer: Callable[[str, str], None]  # method, path
    refuse: Callable[[str, int, int, str], None]  # path, status, code, text

    def trade(self, price: str, *, quantity: str = "1000", symbol: str = "BTCUSDT") -> None:
        """Let the market trade."""
        now_ms = self.now_ms()
        self.world.trade(symbol, Decimal(price), Decimal(quantity), time_ms=now_ms, now_ms=now_ms)
        self.told()

    def order(
        self,
        client_order_id: str,
        *,
        kind: Kind = Kind.MARKET,
        side: Side = Side.BUY,
        position_side: PositionSide = PositionSide.LONG,
        price: str | None = None,
        quantity: str | None = "0.010",
        role: Role = Role.LEVEL,
        request: Request = Request.PLACE,
    ) -> OrderState:
        """Return an order whose request is under way; without a quantity it closes the position."""
        now_ms = self.gateway.now_ms()
        return OrderState(
            client_order_id=client_order_id,
            role=role,
            number=1,
            attempt=1,
            side=side,
            position_side=position_side,
            kind=kind,
            price=_decimal(price),
            quantity=_decimal(quantity),
            target_price=_decimal(price),
            target_quantity=_decimal(quantity),
            close_position=quantity is None,
            request=request,
            requested_at_ms=now_ms,
            created_at_ms=now_ms,
        )


Case = Callable[[Rig], Coroutine[Any, Any, None]]


def run_case(kind: str, case: Case, options: WorldOptions) -> None:
    """Run a case on one kind of rig: `memory` or `sockets`."""
    if kind == "memory":
        run(_in_memory(case, options))
    else:
        asyncio.run(_over_sockets(case, options))


async def _in_memory(case: Case, options: WorldOptions) -> None:
    clock = VirtualClock()
    world = World(now_ms=clock.now_ms(), symbols=SYMBOLS, **options)
    gateway = SimulatedGateway(world, clock)

    def lose_answer(method: str, path: str) -> None:
        gateway.faults.add(Fault(kind=FaultKind.LOST_ANSWER, method=method, path=path))

    def refuse(path: str, status: int, code: int, text: str) -> None:
        gateway.faults.refuse(code, text, status=status, path=path)

    rig = Rig(
        gateway=gateway,
        world=world,
        now_ms=clock.now_ms,
        told=lambda: None,
        lose_answer=lose_answer,
        refuse=refuse,
    )
    await case(rig)
    world.check()


async def _over_sockets(case: Case, options: WorldOptions) -> None:
    world = World(now_ms=wall_ms(), symbols=SYMBOLS, **options)
    async with paper_exchange(world) as (exchange, url):
        gateway = connect_gateway(
            base_url=url, api_key=API_KEY, api_secret=SecretStr(API_SECRET), share_percent=100
        )

        def lose_answer(method: str, path: str) -> None:
            # A read over a connection that broke is asked once more, so it takes two.
            count = 2 if method == "get" else 1
            fault = PaperFault(action="lose", method=method.upper(), path=path, count=count)
            exchange.faults.add(fault)

        def refuse(path: str, status: int, code: int, text: str) -> None:
            exchange.faults.add(
                PaperFault(
                    action="refuse", when="before", path=path, status=status, code=code, msg=text
                )
            )

        rig = Rig(
            gateway=gateway,
            world=world,
            now_ms=wall_ms,
            told=exchange.flush,
            lose_answer=lose_answer,
            refuse=refuse,
        )
        try:
            await gateway.sync_clock()
            await case(rig)
            world.check()
        finally:
            await gateway.close()


@asynccontextmanager
async def paper_exchange(world: World) -> AsyncIterator[tuple[Exchange, str]]:
    """Serve a world on a free port of this machine; yield it and its address."""
    exchange = Exchange(world)
    app = build_app(exchange, api_key=API_KEY, api_secret=API_SECRET)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield exchange, f"http://{host}:{port}"
    finally:
        exchange.faults.clear()
        await exchange.hub.close()
        await runner.cleanup()


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def body(value: Any) -> bytes:
    """Return JSON as the exchange would send it."""
    return msgspec.json.encode(value)
