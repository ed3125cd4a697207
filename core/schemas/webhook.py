"""The alert: what a webhook's body must say, and the typed `Alert` made of it.

Each field is read below in the order of the payload table (strategy, section 1), with its
bounds and default; what several fields must satisfy together follows. All errors come at once.

Decided here, where several readings are possible:
- true and false are the words in any letter case, 1 and 0; 'yes' and 'on' are refused.
- an empty array is an absent list, like null and blank text; a single number is a list of one.
- decimals are counted as written: 19 of them are refused even if the last ones are zeros.
- a `flat` alert needs only its symbol: what else its template carries is not looked at, except
  `id`, `action`, and `open.enabled` / `settings.start`, `test` and times where they are readable.
  The same holds for every `action` but `open`, which says more than `positionSide` and goes before.
- `timenow` (when the alert was sent) goes before `time` (TradingView's: when its bar began).
"""

import difflib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeVar

from pydantic import JsonValue, SecretStr

from core.domain.settings import AmountType, CycleSettings, GridMode, MultiplierMode, SymbolRules
from core.errors import AlertInvalid, FieldError
from core.money import HUNDRED, ONE, ZERO, to_wire
from core.schemas.payload import (
    GROUPS,
    Body,
    FieldReader,
    Raw,
    read_body,
    read_bool,
    read_decimal,
    read_list,
    read_text,
    shown,
)

ID_LENGTH_LIMIT: Final = 200
SYMBOL_LENGTH_LIMIT: Final = 20
# From here on, a multiplier without a stated mode is taken for a percentage by mistake.
SUSPICIOUS_MULTIPLIER: Final = Decimal(5)
DEFAULT_MAX_HEDGES: Final = 5
UNKNOWN_LOOKED_AT: Final = 20  # misspelt fields are looked for among so many
# From here on a number of a time counts milliseconds (as seconds it would be the year 5138).
_MILLISECONDS_FROM: Final = 10**11

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")


class AlertKind(StrEnum):
    """What an alert asks for."""

    OPEN = "open"
    SKIPPED = "skipped"  # disabled by its sender: stored, nothing traded
    FLAT = "flat"  # the sender's exit; FLAT_ACTION says what becomes of it
    CLOSE = "close"  # the symbol's cycle
    CANCEL = "cancel"  # the symbol's levels that are not filled
    PAUSE = "pause"
    RESUME = "resume"
    CLOSE_ALL = "close_all"  # every open cycle, whatever its symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert, understood."""

    kind: AlertKind
    symbol: str  # empty: all symbols
    alert_id: str | None
    settings: CycleSettings | None  # None: an alert that cannot open, disabled or not
    payload: dict[str, JsonValue]  # as received, without the secret
    secret: SecretStr | None
    warnings: tuple[str, ...]  # legal, but probably not meant
    is_test: bool = False  # everything is to be done but what would change anything
    sent_at_ms: int | None = None  # as its sender says; the field is `sent_at_field`
    sent_at_field: str = "timenow"


class _Action(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    CLOSE_ALL = "close_all"


class _PositionSide(StrEnum):
    LONG = "long"
    FLAT = "flat"


def parse_alert(body: bytes | Body, *, mg_mode_default: MultiplierMode | None) -> Alert:
    """Return the alert in `body`; raise `AlertInvalid` with every error that it has.

    Args:
        body: the request's bytes, or what `read_body` made of them (it gives the secret alone, so
            that a caller can be turned away before anything else is looked at).
        mg_mode_default: the installation's choice for payloads that do not state `mg_mode`.
    """
    if isinstance(body, bytes):
        body = read_body(body)
    fields = FieldReader(body)
    action = fields.defaulted("action", _one_of(_Action), _Action.OPEN)
    symbol = None
    if action is not _Action.CLOSE_ALL:
        symbol = fields.required("symbol", parse_symbol)
    kind = AlertKind(action.value)
    if action is _Action.OPEN:
        position_side = fields.required("positionSide", _read_position_side)
        kind = AlertKind.FLAT if position_side is _PositionSide.FLAT else kind
    alert_id = fields.optional("id", _read_id)
    settings: CycleSettings | None = None
    read = fields.lenient
    if kind is AlertKind.OPEN:
        read = fields.optional
        fields.required("side", _read_side)
        settings = _read_settings(fields, symbol or "", mg_mode_default)
    disabled = [read(path, read_bool) is False for path in _SWITCHES]
    is_test = read("test", read_bool) or False
    sent_at_ms, sent_at_field = read("timenow", _read_time), "timenow"
    if fields.is_absent("timenow") and not fields.is_absent("time"):
        sent_at_ms, sent_at_field = read("time", _read_time), "time"
    if fields.errors:
        raise AlertInvalid(fields.errors)
    return Alert(
        kind=AlertKind.SKIPPED if any(disabled) else kind,
        symbol=symbol or "",
        alert_id=alert_id,
        settings=settings,
        payload=body.payload,
        secret=body.secret,
        warnings=_warnings(settings, fields) if settings else (),
        is_test=is_test,
        sent_at_ms=sent_at_ms,
        sent_at_field=sent_at_field,
    )


def require_fresh(alert: Alert, *, received_at_ms: int, max_age_ms: int) -> None:
    """Raise AlertInvalid for an alert sent too long ago, or later than now; 0 takes any age."""
    if alert.sent_at_ms is None or not max_age_ms:
        return
    age_ms = received_at_ms - alert.sent_at_ms
    if abs(age_ms) <= max_age_ms:
        return
    age = timedelta(seconds=abs(age_ms) // 1000)
    sent_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=alert.sent_at_ms)
    reason = f"{age} old, at most {max_age_ms / 1000:g} s are taken (MAX_SIGNAL_AGE)"
    if alert.sent_at_field == "time":
        reason += "; TradingView's {{time}} is when the bar began, send {{timenow}} instead"
    if age_ms < 0:
        reason = f"{age} in the future: one of the two clocks is wrong"
    error = FieldError(
        field=alert.sent_at_field, value=sent_at.isoformat(timespec="seconds"), reason=reason
    )
    raise AlertInvalid([error])


def symbol_errors(alert: Alert, rules: SymbolRules | None) -> tuple[FieldError, ...]:
    """Return what is wrong with the alert once its symbol's rules are known (None: not listed)."""
    if rules is None:
        reason = "the exchange lists no such perpetual"
        return (FieldError(field="symbol", value=alert.symbol, reason=reason),)
    errors = []
    if rules.status != "TRADING":
        reason = f"the exchange lists it as {rules.status}, not TRADING"
        errors.append(FieldError(field="symbol", value=alert.symbol, reason=reason))
    highest = rules.max_leverage
    if alert.settings and highest is not None and alert.settings.leverage > highest:
        errors.append(
            FieldError(
                field="open.leverage",
                value=str(alert.settings.leverage),
                reason=f"{alert.symbol} allows at most {highest}",
            )
        )
    return tuple(errors)


def parse_symbol(raw: Raw) -> str:
    """Return the exchange's symbol, from it or from a TradingView ticker of it."""
    text = read_text(raw).upper()
    symbol = text.split(":", 1)[-1].removesuffix(".P").strip()
    if (
        not all(c.isalnum() or c == "_" for c in symbol)
        or not 0 < len(symbol) <= SYMBOL_LENGTH_LIMIT
    ):
        raise ValueError("must be a symbol such as BTCUSDT, BTCUSDT.P or BINANCE:BTCUSDT.P")
    return symbol


_SWITCHES: Final = ("open.enabled", "settings.start")


def _read_settings(
    fields: FieldReader, symbol: str, mg_mode_default: MultiplierMode | None
) -> CycleSettings | None:
    amount_type = fields.defaulted("open.amountType", _one_of(AmountType), AmountType.BASE)
    amount = fields.required("open.amount", _number(above=ZERO))
    leverage = fields.required("open.leverage", _whole(least=1))
    entry_price = fields.optional("open.entry_price", _number(above=ZERO))
    deposit = fields.required("settings.deposit", _number(above=ZERO))
    extramarg = fields.optional("settings.extramarg", _number(least=ZERO))
    tp = fields.required("settings.tp", _number(above=ZERO))
    order_quan = fields.required("settings.order_quan", _whole(least=0, most=100))
    grid_mode = fields.defaulted("settings.grid_mode", _one_of(GridMode), GridMode.STEP)
    grid_long = fields.optional("settings.grid_long", _numbers(above=ZERO, below=HUNDRED)) or ()
    mg_long = fields.optional("settings.mg_long", _numbers(above=ZERO)) or ()
    mg_mode = fields.optional("settings.mg_mode", _one_of(MultiplierMode)) or mg_mode_default
    trail_1 = fields.defaulted("settings.trail_1", _number(least=ZERO), ZERO)
    trail_2 = fields.defaulted("settings.trail_2", _number(least=ZERO, below=HUNDRED), ZERO)
    trail_step = fields.defaulted("settings.trail_step", _number(least=ZERO), ZERO)
    trail_guard = fields.defaulted("settings.trail_guard", read_bool, True)
    offset_short = fields.optional("settings.offset_short", _number(least=ZERO, below=HUNDRED))
    sl_short = fields.optional("settings.sl_short", _number_absolute(above=ZERO, below=HUNDRED))
    offset_pluse = fields.optional(
        "settings.offset_pluse", _number(above=(sl_short or HUNDRED).copy_negate(), below=HUNDRED)
    )
    max_hedges = fields.defaulted("settings.max_hedges", _whole(least=0), DEFAULT_MAX_HEDGES)
    pnl_target = fields.defaulted("settings.pnl_target", _number(least=ZERO), ZERO)
    max_loss = fields.optional("settings.max_loss", _number(above=ZERO))
    grid_ahead = fields.defaulted("settings.grid_ahead", _whole(least=1, most=100), 1)

    _check_list(fields, "settings.grid_long", grid_long, order_quan)
    _check_list(fields, "settings.mg_long", mg_long, order_quan)
    _check_offsets(fields, grid_mode, grid_long)
    if mg_mode is None:
        _check_multipliers(fields, mg_long)
    # Left out, extramarg is the deposit, which is never 0: that asks for a hedge too.
    _check_hedge(fields, order_quan, offset_short, hedged=extramarg is None or extramarg > 0)
    if fields.errors:
        return None
    return CycleSettings(
        symbol=symbol,
        amount_type=amount_type,
        amount=_sure(amount),
        leverage=_sure(leverage),
        entry_price=entry_price,
        deposit=_sure(deposit),
        extramarg=_sure(deposit) if extramarg is None else extramarg,
        tp=_sure(tp),
        order_quan=_sure(order_quan),
        grid_long=grid_long,
        grid_mode=grid_mode,
        mg_long=mg_long,
        mg_mode=mg_mode or MultiplierMode.MULTIPLIER,
        trail_1=trail_1,
        trail_2=trail_2,
        trail_step=trail_step,
        trail_guard=trail_guard,
        offset_short=offset_short,
        offset_pluse=offset_short if offset_pluse is None else offset_pluse,
        sl_short=sl_short,
        max_hedges=max_hedges,
        pnl_target=pnl_target,
        max_loss=max_loss,
        grid_ahead=grid_ahead,
    )


def _check_list(
    fields: FieldReader, path: str, items: tuple[Decimal, ...], order_quan: int | None
) -> None:
    if path in fields.failed or order_quan is None:
        return
    if not items and order_quan > 0:
        fields.fail(path, f"required: order_quan is {order_quan}")
    elif len(items) != order_quan:
        fields.fail(path, f"has {len(items)} items, order_quan is {order_quan}")


def _check_offsets(fields: FieldReader, mode: GridMode, offsets: tuple[Decimal, ...]) -> None:
    rising = all(low < high for low, high in itertools.pairwise(offsets))
    if mode is GridMode.OFFSET and not rising:
        fields.fail("settings.grid_long", "must rise from level to level with grid_mode offset")


def _check_multipliers(fields: FieldReader, multipliers: tuple[Decimal, ...]) -> None:
    if any(multiplier >= SUSPICIOUS_MULTIPLIER for multiplier in multipliers):
        fields.fail(
            "settings.mg_long",
            f"multipliers of {SUSPICIOUS_MULTIPLIER} and more are nearly always percentages: state "
            "settings.mg_mode (multiplier or percent), or set MG_MODE in the environment",
        )


def _check_hedge(
    fields: FieldReader, order_quan: int | None, offset_short: Decimal | None, *, hedged: bool
) -> None:
    wanted = hedged and "settings.extramarg" not in fields.failed
    for path in ("settings.offset_short", "settings.sl_short"):
        if wanted and path not in fields.failed and fields.is_absent(path):
            fields.fail(path, "required: extramarg is above 0 (set it to 0 for no hedge)")
    if order_quan == 0 and offset_short == 0:
        fields.fail("settings.offset_short", "must be above 0 with order_quan 0")


def _warnings(settings: CycleSettings, fields: FieldReader) -> tuple[str, ...]:
    hedged = settings.extramarg > 0
    percentages = settings.mg_mode is MultiplierMode.PERCENT
    cases = (
        (
            settings.trail_1 >= settings.tp,
            f"trail_1 {to_wire(settings.trail_1)} is not below tp {to_wire(settings.tp)}: "
            "trailing can never start",
        ),
        (
            settings.trail_1 > 0 and settings.trail_2 == 0,
            "trail_1 without trail_2: trailing ends at the first trade that is not higher",
        ),
        (
            settings.trail_1 == 0 and (settings.trail_2 > 0 or settings.trail_step > 0),
            "trail_2 and trail_step do nothing without trail_1: trailing is off",
        ),
        (
            hedged and settings.sl_short is not None and settings.sl_short > settings.tp,
            f"sl_short is above tp {to_wire(settings.tp)}: a stopped hedge loses more than the "
            "take-profit earns on the same quantity",
        ),
        (
            percentages and any(growth < SUSPICIOUS_MULTIPLIER for growth in settings.mg_long),
            f"mg_mode is percent and mg_long has values below {SUSPICIOUS_MULTIPLIER}: "
            "are they multipliers?",
        ),
        (
            not percentages and any(factor < ONE for factor in settings.mg_long),
            "mg_long has multipliers below 1: levels become smaller on the way down",
        ),
        (
            hedged and settings.max_hedges == 0,
            "max_hedges is 0: extramarg is set aside, and no hedge is ever opened",
        ),
        (
            not hedged and settings.pnl_target > 0,
            "pnl_target does nothing without a hedge (extramarg is 0)",
        ),
    )
    return (*(text for applies, text in cases if applies), *_misspelt(fields))


def _misspelt(fields: FieldReader) -> list[str]:
    texts = []
    for path in fields.unknown[:UNKNOWN_LOOKED_AT]:
        group, _, name = path.partition(".")
        if group not in GROUPS:
            continue  # top-level extras such as sens or time_frame are usual
        siblings = [known for known in sorted(fields.asked) if known.startswith(f"{group}.")]
        names = [known.partition(".")[2] for known in siblings]
        if near := difflib.get_close_matches(name, names, n=1, cutoff=0.8):
            texts.append(f"unknown field {shown(path)} is ignored; did you mean {group}.{near[0]}?")
    return texts


def _read_position_side(raw: Raw) -> _PositionSide:
    word = read_text(raw).lower()
    if word == "short":
        raise ValueError("only LONG cycles can be opened; the SHORT side is their hedge")
    try:
        return _PositionSide(word)
    except ValueError:
        raise ValueError("must be long (or flat)") from None


def _read_side(raw: Raw) -> str:
    word = read_text(raw).lower()
    if word != "buy":
        raise ValueError("must be buy with positionSide long")
    return word


def _read_time(raw: Raw) -> int:
    text = read_text(raw)
    try:
        if text.isascii() and text.isdigit() and len(text) <= len(str(_MILLISECONDS_FROM)) + 2:
            number = int(text)
            at = timedelta(milliseconds=number if number >= _MILLISECONDS_FROM else number * 1000)
        else:
            read = datetime.fromisoformat(text)
            read = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
            at = read - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a time such as 2026-01-31T12:00:00Z, or milliseconds since 1970"
        ) from None
    return at // timedelta(milliseconds=1)


def _read_id(raw: Raw) -> str:
    text = read_text(raw)
    if len(text) > ID_LENGTH_LIMIT:
        raise ValueError(f"must have at most {ID_LENGTH_LIMIT} characters")
    return text


def _one_of(kind: type[E]) -> Callable[[Raw], E]:
    def read(raw: Raw) -> E:
        try:
            return kind(read_text(raw).lower())
        except ValueError:
            raise ValueError(f"must be {' or '.join(kind)}") from None

    return read


def _number(
    *, above: Decimal | None = None, least: Decimal | None = None, below: Decimal | None = None
) -> Callable[[Raw], Decimal]:
    def read(raw: Raw) -> Decimal:
        number = read_decimal(raw)
        _check_bounds(number, above=above, least=least, below=below)
        return number

    return read


def _number_absolute(*, above: Decimal, below: Decimal) -> Callable[[Raw], Decimal]:
    def read(raw: Raw) -> Decimal:
        number = read_decimal(raw).copy_abs()  # senders write a loss as -0.5 or 0.5
        _check_bounds(number, above=above, below=below)
        return number

    return read


def _numbers(
    *, above: Decimal, below: Decimal | None = None
) -> Callable[[Raw], tuple[Decimal, ...]]:
    def read(raw: Raw) -> tuple[Decimal, ...]:
        numbers = read_list(raw)
        wrong = []
        for position, number in enumerate(numbers, start=1):
            try:
                _check_bounds(number, above=above, below=below)
            except ValueError as error:
                wrong.append(f"item {position} ({to_wire(number)}) {error}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return numbers

    return read


def _whole(*, least: int, most: int | None = None) -> Callable[[Raw], int]:
    def read(raw: Raw) -> int:
        number = read_decimal(raw)
        if number != number.to_integral_value():
            raise ValueError("must be a whole number")
        if number < least or (most is not None and number > most):
            bounds = f"{least} or more" if most is None else f"{least} to {most}"
            raise ValueError(f"must be {bounds}")
        return int(number)

    return read


def _check_bounds(
    number: Decimal,
    *,
    above: Decimal | None = None,
    least: Decimal | None = None,
    below: Decimal | None = None,
) -> None:
    if above is not None and number <= above:
        raise ValueError(f"must be above {to_wire(above)}")
    if least is not None and number < least:
        raise ValueError(f"must be {to_wire(least)} or more")
    if below is not None and number >= below:
        raise ValueError(f"must be below {to_wire(below)}")


def _sure(value: T | None) -> T:
    assert value is not None, "a required field that is absent was reported before"
    return value
