"""Alarms: every kind says what it means and what to do, and docs/alarms.md says the same."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from core.domain.alarms import GUIDES, AlarmKind
from core.domain.cycle import Cycle
from core.domain.turns import fail_hedge
from tests.builders import Story

ROOT = Path(__file__).resolve().parents[3]


def test_every_kind_has_a_cause_and_an_action() -> None:
    assert list(GUIDES) == list(AlarmKind)
    for guide in GUIDES.values():
        assert guide.cause.endswith(".")
        assert guide.action.endswith(".")


def test_the_table_for_people_and_the_code_agree() -> None:
    lines = (ROOT / "docs" / "alarms.md").read_text("utf-8").splitlines()
    table = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines if "|" in line]
    assert table[2:] == [
        (
            f"`{kind}`" + (" †" if guide.outlives_cycle else ""),
            guide.severity.value,
            guide.cause,
            guide.action,
        )
        for kind, guide in GUIDES.items()
    ]


def kinds_named_in(source: str) -> set[str]:
    """Return the names of the kinds that a source mentions."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "AlarmKind"
    }


def test_every_kind_is_raised_somewhere() -> None:
    files = {*(ROOT / "core").rglob("*.py"), *(ROOT / "flows").rglob("*.py")}
    files.remove(ROOT / "core" / "domain" / "alarms.py")
    raised = set().union(*(kinds_named_in(path.read_text("utf-8")) for path in files))
    assert raised == {kind.name for kind in AlarmKind}


class TestOneCause:
    def raised(self, *abouts: object) -> Cycle:
        cycle = Story().cycle
        for about in abouts:
            cycle = cycle.with_alarm(AlarmKind.MARGIN, "no margin", 1, about=about)
        return cycle

    @pytest.mark.parametrize(
        ("abouts", "keys"),
        [((1,), ["margin-1"]), ((1, 1), ["margin-1"]), ((1, 2), ["margin-1", "margin-2"])],
    )
    def test_is_raised_once(self, abouts: tuple[int, ...], keys: list[str]) -> None:
        assert [alarm.key for alarm in self.raised(*abouts).alarms] == keys

    def test_may_come_back_where_it_is_an_event(self) -> None:
        cycle = self.raised()
        for _ in range(3):
            cycle = cycle.with_another_alarm(AlarmKind.HEDGE_FAILED, "none fits", 1)
        keys = [alarm.key for alarm in cycle.alarms]
        assert keys == ["hedge-failed", "hedge-failed-1", "hedge-failed-2"]

    def test_that_is_told_while_it_lasts_is_not_told_again(self) -> None:
        cycle = Story().entered().cycle
        failed = fail_hedge(cycle, "none fits", 1)
        assert fail_hedge(failed, "none fits still", 2) == failed
        again = fail_hedge(replace(failed, hedge_failed=False), "none fits again", 3)
        assert [alarm.key for alarm in again.alarms] == ["hedge-failed", "hedge-failed-1"]
