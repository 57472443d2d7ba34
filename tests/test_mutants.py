"""Mutants follow the code that they break. They are run by hand: ``python -m tests.mutants``."""

import pytest

from tests.harness.places import ROOT
from tests.mutants import MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_the_rule_that_a_mutant_breaks_is_there_once(name):
    mutant = MUTANTS[name]
    assert (ROOT / mutant.folder / mutant.file).read_text().count(mutant.old) == 1
