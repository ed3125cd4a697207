"""Who is kept out of the panel by a flood of strangers, and who is not."""

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from admin.crowd import AT_ONCE, RATE, TOTAL_AT_ONCE, TOTAL_RATE, Crowd
from admin.sessions import DEVICE_COOKIE, Devices
from core.senders import parse_networks

DEVICES = Devices(key="a key", path="/")
KNOWN = f"{DEVICE_COOKIE}={DEVICES.signed('a browser')}"


class World:
    """The crowd in front of a page, and the time."""

    def __init__(self) -> None:
        self.now = 0.0
        trusted = parse_networks("127.0.0.1")
        self.crowd = Crowd(self.page, devices=DEVICES, trusted=trusted, clock=lambda: self.now)

    async def page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await PlainTextResponse("a page")(scope, receive, send)

    async def ask(self, address: str, *, cookie: str = "", user: str | None = None) -> int:
        """Return the status that somebody at this address gets."""
        statuses: list[int] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> Message:
            raise AssertionError("nobody reads a body here")

        forwarded = (b"x-forwarded-for", address.encode())
        await self.crowd(
            {
                "type": "http",
                "method": "GET",
                "path": "/",
                "client": ("127.0.0.1", 1),
                "headers": [forwarded, (b"cookie", cookie.encode())],
                "session": {} if user is None else {"user": user},
            },
            receive,
            send,
        )
        return statuses[0]

    async def flood(self) -> None:
        """Let many strangers take all there is."""
        for n in range(int(TOTAL_AT_ONCE)):
            assert await self.ask(f"198.51.100.{n % 200}") == 200
        assert await self.ask("203.0.113.1") == 429


async def test_one_stranger_gets_his_share_and_others_theirs() -> None:
    world = World()
    statuses = [await world.ask("203.0.113.1") for _ in range(int(AT_ONCE) + 5)]
    assert statuses == [200] * int(AT_ONCE) + [429] * 5
    assert await world.ask("203.0.113.2") == 200
    world.now += 1 / RATE
    assert [await world.ask("203.0.113.1") for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ({"address": "203.0.113.9"}, 429),
        ({"address": "203.0.113.9", "cookie": f"{DEVICE_COOKIE}=a browser.x.y"}, 429),
        ({"address": "203.0.113.9", "cookie": KNOWN}, 200),
        ({"address": "203.0.113.9", "user": "admin"}, 200),
        ({"address": "::1"}, 200),
    ],
)
async def test_a_flood_keeps_strangers_out_and_nobody_else(
    who: dict[str, str], status: int
) -> None:
    world = World()
    await world.flood()
    assert await world.ask(**who) == status
    world.now += 1 / TOTAL_RATE
    assert await world.ask("203.0.113.9") == 200
