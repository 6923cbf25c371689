"""A fit with everything that makes it doubtful, from an optimum and its resamples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling_cli.fitting import diagnostics
from scaling_cli.fitting.objective import MAD
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.result import Fit, with_derived
from scaling_cli.fitting.surface import Surface
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.version import VERSION

FEW = 8  # degrees of freedom below which the fit goes through too many rows for a median


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
    if not (np.isfinite(prediction).all() and np.isfinite(list(values.values())).all()):
        raise design.no_number()
    missed = np.log(target) - np.log(prediction) if log else target - prediction
    noise = noise_of(missed, len(surface.free))
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


def noise_of(missed: Floats, free: int) -> float:
    """The robust standard deviation of residuals [rows] about a fit of `free` parameters. Where few
    degrees of freedom are left their median is that of rows which the fit goes through: then it is
    no less than the root of the mean square."""
    freedom = max(1, len(missed) - free)
    robust = MAD * float(np.median(np.abs(missed))) * float(np.sqrt(len(missed) / freedom))
    if freedom >= FEW:
        return robust
    return max(robust, float(np.sqrt(np.sum(missed**2) / freedom)))


def metrics(target: Floats, prediction: Floats) -> dict[str, float]:
    """r2, rmse and mean absolute relative error over rows; targets of zero have no relative error,
    and targets that are all alike are explained wholly or not at all."""
    error = target - prediction
    spread = float(np.sum((target - np.mean(target)) ** 2))
    left = float(np.sum(error**2))
    some = target != 0
    return {
        "r2": 1 - left / spread if spread > 0 else float(left == 0),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mape": float(np.mean(np.abs(error[some] / target[some]))) if some.any() else 0.0,
    }


def domain(columns: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each column, compute and ratio included."""
    return {name: (float(np.min(v)), float(np.max(v))) for name, v in with_derived(columns).items()}
