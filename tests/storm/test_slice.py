"""A squall for every day: a cycle on each symbol; `make storm` lets it storm for long."""

import pytest

from tests.storm.__main__ import PRICES, main


@pytest.mark.timeout(420)  # half a minute as a rule, but what was lost may take a minute to find
def test_a_squall() -> None:
    assert main(["--seed", "7", "--cycles", str(len(PRICES))]) == 0
