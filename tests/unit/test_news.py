"""What people are told of a cycle: each thing once, by the step that made it so."""

from core.domain.cycle import FillsRead, ReportedStatus
from core.news import news_of
from core.ports import Topic
from tests.builders import Story, a_fill, dec


def told(story: Story) -> list[tuple[str, str]]:
    return [(n.title, n.text) for step in story.steps for n in news_of(step)]


def topics(story: Story) -> list[tuple[str, Topic]]:
    return [(n.kind, n.topic) for step in story.steps for n in news_of(step)]


def test_an_entry_is_told_once_it_is_over() -> None:
    story = Story().entered()
    key = story.cycle.key
    assert told(story) == [
        ("BTCUSDT: opened", f"LONG 0.004 BTC at 60000 bought (cycle {key})"),
    ]


def test_the_entry_s_price_is_told_before_its_fills_are_known() -> None:
    story = Story()
    quantity, price = dec("0.004"), dec("60001.5")
    story.report(story.order("entry"), ReportedStatus.FILLED, executed=quantity, average=price)
    assert [text.partition(" (")[0] for _, text in told(story)] == [
        "LONG 0.004 BTC at 60001.5 bought"
    ]


def test_an_entry_without_a_price_is_told_with_its_first_fill() -> None:
    story = Story()
    story.report(story.order("entry"), ReportedStatus.FILLED, executed=dec("0.004"))
    assert told(story) == []
    entry = story.order("entry").client_order_id
    fills = (a_fill(1, entry, "0.001", "60002"), a_fill(2, entry, "0.003", "60006"))
    story.tell(FillsRead(at_ms=story.now_ms, fills=fills))
    assert [text.partition(" (")[0] for _, text in told(story)] == [
        "LONG 0.004 BTC at 60005 bought"
    ]


def test_a_level_is_told_when_it_is_whole_and_with_the_new_average() -> None:
    story = Story().entered().fill("level 1", quantity="0.002")
    assert len(told(story)) == 1
    story.fill("level 1")
    title, text = told(story)[-1]
    assert title == "BTCUSDT: averaged"
    assert text.startswith("level 1 bought 0.006 BTC at 59700; LONG 0.01 at 59820, SHORT 0")


def test_a_hedge_its_end_and_the_close() -> None:
    story = Story().entered().hedged().fill("hedge_stop 1")
    assert topics(story)[0] == ("opened", Topic.CYCLE)
    assert ("hedged", Topic.DETAIL) in topics(story)
    assert topics(story)[-1] == ("hedge-closed", Topic.DETAIL)
    hedged = next(text for title, text in told(story) if title == "BTCUSDT: hedged")
    assert hedged.startswith("hedge 1 sold 0.103 BTC at 57800; LONG ")
    assert "net so far -" in told(story)[-1][1]


def test_the_close_is_told_with_its_reason_and_every_part_of_the_result() -> None:
    story = Story().entered().fill("take_profit").settle().proven_flat()
    title, text = told(story)[-1]
    assert title.startswith("BTCUSDT: closed, net ")
    assert title.endswith(" USDT")
    assert text.startswith("take_profit: realised ")
    assert "fees " in text
    assert topics(story)[-1] == ("closed", Topic.CYCLE)


def test_no_step_tells_what_another_has_told() -> None:
    story = Story().entered()
    last = story.steps[-1]
    again = type(last)(before=last.cycle, cycle=last.cycle, facts=last.facts)
    assert news_of(again) == ()
