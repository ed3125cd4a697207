"""A plain client of a running paper exchange, with short words for what tests ask of it."""

import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp

from paper.exchange import Exchange, wall_ms
from paper.server import DEFAULT_KEY, DEFAULT_SECRET, listening
from paper.world import World

BTC = "BTCUSDT"
BUY: dict[str, Any] = {
    "symbol": BTC,
    "side": "BUY",
    "positionSide": "LONG",
    "type": "MARKET",
    "quantity": "0.004",
}


class Wire:
    """A running exchange and a plain client of it."""

    def __init__(self, exchange: Exchange, address: str, session: aiohttp.ClientSession) -> None:
        self.exchange = exchange
        self.address = address
        self.session = session

    async def send(
        self,
        method: str,
        path: str,
        *,
        key: str = DEFAULT_KEY,
        in_body: bool = False,
        **params: Any,
    ) -> tuple[int, Any]:
        """Send a signed request and return status and body."""
        text = urlencode({"timestamp": wall_ms(), **params})
        text += f"&signature={sign(text)}"
        return await self.send_raw(method, path, text, key=key, in_body=in_body)

    async def send_raw(
        self, method: str, path: str, text: str, *, key: str = DEFAULT_KEY, in_body: bool = False
    ) -> tuple[int, Any]:
        """Send exactly this text as query or body."""
        url = f"{self.address}/fapi/{path}"
        headers = {"X-MBX-APIKEY": key} if key else {}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        if in_body:
            request = self.session.request(method, url, data=text, headers=headers | form)
        else:
            request = self.session.request(method, f"{url}?{text}", headers=headers)
        async with request as response:
            return response.status, await response.json()

    async def control(self, path: str, body: object | None = None, method: str = "") -> Any:
        """Use the control interface; it must agree."""
        verb = method or ("GET" if body is None else "POST")
        async with self.session.request(verb, f"{self.address}/paper/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def trade(self, price: str, quantity: str = "100") -> None:
        """Let the market trade."""
        await self.control("trade", {"symbol": BTC, "price": price, "quantity": quantity})

    async def listen(self, path: str) -> aiohttp.ClientWebSocketResponse:
        """Open a socket."""
        return await self.session.ws_connect(f"{self.address}{path}")

    async def listen_key(self) -> str:
        """Return the listen key."""
        _, body = await self.send_raw("POST", "v1/listenKey", "")
        return str(body["listenKey"])


def sign(text: str) -> str:
    return hmac.new(DEFAULT_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


async def next_of(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return await socket.receive_json(timeout=5)


async def is_silent(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Return whether nothing was sent before the answer to a question asked now."""
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 99})
    return bool((await next_of(socket)).get("id") == 99)


@contextlib.asynccontextmanager
async def running(exchange: Exchange | None = None) -> AsyncIterator[Wire]:
    """Serve an exchange whose BTCUSDT has traded at 60000, and prove its books at the end."""
    served = exchange or Exchange(World(now_ms=wall_ms()))
    async with listening(served) as address, aiohttp.ClientSession() as session:
        wire = Wire(served, address, session)
        await wire.trade("60000")
        yield wire
        served.world.check()
