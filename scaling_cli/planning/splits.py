"""Splits of a budget between parameters and tokens, with bounds and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scaling_cli.compute import SIX_ND, Accounting
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit, spread
from scaling_cli.laws import LAWS, Law, Published, get_published
from scaling_cli.notes import Note
from scaling_cli.planning.budget import (
    AT_END,
    FREE,
    GRID_POINTS,
    LARGEST_RATIO,
    LEAST_RATIO,
    Constraints,
    Line,
    line_of,
    losses,
    optimum,
)
from scaling_cli.planning.choices import Settled, decided, drawn_ranges, settle
from scaling_cli.records import Floats
from scaling_cli.shown import Shown

SAME_BUDGET = 1.1  # runs of one budget lie within 10 % of it
EDGE_SHARE = 0.05  # resamples without an optimum that make the interval doubtful
# Fits that cannot recommend a split at all
DESIGN_CODES = {"collinear_design", "single_budget_design", "units_doubtful", "flops_unclear"}
# Per unit of a fit's drift, what the log of its best params gains with the distance: 0.1 by `auto`.
# On public ladders cut 0.5 to 2 decades below their top, the lowest points of the isoFLOP curves
# above lay .11, .16, .29 and .43 in ln params from the split predicted (benchmarks/splits.py).
PARAMS_DRIFT = 12.5
VALLEY = 0.01  # of the loss: splits that cost less than this are as good as the best
REPEATED = "unique_tokens"  # the column of a corpus that a law of repeats reads
BEYOND = 1e6  # in ln params: a resample without an optimum, counted beyond every finite one

Bounds = tuple[float | None, float | None]  # None is an open end
SPLIT = ("params", "tokens", "loss")


@dataclass(frozen=True)
class Allocation(Shown):
    """The split of one budget. Bounds are None without resamples; all is None where none exists.

    An end of a pair of bounds is None where it is open: the optimum of that share of the resamples
    lies outside of all ratios that are searched.
    `valley` holds the smallest and largest params whose loss is within 1 % of the split's.
    `cost_of_double` and `cost_of_half` are the relative rise of the loss if twice or half the
    parameters are trained on the same budget: how flat the optimum is.
    `binding` names the constraints that decide the split, and `cost_of_binding` is the relative
    rise of the loss that they bring over the split without them.
    `choices` are the best values of what the law lets one choose beside them, `choices_range` their
    bounds over the resamples and `choices_at_end` those at an end of what was searched.
    `decades_beyond` counts the decades of compute past the largest fitted run. `budget_range`
    bounds a budget that was asked for by its loss.

    The bounds hold the central `level`: of the optimum over the resamples for params and tokens,
    wider with the distance where the fit's loss is, and of a new run at this split for the loss, as
    for any prediction. `name` is the law's, or the procedure's that the fit is asked for by.
    """

    name: str
    group: Mapping[str, Any]
    fit_id: str | None
    budget_flops: float
    params: float | None = None
    tokens: float | None = None
    loss: float | None = None
    params_range: Bounds | None = None
    tokens_range: Bounds | None = None
    loss_range: tuple[float, float] | None = None
    cost_of_double: float | None = None
    cost_of_half: float | None = None
    valley: Bounds | None = None
    binding: tuple[str, ...] = ()
    cost_of_binding: float | None = None
    decades_beyond: float | None = None
    budget_range: Bounds | None = None
    level: float | None = None
    compute: Accounting = SIX_ND
    constraints: Constraints = field(default=FREE)
    choices: Mapping[str, float] = field(default_factory=dict)
    choices_range: Mapping[str, Bounds] = field(default_factory=dict)
    choices_at_end: tuple[str, ...] = ()
    size: str = "params"  # the column that `params` holds
    target: str = "loss"  # what `loss` holds
    notes: tuple[Note, ...] = ()

    @property
    def tokens_per_param(self) -> float | None:
        return self.tokens / self.params if self.params and self.tokens else None

    @property
    def training_flops(self) -> float | None:
        """What training takes of the budget; serving takes the rest."""
        if self.params is None or self.tokens is None:
            return None
        return float(self.compute.flops(self.params, self.tokens))

    @property
    def open_ends(self) -> tuple[str, ...]:
        """The ends of bounds that are open, as `params_low`."""
        names = ("budget", "params", "tokens")
        pairs = {name: getattr(self, f"{name}_range") for name in names} | {"valley": self.valley}
        return tuple(
            f"{name}_{side}"
            for name, pair in pairs.items()
            if pair is not None
            for side, end in zip(("low", "high"), pair, strict=True)
            if end is None
        )

    def rows(self) -> list[dict[str, Any]]:
        """The budget and its split, with bounds."""
        document = self.to_json()
        names = ["budget_flops", "tokens_per_param"]
        names += [f"{name}{end}" for name in SPLIT for end in ("", "_low", "_high")]
        return [{"law": self.name, **self.group, **{name: document[name] for name in names}}]

    def to_json(self) -> dict[str, Any]:
        def bounds(name: str, pair: Bounds | None) -> dict[str, float | None]:
            low, high = pair if pair else (None, None)
            before = f"{name}_" if name else ""
            return {f"{before}low": low, f"{before}high": high}

        return {
            "fit_id": self.fit_id,
            "law": self.name,
            "group": dict(self.group),
            "budget_flops": self.budget_flops,
            **bounds("budget", self.budget_range),
            "training_flops": self.training_flops,
            "params": self.params,
            **bounds("params", self.params_range),
            "tokens": self.tokens,
            **bounds("tokens", self.tokens_range),
            "tokens_per_param": self.tokens_per_param,
            "target": self.target,
            "loss": self.loss,
            **bounds("loss", self.loss_range),
            "cost_of_double_params": self.cost_of_double,
            "cost_of_half_params": self.cost_of_half,
            **bounds("valley", self.valley),
            "open": list(self.open_ends),
            "binding": list(self.binding),
            "cost_of_binding": self.cost_of_binding,
            "choices": {
                name: {
                    "value": value,
                    **bounds("", self.choices_range.get(name)),
                    "at_end": name in self.choices_at_end,
                }
                for name, value in self.choices.items()
            },
            "size": self.size,
            "decades_beyond": self.decades_beyond,
            "level": self.level,
            "compute": self.compute.to_json(),
            "warnings": [note.to_json() for note in self.notes],
        }


def check_law(law: Law, constraints: Constraints = FREE, choosing: bool = False) -> None:
    """Refuse a law that cannot split a budget, or that does not read what is held fixed; one with
    choices where they cannot be made, unless the caller is `choosing`."""
    split = [name for name in constraints.at if name in ("params", "tokens", "flops")]
    if split:
        raise InputError(
            f"{' and '.join(split)} cannot be held: a split is of them",
            "Limit them instead, as by max_params or max_tokens, or ask for a prediction.",
        )
    limits = (constraints.min_params, constraints.max_params, constraints.max_tokens)
    if constraints.tokens_per_param is not None and limits != (None, None, None):
        raise InputError(
            "a prescribed ratio leaves nothing to limit", "Give tokens_per_param, or limits."
        )
    free = set(law.variables) - set(constraints.at)
    if choosing and law.choices:
        if constraints.sequence is not None:
            raise InputError(f"law {law.id} says itself what a training costs", "Leave it out.")
        _check_choices(law, constraints)
        return
    if not law.splits and not (law.target == "loss" and free == {"params", "tokens"}):
        missing = free - {"params", "tokens"}
        if law.target == "loss" and {"params", "tokens"} <= free:
            raise InputError(
                f"law {law.id} also reads {' and '.join(sorted(missing))}",
                "Give a value for the split.",
            )
        raise InputError(
            f"law {law.id} is no function of params and tokens alone, so it cannot split a budget",
            "Use chinchilla, skaling, farseer or isoflop.",
        )
    _check_read(law, constraints)
    if constraints.limits:
        raise InputError(f"law {law.id} chooses nothing to limit", "Hold a variable with `at=`.")
    if constraints.inference_tokens and "params" not in law.variables:
        raise InputError(
            f"law {law.id} gives no loss, so it cannot weigh training against inference",
            "Use a law of params and tokens.",
        )


def _check_read(law: Law, constraints: Constraints) -> None:
    unread = [name for name in constraints.at if name not in law.variables]
    if unread:
        raise InputError(
            f"law {law.id} reads no {' and no '.join(unread)}",
            "Use a law that does: `scalefit laws` lists what each reads.",
        )


def _check_choices(law: Law, constraints: Constraints) -> None:
    assert law.choices is not None
    _check_read(law, constraints)
    if law.choices.size in constraints.at:
        raise InputError(
            f"{law.choices.size} cannot be held: a split is of it", "Limit it by max_params."
        )
    amount = "step" if law.choices.batch else "tokens"
    missing = set(law.variables) - decided(law, constraints) - {law.choices.size, amount}
    if missing:
        raise InputError(
            f"law {law.id} also reads {' and '.join(sorted(missing))}",
            f"Give `at=` {sorted(missing)[0]}=VALUE.",
        )


def with_repeats(law: Law, published: Published) -> tuple[Law, Published]:
    """The paper's law of repeated tokens, with its coefficients, where the set named is of the same
    paper's plain surface; the set itself where its law knows repeats."""
    if REPEATED in law.variables:
        return law, published
    for other in LAWS.values():
        for entry in other.published:
            if REPEATED in other.variables and entry.name.startswith(f"{published.name}_"):
                return other, entry
    raise InputError(
        f"{published.name} is of {law.id}, which takes repeated tokens for new ones",
        "Use `published=muennighoff2023_repeats`, or fit data_constrained to runs that repeat.",
    )


def published_for(name: str, constraints: Constraints) -> tuple[Law, Published]:
    """The law and the published coefficients of a name, for splits under these constraints: those
    of repeated tokens where the tokens of the corpus are said."""
    law, entry = get_published(name)
    return with_repeats(law, entry) if REPEATED in constraints.at else (law, entry)


def allocate_fit(fitted: Fit, budget_flops: float, constraints: Constraints = FREE) -> Allocation:
    """The split of `budget_flops` by a fitted law, with intervals from its resamples."""
    check_law(fitted.law, constraints, choosing=True)
    blocking = tuple(note for note in fitted.notes if _blocks(note, fitted, budget_flops))
    if blocking and constraints.tokens_per_param is None:
        none = Allocation(fitted.name, fitted.group, fitted.fit_id, budget_flops)
        return replace(none, notes=blocking, target=fitted.target)
    values = {**fitted.values, **fitted.constants}
    asked = line_of(budget_flops, fitted.compute, constraints)
    settled = settle(fitted.law, _batch(values), asked)
    line = settled.line
    split = _allocate(settled.law, values, fitted.group, fitted.fit_id, line)
    split = _with_choices(replace(split, name=fitted.name, target=fitted.target), settled)
    params, tokens = split.params, split.tokens
    if params is None or tokens is None:
        return split
    if blocking:  # the terms cannot be told apart, so neither can splits at other ratios
        split = replace(split, cost_of_double=None, cost_of_half=None, valley=None)
    point = settled.point(params, tokens)
    notes = [*split.notes, *fitted.distance_notes(point), *fitted.severe_at(point)]
    split = replace(split, decades_beyond=fitted.decades_beyond(budget_flops))
    if len(fitted.draws):
        bounds, doubts = _params_range(fitted, settled, params, tokens)
        notes += doubts
        chosen = drawn_ranges(fitted.law, fitted.draw_values(), asked, settled, fitted.level)
        split = replace(split, level=fitted.level, params_range=bounds, choices_range=chosen)
        if bounds is not None:
            low, high = (None if end is None else float(line.tokens(end)) for end in bounds)
            split = replace(split, tokens_range=(high, low))
        if split.loss is not None:
            band = fitted.band({name: np.array([value]) for name, value in point.items()})
            if band is not None and np.isfinite(band).all():
                split = replace(split, loss_range=(float(band[0][0]), float(band[1][0])))
    return replace(split, notes=tuple(notes))


def _blocks(note: Note, fitted: Fit, budget: float) -> bool:
    """Whether what is said of a fit leaves no ground for a split of this budget. Runs of one budget
    do tell its own split."""
    if note.code == "single_budget_design" and "flops" in fitted.domain:
        least, most = fitted.domain["flops"]
        return not least / SAME_BUDGET <= budget <= most * SAME_BUDGET
    if note.code == "few_sizes" and note.severity == "severe" and fitted.explored:
        return not {"params", "tokens"}.isdisjoint(fitted.explored.two)
    return note.code in DESIGN_CODES


def _batch(values: Mapping[str, float]) -> dict[str, Floats]:
    """One set of parameters, each [1, 1]."""
    return {name: np.full((1, 1), value) for name, value in values.items()}


def _with_choices(split: Allocation, settled: Settled) -> Allocation:
    chosen = dict(settled.chosen or {}) if split.params is not None else {}
    ends = settled.at_end if chosen else ()
    return replace(split, choices=chosen, choices_at_end=ends, size=settled.size)


def _params_range(
    fitted: Fit, settled: Settled, best: float, tokens: float
) -> tuple[Bounds | None, list[Note]]:
    """Bounds of the best params from those of the resamples, None where an end is open, and what
    makes them doubtful. A prescribed ratio has no bounds but its own."""
    line = settled.line
    if line.constraints.tokens_per_param is not None:
        return (best, best), []
    params, _ = optimum(settled.law, fitted.draw_values(), line)
    least, most = line.searched
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(params[~np.isnan(params)])[:, None]
    outside = (logs < np.log(least)) | (logs > np.log(most))
    lost = 1 - float(np.sum(~outside)) / len(params)
    doubts = []
    if lost > EDGE_SHARE:
        message = (
            f"Of the resamples, {lost:.0%} have no compute-optimal split at"
            f" {line.budget_flops:.3g} FLOPs between {LEAST_RATIO:g} and {LARGEST_RATIO:g}"
            " tokens per param."
        )
        doubts.append(Note.of("optimum_uncertain", message))
    if not len(logs):
        return None, doubts
    logs = np.where(outside, np.copysign(BEYOND, logs - np.log(best)), logs)
    point = settled.point(best, tokens)
    distance = fitted.distance({name: np.array([value]) for name, value in point.items()})
    low, high = fitted.interval(spread(logs, PARAMS_DRIFT * fitted.drift * distance))
    (smallest, lower), (largest, upper) = line.allowed()
    ends = (
        max(float(np.exp(np.maximum(low[0], -700))), smallest),
        min(float(np.exp(np.minimum(high[0], 700))), largest),
    )
    return (
        None if ends[0] <= smallest and not lower else ends[0],
        None if ends[1] >= largest and not upper else ends[1],
    ), doubts


def allocate_published(
    law: Law, published: Published, budget_flops: float, constraints: Constraints = FREE
) -> Allocation:
    """The split of `budget_flops` by a paper's coefficients; they come without intervals."""
    check_law(law, constraints, choosing=True)
    asked = line_of(budget_flops, SIX_ND, constraints)
    settled = settle(law, _batch(published.values), asked)
    group = {"published": published.name}
    allocation = _allocate(settled.law, published.values, group, None, settled.line)
    allocation = _with_choices(allocation, settled)
    if not published.no_optimum:
        return allocation
    message = f"{published.name} is not for splits of a budget: {published.no_optimum}."
    return replace(allocation, notes=(Note.of("no_optimum_set", message), *allocation.notes))


def _allocate(
    law: Law,
    values: Mapping[str, float],
    group: Mapping[str, Any],
    fit_id: str | None,
    line: Line,
) -> Allocation:
    """The split by given parameters, without intervals; its notes say where there is none."""
    none = Allocation(law.id, group, fit_id, line.budget_flops)
    none = replace(none, compute=line.compute, constraints=line.constraints, target=law.target)
    batch = _batch(values)
    best, data = optimum(law, batch, line)
    params, tokens = float(best[0]), float(data[0])
    prescribed = line.constraints.tokens_per_param is not None
    least, most = line.searched
    if not prescribed and not least <= params <= most:
        return replace(none, notes=(_no_optimum(law, line.budget_flops),))
    split = replace(none, params=params, tokens=tokens)
    if "params" not in law.variables:  # a split without a surface says nothing of the loss
        return split
    at = np.array([params, 2 * params, params / 2])
    loss, double, half = losses(law, values, line, at).tolist()
    split = replace(split, loss=loss)
    if prescribed or loss <= 0:  # of a loss below zero nothing is a share
        return split
    split = replace(
        split,
        cost_of_double=double / loss - 1 if line.tokens(2 * params) > 0 else None,
        cost_of_half=half / loss - 1,
        valley=_valley(law, values, line, params, loss),
        notes=_edge_notes(law, values, line, loss),
    )
    return _with_binding(split, law, batch, line)


def _with_binding(
    split: Allocation, law: Law, batch: Mapping[str, Floats], line: Line
) -> Allocation:
    """The split with the constraints that decide it, and what they cost."""
    assert split.params is not None
    assert split.loss is not None
    binding = tuple(
        name for end, name in line.allowed() if name and abs(np.log(split.params / end)) < AT_END
    )
    if not binding:
        return split
    free = replace(line, constraints=line.constraints.without(binding))
    (params,), _ = optimum(law, batch, free)
    if not 0 < params < np.inf:
        return replace(split, binding=binding)
    values = {name: item[0, 0] for name, item in batch.items()}
    (loss,) = losses(law, values, free, np.array([params]))
    return replace(split, binding=binding, cost_of_binding=split.loss / float(loss) - 1)


def _valley(
    law: Law, values: Mapping[str, float], line: Line, params: float, loss: float
) -> Bounds:
    """The params next to the best between which the loss rises by less than 1 %."""
    ends: list[float | None] = []
    for end, name in line.allowed():
        grid = np.linspace(np.log(params), np.log(end), GRID_POINTS)
        high = losses(law, values, line, np.exp(grid)) > (1 + VALLEY) * loss
        first = int(np.argmax(high))
        if high.any():
            ends.append(float(np.exp(0.5 * (grid[first] + grid[max(first - 1, 0)]))))
        else:
            ends.append(end if name else None)
    low, high_end = ends
    return low, high_end


def _no_optimum(law: Law, budget: float) -> Note:
    return Note.of(
        "no_optimum",
        f"{law.id} has no compute-optimal split at {budget:.3g} FLOPs: its loss has no minimum"
        f" between {LEAST_RATIO:g} and {LARGEST_RATIO:g} tokens per param.",
    )


def _edge_notes(law: Law, values: Mapping[str, float], line: Line, loss: float) -> tuple[Note, ...]:
    """Says of a numeric optimum that the law's loss is lower still at an edge of the search."""
    if law.optimum is not None:
        return ()
    edges = np.array([end for end, name in line.allowed() if not name])
    if not len(edges) or not (losses(law, values, line, edges) < loss).any():
        return ()
    return (
        Note.of(
            "local_optimum",
            f"{law.id} has a lower loss still far outside any data, at {LEAST_RATIO:g} or"
            f" {LARGEST_RATIO:g} tokens per param; the split given is its minimum in between.",
        ),
    )
