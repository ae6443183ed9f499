"""The table of kinds of modules in docs/export.md says what the code does."""

from __future__ import annotations

import re

import pytest
from made_kinds import HAS_PTE, KINDS, outcomes, pte_cell_of, pte_cells_of_page, row_of, rows_of_page


@pytest.mark.slow
def test_the_page_has_a_row_for_each_kind_and_no_other():
    assert list(rows_of_page()) == list(KINDS)
    assert len(KINDS) >= 40
    assert [name for name, cell in pte_cells_of_page().items() if not re.fullmatch("yes|no(: .+)?", cell)] == []


@pytest.mark.full
@pytest.mark.parametrize("name", KINDS)
def test_the_page_says_what_each_format_makes_of_a_kind(name):
    assert rows_of_page()[name] == row_of(name, outcomes(name))


@pytest.mark.full
@pytest.mark.skipif(not HAS_PTE, reason="needs executorch: pip install 'regplug[executorch]'")
@pytest.mark.parametrize("name", KINDS)
def test_the_page_says_what_executorch_makes_of_a_kind(name):
    assert pte_cells_of_page()[name] == pte_cell_of(name, rows_of_page()[name])
