"""Which notices people want to hear, and when: levels and quiet hours. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from enum import StrEnum
from typing import Final

from core.domain.alarms import Severity
from core.ports import Notice, Topic


class NoticeLevel(StrEnum):
    """How much people want to hear."""

    ALARMS = "alarms"
    CYCLES = "cycles"  # and what was opened and closed, and the day's summary
    EVERYTHING = "everything"  # and every level and hedge


_TOPICS: Final = {
    NoticeLevel.ALARMS: {Topic.ALARM},
    NoticeLevel.CYCLES: {Topic.ALARM, Topic.CYCLE},
    NoticeLevel.EVERYTHING: {Topic.ALARM, Topic.CYCLE, Topic.DETAIL},
}


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of each day, its end excluded; one that ends before it begins lasts over midnight."""

    begin: time
    end: time

    def __contains__(self, moment: time) -> bool:
        """Return whether the time of day lies in it."""
        if self.begin <= self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRules:
    """What is sent; critical alarms always are."""

    level: NoticeLevel = NoticeLevel.EVERYTHING
    quiet: Hours | None = None
    zone: tzinfo = UTC  # of the quiet hours

    def let_through(self, notice: Notice) -> bool:
        """Return whether people want to hear of it at its time."""
        if notice.severity is Severity.CRITICAL:
            return True
        if notice.topic not in _TOPICS[self.level]:
            return False
        at = datetime.fromtimestamp(notice.at_ms / 1000, tz=self.zone)
        return self.quiet is None or at.time() not in self.quiet


def parse_hours(text: str) -> Hours:
    """Return the hours of a text such as `22:00-07:00`; ValueError says what is wrong."""
    begin, dash, end = text.partition("-")
    if not dash:
        raise ValueError("must be two times of day such as 22:00-07:00")
    hours = Hours(parse_time(begin), parse_time(end))
    if hours.begin == hours.end:
        raise ValueError("must not begin and end at the same time")
    return hours


def parse_time(text: str) -> time:
    """Return the time of day of a text such as `07:30`; ValueError says what is wrong."""
    try:
        return datetime.strptime(text.strip(), "%H:%M").replace(tzinfo=UTC).time()
    except ValueError:
        raise ValueError(f"{text.strip()!r} is no time of day; write it as 07:30") from None
