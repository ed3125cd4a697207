"""The alert, field by field as the payload table lists them."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.settings import AmountType, CycleSettings, GridMode, MultiplierMode
from core.errors import AlertInvalid, FieldError
from core.schemas.payload import read_body
from core.schemas.webhook import Alert, AlertKind, parse_alert, symbol_errors
from tests.unit.samples import ABSENT, ALERT, BRACKETS, alert, body, sample_rules, sample_settings
from tests.unit.test_webhook_payload import json_values

LADDER = (Decimal("0.5"), Decimal(1), Decimal(2))
SAMPLE = CycleSettings(
    symbol="BTCUSDT",
    amount_type=AmountType.BASE,
    amount=Decimal("0.004"),
    leverage=10,
    entry_price=None,
    deposit=Decimal(300),
    extramarg=Decimal(600),
    tp=Decimal("0.5"),
    order_quan=3,
    grid_long=LADDER,
    grid_mode=GridMode.STEP,
    mg_long=(Decimal("1.5"), Decimal(2), Decimal(2)),
    mg_mode=MultiplierMode.MULTIPLIER,
    trail_1=Decimal(0),
    trail_2=Decimal(0),
    trail_step=Decimal(0),
    trail_guard=True,
    offset_short=Decimal("0.2"),
    offset_pluse=Decimal("0.2"),
    sl_short=Decimal("0.5"),
    max_hedges=5,
    pnl_target=Decimal(0),
    max_loss=None,
    grid_ahead=1,
)


def parse(payload: Any, *, mg_mode_default: MultiplierMode | None = None) -> Alert:
    return parse_alert(json.dumps(payload).encode(), mg_mode_default=mg_mode_default)


def errors_of(payload: Any) -> tuple[FieldError, ...]:
    with pytest.raises(AlertInvalid) as caught:
        parse(payload)
    return caught.value.errors


def test_the_sample() -> None:
    parsed = parse(ALERT)
    assert parsed == Alert(
        kind=AlertKind.OPEN,
        symbol="BTCUSDT",
        alert_id=None,
        settings=SAMPLE,
        payload=ALERT,
        secret=None,
        warnings=(),
    )


def flattened(payload: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in payload.items() if key not in ("open", "settings")}
    for group in ("open", "settings"):
        flat |= {f"{group}.{key}": value for key, value in payload[group].items()}
    return flat


NUMERIC = {
    **{f"open__{name}": float(ALERT["open"][name]) for name in ("amount", "leverage")},
    **{
        f"settings__{name}": float(ALERT["settings"][name])
        for name in ("deposit", "extramarg", "tp", "order_quan", "sl_short", "offset_short")
    },
}
SAME = {  # different ways to say the sample
    "numbers": alert(**NUMERIC),
    "lists as arrays of numbers": alert(
        settings__grid_long=[0.5, 1, 2], settings__mg_long=[1.5, 2, 2]
    ),
    "lists as arrays of text": alert(
        settings__grid_long=["0.5", "1", "2"], settings__mg_long=["1.5", "2", "2"]
    ),
    "flat keys": flattened(ALERT),
    "flat beside nested, equal": {**ALERT, "open.amount": 0.0040, "settings.tp": "0.50"},
    "nested nulls beside flat values": {**alert(open__amount=None), "open.amount": "0.004"},
    "the exchange's own symbol": alert(symbol="BTCUSDT"),
    "a prefixed ticker": alert(symbol="BINANCE:BTCUSDT.P"),
    "a lower-case ticker": alert(symbol=" binance:btcusdt.p "),
    "symbol twice, in two forms": {**flattened(ALERT), "symbol": "BTCUSDT"},
    "words in capitals": alert(
        side="BUY", positionSide="LONG", open__amountType="Amount", settings__mg_mode="MULTIPLIER"
    ),
    "booleans as text": alert(open__enabled="True", settings__start="TRUE"),
    "booleans as numbers": alert(open__enabled=1, settings__start="1"),
    "defaults left out": alert(
        open__enabled=ABSENT,
        open__amountType=ABSENT,
        open__entry_price=ABSENT,
        settings__start=ABSENT,
        settings__mg_mode=ABSENT,
        settings__trail_1=ABSENT,
        settings__trail_2=ABSENT,
        settings__trail_step=ABSENT,
        settings__offset_pluse=ABSENT,
    ),
    "defaults as empty text": alert(
        open__entry_price="", settings__trail_1=" ", settings__offset_pluse="", action="", id=""
    ),
    "defaults spelt out": alert(
        action="Open",
        settings__grid_mode="step",
        settings__trail_guard=True,
        settings__max_hedges=5,
        settings__pnl_target=0,
        settings__max_loss=None,
        settings__grid_ahead=1,
    ),
    "a stop-loss with a sign": alert(settings__sl_short="-0.5"),
    "unknown fields": alert(sens=3, time_frame="5m", time_allert="{{time}}", settings__note=[1]),
}


@pytest.mark.parametrize("payload", SAME.values(), ids=SAME.keys())
def test_all_of_these_are_the_same_alert(payload: dict[str, Any]) -> None:
    parsed = parse(payload)
    assert parsed.settings == SAMPLE
    assert parsed.kind is AlertKind.OPEN
    assert parsed.payload == payload


def test_extramarg_left_out_is_the_deposit() -> None:
    assert sample_settings(settings__extramarg=ABSENT).extramarg == 300


def test_extramarg_of_zero_needs_no_hedge_fields() -> None:
    settings = sample_settings(
        settings__extramarg=0,
        settings__offset_short=None,
        settings__offset_pluse=None,
        settings__sl_short=None,
    )
    assert settings == replace(
        SAMPLE, extramarg=Decimal(0), offset_short=None, offset_pluse=None, sl_short=None
    )


def test_offset_pluse_left_out_is_offset_short() -> None:
    settings = sample_settings(settings__offset_short="0.7", settings__offset_pluse=None)
    assert settings.offset_pluse == Decimal("0.7")


@pytest.mark.parametrize("absent", [None, "", [], ABSENT])
def test_no_levels_need_no_lists(absent: object) -> None:
    settings = sample_settings(
        settings__order_quan=0, settings__grid_long=absent, settings__mg_long=absent
    )
    assert (settings.grid_long, settings.mg_long) == ((), ())


def test_one_level_may_be_a_single_number() -> None:
    settings = sample_settings(
        settings__order_quan=1, settings__grid_long=0.5, settings__mg_long="1.5"
    )
    assert settings.grid_long == (Decimal("0.5"),)
    assert settings.mg_long == (Decimal("1.5"),)


def test_numbers_do_not_pass_through_floats() -> None:
    text = json.dumps(ALERT).replace('"0.004"', "0.123456789012345678")
    parsed = parse_alert(text.encode(), mg_mode_default=None)
    assert parsed.settings is not None
    assert parsed.settings.amount == Decimal("0.123456789012345678")


LEGAL: dict[str, Any] = {
    "open__leverage": [1, "125", "10.0"],
    "open__entry_price": ["59000.5"],
    "settings__order_quan": ["3", 3.0],
    "settings__grid_long": ["0.000001|99.999|1"],
    "settings__tp": ["0.01", 1000],
    "settings__extramarg": [0, "0.01"],
    "settings__trail_1": [0, 500],
    "settings__trail_2": [0, "99.9"],
    "settings__trail_guard": [False, "0"],
    "settings__offset_short": [0, "99.9"],
    "settings__offset_pluse": ["-0.49", 0, "99.9"],
    "settings__sl_short": ["0.3", "-99.9"],
    "settings__max_hedges": [0, 1000],
    "settings__pnl_target": [0, "5.5"],
    "settings__max_loss": ["0.01"],
    "settings__grid_ahead": [1, 100],
    "open__amountType": ["quote", "QUOTE"],
    "id": ["abc", 123, "x" * 200],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in LEGAL.items() for value in values]
)
def test_legal_values(field: str, value: object) -> None:
    assert parse(alert(**{field: value})).kind is AlertKind.OPEN


# field: [(value, what the reason says)]
ILLEGAL: dict[str, list[tuple[object, str]]] = {
    "symbol": [
        (ABSENT, "required"),
        ("", "required"),
        (5.5, "must be a symbol"),
        (True, "must be text"),
        ("BTC/USDT", "must be a symbol"),
        ("BINANCE:", "must be a symbol"),
        (".P", "must be a symbol"),
        ("A:B:C", "must be a symbol"),
        ("X" * 21, "must be a symbol"),
    ],
    "positionSide": [
        (ABSENT, "required"),
        ("short", "only LONG cycles can be opened"),
        ("both", "must be long (or flat)"),
        (1, "must be long (or flat)"),
    ],
    "side": [(ABSENT, "required"), ("sell", "must be buy"), (["buy"], "must be text, is an array")],
    "action": [("sell", "must be open"), (0, "must be open")],
    "id": [("x" * 201, "at most 200 characters"), (True, "must be text"), ({}, "must be text")],
    "open.enabled": [("maybe", "must be true or false"), (2, "must be true or false")],
    "open.amountType": [("usd", "must be amount or quote"), (1, "must be amount or quote")],
    "open.amount": [
        (ABSENT, "required"),
        (None, "required"),
        (0, "must be above 0"),
        ("-1", "must be above 0"),
        ("0,004", "with a point"),
        ("NaN", "must be a number"),
        (float("inf"), "must be a number"),
        ("1e15", "smaller than 10^15"),
        ("0.0000000000000000001", "at most 18 decimals"),
        ("٤", "ASCII digits"),
        ([1], "must be a number, is an array"),
    ],
    "open.leverage": [
        (ABSENT, "required"),
        (0, "must be 1 or more"),
        ("2.5", "must be a whole number"),
        ("-3", "must be 1 or more"),
        ("10x", "must be a number"),
    ],
    "open.entry_price": [(0, "must be above 0"), ("market", "must be a number")],
    "settings.start": [("da", "must be true or false")],
    "settings.deposit": [(ABSENT, "required"), (0, "must be above 0")],
    "settings.extramarg": [("-1", "must be 0 or more")],
    "settings.tp": [(ABSENT, "required"), (0, "must be above 0"), ("-0.5", "must be above 0")],
    "settings.order_quan": [
        (ABSENT, "required"),
        ("-1", "must be 0 to 100"),
        (101, "must be 0 to 100"),
        ("2.5", "must be a whole number"),
    ],
    "settings.grid_long": [
        (ABSENT, "required: order_quan is 3"),
        ("0.5|1", "has 2 items, order_quan is 3"),
        ("0.5|1|2|3", "has 4 items, order_quan is 3"),
        ("0.5||2", "item 2 of 3 () is empty"),
        ("0.5|0|100", "item 2 (0) must be above 0; item 3 (100) must be below 100"),
        ([0.5, True, 2], "item 2 of 3 (true) must be a number"),
    ],
    "settings.grid_mode": [("down", "must be step or offset")],
    "settings.mg_long": [
        (ABSENT, "required: order_quan is 3"),
        ("2", "has 1 items, order_quan is 3"),
        ("1|0|1", "item 2 (0) must be above 0"),
    ],
    "settings.mg_mode": [("factor", "must be multiplier or percent")],
    "settings.trail_1": [("-1", "must be 0 or more")],
    "settings.trail_2": [("-1", "must be 0 or more"), (100, "must be below 100")],
    "settings.trail_step": [("-1", "must be 0 or more")],
    "settings.trail_guard": [("none", "must be true or false")],
    "settings.offset_short": [
        (ABSENT, "required: extramarg is above 0"),
        ("-0.1", "must be 0 or more"),
        (100, "must be below 100"),
    ],
    "settings.offset_pluse": [("-0.5", "must be above -0.5"), (100, "must be below 100")],
    "settings.sl_short": [
        (ABSENT, "required: extramarg is above 0"),
        (0, "must be above 0"),
        ("-100", "must be below 100"),
    ],
    "settings.max_hedges": [("-1", "must be 0 or more"), (1.5, "must be a whole number")],
    "settings.pnl_target": [("-1", "must be 0 or more")],
    "settings.max_loss": [(0, "must be above 0")],
    "settings.grid_ahead": [(0, "must be 1 to 100"), (101, "must be 1 to 100")],
}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [(field, value, reason) for field, cases in ILLEGAL.items() for value, reason in cases],
)
def test_illegal_values(field: str, value: object, reason: str) -> None:
    (error,) = errors_of(alert(**{field.replace(".", "__"): value}))
    assert error.field == field
    assert reason in error.reason
    if value is ABSENT or value is None or value == "":
        assert error.value == "(missing)"


class TestFieldsTogether:
    def test_offset_mode_must_rise(self) -> None:
        for ladder in ("1|0.5|2", "0.5|0.5|2"):
            (error,) = errors_of(alert(settings__grid_mode="offset", settings__grid_long=ladder))
            assert error.value == ladder
            assert error.reason == "must rise from level to level with grid_mode offset"
        assert sample_settings(settings__grid_mode="offset").grid_mode is GridMode.OFFSET

    def test_multipliers_that_look_like_percentages_need_a_mode(self) -> None:
        (error,) = errors_of(alert(settings__mg_mode=ABSENT, settings__mg_long="2|5|2"))
        assert error.field == "settings.mg_long"
        assert "state settings.mg_mode" in error.reason
        assert "MG_MODE" in error.reason

    @pytest.mark.parametrize("mode", list(MultiplierMode))
    def test_the_environment_may_state_the_mode(self, mode: MultiplierMode) -> None:
        payload = alert(settings__mg_mode=ABSENT, settings__mg_long="5|50|100")
        settings = parse(payload, mg_mode_default=mode).settings
        assert settings is not None
        assert settings.mg_mode is mode

    def test_the_payload_s_mode_comes_first(self) -> None:
        settings = parse(ALERT, mg_mode_default=MultiplierMode.PERCENT).settings
        assert settings == SAMPLE

    def test_without_levels_the_hedge_must_lie_below_the_entry(self) -> None:
        none = {"settings__order_quan": 0, "settings__grid_long": "", "settings__mg_long": ""}
        (error,) = errors_of(alert(**none, settings__offset_short=0))
        assert str(error) == ("settings.offset_short = 0: must be above 0 with order_quan 0")

    def test_without_a_stop_loss_offset_pluse_goes_down_to_minus_100(self) -> None:
        bare = {"settings__extramarg": 0, "settings__sl_short": None}
        assert sample_settings(**bare, settings__offset_pluse="-99").offset_pluse == -99
        (error,) = errors_of(alert(**bare, settings__offset_pluse="-100"))
        assert "must be above -100" in error.reason

    def test_lists_without_levels(self) -> None:
        fields = [error.field for error in errors_of(alert(settings__order_quan=0))]
        assert fields == ["settings.grid_long", "settings.mg_long"]

    def test_all_errors_at_once_each_with_field_value_and_reason(self) -> None:
        payload = alert(
            symbol="",
            side="sell",
            open__amount="x",
            open__leverage=0,
            settings__deposit=ABSENT,
            settings__extramarg="1,5",
            settings__grid_long="1|0.5",
            settings__mg_mode=ABSENT,
            settings__mg_long="7|2|2",
            settings__grid_mode="offset",
            settings__sl_short="abc",
        )
        assert [(error.field, error.value) for error in errors_of(payload)] == [
            ("symbol", "(missing)"),
            ("side", "sell"),
            ("open.amount", "x"),
            ("open.leverage", "0"),
            ("settings.deposit", "(missing)"),
            ("settings.extramarg", "1,5"),
            ("settings.sl_short", "abc"),
            ("settings.grid_long", "1|0.5"),
            ("settings.grid_long", "1|0.5"),
            ("settings.mg_long", "7|2|2"),
        ]

    def test_flat_and_nested_that_differ(self) -> None:
        (error,) = errors_of({**ALERT, "open.amount": "0.005"})
        assert str(error) == (
            "open.amount = 0.004 and 0.005: given more than once, with different values"
        )

    def test_an_object_without_anything(self) -> None:
        assert {error.reason.split(":")[0] for error in errors_of({})} == {"required"}


class TestDisabled:
    @pytest.mark.parametrize("field", ["open__enabled", "settings__start"])
    @pytest.mark.parametrize("no", [False, 0, "0", "false", "FALSE"])
    def test_either_switch_skips(self, field: str, no: object) -> None:
        parsed = parse(alert(**{field: no}))
        assert parsed.kind is AlertKind.SKIPPED
        assert parsed.settings == SAMPLE

    def test_a_disabled_alert_must_be_valid_too(self) -> None:
        (error,) = errors_of(alert(open__enabled=False, settings__tp=0))
        assert error.field == "settings.tp"


class TestFlat:
    def flat(self, **more: Any) -> dict[str, Any]:
        return {"symbol": "BTCUSDT.P", "positionSide": "FLAT", **more}

    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"side": "sell"},
            {"settings": {"tp": "NaN", "order_quan": 3}, "open": {"amount": "{{plot_0}}"}},
            {"settings": {"start": "maybe"}, "open": {"enabled": "True"}},
            {"settings": {"start": "maybe"}, "settings.start": True},
        ],
    )
    def test_only_the_symbol_is_needed(self, more: dict[str, Any]) -> None:
        parsed = parse(self.flat(**more))
        assert (parsed.kind, parsed.symbol, parsed.settings) == (AlertKind.FLAT, "BTCUSDT", None)

    def test_a_clear_false_still_skips(self) -> None:
        for more in ({"open.enabled": "False"}, {"settings": {"start": 0}}):
            parsed = parse(self.flat(**more))
            assert (parsed.kind, parsed.settings) == (AlertKind.SKIPPED, None)

    def test_the_symbol_is_needed(self) -> None:
        (error,) = errors_of({"positionSide": "flat"})
        assert error.field == "symbol"

    def test_two_meanings_of_one_switch(self) -> None:
        (error,) = errors_of(self.flat(**{"open": {"enabled": True}, "open.enabled": "0"}))
        assert error.field == "open.enabled"

    def test_another_action_is_refused(self) -> None:
        (error,) = errors_of(self.flat(action="reverse"))
        assert error.field == "action"


class TestIdAndSecret:
    def test_the_id_is_text(self) -> None:
        assert parse(alert(id=" a1 ")).alert_id == "a1"
        assert parse(alert(id=17)).alert_id == "17"

    def test_the_secret_is_nowhere_but_in_its_place(self) -> None:
        parsed = parse(alert(secret="hunter2hunter2"))
        assert parsed.secret is not None
        assert parsed.secret.get_secret_value() == "hunter2hunter2"
        assert "hunter2" not in repr(parsed)
        assert "secret" not in parsed.payload

    def test_a_body_may_be_read_first(self) -> None:
        read = read_body(body(secret="hunter2hunter2"))
        assert parse_alert(read, mg_mode_default=None) == parse(alert(secret="hunter2hunter2"))


WARNED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "trailing at the take-profit": (
        {"settings__trail_1": "0.5", "settings__trail_2": "0.1"},
        ["trail_1 0.5 is not below tp 0.5: trailing can never start"],
    ),
    "trailing without a distance": ({"settings__trail_1": "0.3"}, ["trail_1 without trail_2"]),
    "a distance without trailing": ({"settings__trail_2": "0.3"}, ["do nothing without trail_1"]),
    "a step without trailing": ({"settings__trail_step": "0.3"}, ["do nothing without trail_1"]),
    "a stop-loss above the take-profit": ({"settings__sl_short": "0.6"}, ["sl_short is above tp"]),
    "percentages that look like multipliers": (
        {"settings__mg_mode": "percent"},
        ["mg_mode is percent and mg_long has values below 5"],
    ),
    "percentages": ({"settings__mg_mode": "percent", "settings__mg_long": "50|5|100"}, []),
    "levels that shrink": ({"settings__mg_long": "1.5|0.9|2"}, ["multipliers below 1"]),
    "hedges switched off": ({"settings__max_hedges": 0}, ["no hedge is ever opened"]),
    "a target without a hedge": (
        {"settings__extramarg": 0, "settings__pnl_target": 5},
        ["pnl_target does nothing"],
    ),
    "a stop-loss above tp without a hedge": (
        {"settings__extramarg": 0, "settings__sl_short": 5},
        [],
    ),
    "misspelt fields": (
        {"settings__max_los": 5, "open__entryprice": 1, "settings__note": "x", "ide": 1},
        [
            "unknown field open.entryprice is ignored; did you mean open.entry_price?",
            "unknown field settings.max_los is ignored; did you mean settings.max_loss?",
        ],
    ),
    "several at once": (
        {"settings__trail_1": "0.7", "settings__sl_short": "0.6"},
        ["trailing can never start", "trail_1 without trail_2", "sl_short is above tp"],
    ),
}


@pytest.mark.parametrize(("changes", "said"), WARNED.values(), ids=WARNED.keys())
def test_warnings(changes: dict[str, Any], said: list[str]) -> None:
    warnings = parse(alert(**changes)).warnings
    assert len(warnings) == len(said)
    for warning, text in zip(warnings, said, strict=True):
        assert text in warning


class TestSymbolRules:
    def test_unknown_symbol(self) -> None:
        (error,) = symbol_errors(parse(ALERT), None)
        assert str(error) == "symbol = BTCUSDT: the exchange lists no such perpetual"

    def test_status_and_leverage(self) -> None:
        rules = sample_rules(status="SETTLING", brackets=BRACKETS)
        assert [str(error) for error in symbol_errors(parse(alert(open__leverage=126)), rules)] == [
            "symbol = BTCUSDT: the exchange lists it as SETTLING, not TRADING",
            "open.leverage = 126: BTCUSDT allows at most 125",
        ]

    @pytest.mark.parametrize("brackets", [(), BRACKETS])
    def test_nothing_wrong(self, brackets: Any) -> None:
        rules = sample_rules(brackets=brackets)
        assert symbol_errors(parse(alert(open__leverage=125)), rules) == ()

    def test_an_exit_has_no_leverage(self) -> None:
        flat = parse({"symbol": "BTCUSDT", "positionSide": "flat"})
        assert symbol_errors(flat, sample_rules(brackets=BRACKETS)) == ()


PATHS = [
    *(key for key in [*ALERT, "id", "action", "secret"] if key not in ("open", "settings")),
    "open",
    "settings",
    *(f"open__{key}" for key in ALERT["open"]),
    *(f"settings__{key}" for key in ALERT["settings"]),
    *(f"settings__{key}" for key in ("grid_mode", "trail_guard", "max_hedges", "pnl_target")),
    *("settings__max_loss", "settings__grid_ahead", "settings__unknown", "open.amount"),
]


@given(st.dictionaries(st.sampled_from(PATHS), json_values, min_size=1, max_size=4))
def test_any_json_in_any_field_is_understood_or_refused(changes: dict[str, Any]) -> None:
    # Whole groups are replaced last: a group that is no object has no fields to change.
    ordered = dict(sorted(changes.items(), key=lambda item: "__" not in item[0]))
    try:
        parsed = parse(alert(**ordered))
    except AlertInvalid as error:
        refused = error.errors
    else:
        assert parsed.symbol
        json.dumps(parsed.payload, allow_nan=False)
        return
    assert refused
    assert all(error.field and error.value and error.reason for error in refused)


percents = st.decimals(min_value="0.01", max_value="99.99", places=4)


@given(
    amount=st.decimals(min_value="0.000001", max_value=10**6, places=8),
    tp=percents,
    ladder=st.lists(percents, max_size=6),
    growth=st.decimals(min_value="0.1", max_value="4.99", places=3),
)
def test_every_form_of_the_same_numbers_gives_the_same_settings(
    amount: Decimal, tp: Decimal, ladder: list[Decimal], growth: Decimal
) -> None:
    growths = [growth] * len(ladder)

    def form(number: Any, items: Any) -> dict[str, Any]:
        return alert(
            open__amount=number(amount),
            settings__tp=number(tp),
            settings__order_quan=number(Decimal(len(ladder))),
            settings__grid_long=items(ladder),
            settings__mg_long=items(growths),
            settings__mg_mode=ABSENT,
        )

    text = form(lambda d: f"{d:f}", lambda ds: "|".join(f"{d:f}" for d in ds))
    arrays = form(lambda d: f" {d:f} ", lambda ds: [f"{d:f}" for d in ds])
    # These numbers have few enough digits for a float to print them exactly.
    numbers = form(float, lambda ds: [float(d) for d in ds] if len(ds) != 1 else float(ds[0]))
    expected = parse(text).settings
    assert expected is not None
    assert expected.amount == amount
    assert expected.grid_long == tuple(ladder)
    for payload in (
        arrays,
        numbers,
        flattened(text),
        flattened(numbers),
        {**numbers, **flattened(text)},
    ):
        assert parse(payload).settings == expected
