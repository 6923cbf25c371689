"""Runs that do not belong together: other units, other groups, losses that have no log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kruskal, norm

from scaling_cli.errors import FitError
from scaling_cli.fitting import auto
from scaling_cli.fitting.diagnostics import BY_CHANCE, group_notes
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.laws import get_law
from scaling_cli.notes import Note
from scaling_cli.planning.splits import allocate_fit
from scaling_cli.table import Table

LAW = get_law("chinchilla")
QUICK = FitOptions(resamples=100)


def ladder(groups: Sequence[str] = ("",)) -> Table:
    """36 runs over 2.5 decades of compute, in turn of these groups."""
    random = np.random.default_rng(0)
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, 6), 6)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), 36)))
    tokens = compute / 6 / params
    loss = LAW.predict(
        E=1.82, A=480.0, alpha=0.348, B=2085.0, beta=0.366, params=params, tokens=tokens
    )
    loss = loss * np.exp(0.004 * random.standard_normal(36))
    labels = {"group": [groups[i % len(groups)] for i in range(36)]}
    columns = {"params": params, "tokens": tokens, "loss": loss}
    return Table.from_columns(columns | labels, [f"r{i}" for i in range(36)])


def with_column(rows: Table, **columns: np.ndarray) -> Table:
    return rows.with_columns(**columns)


def severities(notes: Sequence[Note]) -> dict[str, str]:
    return {note.code: note.severity for note in notes}


@pytest.mark.parametrize("name", ["auto", "chinchilla"])
def test_groups_of_two_losses_are_told_apart(name: str) -> None:
    rows = ladder(("web", "code"))
    assert "groups_differ" not in severities(fitter(name)(rows, QUICK, {}).notes)
    harder = np.where([group == "code" for group in rows.logged_groups()], 1.03, 1.0)
    apart = with_column(rows, loss=rows.columns["loss"] * harder)
    (note,) = (n for n in fitter(name)(apart, QUICK, {}).notes if n.code == "groups_differ")
    assert note.message.index("% in 'web'") < note.message.index("% in 'code'")


def test_groups_differ_where_kruskal_and_wallis_say_so() -> None:
    """scipy's test at the level of the note, over effects of none to plain."""
    random, said = np.random.default_rng(1), []
    level = norm.sf(BY_CHANCE)
    for effect in np.linspace(0, 2.5, 60):
        member = np.repeat(np.arange(4), (12, 9, 20, 2))
        values = random.standard_normal(len(member)) + effect * (member % 2)
        compared = [values[member == one] for one in range(3)]  # the last has too few runs
        pvalue = kruskal(*compared).pvalue
        if level / 2 < pvalue < 2 * level:  # the quantile of chi squared is an approximation
            continue
        expected = pvalue < level
        assert bool(group_notes(values, [f"g{one}" for one in member])) == expected
        said.append(expected)
    assert 5 < sum(said) < 55


def test_counts_in_billions_are_seen_and_give_no_split() -> None:
    rows = ladder()
    billions = {name: rows.columns[name] / 1e9 for name in ("params", "tokens")}
    fitted = auto.fit(with_column(rows, **billions), QUICK)
    assert severities(fitted.notes)["units_doubtful"] == "severe"
    assert allocate_fit(fitted, 1e22).params is None
    mixed = rows.columns["params"].copy()
    mixed[::3] /= 1e9
    fitted = fit(LAW, with_column(rows, params=mixed), QUICK)
    assert severities(fitted.notes)["units_doubtful"] == "severe"
    assert "units_doubtful" not in severities(fit(LAW, rows, QUICK).notes)


@pytest.mark.parametrize("name", ["auto", "chinchilla"])
@pytest.mark.parametrize("low", [0.0, -0.1])
def test_runs_are_not_left_out_for_what_they_reached(name: str, low: float) -> None:
    rows = ladder()
    loss = np.where(np.arange(36) % 5 == 0, low, rows.columns["loss"])
    with pytest.raises(FitError, match="not above zero in 8 of 36 runs") as raised:
        fitter(name)(with_column(rows, loss=loss), QUICK, {})
    assert "loss > 0" in raised.value.mend
    plain = replace(QUICK, objective="squared")
    assert fit(LAW, with_column(rows, loss=loss), plain).n_observations == 36


def test_many_runs_that_are_wrong_are_named() -> None:
    rows = ladder()
    loss = rows.columns["loss"] * np.where(np.arange(36) % 5 == 0, 1.5, 1.0)
    fitted = auto.fit(with_column(rows, loss=loss), QUICK)
    assert severities(fitted.notes)["outliers"] == "severe"
    (note,) = (note for note in fitted.notes if note.code == "outliers")
    assert note.message.startswith("8 of 36 runs")


def test_what_no_resample_moves_has_no_interval() -> None:
    rows = ladder()
    fitted = fit(LAW, rows, replace(QUICK, fixed={"E": 1.69}))
    assert fitted.values["E"] == pytest.approx(1.69, rel=1e-12)
    assert (fitted.parameters["E"].low, fitted.parameters["E"].high) == (None, None)
    assert fitted.parameters["alpha"].low is not None
    assert "Not fitted: E = 1.69." in {note.message for note in fitted.notes}
    alike = with_column(rows, tokens=np.full(36, 2e10))
    exponent = fit(LAW, alike, QUICK).parameters["beta"]
    assert exponent.low is None or exponent.low < exponent.high


@pytest.mark.parametrize("name", ["auto", "chinchilla"])
def test_runs_that_differ_in_other_settings_are_not_one_ladder(name: str) -> None:
    """A grid of learning rates at six places; and three seeds there, which are a ladder."""
    random, place = np.random.default_rng(3), np.repeat(np.arange(0, 36, 3), 3)
    rows = ladder()
    columns = {key: values[place] for key, values in rows.columns.items()}
    for spread, severity in ((0.2, "severe"), (0.005, None)):
        loss = columns["loss"] * (1 + spread * random.uniform(size=36))
        grid = rows.of_columns({**columns, "loss": loss})
        found = severities(fitter(name)(grid, QUICK, {}).notes)
        assert found.get("other_settings") == severity


@pytest.mark.parametrize("name", ["auto", "chinchilla"])
def test_repeated_data_is_said_to_a_law_that_does_not_know_of_it(name: str) -> None:
    rows = ladder()
    for epochs, said in ((4.0, False), (5.0, True)):
        repeated = with_column(rows, unique_tokens=rows.columns["tokens"] / epochs)
        notes = fitter(name)(repeated, QUICK, {}).notes
        assert ("repeated_data" in severities(notes)) == said
    aware = fitter("data_constrained")(repeated, replace(QUICK, resamples=0), {})
    assert "repeated_data" not in severities(aware.notes)


def test_a_frontier_of_a_few_runs_is_no_sign_that_the_law_explains_little() -> None:
    """The recipe's weights lie on the runs of the largest budget, which hardly differ in loss."""
    rows = ladder()
    for seed in range(8):
        random = np.random.default_rng(seed)
        loss = rows.columns["loss"] * np.exp(0.004 * random.standard_normal(36))
        some = with_column(rows, loss=loss).select(np.arange(36) >= 6)
        assert "explains_little" not in severities(auto.fit(some, QUICK).notes)
