"""What is shown: lines, tables, the ladder, the sample alert, and what becomes of them unread."""

import io
import json
import os
import re
import stat
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.grid import calculate_grid_orders
from core.passwords import fits
from core.schemas.payload import read_body
from core.schemas.webhook import Alert, parse_alert
from launcher import screen as screen_module
from launcher.errors import LaunchError
from launcher.ladder import Ladder, Rung, ladder_of_answer, ladder_table
from launcher.prepare import operator_password
from launcher.sample import sample_alert
from launcher.screen import Screen, readable, table
from tests.unit.samples import sample_rules, sample_settings
from tests.unit.test_launcher_options import plan

D = Decimal


class Terminal(io.StringIO):
    """Somebody who sees colours."""

    def isatty(self) -> bool:
        """Say that this is one."""
        return True


class Blocked(io.StringIO):
    """A terminal that was paused."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()

    def write(self, text: str) -> int:
        """Wait until somebody lets it go on."""
        assert self.goes_on.wait(10)
        return super().write(text)


def shown(stream: io.StringIO) -> list[str]:
    """Return what the screen wrote."""
    return stream.getvalue().splitlines()


def test_lines_carry_the_name_of_their_process() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.of("paper", "10:26:52 fill")
    screen.of("monitor", "2026-11-22T10:27:20.017Z INFO    level 1 filled symbol=BTCUSDT")
    screen.say("ready")
    screen.show(["a", "", "b"])
    screen.close()
    assert shown(stream) == [
        "paper   | 10:26:52 fill",
        "monitor | 10:27:20 level 1 filled symbol=BTCUSDT",
        ">>> ready",
        *("    a", "", "    b"),
    ]


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    screen = Screen(stream)
    screen.of("api", "2026-11-22T10:27:20.017Z ERROR   it failed")
    screen.close()
    assert shown(stream) == ["\x1b[32mapi     |\x1b[0m \x1b[31m10:27:20 ERROR it failed\x1b[0m"]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    screen = Screen(plain)
    screen.say("x")
    screen.close()
    assert shown(plain) == [">>> x"]


@pytest.mark.parametrize(
    ("line", "text", "is_serious"),
    [
        (
            "2026-11-22T10:27:20.017Z WARNING ALARM no hedge",
            "10:27:20 WARNING ALARM no hedge",
            True,
        ),
        ("no log line at all", "no log line at all", False),
        ("\x1b]0;a title\x07 and\ta tab", r"\x1b]0;a title\x07 and\ta tab", False),
    ],
)
def test_what_a_line_becomes(line: str, text: str, is_serious: bool) -> None:
    assert readable(line) == (text, is_serious)


def test_a_paused_terminal_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_module, "WAITING_LINES", 3)
    stream = Blocked()
    screen = Screen(stream)
    for number in range(10):
        screen.say(str(number))
    stream.goes_on.set()
    screen.close()
    lines = shown(stream)
    assert lines[0] == ">>> 0"
    assert 3 <= len(lines) <= 4  # one in the writer's hand, three waiting
    screen = Screen(again := io.StringIO())
    screen.say("x")
    screen.close()
    assert shown(again) == [">>> x"]


def test_a_reader_that_goes_away_ends_the_run() -> None:
    reading, writing = os.pipe()
    gone = threading.Event()
    with os.fdopen(writing, "w") as stream:
        screen = Screen(stream, on_gone=gone.set)
        os.close(reading)
        screen.say("is anybody there?")
        assert gone.wait(10)
        screen.say("and this goes nowhere")
        screen.close()


def test_a_table_is_aligned() -> None:
    assert table(("", "n"), [("first", "1"), ("x", "22")]) == [
        "        n",
        "-----  --",
        "first   1",
        "x      22",
    ]


def test_the_worked_example_as_a_ladder() -> None:
    grid = calculate_grid_orders(sample_settings(), D(60_000), sample_rules(), D("0.004"))
    ladder = Ladder(
        entry_price=grid.entry_fill_price,
        entry_quantity=grid.entry_quantity,
        rungs=tuple(
            Rung(
                number=level.number,
                price=level.price,
                quantity=level.quantity,
                average_price=level.average_price,
            )
            for level in grid.levels
        ),
        take_profit=grid.take_profit,
        hedge_trigger=grid.hedge_trigger,
        hedge_quantity=grid.hedge_quantity,
        notional=grid.total_notional,
        notional_left=grid.notional_left,
    )
    assert ladder_table(ladder) == [
        "             order              price  from entry  quantity  notional  average after it",
        "-----------  ---------------  -------  ----------  --------  --------  ----------------",
        "take-profit  SELL LONG limit  60300.0     +0.50 %     0.004    241.20",
        "entry        BUY LONG market  60000.0                 0.004    240.00          60000.00",
        "level 1      BUY LONG limit   59700.0     -0.50 %     0.006    358.20          59820.00",
        "level 2      BUY LONG limit   59103.0     -1.50 %     0.012    709.24          59428.91",
        "level 3      BUY LONG limit   57920.9     -3.47 %     0.024   1390.10          58642.12",
        "hedge 1      SELL SHORT stop  57805.0     -3.66 %     0.103   5953.92",
        "LONG in all 2697.5376, 302.4624 of the deposit × leverage left",
    ]


def test_the_ladder_of_an_answer() -> None:
    told = {
        "entry_price": "60000",
        "entry_quantity": "0.004",
        "levels": [{"number": 1, "price": "59700", "quantity": "0.006", "average_price": "59820"}],
        "take_profit": "60300",
        "hedge_trigger": None,
        "hedge_quantity": None,
        "total_notional": "598.2",
        "notional_left": "2401.8",
    }
    ladder = ladder_of_answer({"ladder": told})
    assert ladder is not None
    assert (ladder.rungs[0].average_price, ladder.hedge_trigger) == (D(59820), None)
    assert len(ladder_table(ladder)) == 6
    assert ladder_of_answer({"status": "accepted"}) is None


@pytest.mark.parametrize(
    ("symbol", "by_quote", "amount"),
    [
        ("BTCUSDT", False, ("amount", D("0.004"))),
        ("BTCUSDT", True, ("quote", D(240))),
        ("FILUSDT", False, ("quote", D(240))),
    ],
)
def test_the_sample_is_an_alert(symbol: str, by_quote: bool, amount: tuple[str, Decimal]) -> None:
    body = sample_alert(symbol, by_quote=by_quote, secret="a secret of sixteen")
    alert = _parsed(body)
    assert alert.settings is not None
    assert (alert.symbol, alert.settings.leverage) == (symbol, 10)
    assert (alert.settings.amount_type, alert.settings.amount) == amount
    assert sample_alert(symbol, by_quote=by_quote, secret=None) == {
        name: value for name, value in body.items() if name != "secret"
    }


def test_a_password_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "operator-password"
    lost = operator_password(plan(tmp_path))  # not shown, so not kept
    first = operator_password(plan(tmp_path))
    assert first.said != lost.said
    first.keep()
    found = re.fullmatch(r"password (\S{20,}) \(shown this once; .* keeps its hash\)", first.said)
    assert found is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert found[1] not in path.read_text()
    assert fits(found[1], path.read_text().strip())
    assert found[1] not in repr(first)
    again = operator_password(plan(tmp_path))
    again.keep()
    assert (again.setting, again.keep_in) == (first.setting, None)
    assert again.said.startswith("password as shown at the first start")


def test_a_password_that_was_kept_as_it_was_is_turned_into_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "operator-password"
    path.write_text("as-it-was\n")
    password = operator_password(plan(tmp_path))
    assert "password as-it-was (shown this once" in password.said
    password.keep()
    assert fits("as-it-was", path.read_text().strip())


def test_half_a_hash_is_no_password(tmp_path: Path) -> None:
    (tmp_path / "operator-password").write_text("$argon2id$v=19$m=65536,t=3")
    with pytest.raises(LaunchError, match="delete it, start again"):
        operator_password(plan(tmp_path))


def test_a_configured_password_is_neither_shown_nor_kept(tmp_path: Path) -> None:
    password = operator_password(plan(tmp_path, admin_password=SecretStr("mine alone")))
    password.keep()
    assert (password.setting, password.said) == ("mine alone", "password as in ADMIN_PASSWORD")
    assert list(tmp_path.iterdir()) == []


def _parsed(body: dict[str, object]) -> Alert:
    return parse_alert(read_body(json.dumps(body).encode()), mg_mode_default=None)
