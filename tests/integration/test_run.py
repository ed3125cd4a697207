"""`make run` as a program: the story it tells, what it leaves behind, and how it ends."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import stat
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest

from core.passwords import fits
from tests.integration.panel_login import try_login
from tests.orphans import ends_with_us
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
READY_WITHIN_S = 90  # three Python processes on busy cores
STOP_WITHIN_S = 10
MINUTE = 60_000
START = 1_686_355_200_000

pytestmark = pytest.mark.timeout(240)


class Run:
    """A running `python run.py`."""

    def __init__(self, process: Process, *, api_port: int, paper_port: int) -> None:
        self.process = process
        self.api = f"http://127.0.0.1:{api_port}"
        self.paper = f"http://127.0.0.1:{paper_port}"
        self.lines: list[str] = []

    async def until(self, words: str, *, within_s: float = READY_WITHIN_S) -> str:
        """Return the first line that holds these words, said already or still to come."""
        for known in self.lines:
            if words in known:
                return known
        try:
            async with asyncio.timeout(within_s):
                while (line := await self._next()) is not None:
                    if words in line:
                        return line
        except TimeoutError:
            pass
        raise AssertionError(f"it never said {words!r}:\n" + "\n".join(self.lines))

    async def rest(self) -> list[str]:
        """Return all lines, read to the end."""
        while await self._next() is not None:
            pass
        return self.lines

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, words: str) -> psutil.Process:
        """Return the child with these words in its command line."""
        return next(one for one in self.children() if words in " ".join(one.cmdline()))

    async def stop(self, *numbers: signal.Signals) -> float:
        """Send the signals, see it exit with 0, and return how long that took."""
        family, begun = self.children(), time.monotonic()
        for number in numbers or (signal.SIGTERM,):
            self.process.send_signal(number)
        lines = await self.rest()
        assert await self.process.wait() == 0, "\n".join(lines)
        assert not any("Traceback" in line for line in lines), "\n".join(lines)
        assert [one for one in family if one.is_running()] == []
        return time.monotonic() - begun

    async def _next(self) -> str | None:
        assert self.process.stdout is not None
        raw = await self.process.stdout.readline()
        if not raw:
            return None
        self.lines.append(raw.decode().rstrip("\n"))
        return self.lines[-1]


@contextlib.asynccontextmanager
async def running(data: Path, *options: str, **variables: str) -> AsyncIterator[Run]:
    """Start it with files and ports of its own; whatever is left at the end is killed."""
    api_port, paper_port = free_port(), free_port()
    env = {**os.environ, "PORT": str(api_port), "PAPER_PORT": str(paper_port), **variables}
    process = await asyncio.create_subprocess_exec(
        *ends_with_us(),  # its own guard then ends what it has started
        sys.executable,
        *(str(ROOT / "run.py"), "--data", str(data), *options),
        env=env,
        cwd=data.parent,  # nobody's .env
        stdout=PIPE,
        stderr=STDOUT,
    )
    run = Run(process, api_port=api_port, paper_port=paper_port)
    family: list[psutil.Process] = []
    try:
        yield run
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            family = run.children()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def operate(data: Path, *words: str) -> tuple[int, str]:
    """Use the operator's command line and return its exit code and what it printed."""
    url = f"sqlite:///{data / 'tradebox.sqlite3'}"
    process = await asyncio.create_subprocess_exec(
        *ends_with_us(),
        sys.executable,
        *(str(ROOT / "operate.py"), *words),
        env={**os.environ, "DB_CONNECTION_STR": url},
        cwd=data.parent,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = 15) -> None:
    """Wait until something outside of this process is so."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.05)


async def refusal(data: Path, **variables: str) -> tuple[int, list[str]]:
    """Start what cannot start; return the exit code and what it printed."""
    async with running(data, **variables) as run:
        lines = await run.rest()
        code = await run.process.wait()
        return code, lines


def shown_password(line: str) -> str:
    """Return the password that a first start shows."""
    found = re.search(r"password (\S+) \(shown this once", line)
    assert found is not None, line
    return found[1]


async def test_one_alert_becomes_a_whole_cycle_and_the_books_agree(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data, SPEED="3") as run:
        first = await run.until("password")
        password = shown_password(first)
        assert "/rust_admin" in first
        await run.until("alert accepted: webhook 1, cycle")
        kept = data / "operator-password"
        assert fits(password, kept.read_text().strip())
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        await run.until("the ladder laid from it")
        await run.until("take-profit placed")
        await run.until("level 3 filled")
        await run.until("hedge 1 filled")
        await run.until("closed: pnl")
        await run.until("cycle ledger = exchange ledger, difference 0", within_s=20)
        story = "\n".join(run.lines)
        assert sum(password in line for line in run.lines) == 1
        earned = re.search(r"net PNL   \+([0-9.]+) USDT", story)
        assert earned is not None
        assert float(earned.group(1)) > 0, "the demo ends in profit"
        assert await run.stop(signal.SIGTERM) < STOP_WITHIN_S
        assert not any("WARNING" in line and "lost" not in line for line in run.lines), story


async def test_a_killed_launcher_leaves_nobody_and_the_next_start_carries_on(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    async with running(data) as run:
        password = shown_password(await run.until("password"))
        await run.until("level 1 placed")
        family = run.children()
        assert len(family) == 4  # three processes and what watches over them
        text = (
            f"already running with the files in {data}: stop that one first, or start this one "
            "with a folder and ports of its own: "
            "PORT=… PAPER_PORT=… .venv/bin/python run.py --data FOLDER"
        )
        assert await refusal(data) == (1, [f"tradebox: {text}"])
        run.process.kill()
        await run.process.wait()

        async def are_gone() -> bool:
            return not any(one.is_running() for one in family)

        await until(are_gone)

    async with running(data) as run:
        held = await run.until("held ")
        # The entry, or as many levels as a slow machine let fill before.
        assert re.search(r"LONG 0\.(004|01|022|046) at", held), held
        assert any("is open and goes on" in line for line in run.lines)
        await until(lambda: _is_ready(run))
        code, output = await operate(data, "status")
        assert (code, "BTCUSDT: watched" in output) == (0, True)
        assert "order take_profit: SELL" in output
        async with httpx.AsyncClient(base_url=run.api) as http:
            login = await try_login(http, user="admin", password=password)
            assert login.status_code == 303, "the first start's password opens the second's panel"
        code, output = await operate(data, "close", "BTCUSDT")
        assert code == 0
        assert output.endswith(": done\n")
        await run.until("closed: operator")
        await run.until("cycle ledger = exchange ledger, difference 0", within_s=20)
        code, output = await operate(data, "close", "BTCUSDT")
        assert (code, output) == (1, "BTCUSDT has no open cycle\n")
        two = (signal.SIGINT, signal.SIGTERM)
        assert await run.stop(*two) < STOP_WITHIN_S
        assert not any("sending the sample alert" in line for line in run.lines)
        assert not any(password in line for line in run.lines), "it is shown once"
        assert any("password as shown at the first start" in line for line in run.lines)


async def test_a_process_that_dies_stops_all_with_its_last_words(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data) as run:
        await run.until("level 1 placed")
        family = run.children()
        run.child("ws_monitor_async.py").kill()
        lines = await run.rest()
        assert await run.process.wait() == 1
        said = next(n for n, line in enumerate(lines) if "ended by itself" in line)
        assert lines[said] == (
            ">>> the monitor process ended by itself (killed by SIGKILL), so everything is stopped"
        )
        assert any("level 1 placed" in line for line in lines[said + 1 :])
        assert [one for one in family if one.is_running()] == []
    # The next start would meet trades that its exchange knows nothing of.
    (data / "paper.json").unlink()
    code, lines = await refusal(data)
    assert (code, len(lines)) == (1, 1)
    assert f"holds trades of a paper exchange whose state {data / 'paper.json'} is gone" in lines[0]


def candles(folder: Path, *prices: tuple[str, str, str, str]) -> Path:
    """Write minutes of open, high, low and close as Binance's dumps have them."""
    rows = [
        f"{START + n * MINUTE},{','.join(ohlc)},400000,{START + (n + 1) * MINUTE - 1},1,1,1,1,0"
        for n, ohlc in enumerate(prices)
    ]
    path = folder / "FILUSDT-1m-2023-06-10.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


async def test_a_replay_runs_from_the_alert_to_the_recordings_end(tmp_path: Path) -> None:
    """The market waits for the alert; then the price falls by two levels and stays there."""
    steps = ("3.99", "3.985", "3.975", "3.97", "3.96", "3.95", "3.94", "3.93")
    flat = [(price, price, price, price) for price in ("4.000", *steps)]
    path, data = candles(tmp_path, *flat), tmp_path / "data"
    async with running(data, FEED=f"replay:{path}", SPEED="120") as run:
        await run.until("entry filled: LONG 59.8 at 4; the ladder laid from it")
        await run.until("level 1 filled")
        await run.until("level 2 filled")
        await run.until("the recording has ended")
        await run.until("is still open (trading)")
        assert "LONG 328.9 at" in await run.until("held ")
        await run.until("cycle ledger = exchange ledger, difference 0")
        await until(lambda: _is_ready(run))
        assert await run.stop() < STOP_WITHIN_S
    assert not (data / "paper.json").exists(), "the demo's files are another world"
    assert len(list(data.glob("replays/FILUSDT-*/tradebox.sqlite3"))) == 1


async def test_a_reader_who_leaves_ends_the_run(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as run:
        await run.until("paper exchange ready")
        family = run.children()
        transport = run.process._transport  # type: ignore[attr-defined]  # the only way to its pipe
        transport.get_pipe_transport(1).close()
        async with asyncio.timeout(30):
            assert await run.process.wait() == 0
        assert [one for one in family if one.is_running()] == []


async def test_what_is_wrong_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        cases = [
            ({"PORT": port}, 1, f"cannot listen on 127.0.0.1:{port} (Address already in use)"),
            ({"PAPER_PORT": port}, 1, "choose another port: make run PAPER_PORT="),
            ({"FEED": "replay:/no/such.csv"}, 2, "FEED: /no/such.csv: no such file"),
            ({"SPEED": "fast"}, 2, "SPEED must be a number, not 'fast'"),
            ({"MG_MODE": "x"}, 2, "MG_MODE = x: must be 'multiplier' or 'percent'"),
            ({"DB_CONNECTION_STR": "postgresql://u:p@127.0.0.1:1/x"}, 1, "Connection refused"),
        ]
        for variables, wanted, message in cases:
            code, lines = await refusal(data, **variables)
            assert (code, len(lines)) == (wanted, 1), lines
            assert lines[0].startswith("tradebox: ")
            assert message in lines[0]
    assert list(data.iterdir()) == [data / "paper.json.lock"], "only the last case got that far"


async def _is_ready(run: Run) -> bool:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{run.api}/health/ready") as response,
    ):
        return response.status == 200
