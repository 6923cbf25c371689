"""Every law on tables that cannot carry it: a refusal in words, or a fit that holds numbers."""

from __future__ import annotations

import pytest

from tests.fitting.odd import NAMES, attempt, healthy, procedure
from tests.odd_tables import ODD

EVERY = 20  # each law sees a twentieth of the tables here, and all of them in `make odd`


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_table_is_refused_in_words_or_gives_a_fit_of_numbers(name: str) -> None:
    columns = healthy(name)
    for number in range(len(ODD)):
        if (number + len(name)) % EVERY == 0:
            attempt(name, columns, number)


def test_the_tables_are_odd_and_the_laws_fit_what_they_made() -> None:
    assert len(ODD) == 60
    assert procedure("chinchilla").law.target == list(healthy("chinchilla"))[-1]
