"""What people hear, and when: levels, quiet hours, time zones."""

from dataclasses import replace
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from core.domain.alarms import Severity
from core.notice_rules import Hours, NoticeLevel, NoticeRules, parse_hours, parse_time
from core.ports import Notice, Topic

WARNING = Notice(
    kind="margin",
    symbol="BTCUSDT",
    cycle="k1",
    title="",
    text="",
    severity=Severity.WARNING,
    at_ms=0,
)
CRITICAL = replace(WARNING, severity=Severity.CRITICAL)
OPENED = replace(WARNING, severity=None, topic=Topic.CYCLE)
AVERAGED = replace(WARNING, severity=None, topic=Topic.DETAIL)
ALL = (WARNING, CRITICAL, OPENED, AVERAGED)

LEVELS = {
    NoticeLevel.ALARMS: [WARNING, CRITICAL],
    NoticeLevel.CYCLES: [WARNING, CRITICAL, OPENED],
    NoticeLevel.EVERYTHING: [*ALL],
}


@pytest.mark.parametrize(("level", "heard"), LEVELS.items())
def test_levels(level: NoticeLevel, heard: list[Notice]) -> None:
    rules = NoticeRules(level=level)
    assert [notice for notice in ALL if rules.let_through(notice)] == heard


HOURS = {  # hours: (loud, quiet)
    "22:00-07:00": (["07:00", "12:00", "21:59"], ["22:00", "23:59", "00:00", "06:59"]),
    "01:00-06:30": (["00:59", "06:30", "23:00"], ["01:00", "06:29"]),
    " 22:30 - 07:05 ": (["07:05", "22:29"], ["22:30", "07:04"]),
}


@pytest.mark.parametrize(("text", "moments"), HOURS.items())
def test_quiet_hours(text: str, moments: tuple[list[str], list[str]]) -> None:
    hours, (loud, quiet) = parse_hours(text), moments
    assert [moment for moment in loud if parse_time(moment) in hours] == []
    assert [moment for moment in quiet if parse_time(moment) not in hours] == []


def test_only_what_is_critical_is_heard_in_quiet_hours() -> None:
    rules = NoticeRules(quiet=Hours(time(22), time(7)), zone=ZoneInfo("Europe/Berlin"))

    def at(hour: int) -> list[Notice]:
        moment = datetime(2026, 11, 28, hour, 30, tzinfo=UTC)
        ms = int(moment.timestamp() * 1000)
        return [notice for notice in ALL if rules.let_through(replace(notice, at_ms=ms))]

    assert at(20) == [*ALL]  # 21:30 in Berlin
    assert at(21) == [CRITICAL]
    assert at(5) == [CRITICAL]
    assert at(6) == [*ALL]  # 07:30


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("22:00", "must be two times of day such as 22:00-07:00"),
        ("22-7", "'22' is no time of day; write it as 07:30"),
        ("22:00-25:00", "'25:00' is no time of day"),
        ("22:00-22:00", "must not begin and end at the same time"),
        ("", "must be two times"),
    ],
)
def test_hours_that_are_none(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_hours(text)


def test_hours_are_shown_as_they_are_written() -> None:
    assert str(parse_hours("22:00-07:30")) == "22:00-07:30"
