"""Can one paper exchange on one core carry 500 symbols, 5,000 aggTrades/s and 200 orders/s?

    python -m benchmarks.paper_load [--symbols 500] [--trades 5000] [--orders 200] [--seconds 10]

The exchange runs as a process of its own on one core and replays recordings made up here; the
listeners and the orders come from this process. Three phases with the same feed: nobody listens
(the baseline), aggTrade and markPrice@1s of every symbol are listened to, and orders come on top.
CPU is that of the exchange's process; what a message costs is the second phase less the first,
divided by messages. Each phase also says its CPU as a multiple of the baseline's, and for how long
the exchange was ready to run while other programs had the core (on Linux, which tells it).
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import platform
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import psutil

from paper.server import DEFAULT_KEY, DEFAULT_SECRET
from paper.world import World
from tests.ports import free_port

START_MS = 1_790_000_000_000
CONNECTIONS = 4
WARM_UP_S = 2.0
BEHIND = 201  # requests between an order and its cancellation


@dataclass(slots=True)
class _Phase:
    """What was measured while one phase lasted."""

    name: str
    cpu_s: float = 0.0
    wall_s: float = 0.0
    waited_s: float = 0.0
    messages: int = 0
    played: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Load:
    """The running exchange and what is heard of it."""

    address: str
    process: psutil.Process
    session: aiohttp.ClientSession
    symbols: list[str]
    heard: int = 0

    async def played(self) -> int:
        """Return how many trades the feed has played."""
        async with self.session.get(f"{self.address}/paper/feed") as answer:
            return int((await answer.json())["played"])

    async def measure(self, name: str, seconds: float, *, orders: int = 0) -> _Phase:
        """Let `seconds` pass and say what the exchange did in them."""
        phase = _Phase(name)
        played, heard, cpu = await self.played(), self.heard, self._cpu_s()
        waited = self._waited_s()
        begun = time.perf_counter()
        if orders:
            await self._send_orders(phase, seconds, orders)
        else:
            await asyncio.sleep(seconds)
        phase.wall_s, phase.cpu_s = time.perf_counter() - begun, self._cpu_s() - cpu
        phase.waited_s = self._waited_s() - waited
        phase.messages, phase.played = self.heard - heard, await self.played() - played
        return phase

    async def listen(self, names: list[str]) -> None:
        """Count the messages of some streams until cancelled."""
        url = f"{self.address}/market/ws"
        async with self.session.ws_connect(url) as stream:
            await stream.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            async for _ in stream:
                self.heard += 1

    async def _send_orders(self, phase: _Phase, seconds: float, per_second: int) -> None:
        """Place and cancel in turn, at a steady pace."""
        begun, tasks = time.perf_counter(), []
        for number in range(int(seconds * per_second)):
            await asyncio.sleep(max(0.0, begun + number / per_second - time.perf_counter()))
            tasks.append(asyncio.create_task(self._send_one(phase, number)))
        await asyncio.gather(*tasks)

    async def _send_one(self, phase: _Phase, number: int) -> None:
        is_cancel = number % 2 == 1 and number > BEHIND
        order = number - BEHIND if is_cancel else number  # one that was placed a while ago
        symbol, name = self.symbols[order % len(self.symbols)], f"load-{order}"
        if not is_cancel:
            params = {"symbol": symbol, "side": "BUY", "positionSide": "LONG", "type": "LIMIT"}
            params |= {"timeInForce": "GTC", "quantity": "1", "price": "9.000"}
            method, params = "POST", params | {"newClientOrderId": name}
        else:
            method, params = "DELETE", {"symbol": symbol, "origClientOrderId": name}
        text = urlencode(params | {"timestamp": str(time.time_ns() // 1_000_000)})
        signature = hmac.new(DEFAULT_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        url = f"{self.address}/fapi/v1/order?{text}&signature={signature}"
        begun = time.perf_counter()
        headers = {"X-MBX-APIKEY": DEFAULT_KEY}
        async with self.session.request(method, url, headers=headers) as answer:
            await answer.read()
            if answer.status != 200:
                phase.refused.append(await answer.text())
        phase.latencies_ms.append((time.perf_counter() - begun) * 1000)

    def _cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def _waited_s(self) -> float:
        """Return how long the exchange has waited for the core since its start, 0 if unknown."""
        try:
            return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9
        except OSError:
            return 0.0


def main() -> None:
    """Run the benchmark and print its answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("symbols", 500), ("trades", 5000), ("orders", 200), ("seconds", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        phases = asyncio.run(_run(options, Path(folder)))
    _print(options, phases)


async def _run(options: argparse.Namespace, folder: Path) -> list[_Phase]:
    seconds = options.seconds * 3 + 3 * WARM_UP_S + 10
    symbols = [f"S{number:03d}USDT" for number in range(options.symbols)]
    recording = _record(folder, symbols, options.trades, seconds)
    info = _exchange_info(folder, symbols)
    core = sorted(os.sched_getaffinity(0))[-1]
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "paper", "--port", str(port), "--feed", f"replay:{recording}",
        "--hold", "--exchange-info", str(info), "--limits", "off", "--quiet",
        "--wallet", "100000000",
    )  # fmt: skip
    try:
        os.sched_setaffinity(process.pid, {core})
        others = os.sched_getaffinity(0) - {core}
        if others:
            os.sched_setaffinity(0, others)
        async with aiohttp.ClientSession() as session:
            address = f"http://127.0.0.1:{port}"
            load = _Load(address, psutil.Process(process.pid), session, symbols)
            await _until_ready(load)
            return await _phases(load, options)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_ready(load: _Load) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await load.played()
                return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.1)


async def _phases(load: _Load, options: argparse.Namespace) -> list[_Phase]:
    async with load.session.post(f"{load.address}/paper/feed/start", json={}) as answer:
        assert answer.status == 200
    await asyncio.sleep(WARM_UP_S)
    phases = [await load.measure("nobody listens", options.seconds)]
    kinds = ("aggTrade", "markPrice@1s")
    names = [f"{symbol.lower()}@{kind}" for symbol in load.symbols for kind in kinds]
    listeners = [
        asyncio.create_task(load.listen(names[place::CONNECTIONS])) for place in range(CONNECTIONS)
    ]
    await asyncio.sleep(WARM_UP_S)
    phases.append(await load.measure("every stream is heard", options.seconds))
    phases.append(await load.measure("and orders", options.seconds, orders=options.orders))
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    return phases


def _record(folder: Path, symbols: list[str], trades: int, seconds: float) -> str:
    """Write one recording of each symbol; return them as the feed wants them."""
    chance, paths = random.Random(1), []
    gap_ms = 1000 * len(symbols) / trades
    for place, symbol in enumerate(symbols):
        path = folder / f"{symbol}-aggTrades.csv"
        with path.open("w") as file:
            at_ms, number, price = gap_ms * place / len(symbols), 0, 10_000
            while at_ms < seconds * 1000:
                number, price = number + 1, max(9_500, price + chance.randint(-1, 1))
                maker = "true" if chance.random() < 0.5 else "false"
                row = (number, f"{price / 1000:.3f}", chance.randint(1, 500), number, number)
                file.write(",".join(map(str, (*row, START_MS + int(at_ms), maker))) + "\n")
                at_ms += gap_ms
        paths.append(str(path))
    return ",".join(paths)


def _exchange_info(folder: Path, symbols: list[str]) -> Path:
    """Write an exchangeInfo answer that has these symbols, with the rules of FILUSDT."""
    world = World(now_ms=START_MS, symbols=["FILUSDT"])
    body: dict[str, Any] = world.request("GET", "/fapi/v1/exchangeInfo", {}, START_MS).body
    row = body["symbols"][0]
    body["symbols"] = [row | {"symbol": one, "pair": one, "baseAsset": one[:-4]} for one in symbols]
    path = folder / "exchangeInfo.json"
    path.write_text(json.dumps(body))
    return path


def _print(options: argparse.Namespace, phases: list[_Phase]) -> None:
    idle, heard, orders = phases
    write = sys.stdout.write
    write(f"{Path(__file__).stem}: {options.symbols} symbols, {options.trades} aggTrades/s, ")
    write(f"{options.orders} order requests/s, {options.seconds} s each\n")
    write(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python ")
    write(
        f"{platform.python_version()}; the exchange has one core, load {os.getloadavg()[0]:.1f}\n"
    )
    baseline = idle.cpu_s / max(1, idle.played)
    for phase in phases:
        ratio = phase.cpu_s / max(1, phase.played) / baseline
        write(
            f"{phase.name:22} CPU {phase.cpu_s / phase.wall_s:6.1%} ({ratio:.2f} × baseline)   "
            f"waited {phase.waited_s / phase.wall_s:4.0%}   "
            f"{phase.played / phase.wall_s:7.0f} trades/s   "
            f"{phase.messages / phase.wall_s:7.0f} messages/s heard\n"
        )
    per_trade = baseline * 1e6
    busy = heard.cpu_s / heard.wall_s - idle.cpu_s / idle.wall_s
    per_message = busy * heard.wall_s / max(1, heard.messages) * 1e6
    extra = orders.cpu_s / orders.wall_s - heard.cpu_s / heard.wall_s
    count = len(orders.latencies_ms)
    per_order = extra * orders.wall_s / max(1, count) * 1e6
    latencies = sorted(orders.latencies_ms)
    write(f"CPU: {per_trade:.0f} µs a trade, {per_message:.0f} µs a message, ")
    write(f"{per_order:.0f} µs an order request\n")
    write(
        f"{count / orders.wall_s:.0f} orders/s answered in {latencies[count // 2]:.1f} ms (half), "
    )
    write(f"{latencies[int(count * 0.99)]:.1f} ms (99 of 100)\n")
    if orders.refused:
        write(f"{len(orders.refused)} were refused, the first with {orders.refused[0]}\n")
    kept = orders.played / orders.wall_s >= options.trades * 0.98
    total = orders.cpu_s / orders.wall_s
    is_shared = orders.waited_s / orders.wall_s > 0.1
    answer = "yes" if kept else "unclear, other programs had the core" if is_shared else "NO"
    write(f"answer: {answer}; {total:.0%} of the core in use\n")


if __name__ == "__main__":
    main()
