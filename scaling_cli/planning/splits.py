"""Compute-optimal splits of a budget between parameters and tokens, at flops = 6 params tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit, spread
from scaling_cli.laws import Law, Published
from scaling_cli.notes import Note
from scaling_cli.records import Floats

FLOPS_PER_PARAM_TOKEN = 6.0
GRID_POINTS = 400  # in ln params; refined by a parabola through the lowest three points
LEAST_RATIO, LARGEST_RATIO = 1e-2, 1e6  # tokens per param between which an optimum is sought
EDGE_SHARE = 0.05  # resamples without an optimum that make the interval doubtful
DESIGN_CODES = {"collinear_design", "units_doubtful"}  # fits that cannot recommend a split at all
# Per unit of a fit's drift, what the log of its best params gains with the distance: 0.1 by `auto`.
# On public ladders cut 0.5 to 2 decades below their top, the lowest points of the isoFLOP curves
# above lay .11, .16, .29 and .43 in ln params from the split foreseen (benchmarks/splits.py).
PARAMS_DRIFT = 12.5


@dataclass(frozen=True)
class Allocation:
    """The split of one budget. Bounds are None without resamples; all is None where none exists.

    `cost_of_double` and `cost_of_half` are the relative rise of the loss if twice or half the
    parameters are trained on the same budget: how flat the optimum is.
    `decades_beyond` counts the decades of compute past the largest fitted run.

    The bounds hold the central `level`: of the optimum over the resamples for params and tokens,
    wider with the distance where the fit's loss is, and of a new run at this split for the loss, as
    for any prediction.
    """

    law_id: str
    group: Mapping[str, Any]
    fit_id: str | None
    budget_flops: float
    params: float | None = None
    tokens: float | None = None
    loss: float | None = None
    params_range: tuple[float, float] | None = None
    tokens_range: tuple[float, float] | None = None
    loss_range: tuple[float, float] | None = None
    cost_of_double: float | None = None
    cost_of_half: float | None = None
    decades_beyond: float | None = None
    level: float | None = None
    notes: tuple[Note, ...] = ()

    @property
    def tokens_per_param(self) -> float | None:
        return self.tokens / self.params if self.params and self.tokens else None

    def to_json(self) -> dict[str, Any]:
        def bounds(name: str, pair: tuple[float, float] | None) -> dict[str, float | None]:
            low, high = pair if pair else (None, None)
            return {f"{name}_low": low, f"{name}_high": high}

        return {
            "fit_id": self.fit_id,
            "law": self.law_id,
            "group": dict(self.group),
            "budget_flops": self.budget_flops,
            "params": self.params,
            **bounds("params", self.params_range),
            "tokens": self.tokens,
            **bounds("tokens", self.tokens_range),
            "tokens_per_param": self.tokens_per_param,
            "loss": self.loss,
            **bounds("loss", self.loss_range),
            "cost_of_double_params": self.cost_of_double,
            "cost_of_half_params": self.cost_of_half,
            "decades_beyond": self.decades_beyond,
            "level": self.level,
            "warnings": [note.to_json() for note in self.notes],
        }


def check_law(law: Law) -> None:
    if not law.splits:
        raise InputError(
            f"law {law.id} is no function of params and tokens alone, so it cannot split a budget",
            "Use chinchilla, skaling, farseer or isoflop.",
        )


def allocate_fit(fitted: Fit, budget_flops: float, ratio: float | None = None) -> Allocation:
    """The split of `budget_flops` by a fitted law, with intervals from its resamples.

    `ratio` prescribes tokens per parameter instead of seeking the best.
    """
    check_law(fitted.law)
    blocking = tuple(note for note in fitted.notes if note.code in DESIGN_CODES)
    if blocking and ratio is None:
        none = Allocation(fitted.name, fitted.group, fitted.fit_id, budget_flops)
        return replace(none, notes=blocking)
    values = {**fitted.values, **fitted.constants}
    found = _allocate(fitted.law, values, fitted.group, fitted.fit_id, budget_flops, ratio)
    found = replace(found, law_id=fitted.name)
    if found.params is None or found.tokens is None:
        return found
    point = {"params": found.params, "tokens": found.tokens}
    notes = [*found.notes, *fitted.distance_notes(point)]
    notes += fitted.severe_notes
    found = replace(found, decades_beyond=fitted.decades_beyond(budget_flops))
    if len(fitted.draws):
        found = replace(found, level=fitted.level)
        drawn = fitted.draw_values()
        params, _ = optimum(fitted.law, drawn, budget_flops, ratio)
        least, most = _sizes(budget_flops)
        with np.errstate(invalid="ignore"):
            inside = (least <= params) & (params <= most)
        lost = 0.0 if ratio is not None else 1 - float(np.mean(inside))
        if lost > EDGE_SHARE:
            notes.append(
                Note(
                    "optimum_uncertain",
                    "severe",
                    f"Of the resamples, {lost:.0%} have no compute-optimal split at"
                    f" {budget_flops:.3g} FLOPs between {LEAST_RATIO:g} and {LARGEST_RATIO:g}"
                    " tokens per param.",
                )
            )
        if lost < 1:
            low, high = _params_range(fitted, params, point, budget_flops, ratio)
            product = budget_flops / FLOPS_PER_PARAM_TOKEN
            found = replace(
                found, params_range=(low, high), tokens_range=(product / high, product / low)
            )
        if found.loss is not None:
            band = fitted.band({name: np.array([value]) for name, value in point.items()})
            found = replace(
                found, loss_range=(float(band[0][0]), float(band[1][0])) if band else None
            )
    return replace(found, notes=tuple(notes))


def _params_range(
    fitted: Fit, params: Floats, point: Mapping[str, float], budget: float, ratio: float | None
) -> tuple[float, float]:
    """Bounds of the best params from those of the resamples [batch]; a prescribed ratio has none
    but its own."""
    if ratio is not None:
        return float(params[0]), float(params[0])
    distance = fitted.distance({name: np.array([value]) for name, value in point.items()})
    logs = np.log(params[np.isfinite(params)])[:, None]
    low, high = fitted.interval(spread(logs, PARAMS_DRIFT * fitted.drift * distance))
    least, most = _sizes(budget)
    return float(np.clip(np.exp(low[0]), least, most)), float(np.clip(np.exp(high[0]), least, most))


def _sizes(budget: float) -> tuple[float, float]:
    """The params between which an optimum is sought."""
    product = budget / FLOPS_PER_PARAM_TOKEN
    return float(np.sqrt(product / LARGEST_RATIO)), float(np.sqrt(product / LEAST_RATIO))


def allocate_published(
    law: Law, published: Published, budget_flops: float, ratio: float | None = None
) -> Allocation:
    """The split of `budget_flops` by a paper's coefficients; they come without intervals."""
    check_law(law)
    group = {"published": published.name}
    return _allocate(law, published.values, group, None, budget_flops, ratio)


def _allocate(
    law: Law,
    values: Mapping[str, float],
    group: Mapping[str, Any],
    fit_id: str | None,
    budget: float,
    ratio: float | None,
) -> Allocation:
    """The split by given parameters, without intervals; its notes say where there is none."""
    none = Allocation(law.id, group, fit_id, budget)
    batch = {name: np.full((1, 1), value) for name, value in values.items()}
    best, data = optimum(law, batch, budget, ratio)
    params, tokens = float(best[0]), float(data[0])
    least, most = _sizes(budget)
    if ratio is None and not least <= params <= most:
        return replace(none, notes=(_no_optimum(law, budget),))
    found = replace(none, params=params, tokens=tokens)
    if "params" not in law.variables:  # a split without a surface says nothing of the loss
        return found
    at = np.array([params, 2 * params, params / 2])
    with np.errstate(all="ignore"):
        loss, double, half = law.predict(
            **values, params=at, tokens=budget / FLOPS_PER_PARAM_TOKEN / at
        ).tolist()
    return replace(
        found,
        loss=loss,
        cost_of_double=double / loss - 1,
        cost_of_half=half / loss - 1,
        notes=_edge_notes(law, values, budget, loss) if ratio is None else (),
    )


def optimum(
    law: Law, values: Mapping[str, Floats], budget: float, ratio: float | None = None
) -> tuple[Floats, Floats]:
    """Optimal (params, tokens), each [batch], for parameters [batch, 1]; NaN where there is none.

    By the law's closed form; otherwise the lowest local minimum inside the range of ratios.
    """
    product = budget / FLOPS_PER_PARAM_TOKEN
    batch = max(len(value) for value in values.values())
    if ratio is not None:
        params = np.full(batch, np.sqrt(product / ratio))
        return params, product / params
    if law.optimum is not None:
        with np.errstate(all="ignore"):
            best, tokens = law.optimum(values, np.array(budget))
        best, tokens = best[:, 0], tokens[:, 0]
        bad = ~(np.isfinite(best) & np.isfinite(tokens))
        return np.where(bad, np.nan, best), np.where(bad, np.nan, tokens)
    least, most = _sizes(budget)
    grid = np.linspace(np.log(least), np.log(most), GRID_POINTS)
    with np.errstate(all="ignore"):
        loss = np.log(law.predict(**values, params=np.exp(grid), tokens=product / np.exp(grid)))
    loss = np.broadcast_to(loss, (batch, GRID_POINTS))
    inner = loss[:, 1:-1]
    valley = (inner < loss[:, :-2]) & (inner <= loss[:, 2:])
    lowest = np.argmin(np.where(valley, inner, np.inf), axis=1)
    rows = np.arange(batch)
    before, at, after = (loss[rows, lowest + shift] for shift in (0, 1, 2))
    bend = before - 2 * at + after
    shift = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1), 0.0)
    log_params = grid[lowest + 1] + np.clip(shift, -1, 1) * (grid[1] - grid[0])
    params = np.where(valley.any(axis=1), np.exp(log_params), np.nan)
    return params, product / params


def _no_optimum(law: Law, budget: float) -> Note:
    return Note(
        "no_optimum",
        "severe",
        f"{law.id} has no compute-optimal split at {budget:.3g} FLOPs: its loss has no minimum"
        f" between {LEAST_RATIO:g} and {LARGEST_RATIO:g} tokens per param.",
    )


def _edge_notes(
    law: Law, values: Mapping[str, float], budget: float, loss: float
) -> tuple[Note, ...]:
    """Says of a numeric optimum that the law's loss is lower still at an edge of the range."""
    if law.optimum is not None:
        return ()
    product = budget / FLOPS_PER_PARAM_TOKEN
    params = np.array(_sizes(budget))
    at_edges = law.predict(**values, params=params, tokens=product / params)
    if loss <= float(np.min(at_edges)):
        return ()
    return (
        Note(
            "local_optimum",
            "warning",
            f"{law.id} has a lower loss still far outside any data, at {LEAST_RATIO:g} or"
            f" {LARGEST_RATIO:g} tokens per param; the split given is its minimum in between.",
        ),
    )
