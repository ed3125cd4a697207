"""The stream clients over real sockets: the paper exchange's, and a server that misbehaves."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from core.clients.binance_rest import connect_gateway
from core.clients.binance_stream import AccountStream, MarketStream
from core.clients.socket_runner import BackOff, Waits
from core.domain.band import Band
from core.domain.cycle import ReportedStatus
from core.errors import ExchangeUnavailable, RequestRefused
from core.translate.events import AccountEvent, OrderNews, PositionNews
from paper.exchange import Exchange, wall_ms
from paper.world import World
from tests.contract.rigs import API_KEY, API_SECRET, paper_exchange
from tests.integration.test_gateway_http import limit

BTC = "BTCUSDT"
QUICK = Waits(check=0.02, back_off_first=0.02, back_off_most=0.1, connect=2.0)
TRADE = {"e": "aggTrade", "E": 1, "s": BTC, "p": "60000.1", "q": "1", "f": 1, "l": 1, "T": 7}


class Heard:
    """What the callbacks were called with; each can be awaited."""

    def __init__(self) -> None:
        self.trades: asyncio.Queue[tuple[str, D, int]] = asyncio.Queue()
        self.marks: asyncio.Queue[tuple[str, D]] = asyncio.Queue()
        self.events: asyncio.Queue[AccountEvent] = asyncio.Queue()
        self.connections: asyncio.Queue[str] = asyncio.Queue()  # "" or why it ended

    def on_trade(self, symbol: str, price: D, time_ms: int) -> None:
        self.trades.put_nowait((symbol, price, time_ms))

    def on_mark(self, symbol: str, price: D, time_ms: int) -> None:
        self.marks.put_nowait((symbol, price))

    def on_connect(self) -> None:
        self.connections.put_nowait("")

    async def connected(self) -> None:
        assert await soon(self.connections.get()) == ""

    async def disconnected(self) -> str:
        reason: str = await soon(self.connections.get())
        assert reason
        return reason


async def soon(awaitable: Awaitable[Any]) -> Any:
    """Wait for it, but not for ever."""
    return await asyncio.wait_for(awaitable, 10)


@asynccontextmanager
async def market(
    url: str, heard: Heard, bands: dict[str, Band], **options: Any
) -> AsyncIterator[MarketStream]:
    options = {"waits": QUICK, "chance": lambda: 1.0, **options}
    stream = MarketStream(
        base_url=url.replace("http", "ws", 1),
        bands=bands,
        on_trade=heard.on_trade,
        on_mark=heard.on_mark,
        on_connect=heard.on_connect,
        on_disconnect=heard.connections.put_nowait,
        **options,
    )
    stream.start()
    try:
        yield stream
    finally:
        await stream.close()
        assert not left_over()


def left_over() -> list[str]:
    """Return the tasks of streams that outlived them."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("market", "account"))]


class Keys:
    """Listen keys without an exchange."""

    def __init__(self) -> None:
        self.started = 0
        self.kept = asyncio.Semaphore(0)
        self.refuses: list[Exception] = []

    async def start_listen_key(self) -> str:
        self.started += 1
        return "key"

    async def keep_listen_key(self) -> None:
        self.kept.release()
        if self.refuses:
            raise self.refuses.pop()


class WallClock:
    def now_ms(self) -> int:
        return wall_ms()


@asynccontextmanager
async def account(
    url: str, heard: Heard, keys: Any, **options: Any
) -> AsyncIterator[AccountStream]:
    options = {
        "waits": QUICK,
        "chance": lambda: 1.0,
        "on_event": heard.events.put_nowait,
        **options,
    }
    stream = AccountStream(
        base_url=url.replace("http", "ws", 1),
        keys=keys,
        clock=WallClock(),
        on_connect=heard.on_connect,
        on_disconnect=heard.connections.put_nowait,
        **options,
    )
    stream.start()
    try:
        yield stream
    finally:
        await stream.close()
        assert not left_over()


@asynccontextmanager
async def socket_server(
    serve: Callable[[web.WebSocketResponse], Awaitable[None]], **options: Any
) -> AsyncIterator[str]:
    """Serve every websocket by `serve`; yield the address."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(**options)
        await socket.prepare(request)
        await serve(socket)
        return socket

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def play(exchange: Exchange, *prices: str, symbol: str = BTC) -> None:
    for price in prices:
        now_ms = wall_ms()
        exchange.world.trade(symbol, D(price), D(1), time_ms=now_ms, now_ms=now_ms)
    exchange.flush()


# --- market ---


async def test_a_trade_inside_the_band_is_dropped_and_one_at_a_bound_is_not() -> None:
    world, heard, band = World(now_ms=wall_ms(), symbols=[BTC, "ETHUSDT"]), Heard(), Band()
    band.set(D("59000.1"), D("61000.3"))
    async with paper_exchange(world) as (exchange, url), market(url, heard, {BTC: band}):
        await heard.connected()
        play(exchange, "60000.0", "59000.2", "59000.1", "61000.2", "61000.3", "60500.0")
        play(exchange, "1.0", symbol="ETHUSDT")  # not ours
        assert (await soon(heard.trades.get()))[:2] == (BTC, D("59000.1"))
        assert (await soon(heard.trades.get()))[:2] == (BTC, D("61000.3"))
        band.want_all()
        play(exchange, "60500.0")
        assert (await soon(heard.trades.get()))[:2] == (BTC, D("60500.0"))
        assert band.last_price == D("60500.0")
        assert heard.trades.empty()
        world.tick(wall_ms())
        exchange.flush()
        assert await soon(heard.marks.get()) == (BTC, D("60500.0"))


def test_the_silence_of_a_symbol_left_out_says_nothing() -> None:
    stream = MarketStream(
        base_url="",
        bands={BTC: Band(), "GONEUSDT": Band()},
        on_trade=Heard().on_trade,
        silence_seconds=-1,  # so that all are silent for too long
    )
    assert stream.silence() == "no message of BTCUSDT, GONEUSDT for -1 s"
    stream.leave_out("GONEUSDT")
    assert stream.silence() == "no message of BTCUSDT for -1 s"
    stream.leave_out(BTC)
    assert stream.silence() is None


async def test_a_dropped_market_connection_is_made_again_and_said() -> None:
    world, heard, band = World(now_ms=wall_ms(), symbols=[BTC]), Heard(), Band()
    band.want_all()
    async with (
        paper_exchange(world) as (exchange, url),
        market(url, heard, {BTC: band}) as stream,
    ):
        for _ in range(3):
            await heard.connected()
            assert stream.is_connected
            play(exchange, "60000")
            await soon(heard.trades.get())
            exchange.hub.drop("market")
            await heard.disconnected()
            assert not stream.is_connected


async def test_a_connected_but_silent_market_is_a_dead_one() -> None:
    world, heard = World(now_ms=wall_ms(), symbols=[BTC]), Heard()
    async with paper_exchange(world) as (exchange, url):
        exchange.hub.mute("market")
        async with market(url, heard, {BTC: Band()}, silence_seconds=0.1):
            await heard.connected()
            assert BTC in await heard.disconnected()
            await heard.connected()


async def test_one_silent_symbol_among_others_is_a_dead_market() -> None:
    world, heard = World(now_ms=wall_ms(), symbols=[BTC, "ETHUSDT"]), Heard()
    bands = {BTC: Band(), "ETHUSDT": Band()}
    async with (
        paper_exchange(world) as (exchange, url),
        market(url, heard, bands, silence_seconds=0.3),
    ):
        await heard.connected()
        while heard.connections.empty():
            play(exchange, "60000")
            await asyncio.sleep(0)
        assert "ETHUSDT" in await heard.disconnected()


async def test_a_symbol_that_stays_silent_costs_the_others_their_connection_once() -> None:
    world, heard = World(now_ms=wall_ms(), symbols=[BTC, "ETHUSDT"]), Heard()
    bands = {BTC: Band(), "ETHUSDT": Band()}
    async with (
        paper_exchange(world) as (exchange, url),
        market(url, heard, bands, silence_seconds=0.3) as stream,
    ):
        await heard.connected()
        while heard.connections.empty():
            play(exchange, "60000")
            await asyncio.sleep(0)
        await heard.disconnected()
        await heard.connected()
        loop = asyncio.get_running_loop()
        for _ in range(2):
            begun = loop.time()
            while loop.time() < begun + 0.4:
                play(exchange, "60000")
                await asyncio.sleep(0)
            assert stream.silence() is None
        assert (stream.is_heard(BTC), stream.is_heard("ETHUSDT")) == (True, False)
        assert heard.connections.empty()
        play(exchange, "3000", symbol="ETHUSDT")
        while not stream.is_heard("ETHUSDT"):  # noqa: ASYNC110 - the reader is beside us
            await asyncio.sleep(0)


async def test_more_streams_than_an_address_holds_are_subscribed_by_message() -> None:
    asked: asyncio.Queue[Any] = asyncio.Queue()

    async def serve(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            asked.put_nowait(msgspec.json.decode(message.data))
            await socket.send_str('{"result":null,"id":1}')

    symbols = {f"A{number}USDT": Band() for number in range(160)}
    async with (
        socket_server(serve) as url,
        market(url, Heard(), symbols) as stream,
    ):
        first, second = await soon(asked.get()), await soon(asked.get())
        in_address = (await stream.address()).count("usdt@")
        assert first["method"] == second["method"] == "SUBSCRIBE"
        assert in_address + len(first["params"]) + len(second["params"]) == 320
        assert stream.bad_messages.count == 0


async def test_bad_messages_are_counted_and_end_nothing() -> None:
    bad = [
        b"not json",
        b"[]",
        b'{"data":{"e":"unheard of"}}',
        b'{"data":{"e":"aggTrade","s":"BTCUSDT","a":1,"p":"NaN","T":1}}',
        b'{"data":{"e":"aggTrade","s":"BTCUSDT","a":2,"p":"cheap","T":1}}',
        b'{"data":{"e":"aggTrade","s":"BTCUSDT","a":3,"p":"-1","T":1}}',
        b'{"data":{"e":"markPriceUpdate","s":"BTCUSDT","p":"0","E":1}}',
        b'{"data":{"e":"aggTrade","s":"BTCUSDT"}}',
        b"\xff\xfe" * 1000,
    ]

    async def serve(socket: web.WebSocketResponse) -> None:
        for text in bad[:-1]:
            await socket.send_str(text.decode())
        await socket.send_str(bad[-1].decode(errors="replace"))
        await socket.send_str(msgspec.json.encode({"data": TRADE | {"a": 9}}).decode())
        await asyncio.Event().wait()

    heard, band = Heard(), Band()
    band.want_all()
    async with socket_server(serve) as url, market(url, heard, {BTC: band}) as stream:
        assert await soon(heard.trades.get()) == (BTC, D("60000.1"), 7)
        assert stream.bad_messages.count == len(bad)
        assert stream.is_connected


async def test_one_connection_replaces_another_without_losing_or_repeating_a_trade() -> None:
    """The server ends connections at a certain age; ours changes before, and misses nothing."""
    sockets: set[web.WebSocketResponse] = set()
    most_open = connections = 0

    async def serve(socket: web.WebSocketResponse) -> None:
        nonlocal most_open, connections
        connections += 1
        sockets.add(socket)
        most_open = max(most_open, len(sockets))
        async for _ in socket:
            pass
        sockets.discard(socket)

    async def broadcast() -> None:
        for number in itertools.count(1):
            text = msgspec.json.encode({"data": TRADE | {"a": number, "T": number}}).decode()
            for socket in list(sockets):
                if not socket.closed:
                    await socket.send_str(text)
            await asyncio.sleep(0.001)

    heard, band = Heard(), Band()
    band.want_all()
    waits = Waits(check=0.01, rotate=0.1, overlap=0.05, connect=2.0)
    async with socket_server(serve) as url, market(url, heard, {BTC: band}, waits=waits):
        await heard.connected()
        sender = asyncio.create_task(broadcast())
        numbers: list[int] = []
        while connections < 4:
            numbers.append((await soon(heard.trades.get()))[2])
        numbers += [(await soon(heard.trades.get()))[2] for _ in range(50)]
        sender.cancel()
        await asyncio.wait({sender})
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert most_open == 2
    assert heard.connections.get_nowait() == "closed by us"  # the only disconnection of all


# --- account ---


async def test_the_account_hears_of_orders_fills_and_positions_in_order() -> None:
    world, heard = World(now_ms=wall_ms(), symbols=[BTC]), Heard()
    async with paper_exchange(world) as (exchange, url):
        gateway = connect_gateway(
            base_url=url, api_key=API_KEY, api_secret=SecretStr(API_SECRET), share_percent=100
        )
        try:
            await gateway.sync_clock()
            play(exchange, "60000")
            async with account(url, heard, gateway):
                await heard.connected()
                order = limit(gateway, name="tb-s-lv1-1")
                await gateway.place(BTC, order)
                play(exchange, "58999")
                opened = await soon(heard.events.get())
                assert isinstance(opened, OrderNews)
                assert opened.report.status is ReportedStatus.OPEN
                news = [await soon(heard.events.get()) for _ in range(2)]
                (filled,) = [n.report for n in news if isinstance(n, OrderNews)]
                (position,) = [n for n in news if isinstance(n, PositionNews)]
                assert filled.client_order_id == "tb-s-lv1-1"
                assert (filled.executed, filled.average_price) == (D(1) / 100, D(59000))
                assert filled.fill is not None
                assert filled.fill.commission == D("0.010") * 59000 * D("0.0002")
                assert filled.fill.is_maker
                assert position.long is not None
                assert position.short is None
                assert (position.long.quantity, position.long.entry) == (D("0.010"), D(59000))
        finally:
            await gateway.close()


async def test_a_dropped_account_connection_is_made_again_with_a_key_asked_for_again() -> None:
    world, heard = World(now_ms=wall_ms(), symbols=[BTC]), Heard()
    keys = Keys()
    async with paper_exchange(world) as (exchange, url), account(url, heard, keys):
        await heard.connected()
        exchange.hub.drop("private")
        await heard.disconnected()
        await heard.connected()
        assert keys.started == 2


async def test_an_expired_key_leads_to_a_new_connection_at_once() -> None:
    connections = 0

    async def serve(socket: web.WebSocketResponse) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            # Older than the first back-off, so that it counts as a line that worked.
            await asyncio.sleep(0.05)
            await socket.send_str('{"e":"listenKeyExpired","E":1,"listenKey":"key"}')
        async for _ in socket:
            pass

    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.Event().wait()

    heard, keys = Heard(), Keys()
    async with socket_server(serve) as url, account(url, heard, keys, sleep=sleep):
        await heard.connected()
        assert "expired" in await heard.disconnected()
        await heard.connected()
        assert keys.started == 2
        assert pauses == [1800.0]  # the keeper's; the connection waited for nothing


async def test_the_key_is_kept_alive_and_one_that_is_gone_is_replaced() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    heard, keys = Heard(), Keys()
    gone = RequestRefused(code=-1125, text="This listenKey does not exist.", http_status=400)
    keys.refuses = [gone, ExchangeUnavailable("no connection")]
    async with socket_server(serve) as url, account(url, heard, keys, keep_key_seconds=0.1):
        await heard.connected()
        await soon(keys.kept.acquire())  # no answer: asked again, the line stays
        await soon(keys.kept.acquire())  # gone: a new key, a new line
        assert "listen key" in await heard.disconnected()
        await heard.connected()
        assert keys.started == 2
        await soon(keys.kept.acquire())


async def test_a_line_that_does_not_answer_pings_is_dead() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await asyncio.Event().wait()  # reads nothing, so it answers no ping

    heard = Heard()
    waits = Waits(check=0.02, back_off_first=0.02, connect=2.0, ping=0.2)
    async with (
        socket_server(serve, autoping=False) as url,
        account(url, heard, Keys(), waits=waits),
    ):
        await heard.connected()
        await heard.disconnected()
        await heard.connected()


async def test_a_line_that_answers_pings_may_be_quiet() -> None:
    pings: asyncio.Queue[None] = asyncio.Queue()

    async def serve(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.PING:
                pings.put_nowait(None)
                await socket.pong(message.data)

    heard = Heard()
    waits = Waits(check=0.02, back_off_first=0.02, connect=2.0, ping=0.1)
    async with (
        socket_server(serve, autoping=False) as url,
        account(url, heard, Keys(), waits=waits) as stream,
    ):
        await heard.connected()
        for _ in range(5):
            await soon(pings.get())
        assert stream.is_connected
        assert heard.connections.empty()


async def test_bad_account_messages_are_counted_and_the_good_ones_told() -> None:
    good = '{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ac":{"s":"BTCUSDT","l":25}}'
    bad = ["{}", "null", '{"e":"NEWS"}', '{"e":"ORDER_TRADE_UPDATE","E":1,"o":{}}']

    async def serve(socket: web.WebSocketResponse) -> None:
        for text in (*bad, good):
            await socket.send_str(text)
        await asyncio.Event().wait()

    heard = Heard()
    async with socket_server(serve) as url, account(url, heard, Keys()) as stream:
        assert (await soon(heard.events.get())).leverage == 25
        assert stream.bad_messages.count == len(bad)


async def test_a_failing_callback_costs_the_connection_and_not_the_stream() -> None:
    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.send_str('{"e":"ACCOUNT_CONFIG_UPDATE","ac":{"s":"BTCUSDT","l":25}}')
        async for _ in socket:
            pass

    heard = Heard()
    failures = iter([ZeroDivisionError("our bug")])

    def on_event(event: AccountEvent) -> None:
        for failure in failures:
            raise failure
        heard.events.put_nowait(event)

    async with socket_server(serve) as url, account(url, heard, Keys(), on_event=on_event):
        await heard.connected()
        assert "ZeroDivisionError" in await heard.disconnected()
        await heard.connected()
        await soon(heard.events.get())


async def test_an_exchange_that_is_away_is_tried_for_ever_with_growing_pauses() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    pauses: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await asyncio.sleep(0)

    stream = MarketStream(
        base_url=f"ws://127.0.0.1:{port}",
        bands={BTC: Band()},
        on_trade=Heard().on_trade,
        sleep=sleep,
        chance=lambda: 1.0,
    )
    stream.start()
    try:
        assert [await soon(pauses.get()) for _ in range(7)] == [3, 6, 12, 24, 48, 60, 60]
    finally:
        await stream.close()


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [1.5, 3, 6]), (1.0, [3, 6, 12])])
def test_pauses_are_spread_between_half_and_all_and_start_anew(
    chance: float, pauses: list[float]
) -> None:
    back_off = BackOff(Waits(), lambda: chance)
    assert [back_off.pause() for _ in range(3)] == pauses
    back_off.reset()
    assert back_off.pause() == pauses[0]
