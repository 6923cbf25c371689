"""A fit with everything that makes it doubtful, from an optimum and its resamples: the one place
where fits are made, whichever procedure found the optimum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.compute import SIX_ND, Accounting, measure
from scaling_cli.fitting import diagnostics
from scaling_cli.fitting.identified import explored, unknown
from scaling_cli.fitting.objective import MAD
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.result import Fit, with_derived
from scaling_cli.fitting.student import FEW
from scaling_cli.fitting.surface import Surface
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.table import Table
from scaling_cli.version import VERSION

LEAST_COMPUTES = 3  # runs that know their FLOPs, from which these can be told by their size
MISSED_COMPUTE = 0.1  # relative, of the median run; a budget would be overrun by as much
NO_FLOPS = 200.0  # the costs of models over 6 N D lie within this factor; beyond are no FLOPs
HARDLY = 0.01  # of the largest weight: a run below it does not move the fit

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """What is fitted, and how it was asked for.

    `kept` are the rows of the design that count, all without; the others were set aside by
    `procedure`, which says so itself. Where rows are not runs, as the optima of isoFLOP curves are
    not, `of_runs` is false.
    """

    design: Design
    frame: Frame
    options: FitOptions
    group: Mapping[str, Any] = field(default_factory=dict)
    procedure: str = ""
    kept: Index | None = None
    of_runs: bool = True


@dataclass(frozen=True)
class Optimum:
    """Where the procedure ended: `theta` [free] on `surface`, whose rows are those that count.

    `starts` are the share of the starts that end there and their number. `noise` and `value` are
    the procedure's own; the robust scale of the residuals and the objective's sum without.
    `precision` [free] is that of a prior on the coordinates. Parameters were `held` by these
    deviations of their logs where the rows do not know them better.
    """

    surface: Surface
    theta: Floats
    converged: bool = True
    starts: tuple[float, int] | None = None
    noise: float | None = None
    value: float | None = None
    precision: Floats | None = None
    held: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Draws:
    """The refits [resamples, free] that `wanted` resamples gave; `short` of these were not fitted,
    for they hold fewer distinct rows than free parameters, and the others `failed`."""

    refits: Floats
    wanted: int = 0
    short: int = 0
    failed: str = "did not converge"

    @classmethod
    def none(cls, free: int) -> Draws:
        return cls(np.empty((0, free)))


def assemble(problem: Problem, optimum: Optimum, draws: Draws) -> Fit:
    """The fit at the optimum, with the resamples that may speak and all that is to be doubted."""
    design, surface = problem.design, optimum.surface
    law, log = design.law, surface.objective.log
    raw = problem.frame.raw(surface, optimum.theta[None])[0]
    values = dict(zip(law.parameter_names, raw.tolist(), strict=True))
    with np.errstate(all="ignore"):
        residuals = surface.residuals(optimum.theta[None])[0]
        prediction = law.predict(**values, **problem.frame.constants, **design.columns)
        derivatives = surface.residuals_and_jacobian(optimum.theta[None])[1][0]
    if not (np.isfinite(residuals).all() and np.isfinite([*raw, *prediction]).all()):
        raise design.no_number()
    kept = np.arange(len(design.target)) if problem.kept is None else problem.kept
    target, predicted = design.target[kept], prediction[kept]
    missed = np.log(target) - np.log(predicted) if log else target - predicted
    noise = noise_of(missed, len(surface.free)) if optimum.noise is None else optimum.noise
    quality = metrics(target, predicted, surface.weights)
    if not np.isfinite([noise, *quality.values()]).all():
        raise design.no_number()
    drawn = problem.frame.raw(surface, draws.refits)
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    compute, compute_notes = compute_of(design.rows)
    notes = [
        *design.notes,
        *compute_notes,
        *_residual_notes(problem, kept, missed, noise, predicted, surface.weights),
        *_draw_notes(problem, drawn, draws),
        *_value_notes(problem, optimum, values, derivatives),
    ]
    unsure = unknown(surface, derivatives, noise, optimum.precision, optimum.held)
    if design.rows.n_runs == 1 or len(drawn) < diagnostics.LEAST_FOUND * draws.wanted:
        drawn = drawn[:0]
    weighted = surface.weighted(surface.objective.rho(residuals))
    result = Fit(
        law_id=law.id,
        group=dict(problem.group),
        n_observations=len(design.rows),
        n_runs=design.rows.n_runs,
        procedure=problem.procedure or problem.options.procedure,
        objective=surface.objective.name,
        objective_value=float(np.sum(weighted)) if optimum.value is None else optimum.value,
        values=values,
        constants=problem.frame.constants,
        draws=drawn,
        level=problem.options.level,
        noise=noise,
        metrics=quality,
        domain=domain({name: column[kept] for name, column in design.columns.items()}, compute),
        compute=compute,
        columns=design.names,
        seed=problem.options.seed,
        data_digest=design.rows.digest(),
        version=VERSION,
        notes=(*notes, *diagnostics.unknown_notes(unsure)),
        unknown=unsure,
        explored=explored(
            law, {n: column[kept] for n, column in design.columns.items()}, notes, unsure
        ),
    )
    if len(drawn):
        ends = result.interval(drawn)
        result = result.with_notes(diagnostics.interval_notes(law, *ends, unsure))
    return result


def _residual_notes(
    problem: Problem,
    kept: Index,
    missed: Floats,
    noise: float,
    predicted: Floats,
    weights: Floats | None,
) -> list[Note]:
    """What the residuals [kept] of the rows that count, by these `weights`, say against the fit."""
    design = problem.design
    log = design.objective.log
    target = design.target[kept]
    relative = np.expm1(missed) if log else missed / predicted
    notes = []
    if problem.of_runs and problem.kept is None:
        notes += diagnostics.outlier_notes(missed, noise, relative, design.rows.run_ids)
    told = np.log(target) if log else target
    little = [
        diagnostics.explained_notes(told, missed, counted, design.names["target"])
        for counted in (design.weights, weights)
    ]
    # What a procedure hardly counts may lie far off, and where it counts most targets are alike.
    notes += little[0] if all(little) else []
    if problem.of_runs:
        groups = design.rows.logged_groups()
        notes += diagnostics.group_notes(relative, [groups[row] for row in kept])
    return notes


def _draw_notes(problem: Problem, drawn: Floats, draws: Draws) -> list[Note]:
    """What the resamples lack."""
    design = problem.design
    if design.rows.n_runs == 1:
        return diagnostics.one_run_notes(len(design.rows))
    return diagnostics.resample_notes(len(drawn), draws.wanted, draws.short, draws.failed)


def _value_notes(
    problem: Problem, optimum: Optimum, values: Mapping[str, float], derivatives: Floats
) -> list[Note]:
    """How the optimum was found, and which parameters ended at an end."""
    surface, options = optimum.surface, problem.options
    gone = vanished(problem.design, surface, optimum.theta, derivatives)
    notes = diagnostics.vanished_notes(gone)
    at_limit = np.stack(surface.limits) - optimum.theta
    at_limit = np.abs(at_limit) <= diagnostics.AT_BOUND * np.minimum(1.0, np.ptp(at_limit, axis=0))
    held = {name for name, hit in zip(surface.free, at_limit.any(axis=0), strict=True) if hit}
    notes += diagnostics.bound_notes(
        {name: values[name] for name in options.bounds if name in held and name not in gone},
        options.bounds,
    )
    notes += diagnostics.level_notes(problem.design.law, surface.free, surface.target, values)
    if options.fixed:
        pinned = ", ".join(f"{name} = {value:g}" for name, value in options.fixed.items())
        notes.append(Note.of("fixed", f"Not fitted: {pinned}."))
    share, count = optimum.starts or (1.0, 1)
    return [*notes, *diagnostics.solution_notes(share, count, optimum.converged)]


def vanished(design: Design, surface: Surface, theta: Floats, derivatives: Floats) -> list[str]:
    """The free parameters that the optimum [free] drove to zero: amplitudes whose terms are gone,
    and exponents whose terms do not fall. `derivatives` [free, rows] are the residuals'."""
    law = design.law
    floor = float(np.min(np.abs(design.target))) or float(np.median(np.abs(design.target)))
    values = {name: float(item[0, 0]) for name, item in surface.decode(theta[None]).items()}
    units = {item.name: floor for item in law.parameters if item.linear and item.transform == "log"}
    units |= {name: 1.0 for name in law.exponents if law.parameter(name).transform == "log"}
    # An amplitude inside a power has no unit of the target: what its term moves speaks for it.
    inside = {*law.amplitudes} if law.form and law.form.power else set()
    moved = dict(zip(surface.free, np.max(np.abs(derivatives), axis=1), strict=True))
    return [
        name
        for name in law.parameter_names
        if name in moved
        and (
            (name in units and values[name] < diagnostics.VANISHED * units[name])
            or (name in inside and moved[name] < diagnostics.VANISHED)
        )
    ]


def noise_of(missed: Floats, free: int) -> float:
    """The robust standard deviation of residuals [rows] about a fit of `free` parameters. Where few
    degrees of freedom are left their median is that of rows which the fit goes through: then it is
    no less than the root of the mean square."""
    freedom = max(1, len(missed) - free)
    robust = MAD * float(np.median(np.abs(missed))) * float(np.sqrt(len(missed) / freedom))
    if freedom >= FEW:
        return robust
    return max(robust, float(np.sqrt(np.sum(missed**2) / freedom)))


def metrics(target: Floats, prediction: Floats, weights: Floats | None = None) -> dict[str, float]:
    """r2, rmse and mean absolute relative error over rows, as the fit weighs them; where it does,
    also how many of them hardly count. Targets of zero have no relative error, and targets that are
    all alike are explained wholly or not at all."""
    shares = np.ones(len(target)) if weights is None else weights
    shares = shares / np.sum(shares)
    unit = float(np.max(np.abs(target))) or 1.0  # squares of huge targets would overflow
    scaled, error = target / unit, (target - prediction) / unit
    spread = float(shares @ (scaled - shares @ scaled) ** 2)
    square = float(shares @ error**2)
    there = target != 0
    relative = np.abs(error[there] / scaled[there])
    scores = {
        "r2": 1 - square / spread if spread > 0 else float(square == 0),
        "rmse": unit * float(np.sqrt(square)),
        "mape": float(shares[there] @ relative / np.sum(shares[there])) if there.any() else 0.0,
    }
    if weights is not None:
        scores["hardly_count"] = float(np.sum(weights < HARDLY * np.max(weights)))
    return scores


def compute_of(rows: Table) -> tuple[Accounting, list[Note]]:
    """How these runs count their compute, and what is to be said of it."""
    columns = [rows.columns.get(name) for name in ("params", "tokens", "flops")]
    known = [column for column in columns if column is not None]
    if len(known) < 3:
        return SIX_ND, []
    there = np.all([np.isfinite(column) & (column > 0) for column in known], axis=0)
    if np.sum(there) < LEAST_COMPUTES:
        return SIX_ND, []
    params, tokens, flops = (column[there] for column in known)
    compute, missed = measure(params, tokens, flops)
    if compute == SIX_ND:
        return compute, []
    times = flops / SIX_ND.flops(params, tokens)
    said = (
        f"flops is {np.min(times):.3g} to {np.max(times):.3g} times 6 params tokens in these runs"
    )
    if missed <= MISSED_COMPUTE:
        message = f"{said}: budgets and distances are counted in {compute}."
        return compute, [Note.of("flops_not_6nd", message)]
    if np.ptp(np.log(np.quantile(times, [0.05, 0.95]))) > np.log(NO_FLOPS):
        message = f"{said}, which no training costs: budgets are counted in 6 params tokens."
        return SIX_ND, [Note.of("flops_not_6nd", message)]
    message = (
        f"{said}, and does not follow from params and tokens (a sum of powers of params misses"
        f" half of them by {missed:.0%} or more): no split of a budget can be recommended. If"
        " models differ in experts or shape, fit them apart, or map params to the active ones."
    )
    return SIX_ND, [Note.of("flops_unclear", message)]


def domain(
    columns: Mapping[str, Floats], compute: Accounting = SIX_ND
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each column, compute and ratio included."""
    derived = with_derived(columns, compute)
    known = {name: values for name, values in derived.items() if np.isfinite(values).all()}
    return {name: (float(np.min(v)), float(np.max(v))) for name, v in known.items()}
