"""Links by checkpoints: every logged point of a run says where the curve of the score goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling_cli.fitting import checkpoints
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.laws import get_law
from scaling_cli.project import Project
from scaling_cli.records import Floats
from scaling_cli.table import Table

POINTS, QUESTIONS, TASKS = 60, 500, 8
LADDER = get_law("ladder")


def surface(params: Floats, tokens: Floats) -> Floats:
    return 1.8 + 406 * params**-0.34 + 411 * tokens**-0.28


def task(seed: int) -> tuple[Table, Floats, Floats]:
    """The final points of 16 runs with their curves, of one task; and the loss and the true
    accuracy of two much larger models."""
    random = np.random.default_rng(seed)
    params = np.repeat([1.9e8, 3.7e8, 7.6e8, 1.3e9], 4)
    done = np.linspace(1 / POINTS, 1, POINTS)
    size, tokens = (
        np.repeat(params, POINTS),
        np.outer(20 * params * np.tile([1, 2, 5, 10], 4), done),
    )
    ahead = surface(np.array([7e9, 1.3e10]), np.array([4e12, 5e12]))
    chance, steep = random.choice([0.2, 0.25, 0.5]), random.uniform(3, 7)
    middle = ahead[0] + random.uniform(0, 0.3)

    def accuracy(loss: Floats) -> Floats:
        return LADDER.predict(a=1 - chance, b=chance, k=steep, L_0=middle, loss=loss)

    rate = 0.1 + 0.45 * (1 + np.cos(np.pi * np.tile(done, 16)))
    loss = surface(size, tokens.ravel()) * (1 + 0.05 * (rate - 0.1))
    loss *= np.exp(0.004 * random.standard_normal(len(loss)))
    exact = accuracy(loss)
    own = np.repeat(random.standard_normal(16), POINTS)  # half of the noise is the run's own
    noise = (own + random.standard_normal(len(loss))) * np.sqrt(exact * (1 - exact) / 2 / QUESTIONS)
    owners = [f"run{i}" for i in range(16) for _ in range(POINTS)]
    columns = {"params": size, "tokens": tokens.ravel(), "loss": loss, "accuracy": exact + noise}
    points = Table.from_columns(columns, owners, owners)
    finals = points.take(np.arange(POINTS - 1, len(points), POINTS))
    return replace(finals, points=points), ahead, accuracy(ahead)


def link(rows: Table, by_points: bool, resamples: int = 0):
    options = FitOptions(resamples=resamples, target="accuracy", checkpoints=by_points)
    fitted = fitter("chinchilla+ladder")(rows, options, {})
    assert fitted.then
    return fitted.then


def test_checkpoints_halve_the_error_of_a_link() -> None:
    errors = []
    for seed in range(TASKS):
        rows, loss, truth = task(seed)
        fits = [link(rows, by_points) for by_points in (True, False)]
        errors.append([np.mean(np.abs(item.curve({"loss": loss}) / truth - 1)) for item in fits])
    by_points, by_ends = np.mean(errors, axis=0)
    assert by_points < by_ends / 2


def test_the_way_back_is_the_fit_of_the_final_points_to_the_digit() -> None:
    rows, _, _ = task(0)
    back, alone = link(rows, False), link(replace(rows, points=None), True)
    assert back.values == alone.values
    assert "link_by_checkpoints" not in {note.code for note in back.notes}
    assert "link_by_checkpoints" in {note.code for note in link(rows, True).notes}


def test_points_of_a_run_are_not_so_many_runs() -> None:
    rows, _, _ = task(1)
    assert rows.points
    honest = link(rows, True, 100)
    apart = replace(rows.points, owners=tuple(f"point{i}" for i in range(len(rows.points))))
    naive = fitter("chinchilla+ladder")(apart, FitOptions(resamples=100, target="accuracy"), {})
    assert naive.then
    assert honest.n_runs == 16
    inside = np.quantile(rows.points.columns["loss"], [0.2, 0.5, 0.8])
    spread = [
        np.std(item.law.predict(**item.draw_values(), loss=inside), axis=0)
        for item in (honest, naive.then)
    ]
    assert np.mean(spread[0]) > 1.5 * np.mean(spread[1])


def test_one_run_s_noise_stands_in_the_interval_though_its_neighbours_were_averaged() -> None:
    rows, _, _ = task(2)
    last = rows.numbers("accuracy")
    noise = np.sqrt(np.mean(last * (1 - last)) / QUESTIONS)
    assert link(rows, True, 50).noise == pytest.approx(noise, rel=0.6)


def test_a_score_logged_more_rarely_than_the_loss_counts_where_it_was_logged() -> None:
    rows, _, _ = task(3)
    assert rows.points
    every = np.arange(len(rows.points))
    held = rows.points.columns["accuracy"][every - every % 3]  # logged at each third point
    seen = replace(rows, points=rows.points.with_columns(accuracy=held))
    found = checkpoints.of_link(seen, "loss", "accuracy")
    assert found is not None
    assert len(found) == 16 * 18  # twenty points a run, without the first tenth


def test_the_answer_says_what_the_link_rests_on(samples: Project) -> None:
    errors = []
    for by_points in (True, False):
        options = FitOptions(resamples=0, target="accuracy", checkpoints=by_points)
        where, held = "split != 'schedule'", "split == 'holdout'"
        fits = samples.fit(["auto+ladder"], ["config.recipe"], where, held, options)
        assert len(fits) == 2
        for fitted in fits:
            assert ("link_by_checkpoints" in {note.code for note in fitted.notes}) == by_points
        errors.append(np.mean([fitted.holdout["mape"] for fitted in fits]))
    assert errors[0] < errors[1] / 2
