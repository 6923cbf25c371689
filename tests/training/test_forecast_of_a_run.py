"""What a run will reach, from its beginning, its schedule and its finished siblings."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from scaling_cli.ending import planned_steps
from scaling_cli.errors import FitError, InputError
from scaling_cli.project import Project
from scaling_cli.records import Run, Series
from scaling_cli.training.curve import Curve, curve_of
from scaling_cli.training.forecast import calibration, conditional, forecast, learn
from scaling_cli.training.history import annealing
from scaling_cli.training.schedule import parse_schedule


def simulated(name: str, spec: str, seed: int, size: float = 1e8, noise: float = 2e-3) -> Curve:
    """A run whose loss follows lr_anneal, its level a power of size, with noise."""
    schedule, random = parse_schedule(spec), np.random.default_rng(seed)
    steps = np.arange(20, schedule.total + 1, 20)
    sums = np.cumsum(schedule.rates)[steps]
    s2 = annealing(schedule.rates, 0.99, schedule.warmup)[steps]
    level = 2.0 + 20 * size**-0.2 + 0.05 * random.normal()
    loss = level + 0.7 * (sums / 1.0) ** -0.45 - 4.0 * s2
    return Curve(name, steps, loss * np.exp(noise * random.normal(size=len(steps))), schedule, size)


def family(count: int = 8) -> list[Curve]:
    shapes = ("cosine:", "wsd:", "linear:")
    return [
        simulated(
            f"run{i}",
            f"{shapes[i % 3]}peak=1e-3,warmup=100,total={2000 + 400 * i},min=1e-4",
            i,
            10 ** (7.5 + i / 4),
        )
        for i in range(count)
    ]


def test_siblings_foretell_what_the_rate_has_yet_to_give() -> None:
    siblings = family()
    run = simulated("new", "cosine:peak=1e-3,warmup=100,total=4000,min=1e-4", 99, 2e8)
    truth, last = float(np.mean(run.loss[-3:])), float(run.loss[run.steps <= 2000][-1])
    found = forecast(run, siblings, upto=2000)
    assert found.seen == 2000
    assert found.final["low"] < truth < found.final["high"]
    assert abs(found.final["loss"] / truth - 1) < 0.01 < 0.03 < last / truth - 1
    assert np.all(found.low < found.loss)
    assert np.all(found.loss < found.high)


def test_band_narrows_as_the_run_goes_on_and_widens_with_the_level() -> None:
    siblings = family()
    run, ladder = siblings.pop(4), learn(siblings)
    widths = [
        np.log(found.final["high"] / found.final["low"])
        for found in (
            forecast(run, siblings, upto=int(share * run.total), ladder=ladder)
            for share in (0.0, 0.3, 0.9)
        )
    ]
    assert widths[0] > widths[1] > widths[2]
    narrow, wide = (
        forecast(run, siblings, upto=1500, ladder=ladder, level=level) for level in (0.5, 0.99)
    )
    assert wide.final["low"] < narrow.final["low"]


def test_band_is_as_wide_as_the_siblings_need_and_no_wider() -> None:
    """Of twenty left out in turn, the conformal rank of 90 % is the nineteenth error."""
    ladder, inside = learn(family(20)), 0
    bias, stretch = calibration(ladder, 0.3, False, 0.90)
    for curve, others in zip(ladder.curves, ladder.without, strict=True):
        part = curve.until(int(np.searchsorted(curve.sums, 0.3 * curve.sums[-1])))
        mean, deviation = conditional(others, part, curve.steps[-1:], False)
        missed = abs(mean[0] - bias * deviation[0] - np.log(curve.loss[-1]))
        inside += missed <= NormalDist().inv_cdf(0.95) * stretch * deviation[0] * (1 + 1e-9)
    assert inside == 19


def test_nothing_of_the_future_is_used() -> None:
    siblings = family(6)
    run = simulated("new", "cosine:peak=1e-3,warmup=100,total=3000,min=1e-4", 7)
    spoilt = replace(run, loss=np.where(run.steps > 1500, 9.9, run.loss))
    one, other = (forecast(item, siblings, upto=1500) for item in (run, spoilt))
    assert np.array_equal(one.loss, other.loss)
    assert np.array_equal(one.high, other.high)


def test_without_siblings_the_band_is_wider_and_said_to_rest_on_the_run() -> None:
    run = simulated("new", "cosine:peak=1e-3,warmup=100,total=3000,min=1e-4", 7)
    alone, helped = forecast(run, upto=1500), forecast(run, family(6), upto=1500)
    assert "no_siblings" in {note.code for note in alone.notes}
    assert alone.final["high"] / alone.final["low"] > helped.final["high"] / helped.final["low"]
    assert alone.final["low"] < run.loss[-1] < alone.final["high"]


def test_too_little_is_refused_and_siblings_alone_are_marked() -> None:
    run = simulated("new", "cosine:peak=1e-3,warmup=100,total=3000,min=1e-4", 7)
    with pytest.raises(FitError, match="too few"):
        forecast(run, upto=200)
    found = forecast(run, family(), upto=200)
    assert "few_points" in {note.code for note in found.notes}
    assert found.final["low"] < run.loss[-1] < found.final["high"]


def test_unfinished_siblings_teach_nothing() -> None:
    siblings = family(6)
    run = simulated("new", "cosine:peak=1e-3,warmup=100,total=3000,min=1e-4", 7)
    half = replace(siblings[0].until(1000), run_id="half")
    assert half.run_id not in forecast(run, [*siblings, half], upto=1500).siblings


def test_thinning_does_not_move_the_curve() -> None:
    spec = "wsd:peak=1e-3,warmup=100,total=100000,min=1e-4"
    exact = replace(simulated("run", spec, 0, noise=0.0))
    every = np.arange(200, 100001)
    long = replace(exact, steps=every, loss=np.interp(every, exact.steps, exact.loss))
    thin = long.thinned()
    assert len(thin.steps) <= 120
    assert np.max(np.abs(np.interp(thin.steps, every, long.loss) / thin.loss - 1)) < 2e-3
    spiked = replace(long, loss=np.where(np.arange(len(every)) % 997 == 5, 20.0, long.loss))
    assert np.allclose(spiked.thinned().loss, thin.loss, rtol=1e-3)


def run_with(**series: tuple[list[int], list[float]]) -> Run:
    made = {
        name: Series(np.array(steps, dtype=np.int64), np.array(values, dtype=float))
        for name, (steps, values) in series.items()
    }
    return Run("x:r", "r", "x", series=made, config={"trainer.max_steps": 100, "n_params": 1e6})


def test_curve_of_a_run_says_what_it_lacks() -> None:
    steps = list(range(10, 60, 10))
    loss = (steps, [4.0, 3.5, float("nan"), 3.1, 3.0])
    rate = (steps, [1e-3 * step / 20 if step < 20 else 1e-3 for step in steps])
    found = curve_of(run_with(**{"train/loss": loss, "lr": rate}))
    assert found.total == 100
    assert found.params == 1e6
    assert list(found.steps) == [10, 20, 40, 50]
    assert {"no_number", "schedule_assumed"} <= {note.code for note in found.notes}
    assert not found.finished
    spec = "cosine:peak=1e-3,warmup=20"
    assert curve_of(run_with(**{"train/loss": loss}), spec=spec, total=80).total == 80
    with pytest.raises(InputError, match="no learning rate"):
        curve_of(run_with(**{"train/loss": loss}))
    with pytest.raises(InputError, match="no history of a loss"):
        curve_of(run_with(lr=rate))
    assert planned_steps({"a.num_train_steps": 7}) == (7, "a.num_train_steps")
    assert planned_steps({"steps": 7}) is None


@pytest.fixture(scope="module")
def sample_curves(samples: Project) -> list[Curve]:
    records = [item for item in samples.store.runs() if item.config["recipe"] == "baseline"]
    series = samples.store.series(item.run_key for item in records)
    return [curve_of(item.to_run(series[item.run_key]), item.mapping) for item in records]


def test_shipped_targets_are_predicted_from_a_half(sample_curves: list[Curve]) -> None:
    targets = [item for item in sample_curves if "holdout" in item.run_id]
    ladder = learn([item for item in sample_curves if "holdout" not in item.run_id])
    assert len(targets) == 2
    for run in targets:
        found = forecast(run, (), upto=run.total // 2, ladder=ladder)
        final = float(run.loss[-1])
        baseline = float(run.until(run.total // 2).loss[-1]) / final - 1
        assert found.final["low"] < final < found.final["high"]
        assert abs(found.final["loss"] / final - 1) < baseline / 2
