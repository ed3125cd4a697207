"""What docs/paper.md says is so: the tests that it names are there, and every option is in it."""

import re
from pathlib import Path

import pytest

from paper.__main__ import _parser

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "paper.md").read_text("utf-8")
FOLDERS = ("tests/unit/paper", "tests/contract/paper", "tests/integration")


def _rows() -> list[tuple[str, str]]:
    table = TEXT.partition("## What is modelled")[2]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(fact.strip(), proof.strip()) for fact, proof in rows if fact.strip() not in ("fact",)]


ROWS = [row for row in _rows() if not row[0].startswith("---")]


def _functions(file: str) -> list[str]:
    found = [path for folder in FOLDERS if (path := ROOT / folder / f"{file}.py").exists()]
    assert found, f"there is no {file}.py in {', '.join(FOLDERS)}"
    return re.findall(r"^(?:async )?def test_(\w+)", found[0].read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("fact", "proof"), ROWS, ids=[fact for fact, _ in ROWS])
def test_each_fact_has_its_test_or_its_reason(fact: str, proof: str) -> None:
    if proof.startswith("not modelled"):
        assert len(proof.partition(":")[2]) > 10
        return
    for part in re.sub(r" \(.*?\)|a switch each: ", "", proof).split(" · "):
        file, _, names = part.partition(": ")
        functions = _functions(file)
        for name in filter(None, re.split(", | to ", names)):
            assert any(one.startswith(name.removesuffix("…")) for one in functions), name


def test_there_are_as_many_facts_as_there_were() -> None:
    assert len(ROWS) > 50


def test_every_option_of_the_program_is_described() -> None:
    names = [name for name in _parser()._option_string_actions if name.startswith("--")]
    assert [name for name in names if name != "--help" and name not in TEXT] == []
