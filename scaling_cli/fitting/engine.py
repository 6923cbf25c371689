"""Fit a law to observations: starts, solve, resample, diagnose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling_cli.columns import is_positive
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import diagnostics
from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.result import Fit, with_derived
from scaling_cli.fitting.solver import solve
from scaling_cli.fitting.starts import fit_starts
from scaling_cli.fitting.surface import Surface, on_scale
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.observe import Observations
from scaling_cli.records import Floats
from scaling_cli.version import VERSION

DEFAULT_RESAMPLES = 1000
STARTS = 16  # on 60 random ladders, 16 screened starts held the best known optimum every time
HARD_STARTS = 48  # for laws that bend: fewer miss it
SAME_OPTIMUM = 1e-6  # relative difference of objectives that counts as the same optimum
MAD = 1.4826  # median absolute deviation -> standard deviation of a normal
MAX_FAILED_RESAMPLES = 0.05


@dataclass(frozen=True)
class FitOptions:
    """How to fit. `x` names the column of a one-variable law; `objective` and `target` are the
    law's own unless they are named; `fixed` pins parameters."""

    objective: str | None = None
    resamples: int = DEFAULT_RESAMPLES
    seed: int = 0
    level: float = 0.90
    x: str | None = None
    target: str | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)


def fit(
    law: Law,
    observations: Observations,
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
) -> Fit:
    """Fit `law` to one group of runs.

    Raises FitError where the runs cannot carry the law: a column is missing, or there are fewer
    runs than parameters.
    """
    options = options or FitOptions()
    law = _among(law, observations)
    names = _column_names(law, options) | {"target": options.target or law.target}
    if law.trials:
        names["trials"] = law.trials
    objective = get_objective(options.objective or law.objective)
    rows, notes = usable(law, observations, names, objective.log)
    columns, target = read(rows, names)
    trials = rows.numbers(names["trials"]) if law.trials else None
    if objective.binomial and trials is None:
        raise InputError(
            f"objective {objective.name} needs the tries behind a rate, which law {law.id} does"
            " not read",
            "Use it with passuntil, or choose --objective squared.",
        )
    notes += diagnostics.design_notes(law, columns)

    scales, scaled, constants = on_scale(law, columns)
    fixed = _fixed_on_scale(law, options.fixed, scales)
    surface = Surface(law, scaled, target, objective, constants | fixed, trials)

    count = HARD_STARTS if len(surface.free) > 6 else STARTS
    surface, solution = fit_starts(surface, count)
    best = solution.best()
    theta, value = solution.theta[best], float(solution.objective[best])
    if not np.isfinite(value):
        raise FitError(f"{law.id} gives no finite prediction on these {len(rows)} runs")
    agreement = float(np.mean(solution.objective <= value * (1 + SAME_OPTIMUM)))

    def raw(points: Floats) -> Floats:
        """Coordinates [batch, free] -> base-unit parameters [batch, parameters]."""
        with np.errstate(over="ignore"):  # a resample's exponent may have run away
            values = law.to_raw(surface.decode(points), scales)
        columns = [np.broadcast_to(values[name], (len(points), 1)) for name in law.parameter_names]
        return np.concatenate(columns, axis=1)

    values = dict(zip(law.parameter_names, raw(theta[None])[0].tolist(), strict=True))
    residuals = surface.residuals(theta[None])[0]
    prediction = law.predict(**values, **constants, **columns)
    missed = np.log(target) - np.log(prediction) if objective.log else target - prediction
    freedom = max(1, len(target) - len(surface.free))
    noise = MAD * float(np.median(np.abs(missed))) * float(np.sqrt(len(target) / freedom))
    if not np.isfinite(residuals).all():
        raise FitError(f"{law.id} gives no finite prediction on these {len(rows)} runs")

    draws = raw(_bootstrap(surface, theta, rows, options))
    draws = draws[np.isfinite(draws).all(axis=1)]
    failed = 1 - len(draws) / options.resamples if options.resamples else 0.0
    floor = float(np.min(np.abs(target))) or float(np.median(np.abs(target)))
    decoded = {name: float(item[0, 0]) for name, item in surface.decode(theta[None]).items()}
    shares = {p.name: decoded[p.name] / floor for p in law.parameters if p.linear}
    notes += diagnostics.solution_notes(
        law, shares, agreement, len(solution.objective), bool(solution.converged[best])
    )
    run_ids = [run.run_id for run in rows.runs]
    relative = np.expm1(missed) if objective.log else missed / prediction
    notes += diagnostics.outlier_notes(missed, noise, relative, run_ids)
    if failed > MAX_FAILED_RESAMPLES:
        notes.append(
            Note(
                "resamples_failed",
                "warning",
                f"{failed:.0%} of the resamples did not converge and are left out.",
            )
        )
    result = Fit(
        law_id=law.id,
        group=dict(group or {}),
        n_observations=len(rows),
        n_runs=len({run.run_key for run in rows.runs}),
        objective=objective.name,
        objective_value=value,
        values=values,
        constants=constants,
        draws=draws,
        level=options.level,
        noise=noise,
        metrics=metrics(target, prediction),
        domain=domain(columns),
        columns=names,
        seed=options.seed,
        data_digest=rows.digest(),
        version=VERSION,
        notes=tuple(notes),
    )
    if not len(draws):
        return result
    low, high = result.interval(draws)
    return result.with_notes(diagnostics.interval_notes(law, low, high))


def score_holdout(fitted: Fit, held_out: Observations) -> Fit:
    """The same fit with its errors on runs that it has not seen: mape, signed bias, coverage."""
    rows, _ = usable(fitted.law, held_out, fitted.columns, fitted.log, least=1)
    columns, target = read(rows, fitted.columns)
    prediction = fitted.curve(columns)
    error = (prediction - target) / np.where(target == 0, np.nan, target)
    band = fitted.band(columns)
    table = []
    for i, run in enumerate(rows.runs):
        entry: dict[str, Any] = {
            "run_id": run.run_id,
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


def _among(law: Law, observations: Observations) -> Law:
    """A law over a family of columns, on those that the observations have."""
    if law.over and not any(name.startswith(law.over) for name in observations.columns):
        raise FitError(
            f"law {law.id} reads the columns {law.over}*, and no run has one",
            f'Name them in the mapping: [columns] "{law.over}web" = "...", and ingest again.',
        )
    return law.among(observations.columns)


def read(rows: Observations, names: Mapping[str, str]) -> tuple[dict[str, Floats], Floats]:
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
    observations: Observations,
    names: Mapping[str, str],
    positive_target: bool,
    least: int | None = None,
) -> tuple[Observations, list[Note]]:
    """The rows that have every column that the law needs: `names` maps its variables, and
    `target`, to columns. Counts are positive, a target where its log is taken."""
    mask = np.ones(len(observations), dtype=bool)
    for name, column in names.items():
        values = observations.numbers(column)
        if np.isnan(values).all():
            raise FitError(
                f"law {law.id} needs the column {column}, which none of the"
                f" {len(observations)} runs has",
                f'Say in the mapping where it is: [columns] {column} = "...", and ingest again.',
            )
        mask &= np.isfinite(values)
        if positive_target if name == "target" else is_positive(column):
            mask &= values > 0
    notes = []
    dropped = int(np.sum(~mask))
    if dropped:
        wanted = ", ".join(dict.fromkeys(names.values()))
        ids = [run.run_id for run, keep in zip(observations.runs, mask, strict=True) if not keep]
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
        raise FitError(
            f"law {law.id} has {len(law.parameters)} parameters and there are {len(rows)} usable"
            " runs",
            "Add runs, widen --where, or choose a law with fewer parameters.",
        )
    return rows, notes


def _fixed_on_scale(
    law: Law, fixed: Mapping[str, float], scales: Mapping[str, float]
) -> dict[str, float]:
    for name in fixed:
        if name not in law.parameter_names:
            raise InputError(
                f"law {law.id} has no parameter {name}",
                f"It has {', '.join(law.parameter_names)}.",
            )
    result = {}
    for parameter in law.parameters:
        if parameter.name not in fixed:
            continue
        value = fixed[parameter.name]
        for column, exponent in parameter.centre.items():
            if isinstance(exponent, str) and exponent not in fixed:
                raise InputError(
                    f"{parameter.name} can only be fixed together with {exponent}",
                    f"Add --fix {exponent}=VALUE.",
                )
            power = fixed[exponent] if isinstance(exponent, str) else exponent
            value /= scales[column] ** power
        result[parameter.name] = value
    return result


def _bootstrap(surface: Surface, theta: Floats, rows: Observations, options: FitOptions) -> Floats:
    """Refits [resamples, free] with runs resampled; those that did not converge are left out.

    Whole runs are drawn: the rows of one run are not independent.
    """
    if options.resamples <= 0:
        return np.empty((0, len(theta)))
    keys = [run.run_key for run in rows.runs]
    index = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    owner = np.array([index[key] for key in keys])
    random = np.random.default_rng(options.seed)
    share = np.full(len(index), 1.0 / len(index))
    counts = random.multinomial(len(index), share, size=options.resamples)
    weights = counts[:, owner].astype(float)
    starts = np.repeat(theta[None], options.resamples, axis=0)
    solution = solve(surface, weights, starts)
    return solution.theta[solution.converged]


def domain(columns: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each column, compute and ratio included."""
    return {name: (float(np.min(v)), float(np.max(v))) for name, v in with_derived(columns).items()}
