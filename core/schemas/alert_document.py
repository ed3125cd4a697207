"""What the OpenAPI document says of an alert: JSON, whatever its type is said to be."""

from typing import Any, Final

_NUMBER: Final = {"type": ["number", "string", "null"]}
_LIST: Final = {
    "anyOf": [{"type": "array", "items": {"type": ["number", "string"]}}, {**_NUMBER}],
}
_BOOL: Final = {"type": ["boolean", "string", "integer", "null"]}
_TEXT: Final = {"type": ["string", "null"]}
_TIME: Final = {"type": ["string", "number", "null"]}

# Nested groups as TradingView's templates have them; flat keys (`open.amount`) mean the same.
_OPEN: Final = {
    "enabled": _BOOL,
    "amountType": {"type": "string", "enum": ["amount", "quote"]},
    "amount": _NUMBER,
    "leverage": _NUMBER,
    "entry_price": _NUMBER,
}
_SETTINGS: Final = {
    "start": _BOOL,
    **dict.fromkeys(("deposit", "extramarg", "tp", "order_quan", "max_hedges"), _NUMBER),
    **dict.fromkeys(("trail_1", "trail_2", "trail_step", "pnl_target", "max_loss"), _NUMBER),
    **dict.fromkeys(("offset_short", "offset_pluse", "sl_short", "grid_ahead"), _NUMBER),
    "grid_long": _LIST,
    "grid_mode": {"type": "string", "enum": ["step", "offset"]},
    "mg_long": _LIST,
    "mg_mode": {"type": "string", "enum": ["multiplier", "percent"]},
    "trail_guard": _BOOL,
}
ALERT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "docs/alerts.md says what each field means.",
    "properties": {
        "name": _TEXT,
        "symbol": {"type": "string", "examples": ["BTCUSDT.P"]},
        "side": {"type": "string", "enum": ["buy"]},
        "positionSide": {"type": "string", "enum": ["long", "flat"]},
        "open": {"type": "object", "properties": _OPEN},
        "settings": {"type": "object", "properties": _SETTINGS},
        "id": _TEXT,
        "action": {
            "type": "string",
            "enum": ["open", "close", "cancel", "pause", "resume", "close_all"],
        },
        "test": _BOOL,
        "time": _TIME,
        "timenow": _TIME,
        "secret": _TEXT,
    },
}
ALERT_DOCUMENT: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": ALERT_SCHEMA} for kind in ("application/json", "text/plain")},
    }
}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": what, "content": {"application/json": {"schema": {"type": "object"}}}}
    for status, what in {
        200: "accepted, skipped, duplicate or tested",
        400: "the body broke off",
        401: "the secret is missing or wrong",
        403: "not from this address, or not this sender's right",
        404: "there is nothing at this address: no secret holds a line break",
        408: "the body came too slowly",
        409: "the symbol is busy, paused or in use, or a limit stands against it",
        413: "the body is too long",
        422: "something in it is wrong or too old; every error is named",
        429: "too many attempts",
        500: "an error of ours",
        503: "database, exchange or monitor away; send it again",
    }.items()
}
