"""A short slice of `make simulate`, and what its failures come with: a short history, replayable.

What a seed showed becomes a story of its own, because a seed means another history as soon as
anything about the dice changes.
"""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from core.domain.cycle import Role
from core.domain.diff import Decision
from core.domain.diff import decide as real_decide
from simulation import __main__ as command
from simulation import events as e
from simulation.run import play_again, play_seed, shrink

SEEDS = range(1, 26)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_invariants_hold(seed: int) -> None:
    outcome = play_seed(seed)
    assert not outcome.failure, f"make simulate SEEDS={seed}"
    assert outcome.looks, "nothing was ever looked at"


def test_a_history_from_a_file_is_the_same_history(tmp_path: Path) -> None:
    drawn = play_seed(17)
    e.save(drawn.history, tmp_path / "17.json", why=["for the test"])
    loaded = e.load(tmp_path / "17.json")
    assert loaded == drawn.history
    assert play_again(loaded).told == drawn.told == play_seed(17).told


def _decide_without_take_profit(cycle: object, now_ms: int) -> Decision:
    decision = real_decide(cycle, now_ms)  # type: ignore[arg-type] # as it is called
    requests = tuple(o for o in decision.requests if o.role is not Role.TAKE_PROFIT)
    return replace(decision, requests=requests)


def test_a_failure_is_told_by_few_events_that_fail_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("core.domain.step.decide", _decide_without_take_profit)
    folder = ["--folder", str(tmp_path)]
    assert command.main(["--seeds", "1", "--shrink", "20", *folder]) == 1
    told = capsys.readouterr().out
    assert f"make simulate REPLAY={tmp_path}/seed-1.json" in told
    history = e.load(tmp_path / "seed-1.json")
    assert len(history.events) < 60
    assert command.main(["--replay", str(tmp_path / "seed-1.json")]) == 1
    monkeypatch.undo()
    assert command.main(["--replay", str(tmp_path / "seed-1.json")]) == 0


def test_shrinking_keeps_what_the_failure_needs() -> None:
    whole = play_again(
        e.History(
            seed=1,
            symbol="BTCUSDT",
            events=(e.Wait(ms=5), e.Trade(price=Decimal(-1), quantity=Decimal(1)), e.Wait(ms=7)),
        )
    )
    assert "a trade of 1 at -1" in whole.failure
    assert len(shrink(whole).history.events) == 1


def test_recorded_prices_drive_the_market(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        f"{n * 60_000},{4 - n / 1000},{4.004 - n / 1000},{3.99 - n / 1000},{4 - n / 1000},400,"
        f"{n * 60_000 + 59_999},1600,10,200,800,0"
        for n in range(1, 400)
    ]
    dump = tmp_path / "FILUSDT-1m.csv"
    dump.write_text("\n".join(rows))
    assert command.main(["--seeds", "1-2", "--prices", str(dump)]) == 0
    assert capsys.readouterr().out.startswith("seeds 2, ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "x"], "SEEDS: 'x' is not like 1-200, 7 or 1-5,9"),
        (["--seeds", "9-1"], "names no seed"),
        (["--replay", "/nowhere.json"], "/nowhere.json: No such file or directory"),
        (["--prices", "/nowhere.csv"], "/nowhere.csv"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_history_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"seed": 1, "symbol": "BTCUSDT", "events": [{"type": "wait", "ms": "soon"}]}')
    assert command.main(["--replay", str(path)]) == 2
    assert "not a history of a simulation: Expected `int`" in capsys.readouterr().err
