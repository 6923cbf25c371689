"""Surfaces by checkpoints: what the curves of runs of one ratio say of params and tokens apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling_cli.fitting import curved, thinned
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter, procedure
from scaling_cli.fitting.result import Fit
from scaling_cli.frames import table_of
from scaling_cli.planning.splits import allocate_fit
from scaling_cli.project import Project
from scaling_cli.records import Floats
from scaling_cli.table import Table

POINTS, RATIO = 100, 20.0
AHEAD = np.array([1.0, 4.0, 0.25])  # times the ratio, at twenty times the compute


def surface(params: Floats, tokens: Floats) -> Floats:
    return 1.8 + 800 * params**-0.34 + 140 * tokens**-0.28


def schedule(kind: str, done: Floats) -> Floats:
    """The rate, as a share of its peak, where so much of a run is done [points]."""
    if kind == "wsd":
        falling = np.clip((done - 0.8) / 0.2, 0, 1)
        return np.minimum(done / 0.02, 1 - 0.9 * falling)
    return np.minimum(done / 0.02, 0.1 + 0.45 * (1 + np.cos(np.pi * done)))


def ladder(seed: int, kind: str = "cosine", ratios: Floats | float = RATIO, runs: int = 6) -> Table:
    """The final points of runs of one ratio with their curves: each with a level of its own, noise
    that goes on from point to point, and what its rate still costs."""
    random = np.random.default_rng(seed)
    params = np.geomspace(5e7, 1.5e9, runs)
    done = np.arange(1, POINTS + 1) / POINTS
    rate = schedule(kind, done)
    tokens = np.outer(ratios * params, np.cumsum(rate) / np.sum(rate))
    noise = np.cumsum(random.standard_normal((runs, POINTS)), axis=1) * 3e-4
    own = 0.002 * random.standard_normal((runs, 1))
    loss = surface(params[:, None], tokens) * np.exp(0.05 * (rate - rate[-1]) + own + noise)
    owners = [f"run{i}" for i in range(runs) for _ in range(POINTS)]
    columns = {
        "params": np.repeat(params, POINTS),
        "tokens": np.outer(ratios * params, done).ravel(),
        "loss": loss.ravel(),
        "lr": 3e-4 * np.tile(rate, runs),
    }
    points = table_of(Table.from_columns(columns, owners, owners))
    return replace(points.take(np.arange(POINTS - 1, len(points), POINTS)), points=points)


def auto(rows: Table, resamples: int = 0, by_curves: bool = True) -> Fit:
    return fitter("auto")(rows, FitOptions(resamples=resamples, checkpoints=by_curves), {})


def best_params(budget: float) -> float:
    params = np.geomspace(1e8, 1e11, 4000)
    return float(params[np.argmin(surface(params, budget / 6 / params))])


@pytest.mark.parametrize("kind", ["cosine", "wsd"])
def test_curves_halve_the_error_beside_the_ratio_and_know_the_split(kind: str) -> None:
    errors = []
    for seed in range(2):
        rows = ladder(seed, kind)
        budget = 20 * float(np.max(rows.numbers("flops")))
        params = np.sqrt(budget / 6 / (RATIO * AHEAD))
        there = {"params": params, "tokens": budget / 6 / params}
        truth = surface(**there)
        fits = [auto(rows, 200), auto(rows, by_curves=False)]
        errors.append([np.mean(np.abs(item.curve(there) / truth - 1)) for item in fits])
        low, high = fits[0].band(there)
        assert ((low < truth) & (truth < high)).all()
        split = allocate_fit(fits[0], budget)
        least, most = split.params_range
        assert least < best_params(budget) < most
        assert most < 10 * least
        assert allocate_fit(fits[1], budget).params is None
    by_curves, by_ends = np.mean(errors, axis=0)
    assert by_curves < by_ends / 2


def test_the_answer_says_that_it_rests_on_curves_and_there_is_a_way_back() -> None:
    rows = ladder(0)
    fitted = auto(rows, 20)
    assert fitted.by_curves
    assert "surface_by_checkpoints" in {note.code for note in fitted.notes}
    assert fitted.n_runs == 6
    assert auto(rows, 20).fit_id == fitted.fit_id
    back, alone = auto(rows, by_curves=False), auto(replace(rows, points=None))
    assert back.values == alone.values
    assert "collinear_design" in {note.code for note in back.notes}


def test_where_many_ratios_were_trained_the_final_points_answer_to_the_digit() -> None:
    rows = ladder(1, ratios=np.array([10.0, 80, 20, 160, 5, 40]))
    assert not procedure("auto").reads_curves(rows, FitOptions())
    assert auto(rows).values == auto(replace(rows, points=None)).values


def test_curves_without_rates_or_of_another_end_are_not_read() -> None:
    rows = ladder(2)
    assert rows.points
    dark = replace(rows, points=rows.points.with_columns(lr=np.full(len(rows.points), np.nan)))
    assert thinned.of_runs(dark, "loss") is None
    cut = replace(rows, points=rows.points.select(np.arange(len(rows.points)) % POINTS < 70))
    assert thinned.of_runs(cut, "loss") is None
    most = rows.points.select([owner != "run3" for owner in rows.points.owners])
    found = thinned.of_runs(replace(rows, points=most), "loss")
    assert found
    assert found.of_curves == 5
    assert np.sum(found.run == 3) == 1


def test_rows_are_thinned_from_the_end_of_the_warmup_on_and_end_where_the_runs_do() -> None:
    rows = ladder(3)
    found = thinned.of_runs(rows, "loss")
    assert found
    last = np.flatnonzero(np.diff(found.run, append=-1))
    assert found.tokens[last] == pytest.approx(rows.numbers("tokens"))
    assert found.target[last] == pytest.approx(rows.numbers("loss"))
    assert (found.back[last] == 0).all()
    assert (found.rate[last] == 0).all()
    assert found.back.max() < -np.log(6 * 0.02)
    assert len(found) <= 6 * (thinned.MOST_POINTS + 1)


def test_a_loss_that_was_carried_on_counts_where_it_was_logged() -> None:
    rows = ladder(4)
    assert rows.points
    every = np.arange(len(rows.points))
    loss = rows.points.numbers("loss")  # logged at each fourth point
    carried, alone = loss[every - (every + 1) % 4], np.where(every % 4 == 3, loss, np.nan)
    found, alone = (
        thinned.of_runs(replace(rows, points=rows.points.with_columns(loss=seen)), "loss")
        for seen in (carried, alone)
    )
    assert found
    assert alone
    assert found.target == pytest.approx(alone.target)


def test_a_run_whose_loss_is_wrong_is_set_aside_by_name() -> None:
    rows = ladder(0)
    assert rows.points
    spoilt = [
        part.with_columns(
            loss=part.numbers("loss") * np.where(np.array(part.owners) == "run4", 0.9, 1.0)
        )
        for part in (rows, rows.points)
    ]
    fitted, clean = auto(replace(spoilt[0], points=spoilt[1])), auto(rows)
    (note,) = [note for note in fitted.notes if note.code == "outliers_set_aside"]
    assert "run4" in note.message
    assert "outliers_set_aside" not in {note.code for note in clean.notes}
    there = {"params": np.array([5e9]), "tokens": np.array([1e11])}
    assert fitted.curve(there) == pytest.approx(clean.curve(there), rel=0.003)


def test_the_law_is_the_same_by_what_runs_near_a_place_say_of_it() -> None:
    theta = np.random.default_rng(5).normal(0, 0.5, (5, 6))
    anchor = curved.Anchor(0.7, -0.4)
    assert anchor.to_law(anchor.of_law(theta)) == pytest.approx(theta)
    fitted = auto(ladder(5), 400)
    ends = {"params": np.array([1.5e9]), "tokens": np.array([3e10])}
    drawn = np.log(fitted.law.predict(**fitted.draw_values(), **ends))
    assert np.std(drawn) < 0.005  # though each parameter alone is known to a third


def test_a_project_reads_the_curves_of_those_groups_alone(
    samples: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    read = Project.observations

    def seen(self: Project, *args: object, **keywords: object) -> Table:
        asked.append(keywords.get("among"))
        return read(self, *args, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Project, "observations", seen)
    options = FitOptions(resamples=0)
    one_ratio = "split == 'ladder' and tokens / params > 75 and tokens / params < 110"
    (whole, _) = samples.fit(["auto"], ["recipe"], "split == 'ladder'", None, options)
    assert asked == [None]
    assert not whole.by_curves
    (fitted, _) = samples.fit(["auto"], ["recipe"], one_ratio, None, options)
    assert fitted.by_curves
    assert asked[-1]
