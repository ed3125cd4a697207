"""What `make run` can be asked for, and what it answers to what it cannot do."""

import gzip
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import Settings
from launcher.errors import UsageError
from launcher.options import Options, PaperPlan, Plan, make_plan, parse_options

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
MINUTE = 60_000
START = 1_686_355_200_000  # 2023-06-10


def recording(folder: Path, name: str = "FILUSDT-1m-2023-06.csv.gz") -> Path:
    """Write three candles and return their file."""
    rows = [
        f"{START + n * MINUTE},4.01,4.2,3.9,4.1,40,{START + (n + 1) * MINUTE - 1},1,1,1,1,0"
        for n in range(3)
    ]
    path = folder / name
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    return path


def plan(folder: Path, *arguments: str, **settings: object) -> Plan:
    """Return the plan for these options in a folder of its own."""
    options = parse_options(["--data", str(folder), *arguments], {})
    return make_plan(options, Settings(**settings), now=NOW)  # type: ignore[arg-type]  # a shorthand


def test_an_option_outranks_its_variable() -> None:
    environ = {"FEED": "scenario:crash", "SPEED": "5", "FROM": "2023-06-10", "PAPER_PORT": "1"}
    given = parse_options(["--speed", "7"], environ)
    assert given == Options(
        data=Path("data"),
        feed="scenario:crash",
        from_text="2023-06-10",
        speed="7",
        paper_port="1",
    )


def test_without_words_the_tour_is_run_on_the_configured_symbols(tmp_path: Path) -> None:
    found = plan(tmp_path, symbols="ETHUSDT,BTCUSDT")
    assert found.paper is not None
    assert (found.symbol, found.symbols) == ("ETHUSDT", ("ETHUSDT", "BTCUSDT"))
    assert (found.paper.port, found.paper.feed, found.paper.speed) == (8010, "scenario", "1")
    assert found.paper.state == tmp_path / "paper.json"
    assert found.settings.sqlite_path == tmp_path / "tradebox.sqlite3"
    assert found.panel_url == "http://127.0.0.1:8009/rust_admin"
    assert not found.paper.is_replay


def test_a_symbol_of_its_own_is_watched_beside_the_configured_ones(tmp_path: Path) -> None:
    found = plan(tmp_path, "--symbol", "binance:solusdt.p")
    assert (found.symbol, found.symbols) == ("SOLUSDT", ("SOLUSDT", "BTCUSDT"))


def test_a_state_that_is_there_is_carried_on(tmp_path: Path) -> None:
    first = plan(tmp_path).paper
    (tmp_path / "paper.json").touch()
    second = plan(tmp_path).paper
    assert first is not None
    assert second is not None
    assert (first.is_fresh, second.is_fresh) == (True, False)


def test_a_replay_begins_with_nothing_and_mixes_with_nothing(tmp_path: Path) -> None:
    """Its prices are of another time: what the demo holds must not meet them."""
    (tmp_path / "paper.json").touch()
    found = plan(tmp_path, "--feed", f"replay:{recording(tmp_path)}", symbols="BTCUSDT")
    folder = tmp_path / "replays" / "FILUSDT-20261122-103000"
    assert found.paper is not None
    assert (found.symbol, found.symbols) == ("FILUSDT", ("FILUSDT",))
    assert found.paper.state == folder / "paper.json"
    assert found.settings.sqlite_path == folder / "tradebox.sqlite3"
    assert found.paper.is_fresh
    assert not folder.exists(), "nothing is written before all is checked"


def test_a_configured_database_is_used(tmp_path: Path) -> None:
    url = "postgresql://u:p@db/trades"
    found = plan(tmp_path, db_connection_str=SecretStr(url))
    assert found.settings.sync_url == "postgresql+psycopg2://u:p@db/trades"


def test_where_the_api_listens_everywhere_it_is_asked_here(tmp_path: Path) -> None:
    assert plan(tmp_path, host="0.0.0.0").api_url == "http://127.0.0.1:8009"
    assert plan(tmp_path, host="::", port=81).api_url == "http://[::1]:81"


def test_another_exchange_is_left_to_itself(tmp_path: Path) -> None:
    keys = {"binance_api_key": SecretStr("k"), "binance_api_secret": SecretStr("s")}
    found = plan(tmp_path, exchange="demo", symbols="XYZUSDT", **keys)
    assert found.paper is None
    assert found.symbols == ("XYZUSDT",)
    assert found.settings.sqlite_path == tmp_path / "demo.sqlite3", "paper's cycles are not its"
    with pytest.raises(UsageError, match="FEED, SPEED only with EXCHANGE=paper, not demo"):
        plan(tmp_path, "--feed", "scenario", "--speed", "2", exchange="demo", **keys)


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "a feed that does not exist": (("--feed", "moon"), "FEED: unknown feed 'moon'"),
    "prices of today": (("--feed", "live"), "FEED: 'live' is not for this demo"),
    "a scenario that does not exist": (("--feed", "scenario:moon"), "unknown scenario 'moon'"),
    "a file that is missing": (("--feed", "replay:/no/such.csv"), "/no/such.csv: no such file"),
    "a speed in words": (("--speed", "fast"), "SPEED must be a number, not 'fast'"),
    "a speed of nothing": (("--speed", "0"), "SPEED must be above zero"),
    "a speed without end": (("--speed", "inf"), "SPEED must be above zero"),
    "times without a recording": (("--from", "2023-06-10"), "FROM and TO only with FEED=replay"),
    "a symbol that is none": (("--symbol", "BTC USDT!"), "SYMBOL 'BTC USDT!': must be a symbol"),
    "a symbol that is not traded": (("--symbol", "NOPEUSDT"), "NOPEUSDT: not among"),
    "a port in words": (("--paper-port", "http"), "PAPER_PORT must be a port"),
    "a port too high": (("--paper-port", "65536"), "PAPER_PORT must be a port"),
    "one port for two": (("--paper-port", "8009"), "PORT and PAPER_PORT are both 8009"),
    "an option that does not exist": (("--spede", "2"), "unrecognized arguments: --spede 2"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        plan(tmp_path, *arguments)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--symbol", "BTCUSDT"), "SYMBOL BTCUSDT is not in the recording of FILUSDT"),
        (("--from", "2023-07-01"), "no trades between FROM and TO"),
        (("--from", "2023-06-11", "--to", "2023-06-10"), "is not before TO"),
        (("--to", "noon"), "TO 'noon' is neither an ISO time nor milliseconds"),
    ],
)
def test_a_recording_that_does_not_hold_what_is_asked_for(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan(tmp_path, "--feed", f"replay:{recording(tmp_path)}", *arguments)


def test_a_recording_whose_name_says_no_symbol_needs_one(tmp_path: Path) -> None:
    feed = f"replay:{recording(tmp_path, 'candles.csv.gz')}"
    with pytest.raises(UsageError, match="name exactly one with SYMBOL"):
        plan(tmp_path, "--feed", feed)
    assert plan(tmp_path, "--feed", feed, "--symbol", "FILUSDT").symbols == ("FILUSDT",)


def test_the_paper_exchange_must_be_on_this_machine(tmp_path: Path) -> None:
    assert plan(tmp_path, paper_url="http://localhost:8020").paper == replace(
        _paper(plan(tmp_path)), port=8020
    )
    with pytest.raises(UsageError, match=r"PAPER_URL http://10\.0\.0\.1:80 is not on this machine"):
        plan(tmp_path, paper_url="http://10.0.0.1:80")


def _paper(found: Plan) -> PaperPlan:
    assert found.paper is not None
    return found.paper
