"""What the exchange lets our API key do."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from pydantic import SecretStr

from core.errors import ExchangeUnavailable, RequestRefused

ANSWER_WITHIN_S: Final = 4.0
_PATH: Final = "/sapi/v1/account/apiRestrictions"
_RECV_WINDOW_MS: Final = 5_000


class KeyPermissions(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the exchange's answer that matters here."""

    enable_withdrawals: bool = msgspec.field(name="enableWithdrawals")
    ip_restrict: bool = msgspec.field(name="ipRestrict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key."""

    key: SecretStr
    secret: SecretStr


async def read_permissions(base_url: str, key: Key, *, now_ms: int) -> KeyPermissions:
    """Return what the key may do.

    Raises:
        RequestRefused: the exchange does not know the key, or does not take it from here.
        ExchangeUnavailable: nothing, or nothing readable, was answered.

    Source: https://developers.binance.com/docs/wallet/account/api-key-permission
    """
    query = urlencode({"timestamp": now_ms, "recvWindow": _RECV_WINDOW_MS})
    secret = key.secret.get_secret_value().encode()
    signature = hmac.new(secret, query.encode(), hashlib.sha256).hexdigest()
    url = f"{base_url}{_PATH}?{query}&signature={signature}"
    headers = {"X-MBX-APIKEY": key.key.get_secret_value()}
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(url, headers=headers) as response,
        ):
            status, text = response.status, await response.text()
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        # Its text may hold the address, and so the signature.
        raise ExchangeUnavailable(f"permissions not read: {type(error).__name__}") from None
    if 400 <= status < 500:
        raise RequestRefused(code=0, text=text[:200], http_status=status)
    try:
        return msgspec.json.decode(text, type=KeyPermissions)
    except msgspec.MsgspecError as error:
        raise ExchangeUnavailable(f"permissions not read: HTTP {status}, {error}") from None
