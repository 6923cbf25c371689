"""Each option is taken or refused by each way of fitting: none is ignored, in one wording."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaling_cli import grouped
from scaling_cli.cli.flags import as_flags
from scaling_cli.errors import InputError
from scaling_cli.fitting import accepts
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.laws import get_law
from scaling_cli.table import Table
from tests.places import ROOT

GIVEN: dict[str, dict[str, Any]] = {
    "objective": {"objective": "squared_log"},
    "weights": {"weights": "weight"},
    "fix": {"fixed": {"E": 1.8}},
    "bounds": {"bounds": {"E": (1.0, 2.0)}},
    "ranges": {"ranges": {"E": (1.0, 2.0)}},
    "tie": {"tied": ("E",)},
    "x": {"x": "params"},
    "y": {"target": "other"},
    "procedure=paper": {"procedure": "paper"},
}
NAMES = {"auto": "auto", "optima": "isoflop", "law": "chinchilla", "link": "chinchilla+err_exp"}


def table() -> Table:
    compute = np.repeat(10.0 ** np.arange(18, 22), 5)
    params = np.sqrt(compute / 120) * np.tile(np.geomspace(0.3, 3.0, 5), 4)
    tokens = compute / 6 / params
    loss = 1.8 + 480 * params**-0.348 + 2085 * tokens**-0.366
    columns = {"params": params, "tokens": tokens, "flops": compute, "loss": loss, "other": loss}
    return Table.from_columns(columns | {"weight": np.ones(20)})


@pytest.mark.parametrize("option", accepts.OPTIONS)
@pytest.mark.parametrize("kind", NAMES)
def test_each_option_is_heeded_or_refused_by_name(kind: str, option: str) -> None:
    options = FitOptions(resamples=0, **GIVEN[option])
    if kind == "link":
        options = replace(options, target="other")
    chosen = grouped.chosen_procedures([NAMES[kind]])
    rows = [({"g": name}, table()) for name in "ab"]
    parts = {every: (rows, {}) for every in (True, False)}
    reads = "x" in chosen[0].law.variables if option == "x" else True
    if (kind, option) == ("link", "procedure=paper"):
        with pytest.raises(InputError, match="is not recorded"):  # how the link was fitted
            grouped.fit_parts(chosen, parts, options, 1)
    elif option in accepts.TAKES[kind] and reads:
        assert grouped.fit_parts(chosen, parts, options, 1)
    else:
        with pytest.raises(InputError, match=f"does not take `{option}"):
            grouped.fit_parts(chosen, parts, options, 1)


def test_a_mend_names_a_law_that_takes_what_was_refused() -> None:
    with pytest.raises(InputError, match="`law=chinchilla`") as refused:
        accepts.check("optima", "isoflop", FitOptions(procedure="paper"))
    assert "isoflop`" not in str(refused.value)
    assert get_law("chinchilla").paper is not None


def test_a_procedure_of_stages_takes_no_weights() -> None:
    with pytest.raises(InputError, match="does not take `weights=`"):
        accepts.check("staged", "farseer", FitOptions(procedure="paper", weights="w"))


def test_the_documents_hold_the_table_of_options() -> None:
    assert as_flags(accepts.table(), "`") in (ROOT / "docs" / "fits.md").read_text()
