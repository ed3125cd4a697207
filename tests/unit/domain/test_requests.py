"""Section 4: requests without an answer, and news that come late, twice or not at all."""

from dataclasses import replace

import pytest

from core.domain.asks import FindOrder, ReadPosition, asks
from core.domain.cycle import (
    EndedBy,
    Fact,
    FillsRead,
    OperatorAction,
    OrderMissing,
    OrderRefused,
    OrderReported,
    OrderStatus,
    OutcomeUnknown,
    Phase,
    ReportedStatus,
    Request,
    RequestNotSent,
)
from core.domain.strategy import apply, apply_all
from tests.builders import T0, Story, a_fill, dec


def missing(story: Story, name: str, *, asked_after_ms: int) -> Story:
    order = story.order(name)
    story.now_ms = order.requested_at_ms + asked_after_ms
    return story.tell(
        OrderMissing(
            at_ms=story.now_ms, client_order_id=order.client_order_id, asked_at_ms=story.now_ms
        )
    )


def unanswered(name: str) -> Story:
    """Return a story in which the placing of an order got no answer."""
    story = Story().fill("entry", "60000")
    if name == "take_profit":
        return story.lose(name)
    return story.answer(story.order("take_profit")).lose(name)


class TestAPlacementWithoutAnswer:
    def test_is_asked_about_2_seconds_after_its_request(self) -> None:
        story = unanswered("take_profit")
        order = story.order("take_profit")
        ask = next(a for a in asks(story.cycle) if isinstance(a.question, FindOrder))
        assert ask.question == FindOrder(client_order_id=order.client_order_id)
        assert ask.not_before_ms == order.requested_at_ms + 2_000

    def test_is_left_alone_until_its_outcome_is_known(self) -> None:
        story = unanswered("level 1").forget().wait(7_000)
        assert story.asked == []

    def test_counts_as_not_placed_after_8_seconds_and_two_reads_a_second_apart(self) -> None:
        story = unanswered("level 1").forget()
        missing(story, "level 1", asked_after_ms=7_999)
        assert story.order("level 1").absent_reads == 0
        missing(story, "level 1", asked_after_ms=8_000)
        missing(story, "level 1", asked_after_ms=8_999)
        assert story.order("level 1").is_unresolved
        assert story.asked == []
        missing(story, "level 1", asked_after_ms=9_000)
        assert story.asked == ["place level 1 0.006 @ 59700.0"]
        again = story.order("level 1")
        assert (again.attempt, again.requested_at_ms) == (1, story.now_ms)

    def test_found_it_rests(self) -> None:
        story = unanswered("level 1")
        order = story.order("level 1")
        story.report(order, ReportedStatus.OPEN, price=dec("59700.0"), asked_at_ms=T0 + 2_000)
        assert story.open["level 1"] == "0.006 @ 59700.0"

    def test_found_in_between_the_reads_begin_anew(self) -> None:
        story = unanswered("level 1")
        missing(story, "level 1", asked_after_ms=8_000)
        story.report(story.order("level 1"), ReportedStatus.OPEN, price=dec("59700.0"))
        missing(story, "level 1", asked_after_ms=10_000)
        assert story.open["level 1"] == "0.006 @ 59700.0"

    def test_a_fill_proves_it(self) -> None:
        story = unanswered("level 1")
        order = story.order("level 1")
        fill = a_fill(7, order.client_order_id, "0.002", "59700", time_ms=T0 + 1)
        story.tell(FillsRead(at_ms=T0 + 1, fills=(fill,)))
        order = story.order("level 1")
        assert (order.status, order.request, order.executed) == (
            OrderStatus.OPEN,
            Request.NONE,
            dec("0.002"),
        )

    def test_a_fill_proves_it_also_after_it_was_given_up(self) -> None:
        story = Story().fill("entry", "60000")
        name = story.order("level 1").client_order_id
        story.tell(
            RequestNotSent(at_ms=T0, client_order_id=name, retry_at_ms=T0 + 9_000),
            FillsRead(at_ms=T0, fills=(a_fill(7, name, "0.002", "59700", time_ms=T0 + 1),)),
        )
        assert story.order("level 1").status is OrderStatus.OPEN
        assert story.cycle.long.quantity == dec("0.006")

    def test_found_after_it_was_given_up_it_is_taken_back(self) -> None:
        story = unanswered("level 1").operator(OperatorAction.PAUSE)
        missing(story, "level 1", asked_after_ms=8_000)
        missing(story, "level 1", asked_after_ms=9_000)
        assert story.order("level 1").ended_by is EndedBy.WITHDRAWN
        story.report(story.order("level 1"), ReportedStatus.OPEN, price=dec("59700.0"))
        assert story.open["level 1"] == "0.006 @ 59700.0"

    def test_found_beside_its_successor_the_older_one_is_cancelled(self) -> None:
        story = unanswered("level 1").operator(OperatorAction.PAUSE)
        missing(story, "level 1", asked_after_ms=8_000)
        missing(story, "level 1", asked_after_ms=9_000)
        first = story.order("level 1")
        story.operator(OperatorAction.RESUME).settle().forget()
        assert story.order("level 1").attempt == 2
        story.report(first, ReportedStatus.OPEN, price=dec("59700.0"))
        assert story.asked == ["cancel level 1"]
        cancelled = story.cycle.order(first.client_order_id)
        assert cancelled is not None
        assert cancelled.request is Request.CANCEL

    @pytest.mark.parametrize("news", ["refused", "not sent", "no answer"])
    def test_what_came_of_it_is_no_news_of_the_request_that_followed(self, news: str) -> None:
        story = Story().lose("entry")  # the API is frozen between commit and recording
        missing(story, "entry", asked_after_ms=8_000)
        missing(story, "entry", asked_after_ms=9_000)
        again = story.order("entry")
        assert (again.request, again.requested_at_ms) == (Request.PLACE, T0 + 9_000)
        name, now = again.client_order_id, story.now_ms
        late: dict[str, Fact] = {
            "refused": OrderRefused(
                at_ms=now,
                client_order_id=name,
                request=Request.PLACE,
                code=-1008,
                text="busy",
                requested_at_ms=T0,
            ),
            "not sent": RequestNotSent(
                at_ms=now, client_order_id=name, retry_at_ms=now, requested_at_ms=T0
            ),
            "no answer": OutcomeUnknown(at_ms=now, client_order_id=name, requested_at_ms=T0),
        }
        before = story.forget().cycle
        assert story.tell(late[news]).wait(500).cycle == before
        assert story.asked == []  # or the entry would be bought twice

    def test_refused_as_a_duplicate_it_exists_and_is_asked_about_at_once(self) -> None:
        story = Story().fill("entry", "60000").refuse("take_profit", -4116)
        order = story.order("take_profit")
        assert order.is_unresolved
        assert asks(story.cycle)[0].not_before_ms == order.requested_at_ms


class TestACancelWithoutAnswer:
    def cancelling(self) -> Story:
        story = Story().entered()
        story.now_ms += 5_000
        return story.operator(OperatorAction.CLOSE).forget()

    def test_unknown_order_is_no_proof_it_is_asked_about_at_once(self) -> None:
        story = self.cancelling().refuse("level 1", -2011)
        order = story.order("level 1")
        assert order.is_unresolved
        assert asks(story.cycle)[1].not_before_ms == order.requested_at_ms

    def test_found_open_soon_after_it_may_still_be_on_its_way(self) -> None:
        story = self.cancelling().lose("level 1")
        order = story.order("level 1")
        story.report(order, ReportedStatus.OPEN, asked_at_ms=order.requested_at_ms + 1_999)
        assert story.asked == []
        story.report(order, ReportedStatus.OPEN, asked_at_ms=order.requested_at_ms + 2_000)
        assert story.asked == ["cancel level 1"]

    def test_found_filled_it_is_counted(self) -> None:
        story = self.cancelling().lose("level 1").fill("level 1")
        assert story.order("level 1").ended_by is EndedBy.FILLED
        assert story.cycle.long.quantity == dec("0.010")

    def test_refused_it_is_repeated(self) -> None:
        story = self.cancelling().refuse("level 1", -4117).wait(200)
        assert story.asked == ["cancel level 1"]

    @pytest.mark.parametrize(("code", "is_told"), [(-4117, False), (-9999, True)])
    def test_refused_again_and_again_for_no_passing_reason_a_person_is_told(
        self, code: int, is_told: bool
    ) -> None:
        story = self.cancelling()
        for refused in (1, 2, 3):
            story.refuse("take_profit", code)  # LONG cannot be sold while it rests
            alarms = [key for key in story.alarms if key.startswith("refused-cancel-")]
            assert bool(alarms) is (is_told and refused == 3)
            story.wait(5_000)
        assert story.order("take_profit").request is Request.CANCEL


class TestAClose:
    def closing(self) -> Story:
        story = Story().entered().operator(OperatorAction.CLOSE)
        return story.answer(story.order("take_profit")).answer(story.order("level 1")).forget()

    def test_may_be_repeated_as_soon_as_one_read_shows_the_quantity_still_there(self) -> None:
        story = self.closing().lose("close_long")
        assert ReadPosition() in {a.question for a in asks(story.cycle)}
        story.now_ms += 50
        story.position("0.004")
        assert story.asked == ["place close_long 0.004 @ MARKET"]
        assert story.order("close_long").attempt == 2

    def test_not_by_a_read_older_than_the_request(self) -> None:
        assert self.closing().lose("close_long").position("0.004").asked == []

    def test_not_where_the_quantity_is_gone(self) -> None:
        story = self.closing().lose("close_long")
        story.now_ms += 50
        assert story.position("0").asked == []

    def test_not_while_its_answer_may_still_come(self) -> None:
        story = self.closing()
        story.now_ms += 4_999
        assert story.position("0.004").asked == []

    def test_whose_answer_was_lost_by_a_restart_is_repeated_too(self) -> None:
        story = self.closing()
        order = story.order("close_long")
        ask = next(a for a in asks(story.cycle) if isinstance(a.question, ReadPosition))
        assert ask.not_before_ms == order.requested_at_ms + 5_000
        story.now_ms += 5_000
        assert story.position("0.004").asked == ["place close_long 0.004 @ MARKET"]

    def test_the_first_one_is_found_out_about_and_both_end_well(self) -> None:
        story = self.closing().lose("close_long")
        first = story.order("close_long")
        story.now_ms += 50
        story.position("0.004").fill("close_long", "60000")
        assert story.cycle.long.quantity == dec("0")
        story.now_ms = T0 + 20_000
        for asked_at in (T0 + 8_000, T0 + 9_000):
            story.tell(
                OrderMissing(
                    at_ms=story.now_ms,
                    client_order_id=first.client_order_id,
                    asked_at_ms=asked_at,
                )
            )
        over = story.cycle.order(first.client_order_id)
        assert over is not None
        assert over.ended_by is EndedBy.WITHDRAWN
        assert story.proven_flat().cycle.phase is Phase.ENDED

    def test_a_first_one_refused_after_all_is_let_go(self) -> None:
        story = self.closing().lose("close_long")
        first = story.order("close_long")
        story.now_ms += 50
        story.position("0.004")
        story.tell(
            OrderRefused(
                at_ms=story.now_ms,
                client_order_id=first.client_order_id,
                request=Request.PLACE,
                code=-2022,
                text="rejected",
            )
        )
        over = story.cycle.order(first.client_order_id)
        assert over is not None
        assert over.is_over


@pytest.mark.parametrize(
    "name", ["take_profit", "level 1", "level 2", "level 3", "hedge 1", "hedge_stop 1", "entry"]
)
def test_every_order_answered_unknown_ends_well(name: str) -> None:
    """Whatever placing is lost, and however often it was really never made, it ends up resting."""
    sure = Story().entered().averaged(1, 2, 3).fill("hedge 1", "57800").settle()
    order = sure.order(name)
    lost = replace(
        order,
        status=OrderStatus.INTENDED,
        ended_by=None,
        executed=dec(0),
        request=Request.PLACE,
        target_price=order.price,
        target_quantity=order.quantity,
        is_unresolved=True,
        requested_at_ms=T0,
    )
    story = Story(cycle=replace(sure.cycle, orders=(lost,), fills=(), phase=Phase.ENTERING))
    story.now_ms = T0 + 9_000
    for asked_at in (T0 + 8_000, T0 + 9_000):
        story.tell(
            OrderMissing(
                at_ms=story.now_ms, client_order_id=lost.client_order_id, asked_at_ms=asked_at
            )
        )
    found = story.cycle.orders[0]
    assert not found.is_unresolved
    assert found.attempt == lost.attempt


class TestOldNews:
    def test_the_same_news_again_changes_nothing(self) -> None:
        story = Story().entered().averaged(1).fill("level 2", quantity="0.005").settle()
        told = [fact for step in story.steps for fact in step.facts]
        reports = [fact for fact in told if isinstance(fact, OrderReported)]
        assert len(reports) == 8
        for report in reports:
            assert apply(story.cycle, report) == story.cycle

    @pytest.mark.parametrize("name", ["tb-c1-lv1-1", "nobody"])
    def test_answers_to_nothing_change_nothing(self, name: str) -> None:
        cycle = Story().entered().cycle
        facts = (
            OutcomeUnknown(at_ms=T0, client_order_id=name),
            RequestNotSent(at_ms=T0, client_order_id=name, retry_at_ms=T0),
            OrderRefused(
                at_ms=T0, client_order_id=name, request=Request.PLACE, code=-2019, text=""
            ),
        )
        assert apply_all(cycle, facts) == cycle

    def test_a_smaller_total_is_old_news(self) -> None:
        story = Story().entered().fill("level 1", quantity="0.004")
        story.report(story.order("level 1"), ReportedStatus.OPEN, executed=dec("0.001"))
        assert story.cycle.long.quantity == dec("0.008")

    def test_an_end_told_twice_counts_once(self) -> None:
        story = Story().entered().end("level 1", ReportedStatus.EXPIRED)
        order = story.order("level 1")
        again = story.cycle.order("tb-c1-lv1-1")
        assert again is not None
        story.report(again, ReportedStatus.CANCELED)
        assert story.cycle.withdrawn == ()
        assert story.order("level 1") == order

    def test_an_average_told_later_prices_what_was_known_before(self) -> None:
        story = Story()
        entry = story.order("entry")
        story.report(entry, ReportedStatus.FILLED, executed=dec("0.004"))
        assert not story.cycle.ledger.is_priced
        story.report(entry, ReportedStatus.FILLED, executed=dec("0.004"), average=dec("60001"))
        assert story.cycle.long.entry == dec("60001")

    def test_a_read_shows_what_a_person_changed(self) -> None:
        story = Story().entered()
        story.now_ms += 2_000
        story.report(
            story.order("take_profit"),
            ReportedStatus.OPEN,
            price=dec("60500.0"),
            asked_at_ms=story.now_ms,
        )
        assert story.asked[-1] == "amend take_profit 0.004 @ 60300.0"

    def test_a_read_sent_before_our_own_change_shows_the_past(self) -> None:
        story = Story().entered()
        story.report(
            story.order("take_profit"),
            ReportedStatus.OPEN,
            price=dec("60500.0"),
            asked_at_ms=T0 - 1,
        )
        assert story.open["take_profit"] == "0.004 @ 60300.0"

    def test_a_request_taken_back_is_made_again_when_it_says(self) -> None:
        story = Story().fill("entry", "60000").forget()
        story.tell(
            RequestNotSent(
                at_ms=T0, client_order_id="tb-c1-tp0-1", retry_at_ms=story.now_ms + 3_000
            )
        )
        assert story.asked == []
        assert story.wait(3_000).asked == ["place take_profit 0.004 @ 60300.0"]
