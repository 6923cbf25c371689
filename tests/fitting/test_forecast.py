"""The recipe `auto`: what it forecasts, when its prior gives way, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import auto, engine
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.scoring import score_holdout
from scaling_cli.fitting.solver import Prior, objective_values, solve
from scaling_cli.fitting.targets import is_cross_entropy
from scaling_cli.laws import get_law
from scaling_cli.table import Table

CHINCHILLA = {"E": 1.82, "A": 480.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366}  # epoch2024


def runs(
    params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, ids: Iterable[str] = ()
) -> Table:
    columns = {"params": params, "tokens": tokens, "loss": loss, "flops": 6 * params * tokens}
    return Table.from_columns(columns, list(ids) or None)


def ladder(
    rows: int = 36, noise: float = 0.004, seed: int = 0, budgets: int = 6, **truth: float
) -> tuple[Table, Table]:
    """A ladder over 2.5 decades of compute, and noisy targets 4 to 30 times beyond it."""
    random = np.random.default_rng(seed)
    values = CHINCHILLA | truth
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, budgets), rows // budgets)
    ratio = np.exp(random.uniform(np.log(4), np.log(150), len(compute)))
    compute = np.concatenate([compute, compute.max() * np.array([4.0, 10.0, 30.0])])
    ratio = np.concatenate([ratio, [20.0, 40.0, 20.0]])
    params = np.sqrt(compute / 6 / ratio)
    tokens = compute / 6 / params
    loss = get_law("chinchilla").predict(**values, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.standard_normal(len(loss)))
    return runs(params[:-3], tokens[:-3], loss[:-3]), runs(params[-3:], tokens[-3:], loss[-3:])


def codes(fitted: Fit) -> set[str]:
    return {note.code for note in fitted.notes}


QUICK = FitOptions(resamples=100)


def test_a_language_model_ladder_is_predicted() -> None:
    training, ahead = ladder()
    fitted = score_holdout(auto.fit(training, QUICK), ahead)
    assert fitted.name == "auto"
    assert fitted.holdout is not None
    assert fitted.holdout["mape"] < 0.01
    assert fitted.holdout["coverage"] == 1.0
    assert not codes(fitted) & {"prior_gave_way", "outliers_set_aside", "single_budget_design"}


def test_the_same_runs_and_seed_give_the_same_digits() -> None:
    training, _ = ladder()
    first, second = (auto.fit(training, QUICK) for _ in range(2))
    assert json.dumps(first.to_document()) == json.dumps(second.to_document())
    other = auto.fit(training, FitOptions(resamples=100, seed=1))
    assert other.values == first.values
    assert (other.draws[:50] != first.draws[:50]).any()


def test_a_saved_forecast_predicts_as_before() -> None:
    training, _ = ladder()
    fitted = auto.fit(training, QUICK, {"recipe": "a"})
    read = Fit.from_document(json.loads(json.dumps(fitted.to_document())))
    assert (read.name, read.law_id, read.drift) == ("auto", "skaling", auto.DRIFT)
    point = {"params": 1e10, "tokens": 1e12}
    assert read.predict(point) == fitted.predict(point)
    assert fitted.to_json()["law"] == "auto"


def test_every_problem_of_a_batch_may_have_its_own_prior() -> None:
    training, _ = ladder()
    ground, scales = surveyed(training)
    surface, start = ground.rows.surface(scales, 0.004), ground.theta
    held = auto.prior(0.2, auto.WIDTHS)
    weights = np.full((1, 36), 0.004**-2)
    together = solve(surface, weights, np.repeat(start[None], 4, axis=0), held)
    for i in range(4):
        alone = solve(surface, weights, start[None], Prior(held.mean[i], held.precision[i]))
        assert together.objective[i] == pytest.approx(alone.objective[0], rel=1e-9)
    tight, wide = together.theta[0, auto.HELD], together.theta[-1, auto.HELD]
    centre = held.mean[0, auto.HELD]
    assert np.linalg.norm(tight - centre) < np.linalg.norm(wide - centre)


@pytest.mark.parametrize("truth", [{"E": 0.3, "alpha": 0.15, "beta": 0.16, "A": 13.0, "B": 30.0}])
def test_the_prior_gives_way_to_runs_of_another_kind(truth: dict[str, float]) -> None:
    training, ahead = ladder(48, 0.003, **truth)
    fitted = score_holdout(auto.fit(training, QUICK), ahead)
    held = score_holdout(auto.fit(training, QUICK, {}, auto.WIDTHS[:1]), ahead)
    assert "prior_gave_way" in codes(fitted)
    assert fitted.holdout is not None
    assert held.holdout is not None
    assert fitted.holdout["mape"] < 0.7 * held.holdout["mape"]


def test_a_floor_near_the_losses_is_believed_and_the_exponents_stay_held() -> None:
    """The rows of a ladder that bends towards its floor say where that is: E's prior alone goes."""
    training, _ = ladder(E=3.3, A=120.0, B=500.0)  # 0.97 of the lowest loss
    fitted = auto.fit(training, FitOptions(resamples=0))
    assert fitted.values["E"] == pytest.approx(3.3, rel=0.01)
    (note,) = [note for note in fitted.notes if "gave_way" in note.code]
    assert "their losses put E at 9" in note.message
    exponents, floor = believed(training).mean_width[0] / auto.WIDTHS[0]
    assert exponents < 1.3
    assert floor > 1.5


def test_a_width_that_is_surer_than_it_is_right_loses_belief(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exponents of 0.8: the tight prior's error is no larger, but by its own lights impossible."""
    training, _ = ladder(18, 0.01, E=1.8, alpha=0.8, beta=0.8, A=3e6, B=5e7)
    assert believed(training).by_exponents[0] < 0.2
    monkeypatch.setattr(auto, "log_density", lambda *_: np.zeros(len(auto.WIDTHS)))
    assert believed(training).by_exponents[0] > 0.5


def test_a_ladder_like_the_others_widens_nothing() -> None:
    widened = believed(ladder()[0]).mean_width[0] / auto.WIDTHS[0]
    assert (widened < 1.15).all()


def surveyed(rows: Table) -> tuple[auto.Ground, dict[str, float]]:
    columns = [rows.columns[name] for name in ("params", "tokens", "loss")]
    whole = auto.Ladder(*columns, np.arange(len(rows)))
    return auto.survey(whole, whole.scales()), whole.scales()


def believed(rows: Table) -> auto.Belief:
    return auto.backtested(*surveyed(rows))[0]


def test_the_density_of_larger_runs_is_that_of_the_dense_covariance() -> None:
    training, ahead = ladder()
    ground, scales = surveyed(training)
    theta = auto.fit_at(ground, scales, auto.WIDTHS)
    columns = [ahead.columns[name] for name in ("params", "tokens", "loss")]
    larger = auto.Ladder(*columns, np.arange(3))
    found = auto.log_density(ground, scales, theta, auto.WIDTHS, larger)
    surface = larger.surface(scales, 1.0)
    held = ground.prior(auto.WIDTHS)
    bend = auto.curvature(ground, scales, theta, held)
    fitted = auto.fit(training, FitOptions(resamples=0))
    outside = fitted.distance({"params": larger.params, "tokens": larger.tokens})
    steps = 1e-5 * np.eye(theta.shape[1])
    for i, point in enumerate(theta):
        jacobian = (surface.residuals(point + steps) - surface.residuals(point - steps)) / 2e-5
        covariance = jacobian.T @ np.linalg.inv(bend[i]) @ jacobian
        covariance += np.diag(ground.noise**2 + (auto.DRIFT * outside) ** 2)
        residuals = surface.residuals(point[None])[0]
        expected = multivariate_normal(cov=covariance).logpdf(residuals)
        assert found[i] + 1.5 * np.log(1 / (2 * np.pi)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("floor", [1.82, 3.3])
def test_the_evidence_is_the_integral_over_the_parameters(floor: float) -> None:
    """Laplace's approximation against importance sampling from a wider normal."""
    training, _ = ladder(E=floor)
    ground, scales = surveyed(training)
    widths = np.array([[0.15, 0.08], [0.15, 0.2], [0.4, 0.2]])
    theta = auto.fit_at(ground, scales, widths)
    found = auto.log_evidence(ground, scales, theta, widths)
    random = np.random.default_rng(0)
    surface, weights = ground.rows.surface(scales, ground.noise), ground.weights / ground.noise**2
    drawn = []
    for i in range(len(widths)):
        held = auto.prior(ground.floor, widths[i : i + 1])
        (bend,) = auto.curvature(ground, scales, theta[i : i + 1], held)
        proposal = multivariate_t(theta[i], np.linalg.inv(bend), df=5, seed=random)
        points = proposal.rvs(20_000)
        value = objective_values(surface, weights[None], points, held)
        logs = -value - proposal.logpdf(points) + np.sum(np.log(held.precision[0, auto.HELD]))
        drawn.append(logsumexp(logs))
    assert np.diff(found) == pytest.approx(np.diff(drawn), abs=0.35)


def test_a_wrong_loss_is_named_and_does_not_count() -> None:
    training, ahead = ladder()
    loss = training.columns["loss"].copy()
    lowest = int(np.argmin(loss))
    loss[lowest] *= 0.9
    without = auto.fit(training.select(np.arange(len(loss)) != lowest), QUICK)
    hurt = auto.fit(runs(training.columns["params"], training.columns["tokens"], loss), QUICK)
    (note,) = [note for note in hurt.notes if note.code == "outliers_set_aside"]
    assert f"run{lowest}" in note.message
    points = {name: ahead.columns[name] for name in ("params", "tokens")}
    assert hurt.curve(points) == pytest.approx(without.curve(points), rel=0.005)


def test_a_target_that_is_no_cross_entropy_has_no_prior() -> None:
    training, _ = ladder()
    rows = training.with_columns(error=training.columns["loss"] / 9)
    fitted = auto.fit(rows, FitOptions(resamples=20, target="error"))
    assert "no_prior" in codes(fitted)
    assert fitted.columns["target"] == "error"
    assert fitted.metrics["mape"] < 0.01


def test_eight_runs_are_forecast_with_what_is_known_of_others() -> None:
    training, ahead = ladder(8, budgets=4)
    fitted = score_holdout(auto.fit(training, QUICK), ahead)
    assert {"few_runs", "no_backtest"} <= codes(fitted)
    assert fitted.holdout is not None
    assert fitted.holdout["mape"] < 0.03
    with pytest.raises(FitError, match="needs 3 usable runs"):
        auto.fit(training.select(np.arange(8) < 2), QUICK)


def test_runs_at_one_budget_are_warned_of() -> None:
    training, _ = ladder()
    compute = training.columns["flops"]
    flat = training.select((compute > 5e18) & (compute < 2e19))
    assert "single_budget_design" in codes(auto.fit(flat, QUICK))


def test_the_noise_is_that_of_the_runs_that_count() -> None:
    """Near the truth where all runs have one (1.2 times; 1.9 by all residuals alike, some of which
    the prior makes); and small runs that scatter ten times as much leave larger ones theirs."""
    even, uneven = [], []
    for seed in range(8):
        training, _ = ladder(60, 0.01, seed, budgets=10)
        even.append(auto.fit(training, FitOptions(resamples=0)).noise)
        exact, _ = ladder(60, 0.0, seed, budgets=10)
        scatter = np.where(exact.columns["flops"] < 10**19.5, 0.03, 0.003)
        random = np.random.default_rng(seed)
        loss = exact.columns["loss"] * np.exp(scatter * random.standard_normal(60))
        columns = (exact.columns["params"], exact.columns["tokens"], loss)
        uneven.append(auto.fit(runs(*columns), FitOptions(resamples=0)).noise)
    assert 0.008 < np.sqrt(np.mean(np.square(even))) < 0.014
    assert np.median(uneven) < 0.008


def test_points_of_one_run_are_drawn_together() -> None:
    """Two points of a run say less than two runs: intervals must not shrink as if they did not."""
    training, _ = ladder(noise=0.01)
    twice = {name: np.tile(values, 4) for name, values in training.columns.items()}
    ids = [f"run{i}" for i in range(36)] * 4
    owned = Table.from_columns(twice, ids)
    seeds = twice | {"seed": np.arange(len(ids), dtype=float)}  # copies would be one run too
    apart = Table.from_columns(seeds, [f"{name}-{i}" for i, name in enumerate(ids)])
    point = {"params": np.array([1e9]), "tokens": np.array([2e10])}

    def spread(rows: Table) -> float:
        fitted = auto.fit(rows, QUICK)
        with np.errstate(all="ignore"):
            drawn = fitted.law.predict(**fitted.draw_values(), **point)
        return float(np.std(np.log(drawn)))

    assert spread(owned) > 1.2 * spread(apart)


def test_intervals_grow_with_the_distance_from_the_runs() -> None:
    training, _ = ladder()
    fitted = auto.fit(training, QUICK)
    inside = training.columns["params"][:1], training.columns["tokens"][:1]
    assert fitted.distance(dict(zip(("params", "tokens"), inside, strict=True)))[0] == 0
    factors = np.array([1.0, 10.0, 100.0])
    top = np.argmax(training.columns["flops"])
    points = {name: training.columns[name][top] * np.sqrt(factors) for name in ("params", "tokens")}
    band = fitted.band(points)
    assert band is not None
    assert (np.diff(np.log(band[1] / band[0])) > 0.005).all()


def test_a_ratio_that_no_run_had_is_said() -> None:
    training, _ = ladder()
    fitted = auto.fit(training, FitOptions(resamples=0))
    notes = fitted.predict({"params": 1e8, "tokens": 1e12}).notes
    assert "ratio_outside" in {note.code for note in notes}


@pytest.mark.parametrize(
    "options", [FitOptions(fixed={"E": 1.7}), FitOptions(objective="squared_log")]
)
def test_the_recipe_is_not_bent(options: FitOptions) -> None:
    with pytest.raises(InputError, match="auto"):
        auto.fit(ladder()[0], options)


def test_the_commands_forecast_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    columns = ladder(24)[0].columns
    table = [",".join(["run_id", *columns])]
    rows = np.stack(list(columns.values()), axis=1).tolist()
    table += [f"r{i},{','.join(map(str, row))}" for i, row in enumerate(rows)]
    Path("runs.csv").write_text("\n".join(table) + "\n")

    def scalefit(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    scalefit("ingest", "runs.csv")
    (alone,) = scalefit("fit", "--bootstrap", "50")["fits"]
    assert (alone["law"], alone["surface"]) == ("auto", "skaling")
    both = scalefit("fit", "--law", "auto,chinchilla", "--bootstrap", "50")["fits"]
    assert [item["law"] for item in both] == ["auto", "chinchilla"]
    point = ["predict", "--params", "1B", "--tokens", "1T"]
    assert [item["law"] for item in scalefit(*point)["predictions"]] == ["auto"]
    named = scalefit(*point, "--law", "chinchilla")["predictions"]
    assert [item["law"] for item in named] == ["chinchilla"]
    split = scalefit("optimal", "--budget", "1e23")["allocations"]
    assert [(item["law"], item["fit_id"]) for item in split] == [("auto", both[0]["fit_id"])]
    assert [item["law"] for item in scalefit("report")["fits"]] == ["auto", "chinchilla"]


def test_plain_intervals_cover_what_they_say() -> None:
    """90 % intervals of parameters over 40 ladders; those of runs inside and beyond the ladder hold
    a doubt about the law too, which a ladder that follows the law does not need."""
    law, names = get_law("chinchilla"), ("E", "alpha", "beta")
    held: list[list[bool]] = []
    covered: list[list[bool]] = []
    for seed in range(40):
        training, ahead = ladder(30, 0.01, seed, budgets=5)
        fitted = engine.fit(law, training, FitOptions(resamples=150))
        intervals = [fitted.parameters[name] for name in names]
        held.append(
            [
                bool((item.low or 0) <= CHINCHILLA[name] <= (item.high or 0))
                for name, item in zip(names, intervals, strict=True)
            ]
        )
        scored = score_holdout(fitted, ahead).holdout_rows
        covered.append([row["low"] <= row["observed"] <= row["high"] for row in scored])
    assert 0.85 <= np.mean(held) <= 0.97
    assert np.mean(covered) >= 0.85


def test_forecast_intervals_cover_at_least_what_they_say() -> None:
    """They hold a doubt about the law too, which a ladder that follows the law does not need."""
    covered = []
    for seed in range(12):
        training, ahead = ladder(24, 0.01, seed)
        score = score_holdout(auto.fit(training, QUICK), ahead).holdout
        assert score is not None
        covered.append(score["coverage"])
    assert np.mean(covered) >= 0.85


def test_runs_that_are_no_language_models_take_no_prior() -> None:
    rows, _ = ladder(E=0.3)
    plain = auto.fit(rows, FitOptions(resamples=20))
    bare = auto.fit(rows, FitOptions(resamples=20, prior="none"))
    assert (plain.prior, bare.prior) == ("language", None)
    assert "no_prior" in codes(bare)
    assert Fit.from_document(bare.to_document()).prior is None
    with pytest.raises(InputError, match="pixels"):
        auto.fit(rows, FitOptions(resamples=0, prior="pixels"))


@pytest.mark.parametrize(
    ("target", "language"),
    [("loss", True), ("web_loss", True), ("pixel_loss", False), ("train/action_loss", False),
     ("reward", False), ("mse_loss", False)],
)  # fmt: skip
def test_what_a_loss_is_of_is_read_from_its_name(target: str, language: bool) -> None:
    assert is_cross_entropy(target) is language


def test_three_runs_are_answered_with_an_interval_that_they_deserve() -> None:
    held, widths = [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        params = np.append(np.geomspace(9e7, 9e8, 3), 4e9)
        loss = 1.8 + 480 * params**-0.35 + 2000 * (20 * params) ** -0.37
        loss *= np.exp(0.005 * random.standard_normal(4))
        columns = {"params": params, "tokens": 20 * params, "loss": loss}
        rows = Table.from_columns({name: values[:3] for name, values in columns.items()})
        band = auto.fit(rows, FitOptions(resamples=60)).band(
            {name: columns[name][3:] for name in ("params", "tokens")}
        )
        assert band
        held.append(band[0][0] <= loss[3] <= band[1][0])
        widths.append((band[1][0] - band[0][0]) / loss[3])
    assert np.mean(held) > 0.8
    assert 0.03 < np.median(widths) < 0.30


def test_without_a_prior_three_runs_are_too_few() -> None:
    size = np.array([1e8, 3e8, 1e9])
    columns = {"params": size, "tokens": 20 * size, "loss": np.array([3.3, 2.9, 2.6])}
    with pytest.raises(FitError, match="6 usable runs"):
        auto.fit(Table.from_columns(columns), FitOptions(prior="none"))
