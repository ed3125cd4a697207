"""One run, from the first process to the last: start, be ready, send the alert, tell the story."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from launcher.children import Children
from launcher.errors import AWAY, LaunchError, told
from launcher.options import PaperPlan, Plan
from launcher.prepare import OperatorPassword
from launcher.screen import Screen
from launcher.story import Story, now_ms

ROOT: Final = Path(__file__).resolve().parent.parent
READY_WITHIN_S: Final = 60.0
TELL_WAITING_EVERY_S: Final = 30.0
_ASK: Final = aiohttp.ClientTimeout(total=5)


def child_environment(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the processes: the caller's, and what the plan fixes."""
    database = plan.settings.db_connection_str
    assert database is not None, "the plan names it"
    env = {
        **environ,
        "DB_CONNECTION_STR": database.get_secret_value(),
        "SYMBOLS": ",".join(plan.symbols),
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": environ.get("PREFECT_HOME") or str((plan.data / "prefect").absolute()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if plan.paper is not None:
        env["PAPER_URL"] = plan.paper.url
    return env


def paper_arguments(paper: PaperPlan, symbols: tuple[str, ...]) -> list[str]:
    """Return the command line of the paper exchange."""
    arguments = ["-m", "paper", "--port", str(paper.port), "--feed", paper.feed]
    arguments += ["--symbols", ",".join(symbols), "--speed", paper.speed]
    arguments += ["--state", str(paper.state)]
    if paper.is_replay:
        arguments += ["--hold", "--from", paper.from_text, "--to", paper.to_text]
    return arguments


class Session:
    """A run of all processes. `run` returns only by cancellation or by a LaunchError."""

    def __init__(self, plan: Plan, screen: Screen, password: OperatorPassword) -> None:
        """Prepare a run.

        Args:
            plan: what to start.
            screen: where to tell of it.
            password: the panel's, for the API alone.
        """
        self._plan = plan
        self._screen = screen
        self._password = password
        self._began_ms = now_ms()

    async def run(self, children: Children) -> None:
        """Start everything, send the alert, and tell the story for as long as it goes on."""
        await self._start(children)
        database = self._plan.settings.async_url
        async with aiohttp.ClientSession() as http, _store(database) as store:
            await self._until_ready(http)
            self._introduce()
            self._password.keep()
            story = Story(self._plan, self._screen, http, store, began_ms=self._began_ms)
            await story.begin()
            await story.follow()

    async def _start(self, children: Children) -> None:
        """Start all at once: whoever needs another one waits for it."""
        plan, settings = self._plan, self._plan.settings
        env = child_environment(plan, os.environ)
        if plan.paper is not None:
            keys = {
                "PAPER_API_KEY": settings.paper_api_key.get_secret_value(),
                "PAPER_API_SECRET": settings.paper_api_secret.get_secret_value(),
                "TZ": "UTC",  # as in the other processes' lines
            }
            arguments = paper_arguments(plan.paper, plan.symbols)
            await children.start("paper", arguments, env | keys, stops_last=True)
        symbols = ",".join(plan.symbols)
        monitor = [str(ROOT / "ws_monitor_async.py"), "--symbols", symbols]
        await children.start("monitor", monitor, env)
        api = {**env, "ADMIN_PASSWORD": self._password.setting}
        await children.start("api", [str(ROOT / "main.py")], api)

    async def _until_ready(self, http: aiohttp.ClientSession) -> None:
        """Wait until the API is ready and every symbol is watched.

        Our own exchange must be there within a minute; another one may be away, and is waited for.
        """
        began = told = time.monotonic()
        while (lacking := await self._lacking(http)) is not None:
            now = time.monotonic()
            if self._plan.paper is not None and now - began > READY_WITHIN_S:
                raise LaunchError(f"not ready after {READY_WITHIN_S:.0f} s: {lacking}")
            if now - told > TELL_WAITING_EVERY_S:
                self._screen.say(f"still waiting: {lacking}")
                told = now
            await asyncio.sleep(0.1)

    async def _lacking(self, http: aiohttp.ClientSession) -> str | None:
        try:
            async with http.get(f"{self._plan.api_url}/health/ready", timeout=_ASK) as response:
                report = await response.json()
        except AWAY as error:
            return f"the API does not answer ({told(error)})"
        if not report["ready"]:
            return f"database {report['database']}, exchange {report['exchange']}"
        unwatched = [name for name in self._plan.symbols if not report["watched"].get(name)]
        return f"not watched yet: {', '.join(unwatched)}" if unwatched else None

    def _introduce(self) -> None:
        plan = self._plan
        user = plan.settings.admin_user
        took = (now_ms() - self._began_ms) / 1000
        self._screen.say(f"ready after {took:.1f} s; watching {', '.join(plan.symbols)}")
        self._screen.show(
            [
                f"alerts    POST {plan.api_url}/webhook",
                f"panel     {plan.panel_url}  user {user}, {self._password.said}",
                f"database  {plan.settings.shown_url}",
            ]
        )


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[SqlCycleStore]:
    store = SqlCycleStore(make_engine(url))
    try:
        yield store
    finally:
        await store.close()
