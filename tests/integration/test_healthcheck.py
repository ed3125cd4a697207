"""The containers' health check: a server that answers well, badly, or not at all; a file's age."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from core.clients.alert_store import LEASE_MS
from core.clients.memory_store import MemoryCycleStore
from core.errors import StoreUnavailable
from flows.heartbeat import beat
from healthcheck import main


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_success_is_healthy(address: str) -> None:
    assert main([f"{address}/well"]) == 0


def test_an_error_is_not(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{address}/badly"]) == 1
    assert "503" in capsys.readouterr().err


def test_nobody_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert main([f"http://127.0.0.1:{probe.getsockname()[1]}/"]) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["ftp://x"], ["watched"], ["http://a", "http://b"]])
def test_a_wrong_call_says_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage:")


@pytest.mark.parametrize(
    ("age_s", "code"),
    [(0, 0), (25, 0), (35, 1), (-25, 0), (-3600, 1)],
    ids=["just now", "young", "old", "a clock a little ahead", "before the clock was set back"],
)
def test_a_file_is_healthy_while_it_is_young(tmp_path: Path, age_s: int, code: int) -> None:
    file = tmp_path / "watched"
    file.touch()
    touched_at = time.time() - age_s
    os.utime(file, (touched_at, touched_at))
    assert main([str(file)]) == code


def test_a_file_that_is_not_there_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "watched")]) == 1
    assert capsys.readouterr().err.endswith("watched: No such file or directory\n")


async def test_a_monitor_s_file_is_young_only_while_all_its_symbols_are_watched(
    tmp_path: Path,
) -> None:
    now_ms, file, looks = 0, tmp_path / "watched", 0
    looked = asyncio.Condition()

    class Looked(MemoryCycleStore):
        is_away = False

        async def watched(self, symbols: Collection[str]) -> frozenset[str]:
            nonlocal looks
            async with looked:
                looks += 1
                looked.notify_all()
            if self.is_away:
                raise StoreUnavailable("away")
            return await super().watched(symbols)

    async def look_twice() -> None:
        async with looked:
            wanted = looks + 2
            await looked.wait_for(lambda: looks >= wanted)

    async def is_touched() -> bool:
        """Return whether looks that begin from now on touch the file."""
        await look_twice()  # what began before is over then
        file.unlink(missing_ok=True)
        await look_twice()
        return file.exists()

    store = Looked(now_ms=lambda: now_ms)
    beating = asyncio.create_task(beat(store, ["AUSDT", "BUSDT"], file, every_s=0))
    leases = [await store.acquire_lease(symbol, "m") for symbol in ("AUSDT", "BUSDT")]
    assert not await is_touched()
    for lease in leases:
        assert lease is not None
        assert not await is_touched()
        await store.record_checks({lease: True})
    assert await is_touched()
    store.is_away = True
    assert not await is_touched()
    store.is_away = False
    assert await is_touched()
    now_ms += LEASE_MS
    assert not await is_touched()
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
