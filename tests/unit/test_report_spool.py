"""Reports of runs on disk: what is kept, in what order, and what gives way."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.clients.report_spool import ReportSpool
from core.ports import RunReport


def started(run_id: str) -> RunReport:
    return RunReport(
        run_id=run_id,
        flow_name="order_filled_flow",
        task_name=None,
        parent_run_id=None,
        tags=("symbol:BTCUSDT",),
        started_at_ms=1_000,
    )


def ended(run_id: str) -> RunReport:
    return replace(started(run_id), ended_at_ms=1_020, state="Completed")


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], ReportSpool]:
    return lambda: ReportSpool(tmp_path / "reports", "monitor", limit=5)


def drained(spool: ReportSpool) -> list[RunReport]:
    found = []
    while (oldest := spool.oldest()) is not None:
        found.append(oldest[1])
        spool.done(oldest[0])
    return found


@pytest.mark.parametrize(
    ("added", "kept"),
    [
        pytest.param([[started("a")], [started("b")]], [started("a"), started("b")], id="in order"),
        pytest.param([[started("a"), ended("a")]], [ended("a")], id="an end tells its start"),
        pytest.param([[started("a")], [ended("a")]], [ended("a")], id="also one written before"),
        pytest.param(
            [[started("a")], [started("b"), ended("a")]],
            [started("b"), ended("a")],
            id="a start without its end stays",
        ),
        pytest.param(
            [[ended(n) for n in "abcdefg"]], [ended(n) for n in "cdefg"], id="the oldest give way"
        ),
    ],
)
def test_what_waits(
    opened: Callable[[], ReportSpool], added: list[list[RunReport]], kept: list[RunReport]
) -> None:
    spool = opened()
    dropped = sum(spool.add(runs) for runs in added)
    assert dropped == (2 if len(kept) == 5 else 0)
    assert len(spool) == len(kept)
    assert drained(spool) == kept
    assert len(spool) == 0
    spool.close()


def test_reports_outlive_their_process(opened: Callable[[], ReportSpool]) -> None:
    spool = opened()
    spool.add([ended("a"), started("b")])
    number, _ = spool.oldest() or (0, None)
    assert spool.failed(number) == 1
    spool.close()
    again = opened()
    assert len(again) == 2
    assert again.failed(number) == 2
    assert drained(again) == [ended("a"), started("b")]
    again.close()


def test_two_processes_have_a_file_each(opened: Callable[[], ReportSpool], tmp_path: Path) -> None:
    first, second = opened(), opened()
    first.add([ended("a")])
    second.add([ended("b")])
    assert drained(first) == [ended("a")]
    assert drained(second) == [ended("b")]
    first.close()
    second.close()
    files = {path.name for path in (tmp_path / "reports").glob("*.sqlite3")}
    assert files == {"monitor.sqlite3", "monitor-2.sqlite3"}


def test_a_report_of_another_version_makes_way(
    opened: Callable[[], ReportSpool], tmp_path: Path
) -> None:
    spool = opened()
    spool.add([started("old"), ended("a")])
    spool.close()
    with closing(sqlite3.connect(tmp_path / "reports" / "monitor.sqlite3")) as file, file:
        file.execute("UPDATE report SET body = '{}' WHERE run_id = 'old'")
    again = opened()
    assert drained(again) == [ended("a")]
    assert len(again) == 0
    again.close()


def test_a_damaged_file_is_put_aside(opened: Callable[[], ReportSpool], tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "monitor.sqlite3").write_bytes(b"not a database " * 100)
    spool = opened()
    spool.add([ended("a")])
    assert drained(spool) == [ended("a")]
    spool.close()
    assert (tmp_path / "reports" / "monitor.damaged").exists()
