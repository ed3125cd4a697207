"""Reading one JSON object that people wrote: exact numbers, nested or flat keys, every error.

`read_body` turns bytes into a `Body`; a `FieldReader` then takes single fields out of it and
collects what is wrong with them. What a field means is not known here; see `webhook.py`.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Never, TypeVar

from pydantic import JsonValue, SecretStr

from core.errors import AlertInvalid, FieldError

T = TypeVar("T")

NUMBER_LIMIT: Final = Decimal(10) ** 15
DECIMALS_LIMIT: Final = 18
ITEMS_LIMIT: Final = 100  # no list of an alert is longer than `order_quan` may be
DEPTH_LIMIT: Final = 20  # far beyond any alert, far below what recursion can take
TEXT_SHOWN: Final = 60
REPEATS_LOOKED_AT: Final = 3  # of one field; a body may repeat it thousands of times
MISSING: Final = "(missing)"
GROUPS: Final = ("open", "settings")

# ASCII digits only: \d and Decimal() would take other scripts' digits too.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# What editors and chat programs make of the quotes that JSON needs.
_SMART_QUOTES: Final = tuple("\u201c\u201d\u201e\u201f\xab\xbb\u2018\u2019\u201a\u201b\uff02")
_NOT_NUMBERS: Final = ("nan", "na", "n/a", "infinity", "inf")
# PostgreSQL stores neither NUL nor half a surrogate pair; JSON may carry both.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Number(str):
    """A JSON number as it was written; going through a float would change its digits."""

    __slots__ = ()


class Pairs(tuple[tuple[str, "Raw"], ...]):
    """A JSON object with its keys in order, repeated ones included."""

    __slots__ = ()


Raw = str | bool | list["Raw"] | Pairs | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """An alert's JSON object before any field of it is understood."""

    pairs: Pairs
    payload: dict[str, JsonValue]  # as received, without the secret; ready to be stored
    secret: SecretStr | None


def read_body(body: bytes) -> Body:
    """Return the JSON object in `body`, its `secret` set apart.

    Numbers keep every digit: in the payload, one that a float would change is kept as text.
    Raises `AlertInvalid` for anything else than one JSON object; the message never quotes the body,
    because the secret may be in it.
    """
    text = ""
    try:
        text = body.decode("utf-8-sig")
        root: Raw = json.loads(
            text,
            strict=False,  # senders paste names with tabs and line breaks as they are
            object_pairs_hook=Pairs,
            parse_float=Number,
            parse_int=Number,
            parse_constant=Number,
        )
    except UnicodeDecodeError as error:
        _refuse_body(f"not UTF-8 text (byte {error.start})")
    except json.JSONDecodeError as error:
        _refuse_body(f"not JSON: {_why_not_json(text, error)}")
    except RecursionError:
        _refuse_body(f"nested more than {DEPTH_LIMIT} deep")
    if not isinstance(root, Pairs):
        _refuse_body(f"must be a JSON object, is {_kind(root)}")
    secret = _take_secret(root)
    pairs = Pairs(pair for pair in root if pair[0] != "secret")
    payload = {_storable_text(key): _storable(value, 1) for key, value in pairs}
    return Body(pairs=pairs, payload=payload, secret=secret)


def content_digest(payload: dict[str, JsonValue]) -> str:
    """Return what two alerts have in common exactly if they say the same, whatever their secret."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class FieldReader:
    """Takes fields out of a body by their path and collects every error.

    A field may stand nested (`{"open": {"amount": …}}`), flat (`{"open.amount": …}`), or both, as
    long as both mean the same. `null` and blank text count as absent.
    """

    def __init__(self, body: Body) -> None:
        self.errors: list[FieldError] = []
        self.asked: set[str] = set()
        self.failed: set[str] = set()
        self._found: dict[str, list[Raw]] = {}
        for path, value in self._flatten(body.pairs):
            self._found.setdefault(path, []).append(value)

    @property
    def unknown(self) -> list[str]:
        """Return the paths that no one asked for, in their order."""
        return [path for path in self._found if path not in self.asked]

    def required(self, path: str, read: Callable[[Raw], T]) -> T | None:
        """Return the field; None, with an error noted, if it is absent or wrong."""
        value = self.optional(path, read)
        if value is None and path not in self.failed:
            self.fail(path, "required")
        return value

    def optional(self, path: str, read: Callable[[Raw], T]) -> T | None:
        """Return the field, or None if it is absent, or wrong (then an error is noted)."""
        self.asked.add(path)
        values: list[T] = []
        for raw in self._present(path):
            try:
                _require_filled_in(raw)
                values.append(read(raw))
            except ValueError as error:
                if len(self.errors_of(path)) < REPEATS_LOOKED_AT:
                    self._note(path, shown(raw), str(error))
        if path in self.failed or not values:
            return None
        if any(value != values[0] for value in values):
            found = dict.fromkeys(shown(raw) for raw in self._present(path))
            both = " and ".join(list(found)[:REPEATS_LOOKED_AT])
            self._note(path, both, "given more than once, with different values")
            return None
        return values[0]

    def defaulted(self, path: str, read: Callable[[Raw], T], default: T) -> T:
        """Return the field, or `default` if it is absent (or wrong: then an error is noted)."""
        value = self.optional(path, read)
        return default if value is None else value

    def lenient(self, path: str, read: Callable[[Raw], T]) -> T | None:
        """Return the field like `optional`, taking forms that cannot be read as absent."""

        def readable(raw: Raw) -> bool:
            try:
                read(raw)
            except ValueError:
                return False
            return True

        self._found[path] = [raw for raw in self._present(path) if readable(raw)]
        return self.optional(path, read)

    def errors_of(self, path: str) -> list[FieldError]:
        """Return what was noted against one field."""
        return [error for error in self.errors if error.field == path]

    def is_absent(self, path: str) -> bool:
        """Return whether the field is nowhere, or only null or blank."""
        return not self._present(path)

    def fail(self, path: str, reason: str) -> None:
        """Note that the field, or what it is together with others, is wrong."""
        present = self._present(path)
        self._note(path, shown(present[0]) if present else MISSING, reason)

    def _present(self, path: str) -> list[Raw]:
        return [raw for raw in self._found.get(path, []) if not _is_blank(raw)]

    def _note(self, path: str, value: str, reason: str) -> None:
        self.failed.add(path)
        self.errors.append(FieldError(field=path, value=value, reason=reason))

    def _flatten(self, pairs: Pairs) -> Iterator[tuple[str, Raw]]:
        for key, value in pairs:
            if key in GROUPS and isinstance(value, Pairs):
                yield from ((f"{key}.{name}", inner) for name, inner in value)
            elif key in GROUPS and not _is_blank(value):
                self._note(key, shown(value), f"must be an object, is {_kind(value)}")
            elif key not in GROUPS:
                yield key, value


def read_text(raw: Raw) -> str:
    """Return text, or a number as it was written, without surrounding blanks."""
    if not isinstance(raw, str):
        raise ValueError(f"must be text, is {_kind(raw)}")
    return _storable_text(raw.strip())


def read_bool(raw: Raw) -> bool:
    """Return true or false, from a boolean, the words in any letter case, 1 or 0."""
    if isinstance(raw, bool):
        return raw
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word in ("true", "false"):
        return word == "true"
    if _NUMBER.fullmatch(word) and (number := read_decimal(word)) in (0, 1):
        return number == 1
    raise ValueError("must be true or false (or 1 or 0)")


def read_decimal(raw: Raw) -> Decimal:
    """Return the number exactly as written, from a JSON number or from text."""
    if not isinstance(raw, str):
        raise ValueError(f"must be a number, is {_kind(raw)}")
    text = raw.strip()
    if text.lstrip("+-").lower() in _NOT_NUMBERS:
        raise ValueError("must be a number; the sender had no value for it at that moment")
    if not _NUMBER.fullmatch(text):
        comma = re.fullmatch(r"[+-]?[0-9]+(,[0-9]+)+(\.[0-9]*)?", text)
        hint = "; write decimals with a point and nothing between thousands" if comma else ""
        raise ValueError(f"must be a number in ASCII digits{hint}")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("its exponent is out of all bounds") from None
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "the pattern lets only finite numbers through"
    if number.copy_abs() >= NUMBER_LIMIT:
        raise ValueError("must be smaller than 10^15")
    if -exponent > DECIMALS_LIMIT:
        raise ValueError(f"must have at most {DECIMALS_LIMIT} decimals")
    return number if number else Decimal(0)  # -0 and 0E-9 are plainly 0


def read_list(raw: Raw) -> tuple[Decimal, ...]:
    """Return numbers, from an array, from text split by `|`, or from a single number."""
    if isinstance(raw, Pairs | bool) or raw is None:
        raise ValueError(f"must be a list of numbers, is {_kind(raw)}")
    items: list[Raw] = raw if isinstance(raw, list) else list(raw.split("|"))
    if len(items) > ITEMS_LIMIT:
        raise ValueError(f"has {len(items)} items, at most {ITEMS_LIMIT} are possible")
    numbers: list[Decimal] = []
    wrong: list[str] = []
    for position, item in enumerate(items, start=1):
        try:
            if _is_blank(item):
                raise ValueError("is empty")
            numbers.append(read_decimal(item))
        except ValueError as error:
            wrong.append(f"item {position} of {len(items)} ({shown(item)}) {error}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(numbers)


def shown(raw: Raw) -> str:
    """Return a value as an error message quotes it, cut to a readable length."""
    text = raw if isinstance(raw, str) else json.dumps(_storable(raw, 1), ensure_ascii=False)
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: TEXT_SHOWN + 1])
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "…"


def _why_not_json(text: str, error: json.JSONDecodeError) -> str:
    where = f"at line {error.lineno}, column {error.colno}"
    if not text.strip():
        return "the body is empty"
    if "{{" in text[max(0, error.pos - 1) : error.pos + 2]:
        return f"a {{{{placeholder}}}} was not filled in {where}; misspelt, or not of this alert?"
    if text[error.pos : error.pos + 1] in _SMART_QUOTES:
        return f'typographic quotes {where}; write plain ones (")'
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
        return (
            f"it breaks off after {len(text)} characters ({error.msg.removesuffix(' at')} {where})"
        )
    return f"{error.msg} {where}"


def _require_filled_in(raw: Raw) -> None:
    if isinstance(raw, str) and "{{" in raw:
        raise ValueError("the sender did not fill this placeholder in; is it spelt as it must be?")


def _take_secret(root: Pairs) -> SecretStr | None:
    secrets = [value for key, value in root if key == "secret" and not _is_blank(value)]
    if not all(isinstance(value, str) for value in secrets):
        _refuse_secret("must be text")
    if any(value != secrets[0] for value in secrets):
        _refuse_secret("given more than once, with different values")
    return SecretStr(str(secrets[0])) if secrets else None


def _refuse_body(reason: str) -> Never:
    raise AlertInvalid([FieldError(field="body", value="(not shown)", reason=reason)]) from None


def _refuse_secret(reason: str) -> Never:
    raise AlertInvalid([FieldError(field="secret", value="(not shown)", reason=reason)])


def _is_blank(raw: Raw) -> bool:
    return raw is None or (isinstance(raw, str) and not raw.strip())


def _kind(raw: Raw) -> str:
    match raw:
        case None:
            return "null"
        case bool():
            return "true or false"
        case Number():
            return "a number"
        case str():
            return "text"
        case Pairs():
            return "an object"
        case list():
            return "an array"


def _storable(raw: Raw, depth: int) -> JsonValue:
    if depth > DEPTH_LIMIT:
        _refuse_body(f"nested more than {DEPTH_LIMIT} deep")
    match raw:
        case None | bool():
            return raw
        case Number():
            return _storable_number(raw)
        case str():
            return _storable_text(raw)
        case Pairs():
            return {_storable_text(key): _storable(value, depth + 1) for key, value in raw}
        case list():
            return [_storable(value, depth + 1) for value in raw]


def _storable_text(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", str(text))


def _storable_number(text: Number) -> JsonValue:
    if len(text) <= DECIMALS_LIMIT and text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    try:
        kept = math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
    except InvalidOperation:
        kept = False
    return number if kept else str(text)
