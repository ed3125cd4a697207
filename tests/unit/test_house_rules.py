"""Rules about our own source that no linter knows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def imports_from_binance_itself(source: str) -> list[int]:
    """Return the lines that import from the package `binance` instead of one of its modules."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.ImportFrom) and node.module == "binance" and node.level == 0)
        or (isinstance(node, ast.Import) and any(name.name == "binance" for name in node.names))
    ]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("from binance.async_client import AsyncClient", []),
        ("import binance.exceptions", []),
        ("from .binance import BinanceGateway", []),
        ("x = 1\nfrom binance import AsyncClient", [2]),
        ("import os, binance", [1]),
    ],
)
def test_what_counts_as_importing_from_binance_itself(source: str, lines: list[int]) -> None:
    assert imports_from_binance_itself(source) == lines


def test_python_binance_is_imported_by_its_modules() -> None:
    """Two distributions write binance/__init__.py; which one wins depends on the installer."""
    visible = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    files = [path for path in visible if path.suffix == ".py"]
    files += [path for folder in visible if folder.is_dir() for path in folder.rglob("*.py")]
    assert Path(__file__).resolve() in files
    found = {str(file): imports_from_binance_itself(file.read_text("utf-8")) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}
