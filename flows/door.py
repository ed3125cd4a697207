"""The door before the webhook: who may come in, how often, and how much at once.

It stands before everything else of the app, because what is turned away here must cost next to
nothing: two thousand wrong requests a second must not delay one alert that is meant.

Who shows a valid secret in the address goes past all queues. Who showed one lately, in the body, is
only kept to his rate. All others share what is left: a rate each, a rate together, places to be
read in, and few wrong attempts. TradingView sends again after a 503, and nothing else: those who
may be meant well get that.
"""

import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import StoreUnavailable
from core.rates import Bucket, Buckets
from core.senders import Networks, Source, is_among
from flows.intake import Sender
from flows.outside import request_source
from flows.secret_book import SecretBook
from flows.turned_away import TurnedAway

PATH: Final = "/webhook"
BODY_LIMIT: Final = 64 * 1024  # bytes; an alert has one or two thousand
BURST_S: Final = 5  # so many seconds' worth may come at once: all alerts of a bar's close
WRONG_PER_S: Final = 1.0  # attempts of one source, after the first few
WRONG_AT_ONCE: Final = 20.0
PROVEN_FOR_S: Final = 86_400.0
PROVEN_KEPT: Final = 1_000
STRANGERS_AT_ONCE: Final = 64  # whose bodies are being read
STRANGERS_OF_ONE_SOURCE: Final = 8
_WRONG: Final = frozenset({400, 401, 403, 408, 413, 422})
_BROWSERS_SAY: Final = (b"origin", b"sec-fetch-site")
SENDER: Final = "tradebox.sender"  # in the request's scope, once the sender is known


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """Who may send alerts, and how many.

    Attributes:
        allowed: addresses that may send; none: all.
        trusted: proxies that say for whom they speak.
        certificate: header, and its value, by which a trusted proxy says that the sender showed
            its certificate; None: not asked for.
        rate: alerts a second of one source.
        total_rate: requests a second of all sources together that have not shown a secret lately.
    """

    allowed: Networks = ()
    trusted: Networks = ()
    certificate: tuple[str, str] | None = None
    rate: float = 20.0
    total_rate: float = 200.0


class _Refused(Exception):
    def __init__(self, status: int, reason: str, text: str, *, is_wrong: bool = False) -> None:
        self.status = status
        self.reason = reason  # one word, to be counted
        self.text = text
        self.is_wrong = is_wrong  # counts among the source's wrong attempts
        super().__init__(text)


class Door:
    """ASGI middleware for POST /webhook and /webhook/{token}; everything else passes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        rules: DoorRules,
        book: SecretBook,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let alerts through to `app` as `rules` say."""
        self._app, self._rules, self._book, self._clock = app, rules, book, clock
        burst = max(1.0, rules.rate * BURST_S)
        self._rates = Buckets(rate=rules.rate, burst=burst)
        self._wrong = Buckets(rate=WRONG_PER_S, burst=WRONG_AT_ONCE)
        total_burst = max(1.0, rules.total_rate * BURST_S)
        self._strangers = Bucket(rules.total_rate, total_burst, total_burst, clock())
        self._proven: OrderedDict[str, float] = OrderedDict()
        self._inside: Counter[str] = Counter()
        self._turned_away = TurnedAway("alerts turned away at the door")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if not _is_alert(scope):
            await self._app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        source = request_source(scope, self._rules.trusted)
        try:
            self._require_welcome(source, headers)
            if (token := _token(scope)) is not None:
                scope[SENDER] = await self._holder(token, source)
                await self._app(scope, receive, send)
            else:
                self._require_patience(source, headers)
                with self._place(source):
                    await self._watched(scope, receive, send, source)
        except _Refused as refusal:
            if refusal.is_wrong:
                self._wrong.of(source.key, self._clock()).take(self._clock())
            self._turned_away.note(refusal.reason, self._clock())
            await _answer(send, refusal)

    def _require_welcome(self, source: Source, headers: list[tuple[bytes, bytes]]) -> None:
        # Any page that somebody on this network looks at could send one, with his address.
        if any(name in _BROWSERS_SAY for name, _ in headers):
            raise _Refused(403, "page", "alerts are not taken from web pages")
        allowed, certificate = self._rules.allowed, self._rules.certificate
        if allowed and not is_among(source.address, allowed):
            raise _Refused(403, "address", "alerts are not taken from this address")
        if certificate is None:
            return
        name, wanted = certificate
        shown = [_text(value) for key, value in headers if _text(key) == name.lower()]
        if not source.is_by_proxy or shown != [wanted]:
            raise _Refused(403, "certificate", "the sender's certificate was not shown")

    async def _holder(self, token: str, source: Source) -> Sender:
        """Return who holds the secret in the address, within his rate."""
        try:
            sender = await self._book.sender_of(token)
        except StoreUnavailable as error:
            raise _Refused(503, "unavailable", str(error)) from None
        if sender is None:
            if self._wrong.of(source.key, self._clock()).fill(self._clock()) < 1:
                raise _Refused(429, "attempts", "too many attempts")
            text = "the webhook's secret is missing or wrong"
            raise _Refused(401, "unauthorised", text, is_wrong=True)
        key = source.key if sender.secret_id is None else f"secret {sender.secret_id}"
        if not self._rates.of(key, self._clock()).take(self._clock()):
            raise _Refused(503, "rate", f"more than {self._rules.rate:g} alerts a second")
        return sender

    def _require_patience(self, source: Source, headers: list[tuple[bytes, bytes]]) -> None:
        now, key = self._clock(), source.key
        is_proven = self._is_proven(key, now)
        if not is_proven and self._wrong.of(key, now).fill(now) < 1:
            raise _Refused(429, "attempts", "too many attempts")
        if not self._rates.of(key, now).take(now):
            raise _Refused(
                503 if is_proven else 429, "rate", f"more than {self._rules.rate:g} alerts a second"
            )
        if _length(headers) > BODY_LIMIT:
            text = f"the body is longer than {BODY_LIMIT} bytes"
            raise _Refused(413, "size", text, is_wrong=True)
        if not is_proven and not self._strangers.take(now):
            raise _Refused(503, "crowd", "too many requests at once; send it again")

    @contextmanager
    def _place(self, source: Source) -> Iterator[None]:
        """Hold one of the places to be read in; those who showed a secret lately need none."""
        key = source.key
        if self._is_proven(key, self._clock()):
            yield
            return
        if (
            self._inside.total() >= STRANGERS_AT_ONCE
            or self._inside[key] >= STRANGERS_OF_ONE_SOURCE
        ):
            raise _Refused(503, "crowd", "too many requests at once; send it again")
        self._inside[key] += 1
        try:
            yield
        finally:
            self._inside[key] -= 1
            if not self._inside[key]:
                del self._inside[key]

    async def _watched(self, scope: Scope, receive: Receive, send: Send, source: Source) -> None:
        """Pass the request on, and remember how it was received."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = self._clock()
                sender: Sender | None = scope.get(SENDER)
                if sender is not None:
                    self._prove(source.key, now)
                elif message["status"] in _WRONG:
                    self._wrong.of(source.key, now).take(now)
            await send(message)

        await self._app(scope, receive, noting)

    def _is_proven(self, key: str, now: float) -> bool:
        return now - self._proven.get(key, float("-inf")) < PROVEN_FOR_S

    def _prove(self, key: str, now: float) -> None:
        self._proven[key] = now
        self._proven.move_to_end(key)
        if len(self._proven) > PROVEN_KEPT:
            self._proven.popitem(last=False)


def _is_alert(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    return path == PATH or path.startswith(PATH + "/")


def _token(scope: Scope) -> str | None:
    path: str = scope["path"]
    return path[len(PATH) + 1 :] or None


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    lengths = [value for name, value in headers if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip()


async def _answer(send: Send, refusal: _Refused) -> None:
    kind = "unavailable" if refusal.status == 503 else "refused"
    body = json.dumps({"status": kind, "detail": refusal.text}).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if refusal.status in (429, 503):
        headers.append((b"retry-after", b"5"))
    if refusal.status == 413:
        headers.append((b"connection", b"close"))  # or the rest of the body would still be read
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": refusal.status,
        "headers": headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
