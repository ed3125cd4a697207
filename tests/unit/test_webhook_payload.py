"""Reading JSON that people wrote: bodies, secrets, exact numbers, fields in several places."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AlertInvalid
from core.schemas.payload import (
    FieldReader,
    Number,
    Pairs,
    Raw,
    read_body,
    read_bool,
    read_decimal,
    read_list,
    read_text,
)

BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "text": (b"BTCUSDT buy", "not JSON"),
    "cut off": (b'{"symbol": "BTC', "not JSON"),
    "two objects": (b"{} {}", "not JSON: Extra data at line 1, column 4"),
    "an array": (b"[{}]", "must be a JSON object, is an array"),
    "a number": (b"5", "must be a JSON object, is a number"),
    "null": (b"null", "must be a JSON object, is null"),
    "a word": (b'"x"', "must be a JSON object, is text"),
    "true": (b"true", "must be a JSON object, is true or false"),
    "not UTF-8": (b'{"symbol": "\xff"}', "not UTF-8 text (byte 12)"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8 text"),
    "nested too deep for any parser": (b'{"a":' + b"[" * 100_000, "nested more than 20 deep"),
    "nested too deep for us": (b'{"a":' + b"[" * 30 + b"]" * 30 + b"}", "nested more than 20"),
}


@pytest.mark.parametrize(("body", "reason"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_is_no_object_gives_one_clear_error(body: bytes, reason: str) -> None:
    with pytest.raises(AlertInvalid) as caught:
        read_body(body)
    (error,) = caught.value.errors
    assert error.field == "body"
    assert reason in error.reason


@pytest.mark.parametrize(
    "body",
    [b'\xef\xbb\xbf{"symbol": "X"}', b'{"symbol": "X"}\n', b'\r\n {"symbol": "X"} \t\n'],
    ids=["byte order mark", "trailing newline", "blanks around"],
)
def test_what_editors_add_does_no_harm(body: bytes) -> None:
    assert read_body(body).payload == {"symbol": "X"}


def test_twenty_levels_of_nesting_are_enough() -> None:
    nested = [b'{"a":' + b"[" * depth + b"]" * depth + b"}" for depth in (20, 21)]
    assert read_body(nested[0]).payload["a"]
    with pytest.raises(AlertInvalid):
        read_body(nested[1])


def test_text_may_hold_tabs_and_line_breaks_as_they_are() -> None:
    assert read_body(b'{"name": "a\tb\nc"}').payload == {"name": "a\tb\nc"}


class TestSecret:
    def test_it_is_taken_out_of_the_payload(self) -> None:
        body = read_body(b'{"secret": "hunter2hunter2", "symbol": "X"}')
        assert body.secret is not None
        assert body.secret.get_secret_value() == "hunter2hunter2"
        assert body.payload == {"symbol": "X"}
        assert "hunter2" not in repr(body)

    @pytest.mark.parametrize("body", [b"{}", b'{"secret": null}', b'{"secret": " "}'])
    def test_absent(self, body: bytes) -> None:
        assert read_body(body).secret is None

    def test_a_number_counts_as_it_is_written(self) -> None:
        secret = read_body(b'{"secret": 12345678901234567890.10}').secret
        assert secret is not None
        assert secret.get_secret_value() == "12345678901234567890.10"

    @pytest.mark.parametrize(
        "body",
        [
            b'{"secret": "hunter2", "secret": "hunter3"}',
            b'{"secret": ["hunter2"]}',
            b'{"secret": {"a": "hunter2"}}',
            b'{"secret": "hunter2", "symbol": }',
            b'{"secret": "hunter2\xff"}',
            b'["hunter2"]',
        ],
    )
    def test_no_error_quotes_it(self, body: bytes) -> None:
        with pytest.raises(AlertInvalid) as caught:
            read_body(body)
        assert "hunter" not in str(caught.value)
        assert "hunter" not in repr(caught.value.errors)


class TestPayload:
    def test_everything_is_kept(self) -> None:
        text = '{"sens": 3, "x": {"y": [1, 0.5, true, null, "ü", {"z": -7}]}, "open.amount": "1"}'
        assert read_body(text.encode()).payload == json.loads(text)

    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("0.1", 0.1),
            ("12345678901234567", 12345678901234567),
            ("0.12345678901234567891", "0.12345678901234567891"),
            ("1e400", "1e400"),
            ("1e9999999999999999999999", "1e9999999999999999999999"),
            ("1e-99999999999999999999", "1e-99999999999999999999"),
            ("1" * 5000, "1" * 5000),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
        ],
    )
    def test_numbers_keep_every_digit(self, written: str, kept: object) -> None:
        payload = read_body(f'{{"x": {written}}}'.encode()).payload
        assert payload == {"x": kept}
        json.dumps(payload, allow_nan=False)

    def test_what_no_database_stores_is_replaced(self) -> None:
        payload = read_body(rb'{"a\u0000b": ["\ud800", "\ud83d\ude00"]}').payload
        assert payload == {"a�b": ["�", "😀"]}


NUMBERS = {  # name: (as given, the number, or the reason why it is none)
    "JSON number": (Number("0.5"), Decimal("0.5")),
    "text": ("0.5", Decimal("0.5")),
    "blanks around": (" 0.5 ", Decimal("0.5")),
    "signs": ("+0.5", Decimal("0.5")),
    "negative": ("-0.5", Decimal("-0.5")),
    "no digit before the point": (".5", Decimal("0.5")),
    "no digit after the point": ("5.", Decimal(5)),
    "leading zeros": ("007", Decimal(7)),
    "exponent": ("1e-05", Decimal("0.00001")),
    "more digits than a float has": (
        Number("123456789012345.123456789012345678"),
        Decimal("123456789012345.123456789012345678"),
    ),
    "18 decimals": ("0.000000000000000001", Decimal("0.000000000000000001")),
    "just below the limit": ("999999999999999.9", Decimal("999999999999999.9")),
    "minus zero": ("-0", Decimal(0)),
    "at the limit": ("1000000000000000", "smaller than 10^15"),
    "negative, at the limit": ("-1e15", "smaller than 10^15"),
    "large exponent": (Number("1e400"), "smaller than 10^15"),
    "absurd exponent": ("1e99999999999999999999", "out of all bounds"),
    "absurd negative exponent": ("1e-99999999999999999999", "out of all bounds"),
    "19 decimals": ("0.0000000000000000001", "at most 18 decimals"),
    "19 decimals, the last ones zeros": ("0.1000000000000000000", "at most 18 decimals"),
    "decimal comma": ("0,5", "with a point"),
    "thousands": ("1,000.5", "nothing between thousands"),
    "underscore": ("1_000", "must be a number in ASCII digits"),
    "percent sign": ("0.5%", "must be a number"),
    "hexadecimal": ("0x10", "must be a number"),
    "NaN": (Number("NaN"), "must be a number"),
    "NaN as text": ("nan", "must be a number"),
    "infinity": (Number("Infinity"), "must be a number"),
    "infinity as text": ("-inf", "must be a number"),
    "Arabic digits": ("\u0660.\u0665", "ASCII digits"),
    "full-width digits": ("\uff15", "ASCII digits"),
    "superscript": ("5²", "must be a number"),
    "no digit at all": (".", "must be a number"),
    "a word": ("five", "must be a number"),
    "a placeholder left over": ("{{plot_0}}", "must be a number"),
    "true": (True, "is true or false"),
    "an array": (["5"], "is an array"),
    "an object": (Pairs([("a", "5")]), "is an object"),
}


@pytest.mark.parametrize(("raw", "outcome"), NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers(raw: Raw, outcome: Decimal | str) -> None:
    if isinstance(outcome, Decimal):
        number = read_decimal(raw)
        assert number == outcome
        assert not number.is_signed() or number < 0
    else:
        with pytest.raises(ValueError, match=outcome.replace("^", r"\^")):
            read_decimal(raw)


BOOLEANS: dict[bool | None, list[Raw]] = {
    True: [True, "true", "True", " TRUE ", Number("1"), "1", "1.0"],
    False: [False, "false", "False", "FALSE", Number("0"), "0", Number("0.0")],
    None: [
        "yes",
        "on",
        "off",
        "2",
        "",
        "null",
        [],
        [True],
        Number("NaN"),
        "1e99999999999999999999",
    ],
}


@pytest.mark.parametrize(
    ("raw", "meaning"), [(raw, meaning) for meaning, raws in BOOLEANS.items() for raw in raws]
)
def test_booleans(raw: Raw, meaning: bool | None) -> None:
    if meaning is None:
        with pytest.raises(ValueError, match=r".+"):
            read_bool(raw)
    else:
        assert read_bool(raw) is meaning


HALF_ONE = (Decimal("0.5"), Decimal(1))
LISTS: dict[str, tuple[Raw, tuple[Decimal, ...] | str]] = {
    "array of text": (["0.5", "1"], HALF_ONE),
    "array of numbers": ([Number("0.5"), Number("1")], HALF_ONE),
    "one text": ("0.5|1", HALF_ONE),
    "one text with blanks": (" 0.5 | 1 ", HALF_ONE),
    "a single number": (Number("0.5"), (Decimal("0.5"),)),
    "a single text": ("0.5", (Decimal("0.5"),)),
    "an empty array": ([], ()),
    "empty item": ("0.5||1", r"item 2 of 3 \(\) is empty"),
    "empty first item": ("|1", r"item 1 of 2 \(\) is empty"),
    "empty last item": ("0.5|1|", r"item 3 of 3 \(\) is empty"),
    "null in an array": ([None, "1"], r"item 1 of 2 \(null\) is empty"),
    "array in an array": ([["1"]], r"item 1 of 1 \(\[\"1\"\]\) must be a number, is an array"),
    "bars in an array": (["1|2"], r"item 1 of 1 \(1\|2\) must be a number"),
    "commas": ("0.5,1", r"item 1 of 1 \(0.5,1\) must be a number"),
    "all bad items are named": (["x", "1", "y"], r"item 1 of 3 .* item 3 of 3"),
    "true": (True, "must be a list of numbers, is true or false"),
    "an object": (Pairs([("0", "1")]), "must be a list of numbers, is an object"),
    "more items than any list may have": ("|".join("1" * 101), "has 101 items, at most 100"),
}


@pytest.mark.parametrize(("raw", "outcome"), LISTS.values(), ids=LISTS.keys())
def test_lists(raw: Raw, outcome: tuple[Decimal, ...] | str) -> None:
    if isinstance(outcome, tuple):
        assert read_list(raw) == outcome
    else:
        with pytest.raises(ValueError, match=outcome):
            read_list(raw)


class TestFieldReader:
    def reader(self, text: str) -> FieldReader:
        return FieldReader(read_body(text.encode()))

    def test_nested_and_flat_keys_are_the_same_field(self) -> None:
        for text in ('{"open": {"amount": 1}}', '{"open.amount": 1}'):
            assert self.reader(text).required("open.amount", read_decimal) == 1

    @pytest.mark.parametrize(
        "text",
        [
            '{"open": {"amount": "1"}, "open.amount": 1.0}',
            '{"open.amount": 1, "open": {"amount": null}}',
            '{"open": {"amount": 1}, "open.amount": " "}',
            '{"open": {"amount": 1}, "open": {"amount": "1"}}',
            '{"open": {"amount": 1, "amount": 1}, "open": null}',
        ],
    )
    def test_said_twice_with_one_meaning(self, text: str) -> None:
        reader = self.reader(text)
        assert reader.required("open.amount", read_decimal) == 1
        assert reader.errors == []

    @pytest.mark.parametrize(
        "text",
        [
            '{"open": {"amount": 1}, "open.amount": "2"}',
            '{"open": {"amount": 1, "amount": 2}}',
            '{"open": {"amount": 1}, "open": {"amount": 2}}',
            '{"open.amount": 1, "open.amount": 2}',
        ],
    )
    def test_said_twice_with_two_meanings(self, text: str) -> None:
        reader = self.reader(text)
        assert reader.required("open.amount", read_decimal) is None
        (error,) = reader.errors
        assert (error.field, error.value) == ("open.amount", "1 and 2")
        assert error.reason == "given more than once, with different values"

    def test_both_of_two_bad_values_are_named(self) -> None:
        reader = self.reader('{"open": {"amount": "x"}, "open.amount": "y"}')
        assert reader.optional("open.amount", read_decimal) is None
        assert [error.value for error in reader.errors] == ["x", "y"]

    def test_a_group_must_be_an_object(self) -> None:
        reader = self.reader('{"open": [1], "settings": ""}')
        assert [str(error) for error in reader.errors] == [
            "open = [1]: must be an object, is an array"
        ]

    def test_long_and_unprintable_values_are_shown_short(self) -> None:
        reader = self.reader(json.dumps({"id": "x\n" * 1000}))
        reader.optional("id", read_decimal)
        (error,) = reader.errors
        assert error.value.startswith("x\\nx\\n")
        assert error.value.endswith("…")
        assert len(error.value) <= 61

    def test_text_is_text(self) -> None:
        assert read_text(Number("007.50")) == "007.50"
        with pytest.raises(ValueError, match="must be text, is true or false"):
            read_text(True)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.from_regex(r"[0-9.,|eE+-]*", fullmatch=True),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_a_body_is_read_or_refused_and_what_is_read_can_be_stored(value: Any) -> None:
    try:
        body = read_body(json.dumps(value).encode())
    except AlertInvalid:
        assert not isinstance(value, dict) or "secret" in value
        return
    stored = json.dumps(body.payload, allow_nan=False, ensure_ascii=False).encode()
    assert b"\\u0000" not in stored
    assert body.payload.keys() == {key.replace("\0", "�") for key in value} - {"secret"}


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        read = read_body(body)
    except AlertInvalid as error:
        refused = error.errors
    else:
        assert isinstance(json.loads(body.decode("utf-8-sig")), dict)
        assert read.payload is not None
        return
    assert [error.field for error in refused] in (["body"], ["secret"])
