"""A real Prefect server for tests and benchmarks, with no interface and no analytics."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.orphans import ends_with_us
from tests.ports import free_port

PATIENCE_S = 100.0


def until(
    holds: Callable[[], bool], what: Callable[[], object], *, within_s: float = PATIENCE_S
) -> None:
    """Return when the condition holds; else fail with what there is instead."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


class Prefect:
    """A real `prefect server` on a port of its own; its database is a file in `home`, or named."""

    def __init__(self, home: Path, *, database_url: str | None = None) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None
        self._home = home
        self._database_url = database_url

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
        where = ["--host", "127.0.0.1", "--port", str(self._port)]
        env = os.environ | {
            "PREFECT_HOME": str(self._home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        if self._database_url is not None:
            env["PREFECT_API_DATABASE_CONNECTION_URL"] = self._database_url
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*ends_with_us(), *command, *where],
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, lambda: (self._home / "server.log").read_text()[-2_000:])

    def kill(self) -> None:
        """End it at once, with whatever it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self, *, is_frozen: bool) -> None:
        """Stop it in the middle of whatever it does, or let it go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP if is_frozen else signal.SIGCONT)

    def states(self) -> dict[str, list[str]]:
        """Return the states of all runs, by the flow's name."""
        ids = {flow["id"]: flow["name"] for flow in self._ask("flows/filter")}
        found: dict[str, list[str]] = {}
        for run in self._ask("flow_runs/filter"):
            found.setdefault(ids[run["flow_id"]], []).append(run["state_name"])
        return found

    def _ask(self, path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            page = {"limit": 200, "offset": len(rows)}
            answer = httpx.post(f"{self.url}/{path}", json=page, timeout=30)
            assert answer.status_code == 200, answer.text
            rows += answer.json()
            if len(answer.json()) < 200:
                return rows

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._home / "server.log").read_text()[-2_000:]
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False
