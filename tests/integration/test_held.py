"""No transaction is open while the exchange is waited for, nor while another is.

Every test of this folder is looked at by `nothing_is_held_meanwhile`; here it is shown to see.
"""

import asyncio

import pytest

from core.clients.db_async import make_engine
from core.clients.sql_transactions import SqlTransactions
from paper.world import World
from simulation.gateway import SimulatedGateway
from tests.integration.api_world import SYMBOL, WallClock, running_api
from tests.integration.held import held_transactions
from tests.unit.samples import body


@pytest.fixture
def nothing_is_held_meanwhile() -> None:
    """Here it is."""


@pytest.fixture
def gateway() -> SimulatedGateway:
    clock = WallClock()
    return SimulatedGateway(World(now_ms=clock.now_ms(), symbols=[SYMBOL]), clock)


@pytest.mark.parametrize("kind", ["reading", "writing"])
async def test_a_request_inside_a_transaction_is_seen(
    migrated_url: str, gateway: SimulatedGateway, kind: str
) -> None:
    database = SqlTransactions(make_engine(migrated_url))
    with held_transactions() as seen:
        async with getattr(database, kind)():
            await gateway.is_hedge_mode()
            await asyncio.create_task(gateway.all_positions_flat())  # so is another task's
            later = asyncio.create_task(_after(gateway, ended := asyncio.Event()))
        ended.set()
        await later
        await gateway.is_hedge_mode()
        assert seen == ["get positionSide/dual", "get positionRisk"]
        async with database.reading(), database.reading():
            pass
        assert seen[2:] == ["another transaction"]
    await database.close()


async def test_an_api_that_held_one_would_be_seen(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other tests rely on: the two are patched where the API uses them."""
    async with running_api(migrated_url) as api:
        database = SqlTransactions(make_engine(migrated_url))
        place = api.gateway.place

        async def holding(*arguments: object) -> object:
            async with database.reading():
                return await place(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(api.gateway, "place", holding)
        with held_transactions() as seen:
            answer = await api.send(body())
            assert answer.json()["status"] == "accepted"
        assert seen == ["post order"]
        await database.close()


async def _after(gateway: SimulatedGateway, ended: asyncio.Event) -> None:
    await ended.wait()
    await gateway.is_hedge_mode()
