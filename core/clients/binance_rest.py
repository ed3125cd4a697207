"""Signed HTTP requests to the exchange on python-binance's client; not what they mean.

It corrects what that client would do to an order: the time in it, the bytes that are signed,
silent repetition by the HTTP library, errors that hide the answer.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import structlog
from binance.async_client import AsyncClient
from pydantic import SecretStr

from core.clients.binance import BinanceGateway
from core.clients.rest_answers import RestAnswer, error_of, no_answer, rate_limited, stop_of
from core.clients.rest_budget import Budget
from core.clients.rest_call import LATEST_START_MS, RECEIVE_WINDOW_MS, Call
from core.clients.unreachable import no_connection
from core.errors import ExchangeError, ExchangeUnavailable, RequestRefused, RequestTooLate
from core.schemas.binance_rest import ServerTime

TIMEOUT_SECONDS = 4.0
_CLOCK_SAMPLES = 3
_WRONG_TIME = (-1021, -5028)

_log = structlog.get_logger(__name__)


class ExchangeClock:
    """The exchange's time, carried on by our monotonic clock between two measurements."""

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - _monotonic_ms()  # a guess until measured
        self.measured_at_ms = -1.0  # monotonic

    def now_ms(self) -> int:
        """Return the exchange's clock; a step of this machine's wall clock does not move it."""
        return int(_monotonic_ms() + self._offset_ms)

    def measured(self, *, server_ms: int, sent_ms: float, received_ms: float) -> None:
        """Set the clock by one answer; the server looked at its clock somewhere in between."""
        self._offset_ms = server_ms - (sent_ms + received_ms) / 2
        self.measured_at_ms = received_ms


class BinanceRest:
    """`RestTransport` to a futures host. Create it inside a running event loop."""

    def __init__(
        self, *, base_url: str, api_key: str, api_secret: SecretStr, share_percent: int
    ) -> None:
        # Not `AsyncClient.create()`: that calls the spot host and takes the time from there.
        self._client = _SigningClient(api_key, api_secret.get_secret_value())
        self._client.FUTURES_URL = f"{base_url.rstrip('/')}/fapi"
        # aiohttp would send a PUT or DELETE again by itself when a kept connection was closed.
        self._client.session._retry_connection = False
        self._budget = Budget(share_percent=share_percent)
        self._clock = ExchangeClock()
        self._sync_lock = asyncio.Lock()

    def now_ms(self) -> int:
        """Return the exchange's clock."""
        return self._clock.now_ms()

    async def sync_clock(self) -> None:
        """Measure the exchange's clock; of a few answers the fastest is believed."""
        samples: list[tuple[float, int, float, float]] = []
        for _ in range(_CLOCK_SAMPLES):
            call = Call(method="get", path="time", is_signed=False, is_urgent=True)
            sent = _monotonic_ms()
            body = await self.send(call)
            received = _monotonic_ms()
            try:
                server_ms = msgspec.json.decode(body, type=ServerTime).server_time
            except msgspec.DecodeError:
                raise ExchangeUnavailable("the exchange's time cannot be read") from None
            samples.append((received - sent, server_ms, sent, received))
        _, server_ms, sent, received = min(samples)
        self._clock.measured(server_ms=server_ms, sent_ms=sent, received_ms=received)

    async def send(self, call: Call) -> bytes:
        """Send; sign again after setting the clock, unless the timestamp is an order's."""
        started = _monotonic_ms()
        try:
            return await self._send_once(call)
        except RequestRefused as refused:
            if refused.code not in _WRONG_TIME or not call.is_signed:
                raise
            await self._sync_after(started)
            if call.timestamp_ms is not None:
                raise  # its intent is decided anew, with a new timestamp
        except _ConnectionLost as lost:
            # A kept connection that the other side closed meanwhile; a read may simply go again.
            if call.changes:
                raise no_answer(str(lost), changes=True) from None
        try:
            return await self._send_once(call)
        except _ConnectionLost as lost:
            raise no_answer(str(lost), changes=call.changes) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close_connection()

    async def _send_once(self, call: Call) -> bytes:
        now_ms = self.now_ms()
        if call.timestamp_ms is not None and now_ms - call.timestamp_ms > LATEST_START_MS:
            raise RequestTooLate(f"{now_ms - call.timestamp_ms} ms after its timestamp")
        self._budget.take(
            weight=call.weight, is_order=call.is_order, is_urgent=call.is_urgent, now_ms=now_ms
        )
        answer = await self._exchange(call, call.timestamp_ms or now_ms)
        if answer.is_success:
            self._budget.succeeded()
            return answer.body
        stop = stop_of(answer, self.now_ms())
        if stop is None:
            raise error_of(answer, changes=call.changes)
        pause_ms = self._budget.stop(
            told_ms=stop.told_ms,
            is_ban=stop.is_ban,
            only_orders=stop.only_orders,
            now_ms=self.now_ms(),
        )
        _log.warning("exchange asks to stop", pause_ms=pause_ms, text=stop.text)
        raise rate_limited(stop, pause_ms)

    async def _exchange(self, call: Call, timestamp_ms: int) -> RestAnswer:
        data = dict(call.parameters)
        if call.is_signed:
            data |= {"recvWindow": str(RECEIVE_WINDOW_MS), "timestamp": str(timestamp_ms)}
        # No text of aiohttp's errors goes further: it may contain the address with the signature.
        try:
            response: _RawResponse = await self._client._request_futures_api(
                call.method, call.path, call.is_signed, call.version, data=data
            )
        except aiohttp.ClientConnectorError as error:
            raise ExchangeUnavailable(no_connection(error)) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise _ConnectionLost(type(error).__name__) from None
        except TimeoutError:
            raise no_answer("no answer in time", changes=call.changes) from None
        except aiohttp.ClientError as error:
            raise no_answer(type(error).__name__, changes=call.changes) from None
        self._budget.observe(response.headers, self.now_ms())
        return RestAnswer(
            status=response.status,
            body=response.body,
            retry_after=response.headers.get("Retry-After"),
        )

    async def _sync_after(self, started_ms: float) -> None:
        """Set the clock, unless another request did so since this one started."""
        async with self._sync_lock:
            if self._clock.measured_at_ms > started_ms:
                return
            try:
                await self.sync_clock()
            except ExchangeError as error:
                _log.warning("exchange clock not measured", error=str(error))


class _ConnectionLost(Exception):
    """The connection went away while the answer was awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RawResponse:
    status: int
    headers: Mapping[str, str]  # case-insensitive, as aiohttp gives them
    body: bytes


class _SigningClient(AsyncClient):  # type: ignore[misc]  # python-binance ships no types
    """python-binance's client, with the caller's timestamp and answers handed on as they came."""

    def _get_request_kwargs(
        self, method: str, signed: bool, force_params: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Return what aiohttp sends: exactly the bytes that were signed.

        The original writes its own time and window into every request, and signs text that
        differs from what is sent where a value needs escaping.
        """
        text = urlencode(kwargs.get("data") or {})
        if signed:
            text += f"&signature={self._hmac_signature(text)}"
        request: dict[str, Any] = {"timeout": aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)}
        if text:
            request["params" if method == "get" else "data"] = text
        return request

    async def _handle_response(self, response: aiohttp.ClientResponse) -> _RawResponse:
        """Return the answer as it is: the original drops the body of what is not JSON."""
        return _RawResponse(
            status=response.status, headers=response.headers, body=await response.read()
        )


def _monotonic_ms() -> float:
    return time.monotonic() * 1000


def connect_gateway(
    *, base_url: str, api_key: str, api_secret: SecretStr, share_percent: int
) -> BinanceGateway:
    """Return a gateway over HTTP; nothing is sent yet. Call it inside a running event loop.

    `base_url` is the host alone, e.g. https://fapi.binance.com; `share_percent` is the part of
    the account's and the address's rate limits that this process may use.
    """
    return BinanceGateway(
        BinanceRest(
            base_url=base_url,
            api_key=api_key,
            api_secret=api_secret,
            share_percent=share_percent,
        )
    )
