"""The commands as functions: of arrays, frames or a project, without a store or a folder.

Numbers may be written as people write them ("7B"). One law and no groups give one fit; several laws
or groups a list. A question about one point gives one answer, about a vector of points a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from scaling_cli import grouped
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.backtest import RESAMPLES, Comparison
from scaling_cli.fitting.problem import DEFAULT_RESAMPLES, FitOptions
from scaling_cli.fitting.result import (
    ROBUST,
    FailedFit,
    Fit,
    Prediction,
)
from scaling_cli.fitting.targets import LANGUAGE
from scaling_cli.frames import columns_of, table_of
from scaling_cli.laws import get_published
from scaling_cli.planning import contrasts
from scaling_cli.planning.beliefs import Runs
from scaling_cli.planning.budget import Constraints
from scaling_cli.planning.contrasts import Crossing, Equivalence, Slope
from scaling_cli.planning.costs import Machine
from scaling_cli.planning.design import (
    DEFAULT_NOISE,
    Designs,
    design_for_fits,
    design_for_published,
    of_one_recipe,
)
from scaling_cli.planning.hyperparameters import advise
from scaling_cli.planning.memo import Memo, memo_of_fit, memo_of_published, scaled
from scaling_cli.planning.points import Grid
from scaling_cli.planning.recipes import SideBySide, side_by_side
from scaling_cli.planning.simulate import REPEATS, Simulation, Truth
from scaling_cli.planning.simulate import simulate as make_runs
from scaling_cli.planning.splits import Allocation, published_for
from scaling_cli.planning.target import splits_by_fits, splits_by_published
from scaling_cli.planning.trials import TRIALS
from scaling_cli.plotting import figure_of
from scaling_cli.project import Project
from scaling_cli.quantities import parse_multiple, parse_positive, parse_quantity
from scaling_cli.records import Run, Series
from scaling_cli.shown import Beside, Results, Shown
from scaling_cli.table import Table
from scaling_cli.training.ask import predict_rest
from scaling_cli.training.assessed import assess
from scaling_cli.training.curve import Curve, curve_of
from scaling_cli.training.forecast import Forecast
from scaling_cli.training.plan import SchedulePlan, plan_schedule
from scaling_cli.workers import Workers

S = TypeVar("S", bound=Shown)
Number = float | str
Vector = list[float] | list[str] | tuple[float, ...] | NDArray[Any]
Names = str | Sequence[str]


class Fits(Results[Fit]):
    """Fits in a list; `failed` are the groups that a law could not be fitted to, and why."""

    failed: tuple[FailedFit, ...] = ()

    def remarks(self) -> list[str]:
        failures = [f"{item.name} {dict(item.group)}: {item.message}" for item in self.failed]
        return [*super().remarks(), *failures]


class FitKeywords(TypedDict, total=False):
    """What `fit` takes besides the law, the data and the groups."""

    where: str | None
    holdout: str | None
    columns: Mapping[str, str] | None
    x: str | None
    y: str | None
    weights: str | None
    objective: str | None
    bootstrap: int
    level: float
    seed: int
    fix: Mapping[str, float] | None
    bounds: Mapping[str, tuple[float, float]] | None
    ranges: Mapping[str, tuple[float, float]] | None
    tie: Names
    procedure: str
    prior: str
    then: str | None
    workers: Workers


@overload
def fit(
    law: str = ..., data: Any = ..., *, by: None = ..., **keywords: Unpack[FitKeywords]
) -> Fit: ...
@overload
def fit(law: str, data: Any, *, by: Names, **keywords: Unpack[FitKeywords]) -> Fits: ...
@overload
def fit(
    law: list[str] | tuple[str, ...],
    data: Any,
    *,
    by: Names | None = ...,
    **keywords: Unpack[FitKeywords],
) -> Fits: ...
def fit(
    law: str | list[str] | tuple[str, ...] = "auto",
    data: Any = None,
    *,
    by: Names | None = None,
    where: str | None = None,
    holdout: str | None = None,
    columns: Mapping[str, str] | None = None,
    x: str | None = None,
    y: str | None = None,
    weights: str | None = None,
    objective: str | None = None,
    bootstrap: int = DEFAULT_RESAMPLES,
    level: float = 0.90,
    seed: int = 0,
    fix: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    tie: Names = (),
    procedure: str = ROBUST,
    prior: str = LANGUAGE,
    then: str | None = None,
    workers: Workers = 1,
) -> Fit | Fits:
    """Fit a law to runs.

    `law` is one of `scalefit laws`, `auto`, or a formula after an equals sign
    ("=E + A/params**a"). `data` are arrays by name, a frame, or a project (see
    `scaling_cli.frames.table_of`); `columns` says what is called otherwise in them. `by` groups
    the runs by columns or texts; `where` keeps those that match and `holdout` scores the fit on
    others. `x` and `y` name the column of a one-variable law and the target, `weights` one that
    runs count by. `fix` pins parameters, `bounds` keep them in a range, `ranges` say where they
    start, and `tie` makes them the same in every group. `procedure` is "robust", or "paper" for
    what the law's own paper did; `prior` "none" lets `auto` know nothing of language models, for
    runs that are none; `then` is a link from the loss to a score. `workers` are so many processes
    or a cluster, by its URL, that groups are spread over; they change no digit.

    Raises FitError where the runs cannot be fitted, InputError where the request is wrong.
    """
    laws = [law] if isinstance(law, str) else list(law)
    options = FitOptions(
        objective=objective,
        resamples=bootstrap,
        seed=seed,
        level=level,
        x=x,
        target=y,
        weights=weights,
        fixed=dict(fix or {}),
        bounds=dict(bounds or {}),
        tied=_names(tie),
        procedure=procedure,
        ranges=dict(ranges or {}),
        prior=prior,
    )
    asked = [f"{name}+{then}" if then else name for name in laws]
    if isinstance(data, Project):
        _no_columns(columns)
        keys = None if by is None else _names(by)
        results = data.fit(asked, keys, where, holdout, options, workers=workers)
        beside = Beside(lambda: data.observations(where))
    else:
        keys = _names(by or ())
        rows = _rows(data, columns, where)
        beside = Beside(rows)
        fitted, unseen = grouped.hold_out(rows, keys, holdout)
        parts = grouped.parts(fitted, unseen, keys)
        chosen = grouped.chosen_procedures(asked)
        results = grouped.fit_parts(chosen, {True: parts, False: parts}, options, workers)
    fits = Fits(item for item in results if isinstance(item, Fit))
    fits.failed = tuple(item for item in results if isinstance(item, FailedFit))
    fits.put_beside(beside)
    return fits[0] if isinstance(law, str) and by is None and len(fits) == 1 else fits


def compare(
    laws: Sequence[str] | None = None,
    data: Any = None,
    *,
    by: Names | None = None,
    where: str | None = None,
    holdout: str | None = None,
    cut: str | None = None,
    x: str | None = None,
    y: str | None = None,
    prior: str = LANGUAGE,
    columns: Mapping[str, str] | None = None,
    workers: Workers = 1,
) -> Results[Comparison]:
    """Rank laws by how well they predict larger runs: each is fitted below a cut of the column
    `cut` and scored above it, and the cut is moved; or once, on the runs that match `holdout`.

    Without `laws`, `auto` and every law whose columns the runs have; without `cut`, the column `x`
    of one-variable laws, else compute. `y` is the target, `prior` and `workers` are as of `fit`.
    One comparison a group.
    """
    options = FitOptions(resamples=RESAMPLES, x=x, target=y, prior=prior)
    if isinstance(data, Project):
        _no_columns(columns)
        keys = None if by is None else _names(by)
        return Results(data.compare(laws, keys, where, holdout, cut, options, workers=workers))
    rows = _rows(data, columns, where)
    return Results(
        grouped.compare_groups(rows, laws, _names(by or ()), holdout, cut, options, workers=workers)
    )


@overload
def predict(  # type: ignore[overload-overlap]  # numbers are told from vectors as it runs
    fit: Fit | str,
    *,
    params: Number | None = ...,
    tokens: Number | None = ...,
    flops: Number | None = ...,
    tokens_per_param: Number | None = ...,
    quantiles: Sequence[float] = ...,
    at: Mapping[str, Number] | None = ...,
    level: float | None = ...,
) -> Prediction: ...
@overload
def predict(
    fit: Fit | str | Sequence[Fit],
    *,
    params: Number | Vector | None = ...,
    tokens: Number | Vector | None = ...,
    flops: Number | Vector | None = ...,
    tokens_per_param: Number | None = ...,
    quantiles: Sequence[float] = ...,
    at: Mapping[str, Number | Vector] | None = ...,
    level: float | None = ...,
) -> Results[Prediction]: ...
def predict(
    fit: Fit | str | Sequence[Fit],
    *,
    params: Number | Vector | None = None,
    tokens: Number | Vector | None = None,
    flops: Number | Vector | None = None,
    tokens_per_param: Number | None = None,
    quantiles: Sequence[float] = (),
    at: Mapping[str, Any] | None = None,
    level: float | None = None,
) -> Prediction | Results[Prediction]:
    """The target of a run, with the interval of one new run at `level`, and further `quantiles` of
    its target by their shares.

    `fit` is a fit, several, or the name of published coefficients ("epoch2024"). With `flops` the
    run is the best split of that compute, or that at `tokens_per_param`; beside `params` they say
    how many tokens. `at` holds what the law reads besides. Vectors are taken point by point, and
    give a list.
    """
    given = {"params": params, "tokens": tokens, "flops": flops, **(at or {})}
    points, alone = _points({name: value for name, value in given.items() if value is not None})
    ratio = _perhaps(tokens_per_param, "tokens_per_param")
    grids = [_grid(point, ratio) for point in points]
    if isinstance(fit, str):
        fits: list[Fit] = []
        law, entry = get_published(fit)
        predictions = [item for grid in grids for item in grid.of_published(law, entry)]
    else:
        fits, one = _fits(fit)
        alone = alone and one
        asked = [(each.at_level(level), grid) for each in fits for grid in grids]
        predictions = [item for each, grid in asked for item in grid.of_fit(each, quantiles)]
    return _answer(predictions, alone, fits)


def _answer(results: Sequence[S], alone: bool, fits: Sequence[Fit]) -> S | Results[S]:
    """What was asked: one result, or a list; beside it the fits and their runs, for its figure."""
    answer = results[0] if alone else Results(results)
    answer.put_beside(Beside(fits[0].beside.data if fits else None, tuple(fits)))
    return answer


def _grid(point: dict[str, float], ratio: float | None) -> Grid:
    """One point as a grid."""
    sizes = {name: [point[name]] for name in ("params", "tokens", "flops") if name in point}
    further = {name: value for name, value in point.items() if name not in sizes}
    return Grid(**sizes, tokens_per_param=ratio, further=further, sequence=None)


@overload
def optimal(  # type: ignore[overload-overlap]
    fit: Fit | str,
    budget: Number | None = ...,
    *,
    target_loss: float | None = ...,
    tokens_per_param: Number | None = ...,
    min_params: Number | None = ...,
    max_params: Number | None = ...,
    max_tokens: Number | None = ...,
    inference_tokens: Number | None = ...,
    served_length: Number | None = ...,
    sequence: Number | None = ...,
    unique_tokens: Number | None = ...,
    at: Mapping[str, Number] | None = ...,
    bounds: Mapping[str, tuple[float, float]] | None = ...,
    level: float | None = ...,
) -> Allocation: ...
@overload
def optimal(
    fit: Fit | str | Sequence[Fit],
    budget: Number | Vector | None = ...,
    *,
    target_loss: float | None = ...,
    tokens_per_param: Number | None = ...,
    min_params: Number | None = ...,
    max_params: Number | None = ...,
    max_tokens: Number | None = ...,
    inference_tokens: Number | None = ...,
    served_length: Number | None = ...,
    sequence: Number | None = ...,
    unique_tokens: Number | None = ...,
    at: Mapping[str, Number] | None = ...,
    bounds: Mapping[str, tuple[float, float]] | None = ...,
    level: float | None = ...,
) -> Results[Allocation]: ...
def optimal(
    fit: Fit | str | Sequence[Fit],
    budget: Number | Vector | None = None,
    *,
    target_loss: float | None = None,
    tokens_per_param: Number | None = None,
    min_params: Number | None = None,
    max_params: Number | None = None,
    max_tokens: Number | None = None,
    inference_tokens: Number | None = None,
    served_length: Number | None = None,
    sequence: Number | None = None,
    unique_tokens: Number | None = None,
    at: Mapping[str, Number] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    level: float | None = None,
) -> Allocation | Results[Allocation]:
    """The split of a budget of FLOPs between parameters and tokens, or with `target_loss` the
    smallest budget that reaches it.

    `fit` is a fit, several, or the name of published coefficients. The others hold the split:
    see `scaling_cli.planning.budget.Constraints`; `at` holds what else the law reads, and
    `bounds` are limits of what it chooses.
    """
    if (budget is None) == (target_loss is None):
        raise InputError("a split is of one budget or of one loss", "Give budget or target_loss.")
    asked = _constraints(
        tokens_per_param,
        min_params,
        max_params,
        max_tokens,
        inference_tokens,
        unique_tokens,
        at,
        bounds,
        sequence,
        served_length,
    )
    points, alone = _points({} if budget is None else {"budget": budget})
    budgets = [point["budget"] for point in points if point]
    if isinstance(fit, str):
        fits: list[Fit] = []
        splits = splits_by_published(fit, budgets, target_loss, asked)
    else:
        fits, one = _fits(fit)
        alone = alone and one
        at_level = [each.at_level(level) for each in fits]
        splits = splits_by_fits(at_level, budgets, target_loss, asked)
    return _answer(splits, alone, fits)


def plan(
    fit: Fit | str,
    budget: Number | None = None,
    *,
    scale: Number | None = None,
    gpu_hours: Number | None = None,
    machine: Machine | None = None,
    tokens_per_param: Number | None = None,
    min_params: Number | None = None,
    max_params: Number | None = None,
    max_tokens: Number | None = None,
    inference_tokens: Number | None = None,
    served_length: Number | None = None,
    sequence: Number | None = None,
    unique_tokens: Number | None = None,
    at: Mapping[str, Number] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    level: float | None = None,
) -> Memo:
    """All that is to be known before a budget is signed for: the split, its record, the weakest
    link and the next run. The budget is in FLOPs, `scale` times the largest fitted run's, or
    `gpu_hours` of a `machine`, which also says what training takes. The others as for `optimal`."""
    if sum(item is not None for item in (budget, scale, gpu_hours)) != 1:
        raise InputError("a plan is of one budget", "Give budget, scale or gpu_hours.")
    if gpu_hours is not None and machine is None:
        raise InputError("hours are of no device", "Give machine.")
    asked = _constraints(
        tokens_per_param,
        min_params,
        max_params,
        max_tokens,
        inference_tokens,
        unique_tokens,
        at,
        bounds,
        sequence,
        served_length,
    )
    flops = _perhaps(budget, "budget")
    if gpu_hours is not None and machine is not None:
        flops = machine.flops(_positive(gpu_hours, "gpu_hours"))
    if isinstance(fit, str):
        if flops is None:
            raise InputError("a paper's coefficients have no largest run", "Give budget.")
        law, entry = published_for(fit, asked)
        return memo_of_published(law, entry, flops, asked).trained_on(machine)
    fitted = fit.at_level(level)
    if flops is None:
        flops = scaled(fitted, parse_multiple(str(scale), "scale"))
    memo = memo_of_fit(fitted, flops, asked).trained_on(machine)
    memo.put_beside(Beside(fit.beside.data, (fit,)))
    return memo


def _constraints(
    tokens_per_param: Number | None,
    min_params: Number | None,
    max_params: Number | None,
    max_tokens: Number | None,
    inference_tokens: Number | None,
    unique_tokens: Number | None,
    at: Mapping[str, Number] | None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    sequence: Number | None = None,
    served_length: Number | None = None,
) -> Constraints:
    further = {name: _number(value, name) for name, value in (at or {}).items()}
    if unique_tokens is not None:
        further["unique_tokens"] = _positive(unique_tokens, "unique_tokens")
    return Constraints(
        min_params=_perhaps(min_params, "min_params"),
        max_params=_perhaps(max_params, "max_params"),
        max_tokens=_perhaps(max_tokens, "max_tokens"),
        tokens_per_param=_perhaps(tokens_per_param, "tokens_per_param"),
        inference_tokens=_perhaps(inference_tokens, "inference_tokens") or 0.0,
        at=further,
        limits=dict(bounds or {}),
        sequence=_perhaps(sequence, "sequence"),
        served_length=_perhaps(served_length, "served_length"),
    )


def crossing(
    first: Fit,
    second: Fit,
    *,
    along: str = "flops",
    tokens_per_param: Number | None = None,
    reach: float = contrasts.REACH,
) -> Crossing:
    """Where the curves of two fits meet along a column, up to `reach` decades past the runs."""
    ratio = _perhaps(tokens_per_param, "tokens_per_param")
    return contrasts.crossing(first, second, along, ratio, reach)


@overload
def equivalent(
    first: Fit, second: Fit, flops: Number, *, tokens_per_param: Number | None = ...
) -> Equivalence: ...
@overload
def equivalent(
    first: Fit, second: Fit, flops: Vector, *, tokens_per_param: Number | None = ...
) -> Results[Equivalence]: ...
def equivalent(
    first: Fit, second: Fit, flops: Number | Vector, *, tokens_per_param: Number | None = None
) -> Equivalence | Results[Equivalence]:
    """How many times the compute `second` needs for the loss that `first` has at `flops`."""
    ratio = _perhaps(tokens_per_param, "tokens_per_param")
    points, alone = _points({"flops": flops})
    equivalences = [contrasts.equivalent(first, second, point["flops"], ratio) for point in points]
    return equivalences[0] if alone else Results(equivalences)


def design(
    fit: Fit | str | Sequence[Fit],
    spend: Number,
    target: Number,
    *,
    noise: float = DEFAULT_NOISE,
    trials: int = TRIALS,
) -> Designs:
    """Which runs to train for `spend` FLOPs, so that most is known of the loss at `target` FLOPs,
    beside an isoFLOP grid and a ladder at one ratio. By a fit, by several laws fitted to the same
    runs, or by laws drawn about a paper's, where a run has a relative `noise`. Each design is tried
    on `trials` simulated experiments."""
    whole = _positive(spend, "spend"), _positive(target, "target")
    if isinstance(fit, str):
        return design_for_published(*get_published(fit), *whole, noise, trials)
    return design_for_fits(of_one_recipe(_fits(fit)[0], None), *whole, trials)


def simulate(
    truth: Fit | str,
    params: Vector,
    tokens: Vector,
    *,
    noise: float | None = None,
    seed: int = 0,
    target: Number | None = None,
    effect: float | None = None,
    repeats: int = REPEATS,
) -> Simulation:
    """The runs of these sizes [n] as a fit or a paper's coefficients would make them, with a
    relative `noise`, the fit's own if none is given. With a `target` in FLOPs, what refits to
    `repeats` of them say of it, and with an `effect` how often losses lower by that share would be
    told."""
    points, _ = _points({"params": params, "tokens": tokens})
    sizes = (np.array([point[name] for point in points]) for name in ("params", "tokens"))
    if isinstance(truth, str):
        chosen = Truth.of(noise, published=truth)
    else:
        chosen = Truth.of(noise, fit=truth)
    aim = _perhaps(target, "target")
    return make_runs(chosen, Runs(*sizes), seed, aim, effect, repeats)


def recipes(
    fits: Sequence[Fit],
    budgets: Number | Vector,
    *,
    baseline: str | None = None,
    tokens_per_param: Number | None = None,
    level: float | None = None,
) -> SideBySide:
    """The recipes of the fits, one each, at budgets of FLOPs: their losses, what each is worth in
    the compute of the `baseline` (the first one), how sure it is which is the best, and where they
    cross."""
    points, _ = _points({"budgets": budgets})
    flops = [point["budgets"] for point in points]
    ratio = _perhaps(tokens_per_param, "tokens_per_param")
    return side_by_side([item.at_level(level) for item in fits], flops, baseline, ratio)


def slope(first: Fit, second: Fit | None = None, *, theory: float | None = None) -> Results[Slope]:
    """The exponents of a fit, against `theory` where that is given; of two fits also their
    ratios."""
    fits = [first] if second is None else [first, second]
    exponents = [item for fitted in fits for item in contrasts.slopes(fitted, theory)]
    return Results(exponents + (contrasts.slope_ratios(*fits) if second is not None else []))


def hparams(
    params: Number,
    tokens: Number,
    *,
    at: Mapping[str, Number] | None = None,
    base: Mapping[str, Number] | None = None,
    published: str | None = None,
    fit: Fit | None = None,
) -> Results[Prediction]:
    """The learning rate, the batch and the weight decay that rules give a run: those of every
    paper, of one (`published`), or of a rule fitted to one's own runs. `params` are without
    embeddings; `at` are other columns of the run (width, experts, a loss to be reached), and `base`
    those of a tuned run whose settings are carried over too."""
    run = {"params": _positive(params, "params"), "tokens": _positive(tokens, "tokens")}
    run |= {name: _positive(value, name) for name, value in (at or {}).items()}
    if fit is not None:
        return Results([fit.predict(run)])
    tuned = {name: _positive(value, name) for name, value in (base or {}).items()}
    return Results(advise(run, tuned, published).values)


def plot(
    answer: Any,
    data: Any = None,
    *,
    fit: Fit | Sequence[Fit] | None = None,
    columns: Mapping[str, str] | None = None,
    axes: Any = None,
) -> Any:
    """Draw an answer on matplotlib `axes`, new ones if none are given, and return them.

    An answer is a fit or several, a split, a plan, a comparison, recipes or a schedule; `data` are
    the runs to show beside it, as `fit` takes them, and of a split or a plan `fit` what it is by.
    """
    from scaling_cli.drawing.plots import on_axes

    if isinstance(data, Project):
        _no_columns(columns)
        rows = data.observations()
    else:
        rows = Table.from_columns({}) if data is None else _rows(data, columns, None)
    figure = figure_of(answer, rows, [] if fit is None else _fits(fit)[0])
    if figure is None:
        raise InputError(
            "there is nothing to draw", "Of a split give the `fit` that it is by, and its `data`."
        )
    return on_axes(figure, axes)


def curve(
    run: Any,
    data: Any = None,
    *,
    where: str | None = None,
    law: str | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    params: float | None = None,
    upto: int | None = None,
    level: float = 0.90,
) -> Forecast:
    """What a run will log: from its own losses, its schedule, and finished runs like it.

    `run` is a stored run (by key, id or name) of the project `data`, and `where` narrows the runs
    to learn from; or it holds the columns step, loss and lr [n], with `total_steps` and `params` as
    numbers where they are known, and `data` are finished runs of that kind. Another `schedule`,
    number of `steps` or `params` asks for the same run otherwise; `upto` as if it had come no
    further. With `law` a curve law fitted to the finished runs answers alone.
    """
    if isinstance(data, Project):
        asked = (where, law, None, schedule, steps, params, upto, level)
        shown, predicted, _ = data.curve(str(run), *asked)
        predicted.put_beside(Beside(shown))
        return predicted
    others = [_curve_of(item, f"run {i}") for i, item in enumerate(data or (), 1)]
    known = assess(law, others) if law else None
    shown, predicted = predict_rest(
        _curve_of(run, "run"),
        others,
        schedule=schedule,
        steps=steps,
        params=params,
        upto=upto,
        level=level,
        known=known,
    )
    predicted.put_beside(Beside(shown))
    return predicted


def schedule(
    steps: int,
    data: Any,
    *,
    run: str | None = None,
    where: str | None = None,
    families: Sequence[str] = ("wsd", "cosine", "linear"),
    law: str = "mpl",
    warmup: int | None = None,
    level: float = 0.90,
    seed: int = 0,
) -> SchedulePlan:
    """The learning-rate schedule of the lowest final loss after `steps`, among `families`, by a
    curve law fitted to finished runs of one size: those of the project `data` that are like `run`
    or match `where`, or runs given as for `curve`."""
    if isinstance(data, Project):
        return data.schedule(steps, run, where, families, law, warmup, level, seed)
    curves = [_curve_of(item, f"run {i}") for i, item in enumerate(data, 1)]
    return plan_schedule(curves, steps, families, law, warmup, level, seed=seed)


def _curve_of(data: Any, name: str) -> Curve:
    """The curve of a run given as columns [n] and numbers."""
    columns = columns_of(data)
    config = {key: values for key, values in columns.items() if np.ndim(values) == 0}
    if "step" not in columns:
        raise InputError(f"{name} has no column step", "Give step, loss and lr, each [n].")
    at = np.asarray(columns["step"]).astype(np.int64)
    series = {
        key: Series(at[kept], array[kept])
        for key, values in columns.items()
        if key not in config and key != "step"
        for array in [np.asarray(values, dtype=np.float64)]
        for kept in [np.isfinite(array)]
    }
    return curve_of(Run(name, str(config.pop("run_id", name)), "", config=config, series=series))


def _rows(data: Any, columns: Mapping[str, str] | None, where: str | None) -> Table:
    if data is None:
        raise InputError("there is nothing to fit", "Give arrays by name, a frame, a project.")
    rows = table_of(data, columns)
    if where is None:
        return rows
    kept = rows.select(rows.matches(where))
    if not len(kept):
        raise FitError(f"none of the {len(rows)} rows matches `{where}`", "Widen where.")
    return kept


def _no_columns(columns: Mapping[str, str] | None) -> None:
    if columns:
        raise InputError("a project has its own mapping", "Name the columns in scalefit.toml.")


def _names(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _fits(fit: Fit | Sequence[Fit]) -> tuple[list[Fit], bool]:
    """The fits, and whether one alone was given."""
    return ([fit], True) if isinstance(fit, Fit) else (list(fit), False)


def _points(given: Mapping[str, Any]) -> tuple[list[dict[str, float]], bool]:
    """Numbers and vectors that belong together -> one set of numbers a point, and whether all were
    numbers."""
    single = {name: _is_number(value) for name, value in given.items()}
    columns = {
        name: [value] if single[name] else np.asarray(value).ravel().tolist()
        for name, value in given.items()
    }
    lengths = {len(column) for name, column in columns.items() if not single[name]}
    if len(lengths) > 1:
        counts = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise InputError(f"the vectors differ in length: {counts}", "Give one value a point.")
    count = lengths.pop() if lengths else 1
    points = [
        {name: _number(column[0 if single[name] else i], name) for name, column in columns.items()}
        for i in range(count)
    ]
    return points, all(single.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, str) or np.ndim(value) == 0


def _number(value: Any, name: str) -> float:
    """A number, or what a text writes for one."""
    return parse_quantity(value, name) if isinstance(value, str) else float(value)


def _positive(value: Any, name: str) -> float:
    if isinstance(value, str):
        return parse_positive(value, name)
    number = float(value)
    if not number > 0:
        raise InputError(f"{name}: {number:g} must be above zero", "Give it in base units, as 7e9.")
    return number


def _perhaps(value: Any, name: str) -> float | None:
    return None if value is None else _positive(value, name)
