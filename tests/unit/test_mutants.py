"""The table of `make mutants` fits the source: each mutant still changes what it names."""

from pathlib import Path

import pytest

from tests.simulation.account_mutants import ACCOUNT_MUTANTS
from tests.simulation.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
ALL = (*MUTANTS, *ACCOUNT_MUTANTS)


@pytest.mark.parametrize("mutant", ALL, ids=[mutant.name for mutant in ALL])
def test_it_changes_the_source_into_other_python(mutant: Mutant) -> None:
    path = ROOT / mutant.file
    source = path.read_text("utf-8")
    broken = mutant.applied(source)
    assert broken != source
    compile(broken, str(path), "exec")


def test_every_rule_and_paragraph_is_broken() -> None:
    rules = {mutant.rule.split(",")[0] for mutant in MUTANTS}
    assert rules == {*(f"rule {n}" for n in range(1, 13)), "section 4"}
    assert len({mutant.name for mutant in ALL}) == len(ALL) >= 20
    assert {mutant.rule for mutant in ACCOUNT_MUTANTS} == {"leases", "limits", "near liquidation"}
    paragraphs = {mutant.rule for mutant in MUTANTS if mutant.rule.startswith("section 4")}
    assert len(paragraphs) == 6
