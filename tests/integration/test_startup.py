"""What is looked at before the API serves: its files, its key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing
from aiohttp import web
from pydantic import SecretStr

from core.clients.key_permissions import Key
from core.errors import ExchangeUnavailable
from flows.startup import file_findings, key_danger, tell, watch_key

KEY = Key(key=SecretStr("the-key"), secret=SecretStr("the-secret"))


def findings(tmp_path: Path, *, env: int, database: int) -> list[tuple[str, bool]]:
    env_file, sqlite_file = tmp_path / ".env", tmp_path / "data.sqlite3"
    for path, mode in ((env_file, env), (sqlite_file, database)):
        path.touch()
        path.chmod(mode)
    found = file_findings(env_file=env_file, sqlite_file=sqlite_file)
    return [(finding.path.name, finding.is_danger) for finding in found]


FILES = {
    "both for us alone": (0o600, 0o600, []),
    "variables that the group reads": (0o640, 0o600, [(".env", True)]),
    "variables that everybody reads": (0o644, 0o640, [(".env", True)]),
    "variables that others change": (0o602, 0o600, [(".env", True)]),
    "a database that everybody reads": (0o600, 0o644, [("data.sqlite3", False)]),
    "a database that the group changes": (0o600, 0o660, [("data.sqlite3", True)]),
}


@pytest.mark.parametrize(("env", "database", "expected"), FILES.values(), ids=FILES.keys())
def test_files(tmp_path: Path, env: int, database: int, expected: list[tuple[str, bool]]) -> None:
    assert findings(tmp_path, env=env, database=database) == expected


def test_files_that_are_not_there_are_no_danger(tmp_path: Path) -> None:
    assert file_findings(env_file=tmp_path / "x", sqlite_file=tmp_path / "y") == []
    assert file_findings(env_file=Path("/dev/null"), sqlite_file=None) == []


def test_only_with_real_money_a_danger_keeps_it_from_serving(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.touch(mode=0o644)
    found = file_findings(env_file=path, sqlite_file=None)
    assert tell(found, is_live=False) == []
    assert [str(danger) for danger in tell(found, is_live=True)] == [
        f"{path} holds secrets, and other users of this machine can read it: chmod 600 {path}"
    ]


@asynccontextmanager
async def exchange(*answers: tuple[int, str]) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Yield the address of an exchange that gives these answers, and what it was asked."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        status, text = answers[min(len(asked), len(answers) - 1)]
        asked.append(request)
        return web.Response(status=status, text=text, content_type="application/json")

    app = web.Application()
    app.router.add_get("/sapi/v1/account/apiRestrictions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}", asked
    finally:
        await runner.cleanup()


def told(*, withdrawals: bool, restricted: bool) -> tuple[int, str]:
    text = f'{{"enableWithdrawals": {withdrawals}, "ipRestrict": {restricted}, "createTime": 1}}'
    return 200, text.lower().replace("enablewithdrawals", "enableWithdrawals").replace(
        "iprestrict", "ipRestrict"
    )


async def test_a_key_that_can_withdraw_is_refused() -> None:
    async with exchange(told(withdrawals=True, restricted=True)) as (url, asked):
        danger = await key_danger(url, KEY, now_ms=1_700_000_000_000)
        assert danger is not None
        assert "withdraw" in danger
        (request,) = asked
        assert request.headers["X-MBX-APIKEY"] == "the-key"
        assert request.query["timestamp"] == "1700000000000"
        assert len(request.query["signature"]) == 64


@pytest.mark.parametrize("restricted", [True, False])
async def test_a_key_that_cannot_is_taken(restricted: bool) -> None:
    async with exchange(told(withdrawals=False, restricted=restricted)) as (url, _):
        with structlog.testing.capture_logs() as logs:
            assert await key_danger(url, KEY, now_ms=1) is None
    # One that works from anywhere is taken too, with a warning.
    assert [line["log_level"] for line in logs] == ["info" if restricted else "warning"]
    assert ("any address" in logs[0]["event"]) is not restricted


@pytest.mark.parametrize("answer", [(503, "busy"), (200, "<html>"), (200, "{}")])
async def test_what_is_no_answer_leaves_it_unknown(answer: tuple[int, str]) -> None:
    async with exchange(answer) as (url, _):
        with pytest.raises(ExchangeUnavailable):
            await key_danger(url, KEY, now_ms=1)


async def test_a_key_that_the_exchange_does_not_know_is_no_danger() -> None:
    async with exchange((400, '{"code":-2015}')) as (url, _):
        assert await key_danger(url, KEY, now_ms=1) is None


async def test_it_is_asked_until_it_is_known() -> None:
    dangers: list[str] = []
    async with exchange((503, ""), told(withdrawals=True, restricted=False)) as (url, asked):
        await watch_key(url, KEY, now_ms=lambda: 1, on_danger=dangers.append, again_after_s=0)
        assert len(asked) == 2
        assert len(dangers) == 1
