"""The operator's command line, without a monitor."""

import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

import operate
from config import load_settings
from core.descriptions import described_alarm, described_cycle
from core.domain.alarms import RaisedAlarm, Severity
from core.domain.cycle import (
    Cycle,
    Kind,
    Ledger,
    Leg,
    OperatorAction,
    OrderState,
    OrderStatus,
    Phase,
    PositionSide,
    Role,
    Side,
)
from core.domain.settings import Policy
from core.passwords import fits
from tests.unit.samples import sample_rules, sample_settings

D = Decimal
LEVEL = OrderState(
    client_order_id="tb-k1-lv2-1",
    role=Role.LEVEL,
    number=2,
    attempt=1,
    side=Side.BUY,
    position_side=PositionSide.LONG,
    kind=Kind.LIMIT,
    price=D("59103.00"),
    quantity=D("0.012"),
    status=OrderStatus.OPEN,
    executed=D("0.004"),
)
STOP = replace(LEVEL, role=Role.HEDGE_STOP, number=1, quantity=None, executed=D(0))
OVER = replace(LEVEL, status=OrderStatus.OVER)


def test_an_open_cycle_is_described_with_all_that_rests() -> None:
    cycle = Cycle(
        cycle_id=1,
        key="k1",
        symbol="BTCUSDT",
        settings=sample_settings(),
        rules=sample_rules(),
        policy=Policy(),
        accepted_at_ms=0,
        phase=Phase.TRADING,
        orders=(OVER, LEVEL, STOP),
        ledger=Ledger(long=Leg(quantity=D("0.014"), entry=D("59587.5")), commissions=D("0.25")),
        is_paused=True,
    )
    assert described_cycle(cycle) == [
        "cycle k1: trading, paused",
        "LONG 0.014 at 59587.5, SHORT 0, so far -0.25 USDT",
        "order level 2: BUY 0.012 at 59103, 0.004 filled [open]",
        "order hedge_stop 1: BUY all at 59103 [open]",
    ]


def test_an_alarm_is_described_with_what_to_do() -> None:
    alarm = RaisedAlarm(
        alarm_id=7,
        symbol="BTCUSDT",
        cycle_id=1,
        kind="margin",
        severity=Severity.WARNING,
        text="level 1 was refused",
        action="Add funds.",
        count=3,
        raised_at_ms=0,
        last_at_ms=60_000,
    )
    assert described_alarm(alarm) == (
        "ALARM 7 BTCUSDT margin, warning, 1970-01-01 00:01 UTC (3 times): level 1 was refused. "
        "Add funds."
    )
    assert "times" not in described_alarm(replace(alarm, count=1))


def test_every_request_of_a_person_has_a_command() -> None:
    by_alerts = {OperatorAction.SIGNAL_CLOSE}
    assert {action for action, _ in operate.ACTIONS.values()} == set(OperatorAction) - by_alerts


def test_without_a_database_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert operate.main(["close", "BTCUSDT"]) == 1
    text = "operate: there is no database sqlite:///data/tradebox.sqlite3 yet\n"
    assert capsys.readouterr().err == text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["close"], "the following arguments are required: SYMBOL"),
        (["close", "x y"], "argument SYMBOL: must be a symbol"),
        (["sell", "BTCUSDT"], "invalid choice: 'sell'"),
        ([], "required: COMMAND"),
    ],
)
def test_what_is_not_understood_asks_for_nothing(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        operate.main(words)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MG_MODE", "x")
    assert operate.main(["status"]) == 2
    assert "MG_MODE = x: must be" in capsys.readouterr().err


def test_a_password_becomes_a_line_for_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MG_MODE", "x")  # no setting is looked at
    monkeypatch.setattr("sys.stdin", io.StringIO("a pässword\n"))
    assert operate.main(["password"]) == 0
    (tmp_path / ".env").write_text(capsys.readouterr().out, encoding="utf-8")
    monkeypatch.delenv("MG_MODE")
    known = load_settings().admin_password
    assert known is not None
    assert fits("a pässword", known.get_secret_value())


@pytest.mark.parametrize(
    ("typed", "said"),
    [(["one", "other"], "two different passwords"), (["", ""], "that is no password")],
)
def test_a_password_that_was_mistyped_becomes_nothing(
    typed: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = iter(typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    assert operate.main(["password"]) == 1
    output = capsys.readouterr()
    assert (output.out, said in output.err) == ("", True)
