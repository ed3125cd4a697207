"""A served paper exchange and each of the three clients on it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from paper.exchange import Exchange, wall_ms
from paper.world import World
from tests.contract.paper.clients import Client, Connector, OfficialSdk, PythonBinance
from tests.integration.paper_wire import Wire, running

CLIENTS: dict[str, Callable[[str], Client]] = {
    "python-binance": PythonBinance,
    "futures-connector": Connector,
    "sdk": OfficialSdk,
}


@dataclass(frozen=True, slots=True)
class Rig:
    """One client on one exchange."""

    client: Client
    wire: Wire

    async def call(self, word: str, **params: Any) -> Any:
        """Let the client ask."""
        return await self.client.call(word, **params)


@pytest.fixture(params=CLIENTS.keys())
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    world = World(now_ms=wall_ms(), book="model", spread_ticks=1, self_trade_prevention=True)
    async with running(Exchange(world)) as wire:
        client = CLIENTS[request.param](wire.address)
        yield Rig(client, wire)
        await client.close()
