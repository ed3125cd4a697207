"""The paper exchange as a program: its words, its signals, its state file, its feeds."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from paper.__main__ import main
from tests.orphans import ends_with_us

ROOT = Path(__file__).resolve().parent.parent.parent
MINUTE = 60_000
START = 1_700_000_040_000


class Program:
    """A running `python -m paper`."""

    def __init__(self, process: Process, address: str, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.address = address
        self.session = session

    async def control(self, path: str, body: object | None = None) -> Any:
        """Use the control interface."""
        method = "GET" if body is None else "POST"
        url = f"{self.address}/paper/{path}"
        async with self.session.request(method, url, json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def shows(self, path: str, judge: Callable[[Any], bool]) -> bool:
        """Return what `judge` says of this part of the control interface."""
        return judge(await self.control(path))

    async def line_with(self, words: str) -> str:
        """Return the next line of its output that holds these words."""
        return await _line_with(self.process, words)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop and return its exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(5):
            return await self.process.wait()


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.02)


def _holds(path: Path, text: bytes) -> bool:
    return path.exists() and text in path.read_bytes()


async def _line_with(process: Process, words: str) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while raw := await process.stdout.readline():
            if words in raw.decode():
                return raw.decode()
    raise AssertionError(f"it ended without saying {words!r}")


@contextlib.asynccontextmanager
async def _running(*arguments: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *(*ends_with_us(), sys.executable, "-m", "paper", "--port", "0", *arguments),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        ready = await _line_with(process, "ready at")
        async with aiohttp.ClientSession() as session:
            yield Program(process, ready.split()[-1], session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that a start with these arguments leaves; it must fail with code 2."""
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("paper: ")
    assert errors.count("\n") == 1
    return errors.removeprefix("paper: ").rstrip("\n")


async def test_it_stops_at_once_in_the_middle_of_everything(tmp_path: Path) -> None:
    state = tmp_path / "paper.json"
    async with _running("--feed", "manual", "--state", str(state)) as program:
        await program.control("trade", {"symbol": "BTCUSDT", "price": "60000"})
        stream = await program.session.ws_connect(f"{program.address}/market/ws/btcusdt@aggTrade")
        await program.control("faults", {"action": "hold"})
        url = f"{program.address}/fapi/v1/time"
        held = asyncio.create_task(program.session.get(url))
        await _until(lambda: program.shows("faults", lambda body: body["held"] == 1))
        begun = time.monotonic()
        assert await program.stop() == 0
        assert time.monotonic() - begun < 2
        await asyncio.gather(held, return_exceptions=True)
        await stream.close()
        assert b"Traceback" not in (await program.process.communicate())[1]
    assert json.loads(state.read_bytes())["version"] == 1


async def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "paper.json"
    buy = {"action": "order", "symbol": "BTCUSDT", "side": "BUY", "position_side": "LONG"}
    async with _running("--feed", "manual", "--state", str(state)) as program:
        await program.control("trade", {"symbol": "BTCUSDT", "price": "60000"})
        await program.control("outside", buy | {"quantity": "0.01"})
        assert "0.01 @ 60000 taker fee 0.3" in await program.line_with("fill")
        before = await program.control("ledger")
        assert await program.stop(signal.SIGINT) == 0
    async with _running("--feed", "manual", "--state", str(state)) as program:
        assert await program.control("ledger") == before
        assert (await program.control("state"))["last"] == {"BTCUSDT": "60000"}


async def test_a_killed_program_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    state = tmp_path / "paper.json"
    order = {"action": "order", "symbol": "BTCUSDT", "side": "BUY", "position_side": "LONG"}
    async with _running("--feed", "manual", "--state", str(state)) as program:
        await program.control("trade", {"symbol": "BTCUSDT", "price": "60000"})
        for _ in range(3):
            await program.control("outside", order | {"quantity": "0.01"})
        before = await program.control("ledger")
        program.process.kill()
        await program.process.wait()
    async with _running("--feed", "manual", "--state", str(state)) as program:
        assert await program.control("ledger") == before
        assert len(before["fills"]) == 3


async def test_switches_on_the_command_line_reach_a_loaded_state_too(tmp_path: Path) -> None:
    state = tmp_path / "paper.json"
    async with _running("--feed", "manual", "--state", str(state)) as program:
        options = await program.control("options", {})
        assert (options["book"], options["maker_fill"]) == ("exact", "touched")
    switches = ["--book", "model", "--maker-fill", "through", "--stp", "on", "--taker-fee", "0"]
    switches += ["--set", "v2_weight=10", "--set", "shared_ids=false"]
    async with _running("--feed", "manual", "--state", str(state), *switches) as program:
        options = await program.control("options", {})
        assert (options["book"], options["maker_fill"]) == ("model", "through")
        assert (options["self_trade_prevention"], options["taker_fee"]) == (True, "0")
        assert (options["v2_weight"], options["shared_ids"]) == (10, False)


async def test_the_state_is_saved_while_it_runs(tmp_path: Path) -> None:
    state = tmp_path / "paper.json"
    async with _running("--feed", "manual", "--state", str(state)) as program:
        await program.control("trade", {"symbol": "BTCUSDT", "price": "60001.5"})
        await _until(lambda: asyncio.to_thread(_holds, state, b"60001.5"))
        program.process.kill()
        await program.process.wait()
    async with _running("--feed", "manual", "--state", str(state)) as program:
        assert (await program.control("state"))["last"] == {"BTCUSDT": "60001.5"}


async def test_a_scenario_trades_and_marks_by_itself() -> None:
    async with _running("--symbols", "ETHUSDT,BTCUSDT", "--speed", "20") as program:
        stream = await program.session.ws_connect(
            f"{program.address}/market/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade"
            "/btcusdt@markPrice@1s"
        )
        wanted = {"btcusdt@aggTrade", "ethusdt@aggTrade", "btcusdt@markPrice@1s"}
        seen: set[str] = set()
        while seen != wanted:
            seen.add((await stream.receive_json(timeout=5))["stream"])
        await program.control("feed/pause", {})
        played = (await program.control("state"))["feed"]["played"]
        stepped = await program.control("feed/step", {"count": 3})
        assert stepped["running"] is False
        await _until(lambda: program.shows("state", lambda b: b["feed"]["played"] >= played + 3))
        assert (await program.control("feed/start", {}))["running"] is True
        await stream.close()


async def test_a_held_replay_shows_its_first_price_and_ends_at_its_last(tmp_path: Path) -> None:
    rows = [
        f"{START + n * MINUTE},4.0{n},4.2,3.9,4.1{n},40,{START + (n + 1) * MINUTE - 1},1,1,1,1,0"
        for n in range(10)
    ]
    path = tmp_path / "FILUSDT-1m.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    feed = ("--feed", f"replay:{path}", "--symbols", "FILUSDT", "--speed", "6000", "--hold")
    async with _running(*feed) as program:
        await _until(lambda: program.shows("state", lambda b: b["last"] == {"FILUSDT": "4.00"}))
        stream = await program.session.ws_connect(f"{program.address}/market/ws/filusdt@aggTrade")
        await program.control("feed/start", {})
        event = await stream.receive_json(timeout=5)
        assert (event["p"], event["T"]) == ("3.9", START + 15_000)
        await program.line_with("feed finished after 40 trades")
        state = await program.control("state")
        assert state["last"] == {"FILUSDT": "4.19"}
        assert state["feed"]["finished"] is True
        await stream.close()


def test_a_recording_that_breaks_ends_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(f"1,60000,1,1,1,{START},true\n2,60000,1,1,1,x,true\n", encoding="utf-8")
    error = _refusal(capsys, "--port", "0", "--feed", f"replay:{path}")
    assert error == f"{path}:2: column transact_time cannot be read: 'x'"


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown feed": (("--feed", "tea"), "unknown feed 'tea'"),
    "an unknown scenario": (("--feed", "scenario:moon"), "unknown scenario 'moon'"),
    "a missing file": (("--feed", "replay:/no/such.csv"), "/no/such.csv: no such file"),
    "an unknown symbol": (("--symbols", "NOPEUSDT"), "--symbols: NOPEUSDT not among"),
    "a speed of nothing": (("--speed", "0"), "--speed must be above zero"),
    "a speed in words": (("--speed", "fast"), "--speed must be a number"),
    "a port in words": (("--port", "http"), "argument --port: invalid int value: 'http'"),
    "an unknown option": (("--spede", "2"), "unrecognized arguments: --spede 2"),
    "a wallet of nothing": (("--wallet", "-5"), "--wallet must be above zero"),
    "a bad time": (("--feed", "replay:x.csv", "--from", "noon"), "FROM 'noon' is neither"),
    "a folder that is not there": (("--state", "/no/such/dir/x.json"), "is not a directory"),
    "an unknown switch": (("--set", "colour=red"), "no option colour; there are maker_fee"),
    "a switch without a value": (("--set", "v2_weight"), "--set v2_weight: "),
    "a port out of range": (("--port", "70000"), "cannot listen on 127.0.0.1:70000"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in _refusal(capsys, *arguments)


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = _refusal(capsys, "--port", str(port))
    assert error == f"cannot listen on 127.0.0.1:{port}: Address already in use"


@pytest.mark.parametrize("text", ["no json", "[]", '{"version": 9}'])
def test_a_state_file_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    state = tmp_path / "paper.json"
    state.write_text(text, encoding="utf-8")
    error = _refusal(capsys, "--state", str(state))
    assert error.startswith(f"state file {state} cannot be read: ")
    assert state.read_text(encoding="utf-8") == text


async def test_help() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "paper", "--help", cwd=ROOT, stdout=PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"dip-and-recover" in output
