"""A whole run with secrets that cannot be mistaken: none is in anything that was written or sent.

Looked through: the logs of all processes (at DEBUG), every table of the database, every file that
they made, every answer of theirs, what a Sentry server and a messenger were sent.
"""

import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.integration.e2e.programs import Program
from tests.integration.e2e.test_crashes import LADDER
from tests.integration.e2e.world import Story, World, running
from tests.integration.panel_login import token_in
from tests.integration.receivers import Receiver, receiving

SYMBOL = "BTCUSDT"
NAME = "a-name-that-anyone-may-read"
# Those that the processes are started with. One needs to be quoted in addresses.
GIVEN = {
    "PAPER_API_KEY": "KeyOfTheExchange7f3a",
    "PAPER_API_SECRET": "SecretOfTheExchange91bc",
    "WEBHOOK_SECRET": "SecretOfAlerts/ü55+d1",
    "ADMIN_PASSWORD": "PasswordOfThePanel0e4d",
    "SESSION_SECRET": "SecretOfTheSessions" + "5a" * 16,
}
MESSENGER_TOKEN = "TokenOfTheMessenger44"
# What others try: close to a right one, it may be one with a slip of the pen.
TRIED = ["WrongInTheBody-8d2f", "WrongInThePath-63aa", "WrongAtTheLogin-17cc"]


@dataclass(slots=True)
class Answers:
    """Every answer that was given, with its headers."""

    http: httpx.Client
    seen: list[str] = field(default_factory=list)

    def send(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Send a request and keep what comes back."""
        answer = self.http.request(method, url, **more)
        self.seen.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def guarded(sqlite_template: Path, tmp_path: Path, receiver: Receiver) -> Iterator[World]:
    """Return a world whose every secret is known."""
    settings = {
        **GIVEN,
        "LOG_LEVEL": "DEBUG",
        "NOTIFY_URLS": f"json://127.0.0.1:{receiver.port}/{MESSENGER_TOKEN}",
        "NOTIFY_LEVEL": "everything",
        "SENTRY_DSN": f"http://0123456789abcdef@127.0.0.1:{receiver.port}/42",
        "SENTRY_TRACES": "1",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'tradebox.db')}"
    prices = {SYMBOL: "60000"}
    world = World(tmp_path, url, prices, mortal=False, paper_options=(), kind=Program, **settings)
    with running(world):
        yield world


def test_no_secret_is_written_or_sent_anywhere(
    guarded: World, receiver: Receiver, tmp_path: Path
) -> None:
    made = make_secret(guarded, tmp_path)
    with httpx.Client(base_url=guarded.api_url, timeout=20, trust_env=False) as http:
        answers = Answers(http)
        trade(guarded, answers, made)
        look_at_the_panel(guarded, answers)
        break_something(guarded, answers, made)
    receiver.wait_for(4)
    for program in (guarded.monitor, guarded.api):
        program.stop()
    secrets = [*GIVEN.values(), MESSENGER_TOKEN, *TRIED, made]
    written = {
        "the answers": "\n".join(answers.seen),
        "what was sent out": "\n".join(sent(receiver)),
        **{program.name: program.text for program in guarded.programs},
        **files(tmp_path),
        "the database": dump(str(guarded.engine.url.database)),
    }
    assert found(secrets, written) == []
    assert 'INSERT INTO "notice"' not in written["the database"], "what was told is not kept"
    # It would have been seen: what may be read is there.
    assert NAME in written["the database"]
    assert '"status":"accepted"' in written["the answers"]
    assert "nothing could be stored" in written["api"]
    assert "nothing could be stored" in written["what was sent out"]
    assert "LONG 0.01 BTC at 60000 bought" in written["what was sent out"]
    assert "closed, net" in written["what was sent out"]
    assert "take-profit placed" in written["monitor"]
    assert NAME not in written["api"], "what an alert says is for the database only"


def make_secret(world: World, folder: Path) -> str:
    """Make a secret from the command line, which is the one place that shows it."""
    shown = Program(
        "operate",
        ("operate.py", "secret", "create", NAME),
        world.api.environment,
        folder / "shown.txt",
    )
    shown.start()
    shown.wait()
    text = shown.text
    shown.log.unlink()
    return next(line for line in text.splitlines() if line.startswith("tb_"))


def trade(world: World, answers: Answers, made: str) -> None:
    """Send alerts with right and wrong secrets, in body and address; one of them is traded."""
    story = Story(world, SYMBOL)
    given = quote(GIVEN["WEBHOOK_SECRET"], safe="")
    alert = {**story.alert(**LADDER), "name": NAME}

    def send(path: str, secret: str | None, expected: int) -> None:
        body = json.dumps(alert if secret is None else {**alert, "secret": secret})
        answer = answers.send("POST", path, content=body)
        assert answer.status_code == expected, answer.text

    story.trade("60000")
    send("/webhook", TRIED[0], 401)
    send(f"/webhook/{TRIED[1]}", None, 401)
    send(f"/webhook/{TRIED[1]}/more?secret={TRIED[1]}", None, 401)
    send(f"/webhook/{made}", TRIED[0], 401)
    answers.send("POST", f"/webhook/{made}", content=f'{{"secret": "{made}", "name": ')
    send("/webhook", made, 200)
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    send(f"/webhook/{given}", None, 200)  # the same id: a duplicate
    send("/webhook", GIVEN["WEBHOOK_SECRET"], 200)
    story.trade("59400")
    story.until_resting(lv2=("58806", "0.04"), tp0=("60196", "0.03"))
    world.fault("lose", path="/fapi/v1/order", method="DELETE", how="503")
    story.trade("60600")
    story.until_ended("take_profit")


def look_at_the_panel(world: World, answers: Answers) -> None:
    """Log in, wrongly and rightly, and open every page."""
    for password, expected in ((TRIED[2], 403), (GIVEN["ADMIN_PASSWORD"], 303)):
        token = token_in(answers.send("GET", "/rust_admin/login"))
        form = {"token": token, "username": "admin", "password": password}
        headers = {"Origin": world.api_url}
        answer = answers.send("POST", "/rust_admin/login", data=form, headers=headers)
        assert answer.status_code == expected
    pages = ["", "web-hook/list", "web-hook/details/2", "cycle/list", "order/list", "secrets"]
    assert NAME in answers.send("GET", "/rust_admin/web-hook/details/2").text
    for page in pages:
        answers.send("GET", f"/rust_admin/{page}", follow_redirects=True)
    for path in ("/health/ready", "/ping", f"/rust_admin/{TRIED[1]}", f"/{TRIED[1]}"):
        answers.send("GET", path)


def break_something(world: World, answers: Answers, made: str) -> None:
    """Take a table away while an alert comes: an error of ours, logged and reported."""
    alert = json.dumps({"action": "close", "symbol": SYMBOL, "name": NAME, "secret": made})
    with closing(sqlite3.connect(str(world.engine.url.database), timeout=30)) as database:
        database.execute("ALTER TABLE webhook RENAME TO elsewhere")
        database.commit()
        answer = answers.send("POST", f"/webhook/{made}", content=alert)
        assert answer.status_code == 503, answer.text
        database.execute("ALTER TABLE elsewhere RENAME TO webhook")
        database.commit()


def sent(receiver: Receiver) -> Iterator[str]:
    """Return what was sent to the messenger and to Sentry, as text."""
    for path, body in receiver.came:
        is_report = path.endswith("/envelope/")
        yield (gzip.decompress(body) if is_report else body).decode()


def files(folder: Path) -> dict[str, str]:
    """Return every file that the processes have made, whatever it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes().decode("utf-8", "replace")
        for path in folder.rglob("*")
        if path.is_file()
    }


def dump(path: str) -> str:
    """Return all tables: in the file a long text lies in pieces."""
    with closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump())


def found(secrets: list[str], written: dict[str, str]) -> list[tuple[str, str]]:
    """Return which secret stands where, also as JSON or an address would write it."""
    return [
        (secret, place)
        for secret in secrets
        for place, text in written.items()
        if any(form in text for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]))
    ]
