"""The API as a process: how it starts, how it refuses to, how it ends."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

from tests.orphans import ends_with_us
from tests.ports import free_port
from tests.unit.test_config import LIVE

ROOT = Path(__file__).resolve().parent.parent.parent


def environment(**values: str) -> dict[str, str]:
    """Return an environment that nobody's `.env` file reaches into."""
    return {**os.environ, "TRADEBOX_ENV_FILE": os.devnull, **values}


@asynccontextmanager
async def process(**values: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Yield a started `python main.py`; it does not outlive the test."""
    started = await asyncio.create_subprocess_exec(
        *ends_with_us(),
        sys.executable,
        "main.py",
        cwd=ROOT,
        env=environment(**values),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def answers(started: asyncio.subprocess.Process, port: int, path: str) -> httpx.Response:
    """Return the API's answer as soon as it gives one."""
    async with httpx.AsyncClient() as http:
        async with asyncio.timeout(60):
            while True:
                assert started.returncode is None, "it ended"
                try:
                    return await http.get(f"http://127.0.0.1:{port}{path}")
                except httpx.TransportError:
                    await asyncio.sleep(0.1)


async def test_it_starts_without_its_exchange_says_so_and_ends_cleanly(
    migrated_sqlite_url: str,
) -> None:
    port, nobody = free_port(), free_port()
    values = {
        "DB_CONNECTION_STR": migrated_sqlite_url,
        "PORT": str(port),
        "PAPER_URL": f"http://127.0.0.1:{nobody}",
        "ADMIN_PASSWORD": "the-operators-password",
    }
    async with process(**values) as started:
        live = await answers(started, port, "/health/live")
        ready = await answers(started, port, "/health/ready")
        assert live.status_code == 200
        assert ready.status_code == 503
        assert ready.json()["database"] == "ok"
        why = "(Connection refused)"
        assert ready.json()["exchange"] == f"no connection to 127.0.0.1:{nobody} {why}"
        started.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(started.communicate(), 5)
        assert started.returncode == 0
        assert err == b""
        lines = out.decode().splitlines()
        assert any("api started" in line for line in lines)
        assert lines[-1].endswith("api stopped")
        assert "Traceback" not in out.decode()


async def test_it_says_what_a_database_without_tables_needs(tmp_path: Path) -> None:
    port = free_port()
    values = {"DB_CONNECTION_STR": f"sqlite:///{tmp_path / 'empty.db'}", "PORT": str(port)}
    async with process(**values) as started:
        ready = await answers(started, port, "/health/ready")
        assert ready.status_code == 503
        assert "make migrate-apply" in ready.json()["database"]
        started.send_signal(signal.SIGINT)
        await asyncio.wait_for(started.communicate(), 5)
        assert started.returncode == 0


async def test_a_taken_port_is_one_clear_line() -> None:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with process(PORT=str(port)) as started:
            out, err = await started.communicate()
            assert started.returncode == 1
            assert out == b""
            expected = f"The API cannot listen on 127.0.0.1:{port}: Address already in use\n"
            assert err.decode() == expected


async def test_with_real_money_it_does_not_serve_while_others_can_read_its_keys(
    tmp_path: Path,
) -> None:
    variables = {
        **LIVE,
        "DB_CONNECTION_STR": f"sqlite:///{tmp_path / 'live.db'}",
        "PORT": str(free_port()),
    }
    env_file = tmp_path / "live.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    env_file.chmod(0o644)
    async with process(TRADEBOX_ENV_FILE=str(env_file)) as started:
        out, err = await started.communicate()
        assert started.returncode == 2
        assert err.decode() == (
            f"{env_file} holds secrets, and other users of this machine can read it: "
            f"chmod 600 {env_file}\n"
        )
        assert [value for value in variables.values() if value in out.decode()] == []


@pytest.mark.parametrize("bad", ["PORT", "EXCHANGE"])
async def test_a_bad_value_is_named(bad: str) -> None:
    async with process(**{bad: "nonsense"}) as started:
        out, err = await started.communicate()
        assert started.returncode == 2
        assert out == b""
        assert bad in err.decode()
        assert "Traceback" not in err.decode()
