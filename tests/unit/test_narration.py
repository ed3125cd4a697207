"""What a step did, in words: each line once, with the numbers that a person asks for."""

from dataclasses import replace

import pytest

from core.domain.alarms import GUIDES, AlarmKind
from core.domain.cycle import OperatorAction, OrderRefused, Phase, ReportedStatus, Request
from core.domain.step import Step
from core.narration import Line, narrate, net_pnl
from tests.builders import Story, dec


def lines(story: Story) -> list[str]:
    """Return everything told of a story, in order."""
    return [line.text for step in story.steps for line in narrate(step)]


def bare(story: Story) -> list[str]:
    """Return the same without the reasons in brackets."""
    return [line.split("  (")[0] for line in lines(story)]


def last(story: Story) -> list[Line]:
    """Return what the last step told."""
    return list(narrate(story.steps[-1]))


def test_an_entry_and_what_follows_from_it() -> None:
    assert bare(Story().entered()) == [
        "entry placed: BUY 0.004 at market",
        "entry filled 0.004: LONG 0.004 at 60000, SHORT 0",
        "take-profit placed: SELL 0.004 at 60300",
        "level 1 placed: BUY 0.006 at 59700",
    ]


def test_an_order_s_reason_stands_behind_it() -> None:
    placed = next(text for text in lines(Story().entered()) if "take-profit placed" in text)
    assert "(rule 2: LONG 0.004 at 60000 + 0.5 %, 0 of it already sold)" in placed


def test_partial_fills_tell_how_much_of_how_much() -> None:
    story = Story().entered().fill("level 1", quantity="0.002")
    assert "level 1 filled 0.002 of 0.006: LONG 0.006 at 59900, SHORT 0" in bare(story)
    story.fill("level 1", quantity="0.003").fill("level 1")
    told = [text.split(":")[0] for text in bare(story)]
    assert "level 1 filled 0.003 (0.005 of 0.006)" in told
    assert "level 1 filled 0.001 (0.006 of 0.006)" in told


def test_partial_fills_of_a_stop_for_the_whole_side_tell_their_sum() -> None:
    story = Story().entered().hedged().fill("hedge_stop 1", quantity="0.1").fill("hedge_stop 1")
    told = [text.split(":")[0] for text in bare(story)]
    assert "hedge stop-loss 1 filled 0.1" in told
    assert "hedge stop-loss 1 filled 0.003 (0.103 in all)" in told


def test_a_stop_has_triggered_before_it_fills_whatever_was_heard_first() -> None:
    story = Story().entered().averaged(1, 2, 3)
    hedge = story.order("hedge 1")
    story.report(hedge, ReportedStatus.OPEN, executed=dec("0.05"), average=dec(57800))
    story.report(story.order("hedge 1"), ReportedStatus.TRIGGERED)
    told = [text.split(":")[0] for text in bare(story) if text.startswith("hedge 1 ")]
    assert told == ["hedge 1 placed", "hedge 1 triggered", "hedge 1 filled 0.05 of 0.103"]


def test_a_moved_order_tells_where_it_is_now() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1").settle()
    assert "take-profit moved: SELL 0.01 at 60119.1" in bare(story)


def test_a_hedge_triggers_fills_and_is_protected() -> None:
    assert bare(Story().entered().hedged())[-3:] == [
        "hedge 1 triggered",
        "hedge 1 filled 0.103: LONG 0.046 at 58642.12173913, SHORT 0.103 at 57800",
        "hedge stop-loss 1 placed: BUY all at 58089",
    ]


def test_trailing_starts_moves_and_ends() -> None:
    story = Story(trail_1="0.3", trail_2="0.1", trail_step="0.05").entered().trade("60180", "60250")
    story.trade("60290").settle().fill("level 1")
    assert [text for text in bare(story) if text.startswith("trailing ")] == [
        "trailing starts: stop 60119.82",
        "trailing moved: stop 60189.75",
        "trailing moved: stop 60229.71",
        "trailing guard placed: SELL all at 60060.1",
        "trailing guard cancelled",
        "trailing guard placed: SELL all at 60109.2",
        "trailing ended",
    ]


def test_levels_that_are_out_are_named() -> None:
    story = Story().entered().trade("57805")
    assert "levels withdrawn: 2, 3" in bare(story)


def test_closing_and_the_sum_of_it_all() -> None:
    story = Story().entered().operator(OperatorAction.CLOSE).settle()
    story.fill("close_long", "60010").proven_flat()
    assert "closing (operator)" in bare(story)
    assert lines(story)[-1] == (
        "closed (operator): realised 0.04, fees 0.24002, funding 0, net -0.20002 USDT"
    )
    assert net_pnl(story.cycle) == dec("-0.20002")
    assert story.cycle.phase is Phase.ENDED


ENDS: dict[str, tuple[ReportedStatus, str]] = {
    "by a person": (ReportedStatus.CANCELED, "level 1 cancelled by someone else"),
    "by the exchange": (ReportedStatus.EXPIRED, "level 1 ended by the exchange"),
}


@pytest.mark.parametrize(("status", "text"), ENDS.values(), ids=ENDS.keys())
def test_who_ended_an_order(status: ReportedStatus, text: str) -> None:
    assert text in bare(Story().entered().end("level 1", status))


def test_a_refusal_is_told_with_its_code() -> None:
    story = Story().refuse("entry", -2019)
    assert any(text.startswith("entry refused: -2019") for text in bare(story))


def test_an_old_refusal_is_not_the_reason_of_a_later_end() -> None:
    story = Story().entered().operator(OperatorAction.CLOSE)
    profit = story.order("take_profit")
    story.tell(
        OrderRefused(
            at_ms=story.now_ms,
            client_order_id=profit.client_order_id,
            request=Request.CANCEL,
            code=-2011,
            text="Unknown order sent.",
        )
    )
    story.report(story.order("take_profit"), ReportedStatus.CANCELED)
    assert "take-profit cancelled" in bare(story)


def test_a_request_without_an_answer_is_told_once() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1").lose("take_profit").lose("take_profit")
    assert bare(story).count("take-profit: no answer to its amend; finding out") == 1


def test_alarms_are_marked() -> None:
    told = last(Story().entered().end("level 1", ReportedStatus.CANCELED))
    assert [line.text for line in told if line.is_alarm] == [
        "ALARM cancelled: level 1 was cancelled by someone else. "
        + GUIDES[AlarmKind.CANCELLED].action
    ]


def test_an_unknown_entry_price_is_not_told_as_0() -> None:
    story = Story()
    story.report(story.order("entry"), ReportedStatus.FILLED, executed=dec("0.004"))
    assert "entry filled 0.004: LONG 0.004, SHORT 0" in bare(story)


def test_nothing_changed_nothing_told() -> None:
    cycle = Story().entered().cycle
    assert narrate(Step(before=cycle, cycle=cycle, facts=())) == ()
    priced = replace(cycle, last_price=dec("60001"))
    assert narrate(Step(before=cycle, cycle=priced, facts=())) == ()
