"""The API over a real database and the paper world in memory: everything but sockets."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from config import Settings
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import OrderReported, OrderState
from core.domain.webhook import Webhook
from main import create_app
from paper.world import World
from simulation.gateway import SimulatedGateway

SYMBOL = "BTCUSDT"
PRICE = Decimal(60000)


class WallClock:
    """This machine's clock, as the exchange's."""

    def now_ms(self) -> int:
        """Return milliseconds UTC."""
        return time.time_ns() // 1_000_000


class GatedGateway(SimulatedGateway):
    """An exchange whose orders, and whose first reads, wait until they are let through."""

    def __init__(self, world: World, clock: WallClock) -> None:
        """Let everything through at first."""
        super().__init__(world, clock, latency_ms=(0, 0))
        self.reads, self.orders = asyncio.Event(), asyncio.Event()
        self.reads.set()
        self.orders.set()
        self.order_came, self.read_came = asyncio.Event(), asyncio.Event()

    async def is_hedge_mode(self) -> bool:
        """Answer once reads are let through."""
        self.read_came.set()
        await self.reads.wait()
        return await super().is_hedge_mode()

    async def place(self, symbol: str, order: OrderState) -> OrderReported:
        """Send once orders are let through."""
        self.order_came.set()
        await self.orders.wait()
        return await super().place(symbol, order)


@dataclass(slots=True, kw_only=True)
class Api:
    """One API, and what stands around it."""

    app: FastAPI
    http: httpx.AsyncClient
    world: World
    gateway: GatedGateway
    store: SqlCycleStore
    running: contextlib.AsyncExitStack
    clock: WallClock = field(default_factory=WallClock)

    async def stop(self) -> None:
        """Stop the API as a signal does; whatever was under way gets its chance to end."""
        await self.running.aclose()

    async def send(self, alert: bytes | str, path: str = "/webhook") -> httpx.Response:
        """Send an alert as TradingView does."""
        return await self.http.post(path, content=alert, headers={"Content-Type": "text/plain"})

    async def watch(self, symbol: str = SYMBOL, *, is_good: bool = True) -> None:
        """Let a monitor hold the symbol's lease."""
        lease = await self.store.acquire_lease(symbol, "a monitor")
        assert lease is not None
        await self.store.record_checks({lease: is_good})

    async def learn_rules(self, symbol: str = SYMBOL) -> None:
        """Store the symbol's rules as the monitor does at its start."""
        rules = await self.gateway.rules(symbol)
        await self.store.save_rules([rules], read_at_ms=self.clock.now_ms())

    async def webhook(self, answer: httpx.Response) -> Webhook:
        """Return the row of an answered alert."""
        row = await self.store.webhook(answer.json()["webhook_id"])
        assert row is not None
        return row

    def sent(self, method: str, path: str) -> list[dict[str, str]]:
        """Return the parameters of every such request that left."""
        calls = self.gateway.sent
        return [call.parameters for call in calls if (call.method, call.path) == (method, path)]

    def entries(self) -> list[dict[str, str]]:
        """Return the orders that were sent."""
        return self.sent("post", "order")


async def never(gateway: GatedGateway) -> None:
    """Give an alert all the time that it takes."""
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def running_api(
    database_url: str,
    *,
    world: World | None = None,
    time_is_up: Callable[[GatedGateway], Coroutine[Any, Any, object]] = never,
    **values: Any,
) -> AsyncIterator[Api]:
    """Yield an API whose symbol is watched and has a price; `time_is_up` ends an alert's time."""
    clock = WallClock()
    world = World(now_ms=clock.now_ms(), symbols=[SYMBOL]) if world is None else world
    now_ms = clock.now_ms()
    world.trade(SYMBOL, PRICE, Decimal(1000), time_ms=now_ms, now_ms=now_ms)
    gateway = GatedGateway(world, clock)
    settings = Settings(db_connection_str=SecretStr(database_url), **values)
    store = SqlCycleStore(make_engine(settings.async_url))
    app = create_app(settings, connect=lambda _: gateway, time_is_up=lambda: time_is_up(gateway))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    running = contextlib.AsyncExitStack()
    try:
        async with (
            running,
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
        ):
            await running.enter_async_context(app.router.lifespan_context(app))
            api = Api(
                app=app, http=http, world=world, gateway=gateway, store=store, running=running
            )
            await api.learn_rules()
            await api.watch()
            yield api
    finally:
        await store.close()
