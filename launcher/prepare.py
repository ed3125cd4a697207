"""What is looked at before anything is started: folder, ports, database, password."""

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from core import queries
from core.clients.db_sync import make_engine
from core.passwords import hashed, is_hash
from launcher.errors import LaunchError
from launcher.options import Plan

ROOT: Final = Path(__file__).resolve().parent.parent
PASSWORD_FILE: Final = "operator-password"


@contextlib.contextmanager
def prepared(plan: Plan) -> Iterator[None]:
    """Take ports, folder and database; raise LaunchError where one cannot be had."""
    for name, host, port in _listeners(plan):
        _require_free(name, host, port)
    folder = plan.data if plan.paper is None else plan.paper.state.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"{folder} cannot be made: {error.strerror}") from error
    with _locked(folder, plan):
        _migrate(plan)
        yield


@contextlib.contextmanager
def _locked(folder: Path, plan: Plan) -> Iterator[None]:
    """Keep a second launcher from the same paper exchange's state."""
    if plan.paper is None:
        yield
        return
    path = folder / f"{plan.paper.state.name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = (
                f"already running with the files in {folder}: stop that one first, or start this "
                "one with a folder and ports of its own: "
                "PORT=… PAPER_PORT=… .venv/bin/python run.py --data FOLDER"
            )
            raise LaunchError(text) from error
        yield


def _listeners(plan: Plan) -> Iterator[tuple[str, str, int]]:
    yield "PORT", plan.settings.host, plan.settings.port
    if plan.paper is not None:
        yield "PAPER_PORT", "127.0.0.1", plan.paper.port


def _require_free(name: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection that is just being forgotten does not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            reason = error.strerror or str(error)
            text = (
                f"cannot listen on {host}:{port} ({reason}); choose another port: make run {name}="
            )
            raise LaunchError(f"{text}{port + 10 if port < 65526 else port - 10}") from error


def _migrate(plan: Plan) -> None:
    """Bring the database up to date, and make sure that it fits the paper exchange's state."""
    settings = plan.settings
    config = Config(str(ROOT / "alembic.ini"))
    config.attributes.update(url=settings.sync_url, logs=False)
    try:
        command.upgrade(config, "head")
        engine = make_engine(settings.sync_url)
        try:
            with engine.connect() as connection:
                has_trades = connection.execute(queries.cycles.any_fill()).first() is not None
        finally:
            engine.dispose()
    except (SQLAlchemyError, CommandError, OSError) as error:
        first = str(error).splitlines()[0]
        raise LaunchError(f"database {settings.shown_url}: {first}") from error
    if plan.paper is not None and plan.paper.is_fresh and has_trades:
        raise LaunchError(_mismatch(plan))


def _mismatch(plan: Plan) -> str:
    paper, shown = plan.paper, plan.settings.shown_url
    assert paper is not None
    if paper.is_replay:
        return (
            f"a replay begins with nothing, but database {shown} holds trades; leave "
            "DB_CONNECTION_STR out (a replay has its own database) or name an empty one"
        )
    return (
        f"database {shown} holds trades of a paper exchange whose state {paper.state} is gone; put "
        "it back, or use an empty database"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPassword:
    """The panel's password.

    Attributes:
        setting: ADMIN_PASSWORD for the API.
        said: what to say of it; a password that was made up is in it.
        keep_in: the file for its hash, once it was said; None: nothing is to be kept.
    """

    setting: str = field(repr=False)
    said: str = field(repr=False)
    keep_in: Path | None = None

    def keep(self) -> None:
        """Keep the hash, after the password was shown: dying in between, it is made up anew."""
        if self.keep_in is None:
            return
        new = self.keep_in.with_name(f"{self.keep_in.name}.new")
        try:
            new.unlink(missing_ok=True)  # it might be readable by others
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{self.setting}\n")
            new.replace(self.keep_in)
        except OSError as error:
            raise LaunchError(f"{self.keep_in} cannot be written: {error.strerror}") from error


def operator_password(plan: Plan) -> OperatorPassword:
    """Return the panel's password: configured, made up before, or made up now."""
    configured = plan.settings.admin_password
    if configured is not None and configured.get_secret_value():
        said = "password as in ADMIN_PASSWORD"
        return OperatorPassword(setting=configured.get_secret_value(), said=said)
    path = plan.data / PASSWORD_FILE
    known = ""
    try:
        with contextlib.suppress(FileNotFoundError):
            known = path.read_text(encoding="utf-8").strip()
        if known and is_hash(known):
            said = f"password as shown at the first start (forgotten? delete {path}, start again)"
            return OperatorPassword(setting=known, said=said)
    except (OSError, ValueError) as error:
        raise LaunchError(f"{path} cannot be used ({error}); delete it, start again") from error
    password = known or secrets.token_urlsafe(15)  # an earlier version kept it as it was
    said = f"password {password} (shown this once; {path} keeps its hash)"
    return OperatorPassword(setting=hashed(password), said=said, keep_in=path)
