"""The sample alert, as a TradingView alert would send it."""

from typing import Any, Final

import aiohttp

TOUR_SYMBOL: Final = "BTCUSDT"
QUOTE_AMOUNT: Final = "240"  # what the sample's 0.004 BTC are worth at 60,000
ANSWER_WITHIN_S: Final = 10.0


def sample_alert(symbol: str, *, by_quote: bool, secret: str | None) -> dict[str, Any]:
    """Return the body; `by_quote`: the amount in quote, which suits any symbol."""
    amount = {"amountType": "amount", "amount": "0.004"}
    if by_quote or symbol != TOUR_SYMBOL:
        amount = {"amountType": "quote", "amount": QUOTE_AMOUNT}
    body: dict[str, Any] = {
        "name": "sample alert",
        "symbol": f"{symbol}.P",
        "side": "buy",
        "positionSide": "long",
        "open": {"enabled": True, **amount, "leverage": "10", "entry_price": None},
        "settings": {
            "start": True,
            "deposit": "300",
            "extramarg": "600",
            "tp": "0.5",
            "order_quan": "3",
            "grid_long": "0.5|1|2",
            "mg_long": "1.5|2|2",
            "mg_mode": "multiplier",
            "trail_1": "0",
            "trail_2": "0",
            "trail_step": "0",
            "offset_short": "0.2",
            "offset_pluse": "0.2",
            "sl_short": "0.5",
        },
    }
    return body if secret is None else {**body, "secret": secret}


async def post_alert(
    http: aiohttp.ClientSession, api_url: str, alert: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Send the alert and return status and answer."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    async with http.post(f"{api_url}/webhook", json=alert, timeout=timeout) as response:
        return response.status, await response.json()
