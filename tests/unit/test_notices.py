"""Notices reach the notifier in order, on a thread of their own, and hold nobody up."""

import threading
from dataclasses import replace

import structlog.testing

from core.clients.notices import MOST_WAITING, Notices, notice_of
from core.domain.alarms import GUIDES, Alarm, AlarmKind, Severity
from core.notice_rules import NoticeLevel, NoticeRules
from core.ports import Notice, Topic

ALARM = Alarm(kind=AlarmKind.HEDGE_FAILED, text="no hedge: all 5 were used", at_ms=7)
NOTICE = notice_of(ALARM, symbol="BTCUSDT", cycle="k1")
FOR_EVER_S = 30.0


class Recorder:
    """A notifier that waits until it may go on, and fails where it is told to."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.told: list[str] = []
        self.threads: set[int] = set()
        self.fails_at = ""

    def notify(self, notice: Notice) -> None:
        """Note the notice down."""
        assert self.may_go_on.wait(FOR_EVER_S)
        self.threads.add(threading.get_ident())
        self.told.append(notice.title)
        if notice.title == self.fails_at:
            raise ConnectionError("no way out")


def titled(title: str) -> Notice:
    return replace(NOTICE, title=title)


def test_a_notice_says_what_happened_and_what_to_do() -> None:
    assert (
        Notice(
            kind="hedge-failed",
            symbol="BTCUSDT",
            cycle="k1",
            title="BTCUSDT: hedge-failed",
            text=f"no hedge: all 5 were used. {GUIDES[AlarmKind.HEDGE_FAILED].action}",
            severity=Severity.CRITICAL,
            at_ms=7,
        )
        == NOTICE
    )


def test_they_are_delivered_in_order_elsewhere() -> None:
    recorder = Recorder()
    queue = Notices([recorder])
    for title in "abc":
        queue.put(titled(title))
    queue.close(within_s=FOR_EVER_S)
    assert recorder.told == ["a", "b", "c"]
    assert threading.get_ident() not in recorder.threads


def test_one_that_fails_is_logged_and_the_next_is_delivered() -> None:
    recorder = Recorder()
    recorder.fails_at = "a"
    queue = Notices([recorder])
    with structlog.testing.capture_logs() as logs:
        queue.put(titled("a"))
        queue.put(titled("b"))
        queue.close(within_s=FOR_EVER_S)
    assert recorder.told == ["a", "b"]
    assert [(line["event"], line["kind"]) for line in logs] == [
        ("notice not delivered", "hedge-failed")
    ]


def test_a_notifier_that_hangs_holds_up_neither_those_who_tell_nor_the_end() -> None:
    recorder = Recorder()
    recorder.may_go_on.clear()
    queue = Notices([recorder])
    with structlog.testing.capture_logs() as logs:
        for number in range(MOST_WAITING + 5):
            queue.put(titled(str(number)))
    queue.close(within_s=0)
    assert recorder.told == []
    assert {line["event"] for line in logs} == {"notice dropped, too many wait"}
    assert 4 <= len(logs) <= 5  # the thread holds one, if it was quick
    recorder.may_go_on.set()
    queue.close(within_s=FOR_EVER_S)
    assert len(recorder.told) == MOST_WAITING + 5 - len(logs)


def test_a_channel_that_hangs_holds_up_no_other() -> None:
    hanging, other = Recorder(), Recorder()
    hanging.may_go_on.clear()
    queues = Notices([hanging, other])
    for title in "abc":
        queues.put(titled(title))
    while len(other.told) < 3:
        threading.Event().wait(0.001)
    queues.close(within_s=0)
    assert hanging.told == []
    hanging.may_go_on.set()
    queues.close(within_s=FOR_EVER_S)
    assert hanging.told == ["a", "b", "c"]


def test_what_nobody_wants_to_hear_is_not_sent() -> None:
    recorder = Recorder()
    queues = Notices([recorder], NoticeRules(level=NoticeLevel.ALARMS))
    queues.put(replace(NOTICE, topic=Topic.DETAIL, severity=None, title="a level"))
    queues.put(NOTICE)
    queues.close(within_s=FOR_EVER_S)
    assert recorder.told == [NOTICE.title]


def test_without_a_notice_there_is_no_thread() -> None:
    before = threading.active_count()
    Notices().close()
    nobody = Notices()
    nobody.put(NOTICE)
    nobody.close(within_s=FOR_EVER_S)
    assert threading.active_count() == before
