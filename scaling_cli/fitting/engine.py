"""Fit a law to observations: starts, solve, resample, diagnose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scaling_cli.columns import COLUMNS, is_positive
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import diagnostics
from scaling_cli.fitting.objective import Objective, get_objective
from scaling_cli.fitting.result import PAPER, PROCEDURES, ROBUST, Fit, with_derived
from scaling_cli.fitting.solver import SAME_OPTIMUM, solve
from scaling_cli.fitting.starts import fit_starts
from scaling_cli.fitting.surface import Surface, on_scale
from scaling_cli.fitting.transforms import DOMAINS
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats
from scaling_cli.spelling import spelled_like
from scaling_cli.table import Mask, Table, duplicates, same_run_twice
from scaling_cli.version import VERSION

DEFAULT_RESAMPLES = 1000
STARTS = 16  # on 60 random ladders, 16 screened starts held the best known optimum every time
HARD_STARTS = 48  # for laws that bend: fewer miss it
MAD = 1.4826  # median absolute deviation -> standard deviation of a normal


@dataclass(frozen=True)
class FitOptions:
    """How to fit. `x` names the column of a one-variable law; `objective` and `target` are the
    law's own unless they are named; `weights` names a column that runs count by. `fixed` pins
    parameters, `bounds` keep them in a range, and `tied` ones are the same in every group; `ranges`
    say where they start. `recipe` is `robust`, or `paper` for what the law's own paper did."""

    objective: str | None = None
    resamples: int = DEFAULT_RESAMPLES
    seed: int = 0
    level: float = 0.90
    x: str | None = None
    target: str | None = None
    weights: str | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    recipe: str = ROBUST
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def fit(
    law: Law,
    observations: Table,
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
) -> Fit:
    """Fit `law` to one group of runs.

    Raises FitError where the runs cannot carry the law: a column is missing, or there are fewer
    runs than parameters.
    """
    options = options or FitOptions()
    design = Design.of(law, observations, options)
    frame = Frame.around(design.law, design.columns, options)
    surface = frame.surface(design)
    if options.recipe == PAPER and design.law.paper and design.law.paper.staged:
        return _staged(design.law.paper.staged, design, frame, surface, options, group)
    surface, solution = fit_starts(surface, starts(surface))
    best = solution.best()
    theta, value = solution.theta[best], float(solution.objective[best])
    if not np.isfinite(value):
        raise design.no_number()
    agreement = float(np.mean(solution.objective <= value * (1 + SAME_OPTIMUM)))
    refits, short = np.empty((0, len(theta))), 0
    if options.resamples > 0:
        weights = resampled(design.rows, options.resamples, np.random.default_rng(options.seed))
        enough = determined(weights, len(theta))
        short = int(np.sum(~enough))
        if enough.any():
            weights = weights[enough]
            found = solve(surface, weights, np.repeat(theta[None], len(weights), axis=0))
            refits = found.theta[found.converged]
    fitted = report(design, frame, surface, theta, refits, options, group, short)
    count, converged = len(solution.objective), bool(solution.converged[best])
    return fitted.with_notes(diagnostics.solution_notes(agreement, count, converged))


def vanished(design: Design, surface: Surface, theta: Floats) -> list[str]:
    """The free parameters that the optimum [free] drove to zero: amplitudes whose terms are gone,
    and exponents whose terms do not fall."""
    law = design.law
    floor = float(np.min(np.abs(design.target))) or float(np.median(np.abs(design.target)))
    values = {name: float(item[0, 0]) for name, item in surface.decode(theta[None]).items()}
    units = {item.name: floor for item in law.parameters if item.linear}
    units |= {name: 1.0 for name in law.exponents if law.parameter(name).transform == "log"}
    free = [name for name in law.parameter_names if name in surface.free and name in units]
    return [name for name in free if values[name] < diagnostics.VANISHED * units[name]]


def _staged(
    procedure: Callable[..., tuple[dict[str, float], str]],
    design: Design,
    frame: Frame,
    surface: Surface,
    options: FitOptions,
    group: Mapping[str, Any] | None,
) -> Fit:
    """The fit by a paper's procedure of several stages; it has no resamples."""
    if options.fixed or options.bounds or options.weights:
        raise InputError(
            f"the paper's procedure for {design.law.id} fixes no parameter, bounds none, and weighs"
            " no run",
            "Leave --fix, --bound and --weights out.",
        )
    values, done = procedure(design.columns, design.target, frame.constants)
    theta = surface.encode(design.law.to_scaled(values, frame.scales))[0]
    alone = replace(options, resamples=0)
    fitted = report(design, frame, surface, theta, np.empty((0, len(theta))), alone, group)
    return fitted.with_notes([Note("staged_procedure", "info", done)])


def _objective(law: Law, options: FitOptions) -> Objective:
    """What is minimised: as the user says, else the law's own or its paper's."""
    if options.recipe not in PROCEDURES:
        raise InputError(
            f"there is no recipe '{options.recipe}'", f"Choose one of {', '.join(PROCEDURES)}."
        )
    if options.recipe == ROBUST:
        return get_objective(options.objective or law.objective)
    if law.paper is None:
        raise InputError(
            f"how the paper of law {law.id} fitted it is not recorded",
            f"Use --recipe {ROBUST}, or name an --objective.",
        )
    if options.objective:
        raise InputError(
            f"--recipe paper minimises {law.paper.objective}", "Leave --objective out."
        )
    return get_objective(law.paper.objective)


def starts(surface: Surface) -> int:
    """How many starting points the surface is worth."""
    return HARD_STARTS if len(surface.free) > 6 else STARTS


@dataclass(frozen=True)
class Design:
    """What a law is fitted to: `columns` by the law's own names, `target` and `trials`, [rows].

    `weights` [rows], of mean one, say how much a row counts; None where all count the same.
    `names` maps the law's variables, `target` and `trials` to the columns of the observations.
    """

    law: Law
    rows: Table
    names: Mapping[str, str]
    columns: Mapping[str, Floats]
    target: Floats
    trials: Floats | None
    weights: Floats | None
    objective: Objective
    notes: tuple[Note, ...]

    @classmethod
    def of(cls, law: Law, observations: Table, options: FitOptions) -> Design:
        law, notes_of_law = _among(law, observations, options)
        law = _ranged(law, options.ranges)
        _check_fixed(law, options.fixed)
        names = _column_names(law, options) | {"target": options.target or law.target}
        if law.trials:
            names["trials"] = law.trials
        objective = _objective(law, options)
        needed = names | ({"weights": options.weights} if options.weights else {})
        free = len(law.parameters) - len(options.fixed)
        rows, notes = usable(law, observations, needed, objective.log, free)
        columns, target = read(rows, names)
        weights = None
        if options.weights:
            weights = of_mean_one(rows.numbers(options.weights))
            notes.append(Note("weighted", "info", f"Runs count by the column {options.weights}."))
        trials = rows.numbers(names["trials"]) if law.trials else None
        if objective.binomial and trials is None:
            raise InputError(
                f"objective {objective.name} needs the tries behind a rate, which law {law.id} does"
                " not read",
                "Use it with passuntil, or choose --objective squared.",
            )
        notes += diagnostics.design_notes(law, columns, effective_runs(rows, weights), free)
        notes += diagnostics.settings_notes(columns, target)
        _refuse_turn(law, names, columns, target)
        notes = [*notes_of_law, *notes]
        return cls(law, rows, names, columns, target, trials, weights, objective, tuple(notes))

    def no_number(self) -> FitError:
        return FitError(f"{self.law.id} gives no finite prediction on these {len(self.rows)} runs")


def _refuse_turn(
    law: Law, names: Mapping[str, str], columns: Mapping[str, Floats], target: Floats
) -> None:
    """A monotone curve through runs that turn around is wrong at both ends (arXiv:2306.09479)."""
    if len(law.variables) > 1 or not law.monotone:
        return
    (variable,) = law.variables
    place = diagnostics.turn(columns[variable], target)
    if place is None:
        return
    column = names[variable]
    raise FitError(
        f"{names['target']} turns around near {column} {place:.3g}, and law {law.id} is monotone",
        f"Fit one side, for instance --where '{column} > {place:.3g}', or a law that can bend back:"
        " --law bnsl.",
    )


@dataclass(frozen=True)
class Frame:
    """What the solver's coordinates are measured by: scales of columns, and constants on these."""

    law: Law
    scales: Mapping[str, float]
    constants: Mapping[str, float]
    fixed: Mapping[str, float]
    bounds: Mapping[str, tuple[float, float]]

    @classmethod
    def around(cls, law: Law, columns: Mapping[str, Floats], options: FitOptions) -> Frame:
        scales, _, constants = on_scale(law, columns)
        fixed = _fixed_on_scale(law, options.fixed, scales)
        return cls(law, scales, constants, fixed, _bounds(law, options))

    def surface(self, design: Design) -> Surface:
        scaled = {
            name: values / self.scales.get(name, 1.0) for name, values in design.columns.items()
        }
        constants = {**self.constants, **self.fixed}
        surface = Surface(
            self.law,
            scaled,
            design.target,
            design.objective,
            constants,
            design.trials,
            design.weights,
            self.bounds,
        )
        reach = surface.decode(np.stack(surface.limits))
        for name, (low, high) in self.bounds.items():
            if np.max(reach[name]) < low or np.min(reach[name]) > high:
                raise InputError(
                    f"--bound {name}={low:g}:{high:g} lies beyond what a fit can reach",
                    "Give a range that the data could ask for.",
                )
        return surface

    def raw(self, surface: Surface, points: Floats) -> Floats:
        """Coordinates [batch, free] -> base-unit parameters [batch, parameters]."""
        with np.errstate(over="ignore"):  # a resample's exponent may have run away
            values = self.law.to_raw(surface.decode(points), self.scales)
        columns = [values[name] for name in self.law.parameter_names]
        return np.concatenate([np.broadcast_to(c, (len(points), 1)) for c in columns], axis=1)


def report(
    design: Design,
    frame: Frame,
    surface: Surface,
    theta: Floats,
    refits: Floats,
    options: FitOptions,
    group: Mapping[str, Any] | None,
    short: int = 0,
) -> Fit:
    """The fit at `theta` [free], with its resamples' refits [resamples, free] and what to doubt.

    `short` resamples were not fitted, for they hold fewer distinct rows than free parameters.
    """
    law, target, log = design.law, design.target, design.objective.log
    values = dict(
        zip(law.parameter_names, frame.raw(surface, theta[None])[0].tolist(), strict=True)
    )
    with np.errstate(all="ignore"):
        residuals = surface.residuals(theta[None])[0]
    if not np.isfinite(residuals).all():
        raise design.no_number()
    prediction = law.predict(**values, **frame.constants, **design.columns)
    missed = np.log(target) - np.log(prediction) if log else target - prediction
    freedom = max(1, len(target) - len(surface.free))
    noise = MAD * float(np.median(np.abs(missed))) * float(np.sqrt(len(target) / freedom))
    draws = frame.raw(surface, refits)
    draws = draws[np.isfinite(draws).all(axis=1)]
    n_runs = design.rows.n_runs
    relative = np.expm1(missed) if log else missed / prediction
    notes = [
        *design.notes,
        *diagnostics.outlier_notes(missed, noise, relative, design.rows.run_ids),
    ]
    notes += diagnostics.explained_notes(
        np.log(target) if log else target, missed, design.weights, design.names["target"]
    )
    notes += diagnostics.group_notes(relative, design.rows.logged_groups())
    if n_runs == 1:
        notes += diagnostics.one_run_notes(len(target))
    else:
        notes += diagnostics.resample_notes(len(draws), options.resamples, short)
    if n_runs == 1 or len(draws) < diagnostics.LEAST_FOUND * options.resamples:
        draws = draws[:0]
    gone = vanished(design, surface, theta)
    notes += diagnostics.vanished_notes(gone)
    at_limit = np.stack(surface.limits) - theta
    at_limit = np.abs(at_limit) <= diagnostics.AT_BOUND * np.minimum(1.0, np.ptp(at_limit, axis=0))
    held = {name for name, hit in zip(surface.free, at_limit.any(axis=0), strict=True) if hit}
    notes += diagnostics.bound_notes(
        {name: values[name] for name in options.bounds if name in held and name not in gone},
        options.bounds,
    )
    if options.fixed:
        pinned = ", ".join(f"{name} = {value:g}" for name, value in options.fixed.items())
        notes.append(Note("fixed", "info", f"Not fitted: {pinned}."))
    result = Fit(
        law_id=law.id,
        group=dict(group or {}),
        n_observations=len(design.rows),
        n_runs=n_runs,
        recipe=options.recipe,
        objective=design.objective.name,
        objective_value=float(np.sum(surface.weighted(surface.objective.rho(residuals)))),
        values=values,
        constants=frame.constants,
        draws=draws,
        level=options.level,
        noise=noise,
        metrics=metrics(target, prediction),
        domain=domain(design.columns),
        columns=design.names,
        seed=options.seed,
        data_digest=design.rows.digest(),
        version=VERSION,
        notes=tuple(notes),
    )
    if not len(draws):
        return result
    low, high = result.interval(draws)
    return result.with_notes(diagnostics.interval_notes(law, low, high))


def score_holdout(fitted: Fit, held_out: Table) -> Fit:
    """The same fit with its errors on runs that it has not seen: mape, signed bias, coverage."""
    names = {**fitted.columns, "target": fitted.target}
    rows, _ = usable(fitted.law, held_out, names, (fitted.then or fitted).log, least=1)
    columns, target = read(rows, names)
    prediction = fitted.curve(columns)
    error = (prediction - target) / np.where(target == 0, np.nan, target)
    band = fitted.band(columns)
    table = []
    for i, run_id in enumerate(rows.run_ids):
        entry: dict[str, Any] = {
            "run_id": run_id,
            **{name: float(columns[name][i]) for name in columns},
            "observed": float(target[i]),
            "predicted": float(prediction[i]),
            "low": float(band[0][i]) if band else None,
            "high": float(band[1][i]) if band else None,
            "error": float(error[i]),
        }
        table.append(entry)
    inside = np.mean((band[0] <= target) & (target <= band[1])) if band else np.nan
    summary = {
        "n": len(rows),
        "mape": float(np.nanmean(np.abs(error))),
        "bias": float(np.nanmean(error)),
        "coverage": float(inside) if band else None,
    }
    return fitted.with_holdout(summary, table)


def metrics(target: Floats, prediction: Floats) -> dict[str, float]:
    """r2, rmse and mean absolute relative error over rows."""
    error = target - prediction
    spread = float(np.sum((target - np.mean(target)) ** 2))
    return {
        "r2": 1 - float(np.sum(error**2)) / spread if spread > 0 else float("nan"),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mape": float(np.mean(np.abs(error / target))) if np.all(target) else float("nan"),
    }


def check_names(law: Law, names: Iterable[str]) -> None:
    """InputError unless the law has all these parameters."""
    for name in names:
        if name not in law.parameter_names:
            raise InputError(
                f"law {law.name} has no parameter {name}",
                f"It has {', '.join(law.parameter_names)}.",
            )


def _bounds(law: Law, options: FitOptions) -> Mapping[str, tuple[float, float]]:
    """The bounds on parameters, checked."""
    check_names(law, options.bounds)
    for name in options.bounds:
        if name in options.fixed:
            raise InputError(f"{name} is fixed and bounded", f"Leave --fix or --bound {name} out.")
        if law.parameter(name).centre:
            raise InputError(
                f"{name} is an amplitude, whose unit depends on its exponent",
                f"Leave --bound {name} out, or pin it by --fix.",
            )
        low, high = options.bounds[name]
        least, most = DOMAINS[law.parameter(name).transform]
        if high <= least or low >= most:
            raise InputError(
                f"law {law.name} keeps {name} {_domain_text(least, most)}, and --bound"
                f" {name}={low:g}:{high:g} leaves nothing of that",
                f"Bound it there, or let it go elsewhere: --range {name}={low:g}:{high:g}.",
            )
    return options.bounds


def _check_fixed(law: Law, fixed: Mapping[str, float]) -> None:
    check_names(law, fixed)
    if set(law.parameter_names) <= set(fixed):
        raise InputError(
            f"every parameter of law {law.name} is fixed, and nothing is left to fit",
            "Leave one --fix out.",
        )


def _domain_text(least: float, most: float) -> str:
    if np.isfinite(least) and np.isfinite(most):
        return f"between {least:g} and {most:g}"
    return f"above {least:g}" if np.isfinite(least) else f"below {most:g}"


def _ranged(law: Law, ranges: Mapping[str, tuple[float, float]]) -> Law:
    check_names(law, ranges)
    for name in ranges:
        if law.parameter(name).centre:
            raise InputError(
                f"{name} is an amplitude, whose start is found on scaled columns",
                f"Leave --range {name} out, or pin it by --fix.",
            )
    return law.starting(ranges)


def _among(law: Law, observations: Table, options: FitOptions) -> tuple[Law, list[Note]]:
    """A law over a family of columns, on those that the observations have; a formula on all names
    that the observations have numbers of, but for those that the options treat as parameters."""
    if law.family == "formula":
        return _formula_among(law, observations, options)
    if law.over and not any(name.startswith(law.over) for name in observations.columns):
        raise FitError(
            f"law {law.id} reads the columns {law.over}*, and no run has one",
            f'Name them in the mapping: [columns] "{law.over}web" = "...", and ingest again.',
        )
    return law.among(observations.columns), []


def _formula_among(law: Law, rows: Table, options: FitOptions) -> tuple[Law, list[Note]]:
    given = {*options.fixed, *options.bounds, *options.ranges, *options.tied}
    labels = rows.labels.known()
    read = [
        name
        for name in law.parameter_names
        if name not in rows.columns and name not in given and rows.has(name)
        # E, A or b may well end the key of some setting, and are nearly always parameters
        if len(name) > 2 or name in labels
    ]
    notes = [
        Note.of("formula_reads", f"{name} is not a column, and is read from the runs' {name}.")
        for name in read
    ]
    among = law.among([*rows.columns, *read])
    known = [*COLUMNS, *rows.columns, *labels]
    for name in among.parameter_names:
        near = [] if name in given or len(name) < 4 else spelled_like(name, known)
        if near:
            message = f"{name} is fitted as a free parameter; did you mean {near[0]}?"
            notes.append(Note.of("formula_name_near", message))
    return among, notes


def read(rows: Table, names: Mapping[str, str]) -> tuple[dict[str, Floats], Floats]:
    """The law's variables and its target, each [rows]."""
    found = {name: rows.numbers(column) for name, column in names.items()}
    target = found.pop("target")
    found.pop("trials", None)
    return found, target


def _column_names(law: Law, options: FitOptions) -> dict[str, str]:
    """The law's variables -> the observations' columns."""
    if "x" not in law.variables:
        return {name: name for name in law.variables}
    if options.x is None:
        raise InputError(
            f"law {law.id} reads one column, and none was named",
            "Say which, for instance --x flops or --x tokens.",
        )
    return {"x": options.x}


def usable(
    law: Law,
    observations: Table,
    names: Mapping[str, str],
    positive_target: bool,
    least: int | None = None,
) -> tuple[Table, list[Note]]:
    """The rows that have every column that the law needs: `names` maps its variables, and
    `target`, to columns. Counts are positive, a target where its log is taken."""
    mask = np.ones(len(observations), dtype=bool)
    if positive_target:
        _refuse_negative(observations, names.get("target", "loss"))
    for name, column in names.items():
        values = observations.numbers(column)
        if np.isnan(values).all() and law.family == "training curve":
            raise FitError(
                f"law {law.id} reads the learning rate of every step, not a run's final point",
                "Ask `scalefit curve --run RUN`.",
            )
        if np.isnan(values).all():
            raise FitError(
                f"law {law.id} needs the column {column}, which none of the"
                f" {len(observations)} runs has",
                f'Say in the mapping where it is: [columns] {column} = "...", and ingest again.',
            )
        mask &= np.isfinite(values)
        if name == "weights" or (name != "target" and is_positive(column)):
            mask &= values > 0
    notes = [note for note in observations.notes if note.code == "ambiguous_name"]
    notes += observations.remarks(names.values())
    dropped = int(np.sum(~mask))
    wanted = ", ".join(dict.fromkeys(names.values()))
    if dropped:
        ids = [name for name, keep in zip(observations.run_ids, mask, strict=True) if not keep]
        notes.append(
            Note(
                "rows_dropped",
                "warning",
                f"{dropped} of {len(observations)} runs lack a positive {wanted}: "
                + ", ".join(ids[:5])
                + (" ..." if dropped > 5 else "")
                + ".",
            )
        )
    rows = observations.select(mask)
    needed = len(law.parameters) if least is None else least
    if len(rows) < needed:
        lacking = f" ({dropped} lack a positive {wanted})" if dropped else ""
        raise FitError(
            f"law {law.id} needs {counted(needed, 'usable run')} and there are"
            f" {len(rows)}{lacking}",
            "Add runs, widen --where, or choose a law with fewer parameters.",
        )
    notes += diagnostics.repeated_notes(law, rows.columns)
    return rows, [*notes, *(same_run_twice(rows) or duplicates(rows))]


def _refuse_negative(observations: Table, target: str) -> None:
    """To leave out the runs whose target has no log would choose runs by what they reached."""
    values = observations.numbers(target)
    below = np.flatnonzero(values <= 0)
    if len(below):
        ids = ", ".join(observations.run_ids[row] for row in below[:5])
        raise FitError(
            f"{target} is not above zero in {len(below)} of {counted(len(observations), 'run')}"
            f" ({ids}{' ...' if len(below) > 5 else ''}), and residuals are logs",
            f"If it stands for a value that is missing, --where '{target} > 0'; else fit a law"
            " without logs: --law NAME --objective squared.",
        )


def _fixed_on_scale(
    law: Law, fixed: Mapping[str, float], scales: Mapping[str, float]
) -> dict[str, float]:
    result = {}
    for name in fixed:
        parameter = law.parameter(name)
        try:
            scaled = parameter.to_raw(fixed, {c: 1 / s for c, s in scales.items()})
        except KeyError as missing:
            (lacking,) = missing.args
            raise InputError(
                f"{name} can only be fixed together with {lacking}",
                f"Add --fix {lacking}=VALUE.",
            ) from None
        result[name] = float(scaled)
    return result


def resampled(rows: Table, count: int, random: np.random.Generator) -> Floats:
    """How often each row is drawn [count, rows] when whole runs are drawn anew.

    The rows of one run are not independent.
    """
    runs = rows.n_runs
    counts = random.multinomial(runs, np.full(runs, 1.0 / runs), size=count)
    drawn: Floats = counts[:, rows.owner_numbers()].astype(float)
    return drawn


def determined(counts: Floats, free: int) -> Mask:
    """Which resamples [count] hold as many distinct rows as parameters: these are fitted exactly,
    and fewer by any of many surfaces. `counts` [count, rows] say how often each row was drawn."""
    enough: Mask = np.count_nonzero(counts, axis=1) >= free
    return enough


def of_mean_one(weights: Floats) -> Floats:
    """The weights [rows] over their mean; those near the largest float do not overflow."""
    scaled: Floats = weights / np.max(weights)
    return scaled / np.mean(scaled)


def effective_runs(rows: Table, weights: Floats | None = None) -> float:
    """How many runs of equal weight would say as much (Kish 1965): points of one run are one."""
    totals = np.bincount(rows.owner_numbers(), weights)
    return float(np.sum(totals) ** 2 / np.sum(totals**2))


def domain(columns: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each column, compute and ratio included."""
    return {name: (float(np.min(v)), float(np.max(v))) for name, v in with_derived(columns).items()}
