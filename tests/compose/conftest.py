"""The whole stack in containers, built from what git tracks, in a folder and project of its own.

Anything that understands `docker compose` will do; COMPOSE names another one (docker-compose).
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = "tradebox-test"
PATIENCE_S = 180.0


class Stack:
    """One project of docker compose and the address of its backend."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.compose = shlex.split(os.environ.get("COMPOSE", "docker compose"))
        self.env = os.environ | {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_PROFILES": "paper,prefect,jobs",
            "COMPOSE": " ".join(self.compose),
            "PORT": str(port),
        }

    def run(self, *command: str) -> str:
        """Run a command in the project's folder, show it, and return what it prints."""
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        sys.stdout.write(f"$ {shlex.join(command)}  [{time.monotonic() - started:.1f} s]\n")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def __call__(self, *arguments: str) -> str:
        """Run docker compose."""
        return self.run(*self.compose, *arguments)

    def sql(self, statement: str) -> str:
        """Return what the database answers."""
        psql = ("psql", "--username=tradebox", "--dbname=tradebox", "--tuples-only", "--no-align")
        return self("exec", "-T", "postgres", *psql, "--command", statement)

    def variable(self, name: str) -> str:
        """Return a variable of the project's .env."""
        lines = (self.folder / ".env").read_text().splitlines()
        return next(line.removeprefix(f"{name}=") for line in lines if line.startswith(f"{name}="))

    def ready(self) -> dict[str, object]:
        """Return what /health/ready says once it is ready and all symbols are watched."""

        def answer() -> dict[str, object] | None:
            try:
                got = httpx.get(f"{self.url}/health/ready", timeout=5)
            except httpx.HTTPError:
                return None
            body: dict[str, object] = got.json()
            watched = body["watched"]
            assert isinstance(watched, dict)
            return body if got.status_code == 200 and watched and all(watched.values()) else None

        return until(answer, "the stack to be ready")


def until(look: Callable[[], dict[str, object] | None], what: str) -> dict[str, object]:
    """Return what `look` finds, as soon as it does."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(1)  # it happens in other processes, which tell nobody
    return found


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Build the image, start everything, and take it all away at the end."""
    folder = tmp_path_factory.mktemp("stack")
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, tracked.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    stack = Stack(folder, free_port())
    stack.run("make", "env", "PROFILES=paper,prefect,jobs")
    stack("build")
    try:
        stack("up", "--detach")
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "15")
