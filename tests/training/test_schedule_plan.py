"""The schedule of the lowest predicted loss, and how sure a fitted curve law is."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import curves as study
from benchmarks import plans
from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.laws import get_published
from scaling_cli.project import Project
from scaling_cli.training import bootstrap
from scaling_cli.training.assessed import Assessed, Range, student
from scaling_cli.training.bootstrap import missed_by
from scaling_cli.training.curve import Curve
from scaling_cli.training.fit import CurveFit, fit_curves
from scaling_cli.training.plan import SchedulePlan, plan_schedule
from scaling_cli.training.schedule import SHAPES, Schedule, family, parse_schedule

VALUES = {"lr_anneal": plans.ANNEAL, "mpl": dict(get_published("luo2025_100m")[1].values)}


def made_by(law: str, **more: Any) -> list[Curve]:
    return plans.made_by(law, VALUES[law], **more)


NOTHING = replace(made_by("lr_anneal")[0], steps=np.empty(0, dtype=np.int64), loss=np.empty(0))


def final(fitted: CurveFit, plan: Schedule) -> float:
    return float(fitted.predict(replace(NOTHING, schedule=plan), [plan.total])[0])


def final_draws(fitted: CurveFit, plan: Schedule) -> np.ndarray:
    return fitted.predict_draws(replace(NOTHING, schedule=plan), [plan.total])[:, 0]


@pytest.fixture(scope="module", params=["lr_anneal", "mpl"])
def plan(request: pytest.FixtureRequest) -> SchedulePlan:
    return plan_schedule(made_by(request.param), 3000, law=request.param, resamples=20)


def test_best_is_that_of_a_search_of_everything(plan: SchedulePlan) -> None:
    """Every shape, decay and final rate on a finer grid than the first one tried."""
    grid = product(SHAPES, np.geomspace(0.02, 0.96, 40), np.geomspace(3e-5, 3e-4, 4))
    losses = [
        final(
            plan.known.fitted,
            family("wsd", 3e-4, 100, 3000, float(least), decay=decay, shape=shape),
        )
        for shape, decay, least in grid
    ]
    assert plan.best.loss <= min(losses) * (1 + 2e-6)
    assert plan.best.loss < np.median(losses)


def test_the_printed_schedule_is_the_one_that_was_scored(plan: SchedulePlan) -> None:
    for item in plan.candidates:
        made = parse_schedule(item.schedule)
        assert made.total == 3000
        assert final(plan.known.fitted, made) == pytest.approx(item.loss, rel=1e-12)
        assert item.low < item.loss < item.high
    losses = [item.loss for item in plan.candidates]
    assert losses == sorted(losses)
    assert len({item.schedule for item in plan.candidates}) == len(losses)
    assert sum(item.usual for item in plan.candidates) == 5


def test_the_best_stays_within_the_rates_of_the_runs(plan: SchedulePlan) -> None:
    rates = parse_schedule(plan.best.schedule).rates[100:]
    assert rates.min() >= 3e-5 * 0.99
    assert rates.max() <= 3e-4 * 1.01
    beyond = {item.schedule: item.beyond for item in plan.candidates}
    assert beyond["linear:peak=0.0003,warmup=100,total=3000,min=0.0"] == (
        "rates below those fitted",
    )
    assert beyond["constant:peak=0.0003,warmup=100,total=3000"] == ()


def test_a_difference_is_decided_where_it_is_larger_than_its_uncertainty(
    plan: SchedulePlan,
) -> None:
    """Curves without noise: what is left is the law's error on a new schedule, twice."""
    certain = plan.known.quantile(0.90) * np.sqrt(2) * plan.known.missed
    for item in plan.candidates:
        if not 1 < np.log1p(item.behind) / certain < 1.1:
            assert item.decided == (np.log1p(item.behind) > certain)
    assert {item.decided for item in plan.candidates} == {True, False}


def level_of(known: Assessed, quantile: float) -> float:
    """The level whose band reaches so many deviations to each side."""
    low, high = 0.5, 1 - 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if known.quantile(middle) < quantile else (low, middle)
    return low


def test_a_band_and_a_difference_hold_the_draws_and_the_error_of_the_law() -> None:
    """Noise as large as that error, and a level at which a difference is just decided or not."""
    random = np.random.default_rng(1)
    curves = made_by("lr_anneal", noise=lambda rows: 0.01 * random.standard_normal(rows))

    def planned(level: float) -> SchedulePlan:
        return plan_schedule(curves, 3000, ["wsd"], "lr_anneal", level=level, resamples=20)

    found = planned(0.90)
    drawn = {
        item.schedule: np.log(final_draws(found.known.fitted, parse_schedule(item.schedule)))
        for item in found.candidates
    }
    for item in found.candidates:
        assert np.std(drawn[item.schedule]) > 0.2 * found.known.missed
        wide = (
            2
            * found.known.quantile(0.90)
            * np.hypot(np.std(drawn[item.schedule]), found.known.missed)
        )
        assert np.log(item.high / item.low) == pytest.approx(wide, rel=1e-3)
        assert item.behind == pytest.approx(item.loss / found.best.loss - 1, abs=1e-12)
    last = found.candidates[-1]
    differ = np.std(drawn[last.schedule] - drawn[found.best.schedule])
    assert differ > 0.3 * found.known.missed
    deviations = np.log1p(last.behind) / np.hypot(differ, np.sqrt(2) * found.known.missed)
    for factor, decided in ((0.98, True), (1.02, False)):
        level = level_of(found.known, factor * deviations)
        assert planned(level).candidates[-1].decided == decided


def test_a_schedule_has_the_same_band_alone_and_among_others(plan: SchedulePlan) -> None:
    for item in plan.candidates:
        run = replace(NOTHING, schedule=parse_schedule(item.schedule))
        alone = plan.known.forecast(run, np.array([3000]), plan.level)
        found = (alone.loss[0], alone.low[0], alone.high[0])
        assert found == pytest.approx((item.loss, item.low, item.high), rel=1e-12)


def test_a_long_decay_is_found_where_it_pays() -> None:
    """A law by which the fall of the rate gains much and the rate sum little."""
    curves = plans.made_by("lr_anneal", plans.ANNEAL | {"A": 0.05, "C": 4.0})
    found = plan_schedule(curves, 3000, ["wsd"], "lr_anneal", resamples=2)
    decays = [family("wsd", 3e-4, 100, 3000, 3e-5, decay=share) for share in (0.1, 0.3, 0.9)]
    losses = [final(found.known.fitted, plan) for plan in decays]
    assert losses == sorted(losses, reverse=True)
    assert found.best.loss <= losses[-1]
    # Linear to zero is lower than any within the rates of the runs.
    straight = plan_schedule(curves, 3000, ["linear"], "lr_anneal", resamples=2)
    assert straight.best.beyond == ()
    assert straight.best.family == "linear"
    assert "usual_is_lower" in {note.code for note in straight.notes}


@pytest.mark.parametrize(
    ("spec", "beyond"),
    [
        ("wsd:peak=4e-4,warmup=100,total=2000,min=3e-5,decay=0.3", ()),
        ("wsd:peak=3e-4,warmup=100,total=2000,min=4e-5,decay=0.2", ()),
        ("constant:peak=6e-4,warmup=100,total=9000", ()),
        ("constant:peak=6.3e-4,warmup=100,total=2000", ("peak",)),
        ("constant:peak=2.8e-4,warmup=100,total=2000", ("peak",)),
        ("linear:peak=4e-4,warmup=100,total=2000,min=2e-5", ("rates below those fitted",)),
        (
            "wsd:peak=4e-4,warmup=100,total=2000,min=3e-5,decay=0.15",
            ("a shorter decay than those fitted",),
        ),
    ],
)
def test_what_leaves_the_fitted_runs_is_said(spec: str, beyond: tuple[str, ...]) -> None:
    runs = Range((1000, 2000), (3e-4, 6e-4), 3e-5, (0.2, 0.5), 100)
    assert runs.beyond(parse_schedule(spec)) == beyond


def test_a_run_longer_than_those_fitted_is_said() -> None:
    runs = Range((1000, 2000), (3e-4, 6e-4), 3e-5, (0.2, 0.5), 100)
    assert not list(runs.length_notes(1500))
    assert [note.code for note in runs.length_notes(2100)] == ["extrapolation"]


def test_another_peak_is_chosen_only_where_the_runs_differ_in_it() -> None:
    specs = (*plans.SPECS, "cosine:peak=6e-4,warmup=100,total=3000,min=3e-5")
    found = plan_schedule(
        made_by("lr_anneal", specs=specs), 3000, ["cosine"], "lr_anneal", resamples=20
    )
    assert found.best.schedule.startswith("cosine:peak=0.0006,")  # the law falls with the rate sum
    assert all(":peak=0.0006," in item.schedule for item in found.candidates)
    held = plan_schedule(made_by("lr_anneal"), 3000, ["cosine"], "lr_anneal", resamples=20)
    assert held.best.schedule.startswith("cosine:peak=0.0003,")


def test_extrapolation_is_said() -> None:
    curves = made_by("lr_anneal")
    far = plan_schedule(curves, 9000, ["wsd"], "lr_anneal", resamples=20)
    assert {note.code for note in far.notes} >= {"extrapolation", "outside_schedules"}
    few = plan_schedule(curves[:1], 3000, ["cosine"], "lr_anneal", resamples=20)
    assert "few_schedules" in {note.code for note in few.notes}
    assert few.known.missed == pytest.approx(bootstrap.MISS["lr_anneal"])


def test_what_cannot_be_known_is_refused() -> None:
    curves = made_by("lr_anneal")
    with pytest.raises(InputError, match="lowers its learning rate"):
        plan_schedule(curves[1:2], 3000)
    with pytest.raises(InputError, match="family"):
        plan_schedule(curves, 3000, ["cosin"])
    with pytest.raises(InputError, match="warmup"):
        plan_schedule(curves, 90)
    with pytest.raises(InputError, match="`law=`"):
        plan_schedule(curves, 3000, law="chinchilla")


@pytest.mark.parametrize("size", ["25M", "400M"])
def test_a_late_decay_beats_cosine_on_the_public_curves(
    public_data: Path, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Luo et al. 2025 found it so; the runs with such a decay, which were not fitted, agree."""
    monkeypatch.setattr(study, "TABLE", public_data / "mpl_curves" / "mpl_curves.csv")
    curves = study.public_curves()[size]
    found = plan_schedule(curves["train"], 24000, ["wsd"], resamples=20)
    assert found.best.family == "wsd"
    (cosine,) = (item for item in found.candidates if item.family == "cosine")
    assert (cosine.behind > 0.01, cosine.decided) == (True, True)
    ended = {
        curve.run_id.partition(" ")[2]: curve.loss[-1] for part in curves.values() for curve in part
    }
    assert ended["wsd_20000_24000"] < ended["cosine_24000"]
    assert found.best.low < ended["wsd_20000_24000"] < found.best.high


def test_intervals_know_that_rows_of_a_run_miss_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.70 <= np.mean(plans.covered(16, every=8, resamples=40)) <= 0.98
    monkeypatch.setattr(bootstrap, "blackened", plans.row_by_row)
    assert np.mean(plans.covered(4, every=8, resamples=40)) < 0.5


def test_resampled_noise_has_the_size_and_memory_of_the_residuals() -> None:
    random = np.random.default_rng(3)
    own = [plans.autoregressive(random)(3000)]
    (made,) = bootstrap.blackened(own, 0, 20, random)
    assert made.shape == (20, 3000)
    assert np.std(made) == pytest.approx(np.std(own[0]), rel=0.1)
    assert np.corrcoef(made[0, 1:], made[0, :-1])[0, 1] == pytest.approx(0.9, abs=0.03)


def test_the_error_on_a_run_that_was_left_out_is_measured() -> None:
    curves = made_by("lr_anneal")
    exact, count = missed_by(fit_curves("lr_anneal", curves), curves)
    assert (exact < bootstrap.MISS["lr_anneal"], count) == (True, 3)
    shifted = [
        Curve(c.run_id, c.steps, c.loss * (1 + shift), c.schedule, c.params)
        for c, shift in zip(curves, (-0.02, 0.0, 0.02), strict=True)
    ]
    assert missed_by(fit_curves("lr_anneal", shifted), shifted)[0] > 0.01


RUN = "baseline-schedule-d32l2-9.0e11-cosine"


def test_command_answers_from_the_runs_of_one_size(samples: Project) -> None:
    asked = [
        "schedule",
        "--store",
        samples.location,
        "--run",
        RUN,
        "--steps",
        "4K",
        "--family",
        "wsd",
    ]
    found = CliRunner().invoke(app, [*asked, "--law", "lr_anneal", "--json"])
    assert found.exit_code == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["best"]["schedule"].startswith("wsd:peak=0.0141421,warmup=100,total=4000,")
    assert document["best"] in document["schedules"]
    assert len(document["runs"]) == len([run for run in document["runs"] if "d32l2" in run]) > 9
    assert set(document["parameters"]) == {"L0", "A", "alpha", "C"}
    assert all(p["low"] < p["value"] < p["high"] for p in document["parameters"].values())
    assert "law_error" in {note["code"] for note in document["warnings"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--steps", "4000"), "--run"),
        (("--steps", "4000", "--run", "baseline-schedule"), "Near names:"),
        (("--steps", "4000", "--run", RUN, "--family", "cosin"), "wsd"),
        (("--steps", "4000", "--where", "params < 1"), "--where"),
    ],
)
def test_refusals_say_what_and_how(samples: Project, arguments: tuple[str, ...], said: str) -> None:
    found = CliRunner().invoke(app, ["schedule", "--store", samples.location, *arguments])
    assert found.exit_code == 2
    assert said in found.stderr


def test_a_band_of_few_runs_is_as_wide_as_students_t() -> None:
    """Quantiles of Student's t as tables have them."""
    for freedom, expected in ((3, 2.353), (6, 1.943), (11, 1.796), (1e9, 1.645)):
        assert student(0.95, freedom) == pytest.approx(expected, rel=0.02)
