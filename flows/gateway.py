"""The exchange, as the settings say."""

from config import Settings
from core.clients.binance import BinanceGateway
from core.clients.binance_rest import connect_gateway


def make_gateway(settings: Settings) -> BinanceGateway:
    """Return the gateway of this process; nothing is sent yet. Call it in a running event loop."""
    return connect_gateway(
        base_url=settings.rest_url,
        api_key=settings.api_key.get_secret_value(),
        api_secret=settings.api_secret,
        share_percent=max(1, int(settings.rate_share * 100)),
    )
