"""Symbols out of files: what the exchange tells is what it can be told."""

import json
from pathlib import Path
from typing import Any

import pytest

from paper.exchange_info import SymbolsFileError, read_symbols
from paper.rules import BUILT_IN, default_brackets
from paper.world import World
from tests.unit.paper.bench import START_MS


def _answer(path: str, symbols: tuple[str, ...] = ("BTCUSDT", "XRPUSDT")) -> Any:
    return World(now_ms=START_MS, symbols=symbols).request("GET", path, {}, START_MS).body


def test_our_own_answers_come_back_as_they_were(tmp_path: Path) -> None:
    info, brackets = tmp_path / "info.json", tmp_path / "brackets.json"
    info.write_text(json.dumps(_answer("/fapi/v1/exchangeInfo")))
    brackets.write_text(json.dumps(_answer("/fapi/v1/leverageBracket")))
    assert read_symbols(info, brackets) == [BUILT_IN["BTCUSDT"], BUILT_IN["XRPUSDT"]]


def test_an_unknown_symbol_gets_cautious_brackets_and_trades(tmp_path: Path) -> None:
    body = _answer("/fapi/v1/exchangeInfo", ("XRPUSDT",))
    body["symbols"][0] |= {"symbol": "NEWUSDT", "baseAsset": "NEW"}
    body["symbols"].append(body["symbols"][0] | {"contractType": "CURRENT_QUARTER"})
    path = tmp_path / "info.json"
    path.write_text(json.dumps(body))
    (rules,) = read_symbols(path)
    assert (rules.symbol, rules.brackets) == ("NEWUSDT", default_brackets())
    world = World(now_ms=START_MS, symbols=[rules])
    found = world.request("GET", "/fapi/v1/exchangeInfo", {}, START_MS).body["symbols"]
    assert [row["symbol"] for row in found] == ["NEWUSDT"]


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"symbols": []}',
        '{"symbols": [{"symbol": "X"}]}',
        '{"symbols": [5]}',
    ],
)
def test_files_that_are_no_answer(tmp_path: Path, text: str) -> None:
    path = tmp_path / "info.json"
    path.write_text(text)
    with pytest.raises(SymbolsFileError, match=r"info\.json"):
        read_symbols(path)


def test_a_tick_of_nothing_is_refused(tmp_path: Path) -> None:
    body = _answer("/fapi/v1/exchangeInfo")
    body["symbols"][0]["filters"][0]["tickSize"] = "0"
    path = tmp_path / "info.json"
    path.write_text(json.dumps(body))
    with pytest.raises(SymbolsFileError, match="BTCUSDT"):
        read_symbols(path)


def test_a_symbol_that_is_only_announced_is_left_out(tmp_path: Path) -> None:
    body = _answer("/fapi/v1/exchangeInfo")
    body["symbols"][0] |= {"status": "PENDING_TRADING"}
    body["symbols"][0]["filters"][0]["tickSize"] = "0"
    path = tmp_path / "info.json"
    path.write_text(json.dumps(body))
    assert [rules.symbol for rules in read_symbols(path)] == ["XRPUSDT"]


def test_brackets_that_are_none(tmp_path: Path) -> None:
    info, brackets = tmp_path / "info.json", tmp_path / "brackets.json"
    info.write_text(json.dumps(_answer("/fapi/v1/exchangeInfo")))
    brackets.write_text('[{"symbol": "BTCUSDT"}]')
    with pytest.raises(SymbolsFileError, match="leverageBracket"):
        read_symbols(info, brackets)
    with pytest.raises(SymbolsFileError, match="missing"):
        read_symbols(tmp_path / "missing.json")
