"""The live feed: real prices from Binance's public market streams, paper money.

It speaks to the routed addresses alone: `/market/stream` for aggregated trades and mark prices. No
key is sent and nothing is asked for that needs one.
"""

import asyncio
import logging
from decimal import Decimal, InvalidOperation
from typing import Any

import aiohttp
import msgspec

from paper.exchange import Exchange
from paper.feeds import Tick

REST, STREAMS = "https://fapi.binance.com", "wss://fstream.binance.com"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
SILENCE_S = 30.0  # mark prices come every second: no message for this long is a failure
MAX_SYMBOLS = 400  # two streams of each fit one connection

log = logging.getLogger("paper")


class LiveFeed:
    """Carries another exchange's trades and mark prices into ours, and connects again for ever."""

    def __init__(self, exchange: Exchange, symbols: list[str], *, streams: str = STREAMS) -> None:
        """Follow `symbols` on the exchange whose streams are at `streams`."""
        self._exchange = exchange
        self._symbols = symbols
        self._streams = streams.rstrip("/")
        self.connections = 0
        self.heard = 0
        self.skipped = 0
        self._is_connected = False
        exchange.live_report = self.report

    async def run(self) -> None:
        """Follow until cancelled."""
        pause_s = FIRST_PAUSE_S
        async with aiohttp.ClientSession() as session:
            while True:
                heard = self.heard
                try:
                    await self._follow(session)
                    reason = "closed by the other side"
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    reason = f"{type(error).__name__}: {error}"
                pause_s = FIRST_PAUSE_S if self.heard > heard else pause_s
                self._is_connected = False
                log.warning("live feed lost (%s); again in %.0f s", reason, pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def report(self) -> dict[str, Any]:
        """Return how the feed does, JSON-able."""
        return {
            "connected": self._is_connected,
            "connections": self.connections,
            "heard": self.heard,
            "skipped": self.skipped,
        }

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        names = [
            f"{symbol.lower()}@{kind}"
            for symbol in self._symbols
            for kind in ("aggTrade", "markPrice@1s")
        ]
        url = f"{self._streams}/market/stream?streams={'/'.join(names)}"
        async with session.ws_connect(url, max_msg_size=0) as socket:
            self.connections += 1
            self._is_connected = True
            log.info("live feed connected to %s", self._streams)
            while True:
                message = await socket.receive(timeout=SILENCE_S)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                try:
                    self._take(msgspec.json.decode(message.data)["data"])
                except (ValueError, KeyError, TypeError, InvalidOperation) as error:
                    self.skipped += 1  # one bad message must not end the feed
                    log.warning("live feed: %.200s: %r", message.data, error)

    def _take(self, data: dict[str, Any]) -> None:
        self.heard += 1
        if data["e"] == "aggTrade":
            self._exchange.play(
                Tick(
                    at_ms=0.0,
                    symbol=data["s"],
                    price=Decimal(data["p"]),
                    quantity=Decimal(data["q"]),
                    is_buyer_maker=data["m"],
                    time_ms=data["T"],
                    ids=(data["a"], data["f"], data["l"]),
                )
            )
        elif data["e"] == "markPriceUpdate":
            world, now_ms = self._exchange.world, self._exchange.now_ms()
            world.set_mark(data["s"], Decimal(data["p"]), now_ms)
            rate = Decimal(data["r"] or 0)
            world.set_index(data["s"], Decimal(data["i"]), rate, data["T"], now_ms)
            self._exchange.flush()
