"""What every store promises: the one in memory, SQLite's and PostgreSQL's."""

from dataclasses import replace
from decimal import Decimal

import pytest

from core.clients.alert_store import CYCLE_ENDED, UNLISTED
from core.domain.alarms import AlarmKind
from core.domain.cycle import OperatorAction, PriceSeen, Request
from core.domain.settings import Bracket
from core.domain.step import Step
from core.domain.webhook import WebhookStatus
from core.errors import AlertClosed, DuplicateAlert, LeaseLost, StoreConflict, SymbolBusy
from tests.integration.store_worlds import (
    PAYLOAD,
    START_MS,
    StoreWorld,
    a_fill,
    begun,
    changed,
    ended,
    funded,
    new_cycle,
)
from tests.unit.samples import sample_rules

BRACKETED = replace(
    sample_rules(),
    brackets=(
        Bracket(
            initial_leverage=125,
            notional_cap=Decimal(300000),
            maintenance_rate=Decimal("0.004"),
            cumulative=Decimal(0),
        ),
        Bracket(
            initial_leverage=100,
            notional_cap=Decimal(800000),
            maintenance_rate=Decimal("0.005"),
            cumulative=Decimal("300.5"),
        ),
    ),
)


class TestAnAlertBecomesACycle:
    async def test_the_cycle_is_there_for_the_monitor(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        assert cycle.cycle_id > 0
        assert cycle == replace(new_cycle(), cycle_id=cycle.cycle_id)
        assert await world.other.load_open(["BTCUSDT"], ended_after_ms=0) == (cycle,)
        assert await world.other.load_open(["ETHUSDT"], ended_after_ms=0) == ()
        assert await world.other.begun_as(cycle.cycle_id) == cycle
        assert cycle.orders[0].request is Request.PLACE

    async def test_the_alert_is_kept_and_marked_accepted(self, world: StoreWorld) -> None:
        webhook_id = await world.store.record_webhook(
            PAYLOAD, received_at_ms=START_MS, symbol="BTCUSDT", alert_id="a", warnings=("early",)
        )
        stored = await world.store.webhook(webhook_id)
        assert stored is not None
        assert stored.status is WebhookStatus.PROCESSING
        assert stored.payload == {"symbol": "BTCUSDT.P", "open": {"amount": "0.004"}}
        assert (stored.received_at_ms, stored.warnings) == (START_MS, ("early",))

        await world.store.begin_cycle(webhook_id, new_cycle(), warnings=("late",))
        stored = await world.other.webhook(webhook_id)
        assert stored is not None
        assert (stored.status, stored.warnings) == (WebhookStatus.ACCEPTED, ("late",))
        assert await world.other.busy_webhook("BTCUSDT") == webhook_id
        assert await world.other.find_accepted_alert("a") == webhook_id
        cycle = await world.other.cycle_of_webhook(webhook_id)
        assert cycle is not None
        assert cycle.key == "k1"

    async def test_a_busy_symbol_refuses_and_stores_nothing(self, world: StoreWorld) -> None:
        first = await begun(world.store)
        second = await world.other.record_webhook(PAYLOAD, received_at_ms=START_MS)
        with pytest.raises(SymbolBusy) as refusal:
            await world.other.begin_cycle(second, new_cycle(key="k2"))
        assert refusal.value.holder == str(await world.store.busy_webhook("BTCUSDT"))
        stored = await world.store.webhook(second)
        assert stored is not None
        assert stored.status is WebhookStatus.PROCESSING
        assert await world.store.load_open(["BTCUSDT"], ended_after_ms=0) == (first,)
        assert await world.store.cycle_by_key("k2") is None

    async def test_another_symbol_is_free(self, world: StoreWorld) -> None:
        await begun(world.store)
        other = await begun(world.store, key="k2", symbol="ETHUSDT")
        assert await world.other.open_cycle("ETHUSDT") == other

    async def test_an_accepted_id_is_used_up(self, world: StoreWorld) -> None:
        cycle = await begun(world.store, alert_id="same")
        first = await world.store.busy_webhook("BTCUSDT")
        await world.store.update(cycle.cycle_id, ended(), lease=None)
        with pytest.raises(DuplicateAlert) as refusal:
            await begun(world.other, key="k2", alert_id="same")
        assert refusal.value.first == str(first)
        assert await world.store.open_cycle("BTCUSDT") is None

    async def test_an_id_that_was_not_accepted_is_not(self, world: StoreWorld) -> None:
        webhook_id = await world.store.record_webhook(
            PAYLOAD, received_at_ms=START_MS, alert_id="same"
        )
        await world.store.finish_webhook(
            webhook_id, status=WebhookStatus.REFUSED, http_status=422, outcome="no funds"
        )
        assert await world.store.find_accepted_alert("same") is None
        await begun(world.store, alert_id="same")
        assert await world.store.find_accepted_alert("same") is not None

    async def test_an_id_of_any_length_is_one_id(self, world: StoreWorld) -> None:
        long = "x" * 5000
        await begun(world.store, alert_id=long + "1")
        assert await world.store.find_accepted_alert(long + "1") is not None
        assert await world.store.find_accepted_alert(long + "2") is None

    async def test_a_key_serves_once(self, world: StoreWorld) -> None:
        await begun(world.store)
        with pytest.raises(StoreConflict):
            await begun(world.other, symbol="ETHUSDT")

    async def test_text_that_no_database_holds_is_mended(self, world: StoreWorld) -> None:
        webhook_id = await world.store.record_webhook(
            {"na\x00me": ["a\x00", "\ud800"], "n": 10**30},
            received_at_ms=START_MS,
            symbol="B\x00",
            outcome="\x00",
        )
        stored = await world.other.webhook(webhook_id)
        assert stored is not None
        assert stored.payload == {"na\ufffdme": ["a\ufffd", "\ufffd"], "n": 10**30}
        assert (stored.symbol, stored.outcome) == ("B\ufffd", "\ufffd")


class TestAnAlertIsGivenUp:
    async def test_then_no_cycle_begins(self, world: StoreWorld) -> None:
        webhook_id = await world.store.record_webhook(PAYLOAD, received_at_ms=START_MS)
        assert await world.other.abandon_webhook(webhook_id, http_status=503, outcome="too slow")
        with pytest.raises(AlertClosed) as refusal:
            await world.store.begin_cycle(webhook_id, new_cycle())
        assert refusal.value.status == WebhookStatus.TIMED_OUT
        assert await world.store.open_cycle("BTCUSDT") is None
        stored = await world.store.webhook(webhook_id)
        assert stored is not None
        assert (stored.http_status, stored.outcome) == (503, "too slow")

    async def test_once_nobody_works_on_it_any_more(self, world: StoreWorld) -> None:
        forgotten = await world.store.record_webhook(PAYLOAD, received_at_ms=START_MS)
        answered = await world.store.record_webhook(PAYLOAD, received_at_ms=START_MS)
        await world.store.finish_webhook(
            answered, status=WebhookStatus.REFUSED, http_status=422, outcome="no"
        )
        await world.store.record_webhook(PAYLOAD, received_at_ms=START_MS + 1)
        found = await world.other.forgotten_webhooks(received_before_ms=START_MS + 1)
        assert found == (forgotten,)
        assert await world.other.abandon_webhook(forgotten, http_status=None, outcome="it died")
        assert await world.store.forgotten_webhooks(received_before_ms=START_MS + 1) == ()

    async def test_unless_its_cycle_has_begun(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        webhook_id = await world.store.busy_webhook("BTCUSDT")
        assert webhook_id is not None
        assert not await world.other.abandon_webhook(webhook_id, http_status=503, outcome="slow")
        assert await world.store.open_cycle("BTCUSDT") == cycle

    async def test_an_answer_changes_no_final_status(self, world: StoreWorld) -> None:
        await begun(world.store)
        webhook_id = await world.store.busy_webhook("BTCUSDT")
        assert webhook_id is not None
        status = await world.store.finish_webhook(
            webhook_id, status=WebhookStatus.FAILED, http_status=400, outcome="entry refused"
        )
        assert status is WebhookStatus.ACCEPTED
        stored = await world.other.webhook(webhook_id)
        assert stored is not None
        assert (stored.status, stored.http_status) == (WebhookStatus.ACCEPTED, 400)

    async def test_an_unknown_alert_is_a_bug(self, world: StoreWorld) -> None:
        with pytest.raises(StoreConflict):
            await world.store.abandon_webhook(4711, http_status=503, outcome="slow")


class TestAStep:
    async def test_is_seen_by_the_other_process_and_back(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        await world.store.update(cycle.cycle_id, funded(1), lease=None)
        await world.other.update(cycle.cycle_id, funded(2), lease=None)
        step = await world.store.update(cycle.cycle_id, funded(3), lease=None)
        assert step.before.funding == Decimal("0.2")
        assert step.cycle.funding_ids == (1, 2, 3)
        assert await world.other.load(cycle.cycle_id) == step.cycle

    async def test_adds_its_facts_to_the_journal_in_order(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        steps = [
            await world.store.update(cycle.cycle_id, funded(number), lease=None)
            for number in (1, 2, 3)
        ]
        facts = tuple(fact for step in steps for fact in step.facts)
        assert await world.other.journal(cycle.cycle_id) == facts
        assert await world.other.begun_as(cycle.cycle_id) == cycle

    async def test_that_changes_nothing_writes_nothing(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)

        def seen(before: object) -> Step:
            fact = PriceSeen(at_ms=START_MS, price=Decimal(60000))
            return Step(before=cycle, cycle=replace(cycle, last_price=fact.price), facts=(fact,))

        step = await world.store.update(cycle.cycle_id, seen, lease=None)
        assert step.changes_nothing
        assert await world.other.journal(cycle.cycle_id) == ()
        assert await world.other.load(cycle.cycle_id) == cycle

    async def test_that_raises_writes_nothing(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)

        def broken(before: object) -> Step:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await world.store.update(cycle.cycle_id, broken, lease=None)
        assert await world.other.load(cycle.cycle_id) == cycle
        await world.store.update(cycle.cycle_id, funded(1), lease=None)

    async def test_writes_orders_fills_and_alarms(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        entry = replace(cycle.orders[0], request=Request.NONE, executed=Decimal("0.004"))
        another = replace(entry, client_order_id="tb-k1-lv1-1", number=1, price=Decimal("59700.0"))

        def step(before: object) -> Step:
            after = replace(cycle, orders=(entry, another), fills=(a_fill(),))
            after = after.with_alarm(AlarmKind.MARGIN, "because", START_MS, about=1)
            return Step(before=cycle, cycle=after, facts=())

        await world.store.update(cycle.cycle_id, step, lease=None)
        stored = await world.other.load(cycle.cycle_id)
        assert stored is not None
        assert stored.orders == (entry, another)
        assert stored.fills == (a_fill(),)
        assert [(a.key, a.text, a.at_ms) for a in stored.alarms] == [
            ("margin-1", "because", START_MS)
        ]
        assert await world.other.cycle_by_client_order_id("tb-k1-lv1-1") == stored
        assert await world.other.cycle_by_client_order_id("tb-k1-lv1-2") is None

    async def test_real_executions_replace_an_adjustment(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        guess = a_fill(trade_id=7, is_adjustment=True, client_order_id="")
        both = (a_fill(trade_id=7), guess)
        await world.store.update(cycle.cycle_id, changed(fills=both), lease=None)
        stored = await world.other.load(cycle.cycle_id)
        assert stored is not None
        assert stored.fills == both
        real = (a_fill(trade_id=7), a_fill(trade_id=8))
        await world.other.update(cycle.cycle_id, changed(fills=real), lease=None)
        stored = await world.store.load(cycle.cycle_id)
        assert stored is not None
        assert stored.fills == real

    async def test_cannot_count_an_execution_in_two_cycles(self, world: StoreWorld) -> None:
        first = await begun(world.store)
        await world.store.update(first.cycle_id, changed(fills=(a_fill(),)), lease=None)
        await world.store.update(first.cycle_id, ended(), lease=None)
        second = await begun(world.store, key="k2")
        with pytest.raises(StoreConflict):
            await world.store.update(second.cycle_id, changed(fills=(a_fill(),)), lease=None)
        assert await world.store.load(second.cycle_id) == second

    async def test_of_an_unknown_cycle_is_a_bug(self, world: StoreWorld) -> None:
        with pytest.raises(StoreConflict):
            await world.store.update(4711, funded(1), lease=None)


class TestTheEnd:
    async def test_frees_the_symbol_and_stays_in_sight_for_a_while(self, world: StoreWorld) -> None:
        first = await begun(world.store)
        at_ms = START_MS + 60_000
        step = await world.store.update(first.cycle_id, ended(at_ms), lease=None)
        assert await world.other.busy_webhook("BTCUSDT") is None
        assert await world.other.load_open(["BTCUSDT"], ended_after_ms=at_ms - 1) == (step.cycle,)
        assert await world.other.load_open(["BTCUSDT"], ended_after_ms=at_ms) == ()
        second = await begun(world.other, key="k2")
        found = await world.store.load_open(["BTCUSDT"], ended_after_ms=at_ms - 1)
        assert found == (step.cycle, second)

    async def test_cannot_be_undone_while_another_cycle_is_open(self, world: StoreWorld) -> None:
        first = await begun(world.store)
        await world.store.update(first.cycle_id, ended(), lease=None)
        await begun(world.store, key="k2")
        reopened = changed(phase=first.phase, ended_at_ms=None)
        with pytest.raises(SymbolBusy) as refusal:
            await world.store.update(first.cycle_id, reopened, lease=None)
        assert refusal.value.holder == str(await world.store.busy_webhook("BTCUSDT"))

    async def test_margins_of_open_cycles_are_added_up(self, world: StoreWorld) -> None:
        assert await world.store.open_cycles_margin() == 0
        await begun(world.store)
        last = await begun(world.store, key="k2", symbol="ETHUSDT")
        assert await world.other.open_cycles_margin() == 1800
        await world.store.update(last.cycle_id, ended(), lease=None)
        assert await world.other.open_cycles_margin() == 900


class TestALease:
    async def test_has_one_holder(self, world: StoreWorld) -> None:
        lease = await world.store.acquire_lease("BTCUSDT", "first")
        assert lease is not None
        assert await world.other.acquire_lease("BTCUSDT", "second") is None
        assert await world.store.acquire_lease("BTCUSDT", "first") == lease
        assert await world.store.renew_leases([lease]) == (lease,)

    async def test_run_out_goes_to_the_next_with_a_higher_epoch(self, world: StoreWorld) -> None:
        old = await world.store.acquire_lease("BTCUSDT", "first")
        assert old is not None
        await world.run_out("BTCUSDT")
        new = await world.other.acquire_lease("BTCUSDT", "second")
        assert new is not None
        assert new.epoch > old.epoch
        assert await world.store.renew_leases([old]) == ()
        assert await world.store.record_checks({old: True}) == (old,)

    async def test_from_before_the_clock_was_set_back_is_over(self, world: StoreWorld) -> None:
        old = await world.store.acquire_lease("BTCUSDT", "first")
        assert old is not None
        await world.store.record_checks({old: True})
        await world.set_back("BTCUSDT")
        assert not await world.store.is_watched("BTCUSDT")
        new = await world.other.acquire_lease("BTCUSDT", "second")
        assert new is not None
        assert new.epoch > old.epoch

    async def test_of_a_living_holder_outlasts_a_clock_set_back(self, world: StoreWorld) -> None:
        lease = await world.store.acquire_lease("BTCUSDT", "first")
        assert lease is not None
        await world.set_back("BTCUSDT")
        assert await world.store.renew_leases([lease]) == (lease,)
        assert await world.other.acquire_lease("BTCUSDT", "second") is None

    async def test_run_out_but_not_taken_can_be_renewed(self, world: StoreWorld) -> None:
        lease = await world.store.acquire_lease("BTCUSDT", "first")
        assert lease is not None
        await world.run_out("BTCUSDT")
        assert await world.store.renew_leases([lease]) == (lease,)
        assert await world.other.acquire_lease("BTCUSDT", "second") is None

    async def test_taken_again_by_a_namesake_has_a_new_epoch(self, world: StoreWorld) -> None:
        old = await world.store.acquire_lease("BTCUSDT", "first")
        assert old is not None
        await world.run_out("BTCUSDT")
        new = await world.store.acquire_lease("BTCUSDT", "first")
        assert new is not None
        assert new.epoch > old.epoch

    async def test_given_back_is_free_at_once(self, world: StoreWorld) -> None:
        old = await world.store.acquire_lease("BTCUSDT", "first")
        assert old is not None
        await world.store.release_lease(old)
        new = await world.other.acquire_lease("BTCUSDT", "second")
        assert new is not None
        assert new.epoch > old.epoch
        await world.store.release_lease(old)  # too late: it is the other's now
        assert await world.other.renew_leases([new]) == (new,)

    async def test_lost_ones_are_left_out_of_a_renewal(self, world: StoreWorld) -> None:
        lost = await world.store.acquire_lease("ETHUSDT", "first")
        kept = await world.store.acquire_lease("BTCUSDT", "first")
        assert lost is not None
        assert kept is not None
        await world.run_out("ETHUSDT")
        assert await world.other.acquire_lease("ETHUSDT", "second") is not None
        assert await world.store.renew_leases([lost, kept]) == (kept,)

    async def test_that_is_lost_decides_nothing_more(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        old = await world.store.acquire_lease("BTCUSDT", "first")
        await world.run_out("BTCUSDT")
        new = await world.other.acquire_lease("BTCUSDT", "second")
        with pytest.raises(LeaseLost):
            await world.store.update(cycle.cycle_id, funded(1), lease=old)
        assert await world.other.load(cycle.cycle_id) == cycle
        step = await world.other.update(cycle.cycle_id, funded(1), lease=new)
        # The API records its entry's answer without a lease.
        last = await world.store.update(cycle.cycle_id, funded(2), lease=None)
        assert last.before == step.cycle

    async def test_makes_a_symbol_watched_once_a_check_was_good(self, world: StoreWorld) -> None:
        assert not await world.other.is_watched("BTCUSDT")
        lease = await world.store.acquire_lease("BTCUSDT", "first")
        assert lease is not None
        assert not await world.other.is_watched("BTCUSDT")
        await world.store.record_checks({lease: True})
        assert await world.other.is_watched("BTCUSDT")
        assert await world.store.acquire_lease("BTCUSDT", "first") == lease
        assert await world.other.is_watched("BTCUSDT")
        assert await world.store.acquire_lease("ETHUSDT", "first") is not None
        assert await world.other.watched(["BTCUSDT", "ETHUSDT", "XUSDT"]) == {"BTCUSDT"}
        assert await world.other.watched(["ETHUSDT"]) == set()
        assert await world.other.leased(["BTCUSDT", "ETHUSDT", "X"]) == {"BTCUSDT", "ETHUSDT"}
        await world.store.record_checks({lease: False})
        assert not await world.other.is_watched("BTCUSDT")
        await world.store.record_checks({lease: True})
        await world.run_out("BTCUSDT")
        assert not await world.other.is_watched("BTCUSDT")
        assert await world.other.watched(["BTCUSDT"]) == set()
        assert await world.other.leased(["BTCUSDT"]) == set()
        assert await world.other.acquire_lease("BTCUSDT", "second") is not None
        assert not await world.other.is_watched("BTCUSDT"), "the new holder has checked nothing"


class TestAnOperator:
    async def test_is_heard_once(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        action_id = await world.other.ask_operator(
            cycle.cycle_id, OperatorAction.PAUSE, asked_by="anna", asked_at_ms=START_MS
        )
        assert action_id is not None
        (request,) = await world.store.operator_requests(["BTCUSDT", "ETHUSDT"])
        assert (request.action_id, request.cycle_id) == (action_id, cycle.cycle_id)
        assert (request.action, request.asked_at_ms) == (OperatorAction.PAUSE, START_MS)
        assert await world.store.operator_requests(["ETHUSDT"]) == ()
        assert await world.other.operator_result(action_id) is None
        await world.store.finish_operator_request(action_id, "paused")
        await world.store.finish_operator_request(action_id, "again")
        assert await world.store.operator_requests(["BTCUSDT"]) == ()
        assert await world.other.operator_result(action_id) == "paused"

    async def test_is_heard_in_order(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        actions = [OperatorAction.PAUSE, OperatorAction.RESUME, OperatorAction.CLOSE]
        for action in actions:
            await world.other.ask_operator(
                cycle.cycle_id, action, asked_by="anna", asked_at_ms=START_MS
            )
        requests = await world.store.operator_requests(["BTCUSDT"])
        assert [request.action for request in requests] == actions

    async def test_asks_too_late_when_the_cycle_has_ended(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        waiting = await world.other.ask_operator(
            cycle.cycle_id, OperatorAction.CLOSE, asked_by="anna", asked_at_ms=START_MS
        )
        assert waiting is not None
        await world.store.update(cycle.cycle_id, ended(), lease=None)
        assert await world.store.operator_requests(["BTCUSDT"]) == ()
        assert await world.other.operator_result(waiting) == CYCLE_ENDED
        for cycle_id in (cycle.cycle_id, 4711):
            asked = await world.other.ask_operator(
                cycle_id, OperatorAction.CLOSE, asked_by="anna", asked_at_ms=START_MS
            )
            assert asked is None


class TestRules:
    async def test_come_back_as_they_were_read(self, world: StoreWorld) -> None:
        rules = BRACKETED
        await world.store.save_rules([rules], read_at_ms=START_MS)
        assert await world.other.rules("BTCUSDT") == rules
        assert await world.other.rules("ETHUSDT") is None

    async def test_keep_what_was_not_read_again(self, world: StoreWorld) -> None:
        rules = BRACKETED
        await world.store.save_rules([rules], read_at_ms=START_MS)
        read = replace(rules, brackets=(), maker_rate=Decimal(0), tick_size=Decimal("0.5"))
        await world.store.save_rules([read], read_at_ms=START_MS, with_fees=False)
        expected = replace(rules, tick_size=Decimal("0.5"))
        assert await world.other.rules("BTCUSDT") == expected
        await world.store.save_rules([read], read_at_ms=START_MS)
        assert await world.other.rules("BTCUSDT") == replace(expected, maker_rate=Decimal(0))

    async def test_of_a_symbol_no_longer_listed_say_so(self, world: StoreWorld) -> None:
        rules, gone = BRACKETED, replace(BRACKETED, symbol="ETHUSDT")
        await world.store.save_rules([gone, rules], read_at_ms=START_MS)
        assert await world.other.all_rules() == (rules, gone)
        await world.store.save_rules([rules], read_at_ms=START_MS)
        assert await world.other.rules("ETHUSDT") == gone
        await world.store.save_rules([rules], read_at_ms=START_MS, is_whole_list=True)
        assert await world.other.all_rules() == (rules, replace(gone, status=UNLISTED))
