"""What makes a fit doubtful: each coded note comes when it must, and only then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaling_cli.copies import copies as copies_in
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import auto, backtest, diagnostics, tied
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.planning.splits import allocate_fit
from scaling_cli.table import Table

LAW = get_law("chinchilla")
TRUTH = {"E": 1.82, "A": 480.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366}  # epoch2024
QUICK = FitOptions(resamples=60)
LAW_OF_FORECAST = auto.LAW.parameter_names
FAR = {"params": 1e10, "tokens": 1e12}


def runs(
    params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, count: int = 0, **more: np.ndarray
) -> Table:
    """Rows in turn of `count` runs; of one each without."""
    columns = {"params": params, "tokens": tokens, "loss": loss, "flops": 6 * params * tokens}
    ids = [f"run{i % (count or len(loss))}" for i in range(len(loss))]
    return Table.from_columns(columns | more, ids)


def ladder(rows: int = 30, noise: float = 0.004, seed: int = 1, **truth: float) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    compute = 10 ** np.linspace(18.0, 20.5, rows)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), rows)))
    tokens = compute / 6 / params
    loss = LAW.predict(**TRUTH | truth, params=params, tokens=tokens)
    drawn = np.exp(noise * random.standard_normal(rows))
    return {"params": params, "tokens": tokens, "loss": loss * drawn}


def codes(fitted: Fit, severity: str = "") -> set[str]:
    return {note.code for note in fitted.notes if severity in ("", note.severity)}


def test_a_sound_ladder_has_no_doubts() -> None:
    assert fit(LAW, runs(**ladder(40)), QUICK).notes == ()
    forecast = auto.fit(runs(**ladder(40)), QUICK)
    assert {note.severity for note in forecast.notes} <= {"info"}


@pytest.mark.parametrize("law", ["chinchilla", "auto"])
def test_points_of_one_run_give_no_interval(law: str) -> None:
    """Forty points of one run say nothing of what another run would give."""
    fitted = fitter(law)(runs(**ladder(40), count=1), QUICK, {})
    assert {"few_runs", "one_run"} <= codes(fitted)
    assert fitted.parameters["E"].low is None
    found = fitted.predict(FAR)
    assert found.low is None
    assert "one_run" in {note.code for note in found.notes}


def test_points_of_few_runs_are_few_runs() -> None:
    assert "few_runs" in codes(fit(LAW, runs(**ladder(40), count=10), QUICK))
    assert "few_runs" not in codes(fit(LAW, runs(**ladder(40), count=20), QUICK))


def test_runs_that_hardly_count_are_not_counted() -> None:
    """Thirty runs of which three have all the weight are three."""
    weights = np.where(np.arange(30) % 10, 1e-6, 1.0)
    fitted = fit(LAW, runs(**ladder(), count=0, weight=weights), replace(QUICK, weights="weight"))
    (note,) = (note for note in fitted.notes if note.code == "few_runs")
    assert "30 rows that count as 3.0 runs" in note.message
    even = fit(LAW, runs(**ladder(), count=0, weight=np.ones(30)), replace(QUICK, weights="weight"))
    assert "few_runs" not in codes(even)


@pytest.mark.parametrize("scale", [1e308, 1e-300])
def test_weights_of_any_size_are_shares(scale: float) -> None:
    weights = scale * np.linspace(0.5, 1.0, 30)
    options = replace(QUICK, resamples=0, weights="weight")
    found = fit(LAW, runs(**ladder(), count=0, weight=weights), options)
    plain = fit(LAW, runs(**ladder(), count=0, weight=weights / scale), options)
    assert found.values["E"] == pytest.approx(plain.values["E"], rel=1e-9)


def test_no_interval_where_most_resamples_give_no_fit() -> None:
    """The few that do give one cover the truth in 2 % of ladders, not in 90."""
    fitted = fit(LAW, runs(**ladder(5)), QUICK)
    assert "resamples_failed" in codes(fitted, "severe")
    found = fitted.predict(FAR)
    assert (found.low, found.high) == (None, None)
    assert "resamples_failed" in {note.code for note in found.notes}


def test_one_run_more_than_parameters_gives_an_interval_that_holds() -> None:
    fitted = fit(LAW, runs(**ladder(6)), QUICK)
    assert "resamples_failed" not in codes(fitted)
    found = fitted.predict(FAR)
    assert found.low is not None
    assert found.high is not None
    assert found.low < LAW.predict(**TRUTH, **FAR) < found.high


def test_parameters_that_are_fixed_need_no_runs() -> None:
    fixed = {name: TRUTH[name] for name in ("alpha", "beta", "A")}
    fitted = fit(LAW, runs(**ladder(4)), replace(QUICK, resamples=0, fixed=fixed))
    assert "4 runs for 2 parameters" in fitted.notes[0].message
    assert "few_runs" not in codes(fit(LAW, runs(**ladder(8)), replace(QUICK, fixed=fixed)))
    with pytest.raises(FitError, match="needs 5 usable runs and there are 4"):
        fit(LAW, runs(**ladder(4)), QUICK)


@pytest.mark.parametrize("law", ["chinchilla", "auto"])
def test_copies_of_runs_are_named(law: str) -> None:
    often = np.repeat(np.arange(12), 3)
    copies = runs(**{name: values[often] for name, values in ladder(12).items()})
    (note,) = (n for n in fitter(law)(copies, QUICK, {}).notes if n.code == "duplicate_runs")
    assert "24 of 36 runs have the numbers of another (run1 those of run0)" in note.message
    seeds = replace(copies, columns=copies.columns | {"seed": np.arange(36.0)})
    assert "duplicate_runs" not in codes(fitter(law)(seeds, QUICK, {}))


def test_copies_of_runs_narrow_no_interval() -> None:
    """Three times the same runs say what one time says: resamples draw the copies together."""
    once = ladder(24)
    once["loss"] = once["loss"] * np.exp(0.01 * np.random.default_rng(2).standard_normal(24))
    often = {name: np.repeat(values, 3) for name, values in once.items()}
    seeds = often | {"seed": np.arange(72.0)}
    single, copied, apart = (
        fit(LAW, runs(**columns), replace(QUICK, resamples=300)) for columns in (once, often, seeds)
    )
    assert (single.n_runs, copied.n_runs, apart.n_runs) == (24, 24, 72)
    widths = [np.ptp(np.percentile(item.draws[:, 0], [5, 95])) for item in (single, copied, apart)]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
    assert widths[2] < 0.8 * widths[0]


@pytest.mark.parametrize(
    ("counts", "loss", "copies"),
    [
        (1.0005, lambda y, noise: np.round(y, 3), True),  # another logger's counts and digits
        (1.0, lambda y, noise: np.round(y, 4), True),
        (1.0, lambda y, noise: y * np.exp(0.002 * noise), False),
        (1.0, lambda y, noise: np.round(y * np.exp(0.002 * noise), 2), False),  # some agree
        (1.05, lambda y, noise: y, False),
    ],
)
def test_a_run_of_two_loggers_is_a_copy_and_a_seed_is_none(
    counts: float, loss: Any, copies: bool
) -> None:
    once = ladder(16)
    noise = np.random.default_rng(0).standard_normal(16)
    again = {name: counts * values for name, values in once.items()}
    again["loss"] = loss(once["loss"], noise)
    if not copies and counts == 1.0:
        once["loss"] = loss(once["loss"], np.roll(noise, 5))
    both = runs(**{name: np.r_[values, again[name]] for name, values in once.items()})
    assert bool(len(copies_in(both, "loss")[1])) is copies


@pytest.mark.parametrize("law", ["chinchilla", "auto"])
def test_a_law_that_is_not_the_runs_says_so(law: str) -> None:
    """A score that rises with scale, under laws that fall: the fit is a flat line."""
    rows = ladder()
    rising = 1 / (1 + np.exp(-np.log10(rows["params"] * rows["tokens"]) + 18.5))
    other = runs(**rows, count=0, score=rising)
    fitted = fitter(law)(other, replace(QUICK, target="score"), {})
    assert "explains_little" in codes(fitted, "severe")
    assert "explains_little" in {note.code for note in fitted.predict(FAR).notes}


def test_an_exponent_of_zero_is_a_term_that_is_gone() -> None:
    """A rising term cannot be fitted by a falling one: its exponent goes to zero instead."""
    rows = ladder()
    rows["loss"] = 1.0 + 300 * rows["params"] ** -0.34 + 0.05 * rows["tokens"] ** 0.1
    fitted = fit(LAW, runs(**rows), QUICK)
    assert fitted.values["beta"] < 1e-3
    assert any(n.code == "at_bound" and n.message.startswith("beta") for n in fitted.notes)


def test_what_the_user_fixed_is_not_said_to_be_driven_there() -> None:
    fitted = fit(LAW, runs(**ladder()), replace(QUICK, fixed={"E": 0.0}))
    assert not any(note.message.startswith("E was driven") for note in fitted.notes)
    gone = fit(LAW, runs(**ladder()), replace(QUICK, fixed={"A": 0.0, "alpha": 0.3}))
    assert gone.values["A"] == 0


@pytest.mark.parametrize("high", [1e3, 1e9, np.inf])
def test_a_wide_bound_is_not_reached(high: float) -> None:
    fitted = fit(LAW, runs(**ladder(40)), replace(QUICK, bounds={"E": (0.0, high)}))
    assert fitted.notes == ()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"bounds": {"alpha": (-2.0, -1.0)}}, "keeps alpha above 0"),
        ({"bounds": {"E": (-1.0, 0.0)}}, "`ranges=E=-1:0`"),
        ({"bounds": {"E": (1e40, 1e50)}}, "beyond what a fit can reach"),
        ({"fixed": TRUTH}, "nothing is left to fit"),
    ],
)
def test_what_leaves_nothing_to_fit_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        fit(LAW, runs(**ladder()), replace(QUICK, **options))


def test_a_forecast_says_which_resamples_failed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    resample = auto.resample
    monkeypatch.setattr(auto, "resample", lambda *given: resample(*given)[:40])
    assert "resamples_failed" in codes(auto.fit(runs(**ladder()), QUICK))


def test_the_forecast_refuses_a_range_that_it_would_not_heed() -> None:
    with pytest.raises(InputError, match="auto"):
        auto.fit(runs(**ladder()), replace(QUICK, ranges={"E": (1.0, 2.0)}))


def test_a_prediction_repeats_what_is_severe() -> None:
    """All runs of one size: the loss at another is anyone's guess."""
    rows = ladder()
    rows["params"] = np.full(30, 1e8)
    rows["loss"] = LAW.predict(**TRUTH, params=rows["params"], tokens=rows["tokens"])
    fitted = fit(LAW, runs(**rows), QUICK)
    severe = codes(fitted, "severe")
    assert {"few_sizes", "collinear_design"} <= severe
    assert severe <= {note.code for note in fitted.predict(FAR).notes}
    assert allocate_fit(fitted, 1e22).params is None


def test_weights_count_across_groups_that_share_a_parameter() -> None:
    """Nine times the weight is nine copies, whichever group the runs stand in."""
    first, second = ladder(seed=1), ladder(seed=2, E=1.7)
    heavy = runs(**second, count=0, weight=np.full(30, 9.0))
    light = runs(**first, count=0, weight=np.ones(30))
    options = FitOptions(resamples=0, tied=("E",))
    weighted = tied.fit(
        LAW, [({"r": "a"}, light), ({"r": "b"}, heavy)], replace(options, weights="weight")
    )
    nine = runs(**{name: np.tile(values, 9) for name, values in second.items()})
    copied = tied.fit(LAW, [({"r": "a"}, runs(**first)), ({"r": "b"}, nine)], options)
    for one, other in zip(weighted, copied, strict=True):
        assert isinstance(one, Fit)
        assert isinstance(other, Fit)
        assert one.values["E"] == pytest.approx(other.values["E"], rel=1e-6)


def test_a_tie_of_single_runs_is_not_tested() -> None:
    groups = [({"r": str(i)}, runs(**ladder(20, seed=i), count=1)) for i in range(2)]
    for item in tied.fit(LAW, groups, replace(QUICK, tied=("E",))):
        assert isinstance(item, Fit)
        assert item.tied is not None
        assert item.tied["p_value"] is None
        assert "one_run" in codes(item)
        assert "tie_doubtful" not in codes(item)


def test_a_shared_parameter_at_zero_is_said() -> None:
    groups = [({"r": str(i)}, runs(**ladder(seed=i, E=-0.4))) for i in (3, 4)]
    found = tied.fit(LAW, groups, replace(QUICK, resamples=0, tied=("E",)))
    assert all(isinstance(item, Fit) and "at_bound" in codes(item) for item in found)


@pytest.mark.parametrize(
    "options", [{"fixed": {"a": 0.5}}, {"weights": "flops"}, {"objective": "squared"}]
)
def test_optima_off_curves_heed_no_option_of_a_minimum(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="does not take `"):
        fitter("isoflop")(runs(**ladder()), replace(QUICK, **options), {})


@pytest.mark.parametrize(("sizes", "known"), [(3, False), (4, True)])
def test_three_sizes_a_budget_leave_no_residual_to_judge_by(sizes: int, known: bool) -> None:
    """A parabola passes through three points: an interval from it would have no width."""
    random = np.random.default_rng(0)
    compute = np.repeat(10.0 ** np.arange(18, 22), sizes)
    params = np.sqrt(compute / 120) * np.tile(np.geomspace(0.4, 2.5, sizes), 4)
    tokens = compute / 6 / params
    loss = LAW.predict(**TRUTH, params=params, tokens=tokens)
    loss = loss * np.exp(0.001 * random.standard_normal(len(loss)))
    fitted = fitter("isoflop")(runs(params, tokens, loss), QUICK, {})
    assert ("noise_unknown" not in codes(fitted)) == known
    assert (fitted.parameters["a"].low is not None) == known


def test_a_run_far_from_the_fit_is_named() -> None:
    rows = ladder(40)
    rows["loss"][17] *= 1.2
    (note,) = (n for n in fit(LAW, runs(**rows), QUICK).notes if n.code == "outliers")
    assert "1 of 40" in note.message
    assert "run17 (+2" in note.message


def test_an_amplitude_that_the_runs_leave_open_is_said_to_be() -> None:
    fitted = fit(LAW, runs(**ladder(20, noise=0.02)), QUICK)
    open_ended = {
        name
        for name, item in fitted.parameters.items()
        if item.low is not None and item.high is not None and item.high > 10 * item.low
    }
    (note,) = (n for n in fitted.notes if n.code == "not_identified")
    assert open_ended
    assert all(name in note.message for name in open_ended)


def test_a_fit_that_was_broken_off_is_no_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling_cli.fitting.solver.FEW_ITERATIONS", 2)
    monkeypatch.setattr("scaling_cli.fitting.solver.MAX_ITERATIONS", 2)
    fitted = fit(LAW, runs(**ladder(40)), replace(QUICK, resamples=0))
    assert "not_converged" in codes(fitted, "severe")
    assert "not_converged" in {note.code for note in fitted.predict(FAR).notes}
    assert "starts_disagree" in codes(fitted)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"params": 1e9, "tokens": 2e10}, ""),
        ({"params": 1e11, "tokens": 1e13}, "extrapolation"),
        ({"params": 1e7, "tokens": 1e12}, "ratio_outside"),
        ({"params": 1e6, "tokens": 2e7}, "extrapolation"),
    ],
)
def test_a_prediction_says_what_it_lies_outside_of(where: dict[str, float], code: str) -> None:
    fitted = fit(LAW, runs(**ladder(40)), QUICK)
    found = {note.code for note in fitted.predict(where).notes}
    assert code in found if code else not found


def test_a_law_of_one_column_says_how_far_that_leaves_the_runs() -> None:
    fitted = fit(get_law("power"), runs(**ladder(40)), replace(QUICK, x="tokens"))
    most = fitted.domain["x"][1]
    (note,) = fitted.predict({"tokens": 100 * most}).notes
    assert note.code == "outside_design"
    assert "2.00 decades" in note.message
    assert fitted.predict({"tokens": most}).notes == ()


def test_a_split_that_resamples_lack_is_not_sure() -> None:
    """Where one term is all but gone, many resamples have no optimum at all."""
    fitted = fit(LAW, runs(**ladder(40)), QUICK)
    lost = fitted.draws.copy()
    lost[::5, LAW.parameter_names.index("A")] = 0.0
    found = allocate_fit(replace(fitted, draws=lost), 1e22)
    assert found.params is not None
    (note,) = (n for n in found.notes if n.code == "optimum_uncertain")
    assert "20%" in note.message
    assert "optimum_uncertain" not in {n.code for n in allocate_fit(fitted, 1e22).notes}


def test_a_forecast_from_few_runs_is_as_unsure_as_its_prior() -> None:
    """Eight runs say little of the exponents: their draws are spread as the prior's centre is."""
    fitted = auto.fit(runs(**ladder(8)), replace(QUICK, resamples=200))
    for name in ("alpha", "beta"):
        drawn = np.log(fitted.draws[:, LAW_OF_FORECAST.index(name)])
        assert np.std(drawn) > 0.8 * auto.WIDTHS[0, 0]


@pytest.mark.parametrize(
    ("errors", "decided"),
    [
        (((0.02, 0.021, 0.02, 0.022), (0.02, 0.021)), True),
        (((0.03, 0.031, 0.03, 0.032), (0.009, 0.009)), False),  # better in one of the cuts
        (((0.02, 0.021), (0.02,)), False),  # of three runs
    ],
)
def test_a_law_is_worse_only_if_it_is_in_every_cut(
    errors: tuple[tuple[float, ...], ...], decided: bool
) -> None:
    rows = runs(**ladder(8))
    folds = [
        backtest.Fold(1.0, rows, rows.select(np.isin(np.arange(8), range(at, at + len(own)))))
        for at, own in zip((0, 4), errors, strict=True)
    ]
    best = backtest.Score("a", 5, 0.01, 0.0, None, tuple(np.full(len(e), 0.01) for e in errors), 0)
    other = replace(best, law="b", errors=tuple(np.array(item) for item in errors))
    assert backtest._against(other, best, folds).decided == decided


def test_dense_sizes_are_as_many_as_they_are() -> None:
    """4,000 sizes over two decades have no gap of 2 %; pairs within 1 % are one size each."""
    dense = np.geomspace(1e7, 3e9, 4000)
    assert diagnostics.sizes({"params": dense})["params"] > 200
    pairs = np.repeat(np.geomspace(1e7, 1e9, 8), 3) * np.tile([1.0, 1.004, 1.008], 8)
    assert diagnostics.sizes({"params": pairs})["params"] == 8
    assert diagnostics.sizes({"params": np.array([1.0, 1.001, 1.002])})["params"] == 1


def test_one_budget_asks_for_others_and_tells_its_own_split() -> None:
    params = np.geomspace(1e8, 5e9, 11)
    loss = 1.7 + 400 * params**-0.34 + 410 * (1e20 / 6 / params) ** -0.28
    rows = runs(params=params, tokens=1e20 / 6 / params, loss=loss)
    fitted = fit(LAW, rows, QUICK)
    assert "single_budget_design" in codes(fitted, "severe")
    assert "collinear_design" not in codes(fitted)
    assert allocate_fit(fitted, 1e22).params is None
    best = params[np.argmin(loss)]
    assert allocate_fit(fitted, 1e20).params == pytest.approx(best, rel=0.25)
    with pytest.raises(FitError, match=r"At 1e\+20 FLOPs it is \d+M params.*other budgets too"):
        fitter("isoflop")(rows.with_columns(flops=np.full(11, 1e20)), QUICK, {})


def test_a_link_that_explains_the_few_that_rise_explains() -> None:
    """Most models at chance, as in the usual table of a task: medians are noise."""
    random = np.random.default_rng(1)
    loss = np.linspace(4.0, 2.2, 28)
    accuracy = 0.25 + 0.5 / (1 + np.exp(8 * (loss - 2.3))) + 0.005 * random.standard_normal(28)
    fitted = fit(get_law("ladder"), Table.from_columns({"loss": loss, "accuracy": accuracy}), QUICK)
    assert "explains_little" not in codes(fitted)
    noise = 0.25 + 0.005 * random.standard_normal(28)
    assert "explains_little" in codes(
        fit(get_law("ladder"), Table.from_columns({"loss": loss, "accuracy": noise}), QUICK)
    )


def test_seeds_of_a_score_are_no_other_settings() -> None:
    random = np.random.default_rng(2)
    flops = np.repeat(np.geomspace(1e18, 1e21, 6), 3)
    truth = 0.25 + 0.5 / (1 + (1e20 / flops) ** 0.5)
    seeds = random.binomial(500, truth) / 500
    fitted = fit(get_law("cod"), Table.from_columns({"flops": flops, "accuracy": seeds}), QUICK)
    assert "other_settings" not in codes(fitted)
    swept = truth * np.tile([1.0, 0.6, 0.3], 6)
    assert "other_settings" in codes(
        fit(get_law("cod"), Table.from_columns({"flops": flops, "accuracy": swept}), QUICK)
    )


@pytest.mark.parametrize("name", ["chinchilla", "auto"])
def test_a_score_under_a_law_that_falls_is_said_to_rise(name: str) -> None:
    rows = ladder()
    rows["acc"] = 0.8 - 0.5 * (rows["params"] / rows["params"].min()) ** -0.3
    fitted = fitter(name)(runs(**rows), replace(QUICK, target="acc"), {})
    assert "target_rises" in codes(fitted, "severe")
    assert "target_rises" not in codes(fitter(name)(runs(**ladder()), QUICK, {}))


def test_shares_in_per_cent_are_told() -> None:
    flops = np.geomspace(1e18, 1e21, 12)
    share = 0.25 + 0.5 / (1 + (1e20 / flops) ** 0.5)
    law = get_law("cod")
    assert "units_doubtful" not in codes(
        fit(law, Table.from_columns({"flops": flops, "accuracy": share}), QUICK)
    )
    told = fit(law, Table.from_columns({"flops": flops, "accuracy": 100 * share}), QUICK)
    assert "units_doubtful" in codes(told, "severe")


def test_runs_that_differ_in_what_the_law_reads_are_no_copies() -> None:
    images = np.array([500, 1000, 2000, 4000, 8000, 16000, 32000, 64000], dtype=float)
    error = np.round(0.08 + 4 * images**-0.6, 2)
    rows = Table.from_columns({"error": error, "images": [str(int(value)) for value in images]})
    options = replace(QUICK, x="images", target="error")
    assert "duplicate_runs" not in codes(fit(get_law("power_offset"), rows, options))
    twice = rows.take(np.repeat(np.arange(8), 2))
    copies = replace(twice, owners=tuple(f"r{i}" for i in range(16)))
    assert "duplicate_runs" in codes(fit(get_law("power_offset"), copies, options))


def test_a_prediction_refuses_what_the_law_does_not_read() -> None:
    fitted = fit(LAW, runs(**ladder()), QUICK)
    with pytest.raises(InputError, match="chinchilla reads no unique_tokens"):
        fitted.predict(FAR | {"unique_tokens": 1e9})
    assert fitted.predict(FAR | {"flops": 1e22}).inputs == FAR


def test_splits_keep_a_budget_of_the_compute_that_runs_measure() -> None:
    """A head that no parameter counts: 6 N D (1 + 3e7 / N), up to 7 times 6 N D."""
    params = np.tile(np.geomspace(5e6, 2e8, 7), 4)
    flops = np.repeat(np.geomspace(3e17, 1e19, 4), 7)
    tokens = flops / (6 * params + 1.8e8)
    loss = 1.2 + 70 * params**-0.31 + 290 * tokens**-0.3
    rows = runs(params=params, tokens=tokens, flops=flops, loss=loss)
    for name in ("chinchilla", "auto"):
        fitted = fitter(name)(rows, QUICK, {})
        assert "flops_not_6nd" in codes(fitted, "warning")
        assert fitted.domain["flops"] == pytest.approx((3e17, 1e19))
        split = allocate_fit(fitted, 1e19)
        assert split.params is not None
        assert split.tokens is not None
        assert (6 * split.params + 1.8e8) * split.tokens == pytest.approx(1e19, rel=0.01)
        again = Fit.from_document(fitted.to_document())
        assert again.compute == fitted.compute
    mixed = flops * np.random.default_rng(0).choice([1.0, 3.0, 9.0], 28)
    unclear = fit(LAW, rows.with_columns(flops=mixed), QUICK)
    assert "flops_unclear" in codes(unclear, "severe")
    assert allocate_fit(unclear, 1e19).params is None
    assert not codes(fit(LAW, runs(**ladder()), QUICK)) & {"flops_unclear", "flops_not_6nd"}


def test_a_curve_that_has_reached_its_floor_is_explained() -> None:
    """Most runs stand at the floor, to the last digit: what is left there is rounding."""
    images = np.array([500, 1000, 2000, 4000, 8000, 16000, 32000, 64000], dtype=float)
    error = np.array([0.176, 0.145, 0.127, 0.118, 0.118, 0.118, 0.118, 0.118])
    rows = Table.from_columns({"error": error, "images": images})
    options = replace(QUICK, x="images", target="error")
    assert "explains_little" not in codes(fit(get_law("power_offset"), rows, options))
