"""An exchange that listens: the web application on a port."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from paper.app import build_app
from paper.exchange import Exchange

LOCAL = "127.0.0.1"
HIGHEST_PORT = 65535
DEFAULT_KEY = "paper-key"
DEFAULT_SECRET = "paper-secret"


class PortError(Exception):
    """The address cannot be listened on; the text is one line."""


@asynccontextmanager
async def listening(
    exchange: Exchange,
    *,
    host: str = LOCAL,
    port: int = 0,
    api_key: str = DEFAULT_KEY,
    api_secret: str = DEFAULT_SECRET,
) -> AsyncIterator[str]:
    """Serve the exchange while the block runs; yield its address, http://host:port.

    Port 0 takes a free one. Feed, mark prices and state file are the caller's to run.

    Raises:
        PortError: the port is taken or may not be used.
    """
    if not 0 <= port <= HIGHEST_PORT:  # uvloop would take the remainder
        raise PortError(f"cannot listen on {host}:{port}: no such port")
    app = build_app(exchange, api_key=api_key, api_secret=api_secret)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, OverflowError) as error:
            reason = os.strerror(getattr(error, "errno", 0) or 0) or str(error)
            raise PortError(f"cannot listen on {host}:{port}: {reason}") from error
        bound = runner.addresses[0]
        yield f"http://{bound[0]}:{bound[1]}"
    finally:
        exchange.faults.clear()
        await exchange.hub.close()
        await runner.cleanup()
