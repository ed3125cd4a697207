"""Who a request comes from, whatever it says of itself; how often a source may come."""

import pytest

from core.alert_secrets import PREFIX, digest_of, fitting, is_same, new_secret
from core.domain.webhook import AlertSecret
from core.rates import Buckets
from core.senders import TRADINGVIEW, UNKNOWN, parse_networks, read_address, source_of

PROXY = parse_networks("10.0.0.0/8, ::1")

FORWARDED: dict[str, tuple[str | None, list[str], str, bool]] = {
    "a stranger's header means nothing": ("203.0.113.9", ["52.89.214.238"], "203.0.113.9", False),
    "a trusted proxy is believed": ("10.0.0.1", ["52.89.214.238"], "52.89.214.238", True),
    "what the sender put before it is not": (
        "10.0.0.1",
        ["52.89.214.238, 203.0.113.9"],
        "203.0.113.9",
        True,
    ),
    "neither in a header of its own": (
        "10.0.0.1",
        ["52.89.214.238", "203.0.113.9"],
        "203.0.113.9",
        True,
    ),
    "through two of ours": ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9", True),
    "an address in another form": ("::ffff:10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9", True),
    "nonsense is nobody": ("10.0.0.1", ["52.89.214.238, evil"], UNKNOWN, True),
    "a proxy that says nothing": ("10.0.0.1", [], "10.0.0.1", True),
    "no connection at all": (None, ["52.89.214.238"], UNKNOWN, False),
    "IPv6 by its network": ("2001:db8:1:2:3::9", [], "2001:db8:1:2::/64", False),
}


@pytest.mark.parametrize(
    ("peer", "headers", "key", "is_by_proxy"), FORWARDED.values(), ids=FORWARDED.keys()
)
def test_the_source(peer: str | None, headers: list[str], key: str, is_by_proxy: bool) -> None:
    source = source_of(peer, headers, trusted=PROXY)
    assert (source.key, source.is_by_proxy) == (key, is_by_proxy)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert source_of("127.0.0.1", ["52.89.214.238"], trusted=()).key == "127.0.0.1"


def test_the_word_tradingview_is_its_four_addresses() -> None:
    assert [str(network.network_address) for network in parse_networks("TradingView")] == list(
        TRADINGVIEW
    )


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(ValueError, match=r"^10\.0\.0\.0/33: "):
        parse_networks("127.0.0.1, 10.0.0.0/33")


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "[::1", "1.2.3.4:5:6"])
def test_an_address_or_nothing(text: str) -> None:
    address = read_address(text)
    assert address is None or str(address) == "::1"


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Buckets(rate=2, burst=3).of("a", 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(100.4)
    assert bucket.take(100.5)
    assert bucket.fill(1_000.0) == 3


def test_only_so_many_sources_are_remembered() -> None:
    buckets = Buckets(rate=1, burst=1, most=2)
    for source in ("a", "b", "a", "c"):
        buckets.of(source, 0.0).take(0.0)
    assert len(buckets) == 2
    assert not buckets.of("a", 0.0).take(0.0)
    assert buckets.of("b", 0.0).take(0.0)  # forgotten, and so full again


def secret(number: int, text: str, *, revoked_at_ms: int | None = None) -> AlertSecret:
    return AlertSecret(
        secret_id=number,
        name="tradingview",
        digest=digest_of(text),
        may_close_all=False,
        created_by="a test",
        created_at_ms=0,
        revoked_at_ms=revoked_at_ms,
    )


def test_a_secret_fits_itself_until_it_is_revoked() -> None:
    old, new = new_secret(), new_secret()
    known = (secret(1, old), secret(2, new), secret(3, "gone", revoked_at_ms=1))
    assert fitting(old, known) == known[0]
    assert fitting(new, known) == known[1]
    assert fitting("gone", known) is None
    assert fitting(digest_of(old), known) is None  # what is stored opens nothing


def test_secrets_are_long_different_and_fit_an_address() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(text.startswith(PREFIX) and len(text) == 46 for text in made)
    assert all(c.isalnum() or c in "-_" for text in made for c in text)


def test_secrets_of_any_characters_are_compared() -> None:
    assert is_same("\ud800é", "\ud800é")
    assert not is_same("", "x")
