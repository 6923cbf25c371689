"""Two recipes against each other: where their curves cross, what one is worth in compute, and how
their exponents compare, each with an interval from both fits' resamples.

The runs of two fits are different runs, so their resamples are paired in the order in which they
were drawn: an independent pair each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit
from scaling_cli.notes import Note
from scaling_cli.planning.budget import Constraints, Line, optimum
from scaling_cli.planning.splits import check_law
from scaling_cli.records import Floats
from scaling_cli.shown import Shown

REACH = 2.0  # decades past the data in which a crossing is sought; further out all is guesswork
POINTS_PER_DECADE = 16  # of the search grid; crossings are then interpolated, exact for power laws
CERTAIN = 0.9  # of the resamples must cross, or the crossing is said to be doubtful
SEARCHED_DECADES = 6.0  # about the asked compute, in which an equal loss is sought
FAR = 1.0  # decades past the larger ladder from where on a crossing is a guess


@dataclass(frozen=True)
class Crossing(Shown):
    """Where two curves meet along a column; `at` is None where they do not within the reach.

    `low` and `high` bound it; None is an open end: a share of the resamples cross beyond the reach
    or never. `share` is the share of the resamples that cross at all, `before` and `after` name the
    fit with the lower curve on either side.
    """

    first: str
    second: str
    along: str
    at: float | None
    low: float | None
    high: float | None
    level: float
    share: float | None
    before: str
    after: str
    searched: tuple[float, float]
    notes: tuple[Note, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Its numbers in one row."""
        left_out = ("warnings", "searched", "open")
        return [{name: v for name, v in self.to_json().items() if name not in left_out}]

    def to_json(self) -> dict[str, Any]:
        names = ("first", "second", "along", "at", "low", "high", "level", "share", "before")
        return {
            **{name: getattr(self, name) for name in names},
            "after": self.after,
            "searched": list(self.searched),
            "open": _open(self.low, self.high, self.share is not None),
            "warnings": [note.to_json() for note in self.notes],
        }


@dataclass(frozen=True)
class Equivalence(Shown):
    """How many times the compute the second recipe needs for the loss of the first at `flops`.

    None is infinite: the loss lies below what the second's curve ever reaches.
    """

    first: str
    second: str
    flops: float
    loss: float
    multiple: float | None
    low: float | None
    high: float | None
    level: float
    notes: tuple[Note, ...] = ()
    target: str = "loss"  # what `loss` holds
    resampled: bool = True

    def rows(self) -> list[dict[str, Any]]:
        """Its numbers in one row."""
        left_out = ("warnings", "searched", "open")
        return [{name: v for name, v in self.to_json().items() if name not in left_out}]

    def to_json(self) -> dict[str, Any]:
        names = ("first", "second", "flops", "target", "loss", "multiple", "low", "high", "level")
        document: dict[str, Any] = {name: getattr(self, name) for name in names}
        return document | {
            "open": _open(self.low, self.high, self.resampled),
            "warnings": [note.to_json() for note in self.notes],
        }


@dataclass(frozen=True)
class Slope(Shown):
    """An exponent as the slope of ln (loss - floor), or its ratio to another recipe's.

    `p_value` is two-sided, that the truth is `theory`, from the share of resamples on its far side.
    """

    name: str
    exponent: str
    value: float
    low: float | None
    high: float | None
    level: float
    theory: float | None = None
    p_value: float | None = None
    notes: tuple[Note, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Its numbers in one row."""
        left_out = ("warnings", "searched", "open")
        return [{name: v for name, v in self.to_json().items() if name not in left_out}]

    def to_json(self) -> dict[str, Any]:
        names = ("name", "exponent", "value", "low", "high", "level", "theory", "p_value")
        document: dict[str, Any] = {name: getattr(self, name) for name in names}
        return document | {"warnings": [note.to_json() for note in self.notes]}


@dataclass(frozen=True)
class Asymptotes(Shown):
    """What endless compute leaves of the loss of two recipes: `difference` is the first's floor
    less the second's, `p_lower` the share of pairs of resamples in which the first's is lower."""

    names: tuple[str, str]
    floors: tuple[float, float]
    bounds: tuple[tuple[float | None, float | None], tuple[float | None, float | None]]
    difference: float
    low: float | None
    high: float | None
    p_lower: float | None
    level: float
    notes: tuple[Note, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """A recipe a row."""
        return self.to_json()["floors"]  # type: ignore[no-any-return]

    def to_json(self) -> dict[str, Any]:
        named = zip(self.names, self.floors, self.bounds, strict=True)
        floors = [{"name": n, "value": v, "low": b[0], "high": b[1]} for n, v, b in named]
        own = {name: getattr(self, name) for name in ("difference", "low", "high", "p_lower")}
        warnings = [note.to_json() for note in self.notes]
        return {"floors": floors, **own, "level": self.level, "warnings": warnings}


def crossing(
    first: Fit,
    second: Fit,
    along: str = "flops",
    ratio: float | None = None,
    reach: float = REACH,
) -> Crossing:
    """Where the curves of two fits meet along `along`.

    Surfaces are compared at their best splits of each budget, or at `ratio` tokens per param; laws
    of one column along that column.
    """
    low, high = _common(first, second, along)
    top = high * 10**reach
    decades = np.log10(top / low)
    grid = np.geomspace(low, top, max(8, int(np.ceil(decades * POINTS_PER_DECADE))))
    gap = _gap(first, second, grid, ratio, drawn=False)[0]
    names = (recipe_name(first), recipe_name(second))
    before = names[0] if gap[0] < 0 else names[1]
    after = names[0] if gap[-1] < 0 else names[1]
    roots = zeros(grid, gap)
    notes: list[Note] = []
    if len(roots) > 1:
        places = ", ".join(f"{place:.3g}" for place in roots)
        notes.append(Note.of("several_crossings", f"The curves cross at {places}."))
    at = float(roots[-1]) if len(roots) else None
    bounds: tuple[float | None, float | None] = (None, None)
    share = None
    level = min(first.level, second.level)
    if len(first.draws) and len(second.draws):
        gaps = _gap(first, second, grid, ratio, drawn=True)
        # Where the curves themselves do not cross, the sign that a crossing leads to is the other.
        led_to = np.sign(gap[-1]) if at is not None else -np.sign(gap[-1])
        met = np.array([_place(grid, row, led_to, at) for row in gaps])
        share = float(np.mean(np.isfinite(met)))
        bounds = open_bounds(met, level)
        if at is not None and share < CERTAIN:
            notes.append(
                Note.of(
                    "crossing_uncertain",
                    f"In {1 - share:.0%} of the resamples the curves do not cross between"
                    f" {low:.3g} and {top:.3g}.",
                )
            )
        if at is None and share > 1 - level:
            notes.append(
                Note.of(
                    "crossing_possible",
                    f"In {share:.0%} of the resamples the curves do cross there.",
                )
            )
    notes += _place_notes(at, after, low, high, reach)
    notes += _severe(first, second)
    return Crossing(
        *names, along, at, *bounds, level, share, before, after, (low, top), tuple(notes)
    )


def _place_notes(at: float | None, after: str, low: float, high: float, reach: float) -> list[Note]:
    """That the curves do not cross within the reach, or far past the largest run, `high`."""
    if at is None:
        top = high * 10**reach
        message = (
            f"{after} stays lower from {low:.3g} to {top:.3g}, {reach:g} decades past the"
            " largest run."
        )
        return [Note.of("no_crossing", message)]
    if np.log10(at / high) > FAR:
        message = f"The crossing lies {np.log10(at / high):.1f} decades past the largest run."
        return [Note.of("extrapolation", message, "warning")]
    return []


def equivalent(first: Fit, second: Fit, flops: float, ratio: float | None = None) -> Equivalence:
    """The compute that `second` needs for the loss that `first` has at `flops`, as a multiple."""
    if not flops > 0:
        raise InputError(f"`flops=` {flops:g} is no compute", "Give FLOPs, for instance 1e22.")
    loss = float(curve_of(first, np.array([flops]), ratio, drawn=False)[0, 0])
    multiple = float(_needed(second, np.array([loss]), flops, ratio, drawn=False)[0])
    notes = [*_severe(first, second)]
    for fit in (first, second):
        notes += [note for note in fit.distance_notes({"flops": flops}) if note.severity != "info"]
    low = high = None
    level = min(first.level, second.level)
    if len(first.draws) and len(second.draws):
        targets = curve_of(first, np.array([flops]), ratio, drawn=True)[:, 0]
        count = min(len(targets), len(second.draws))
        drawn = _needed(second, targets[:count], flops, ratio, drawn=True)
        # At either end of what is searched the true multiple lies beyond.
        low, high = open_bounds(np.where(drawn > 0, drawn, -np.inf), level)
    if not np.isfinite(multiple):
        notes.append(
            Note.of(
                "unreachable",
                f"{recipe_name(second)} does not reach a loss of {loss:.4g} within"
                f" {SEARCHED_DECADES:g} decades of {flops:.3g} FLOPs.",
            )
        )
    names = (recipe_name(first), recipe_name(second))
    return Equivalence(
        *names,
        flops,
        loss,
        _finite(multiple),
        low,
        high,
        level,
        tuple(dict.fromkeys(notes)),
        first.target,
        resampled=bool(len(first.draws) and len(second.draws)),
    )


def slopes(fit: Fit, theory: float | None = None) -> list[Slope]:
    """Every exponent of a fitted law, times its outer power where the law has one.

    Two runs or a law without a floor give a level, not a slope: local slopes are 30 to 56 % of the
    exponent at the losses of language models, so a law without a floor is said to have none.
    """
    notes = []
    if fit.law.form is not None and fit.law.form.floor is None:
        notes.append(
            Note.of(
                "no_floor",
                f"{fit.law_id} has no irreducible term: its exponent is a slope of the whole loss"
                " and falls as the floor nears.",
            )
        )
    notes += [note for note in fit.notes if note.severity == "severe"]
    exponents = []
    for name in fit.law.exponents:
        value, draws = _exponent(fit, name)
        bounds = _bounds(fit, draws)
        p_value = None
        if theory is not None and len(draws):
            above = float(np.mean(draws >= theory))
            p_value = max(2 * min(above, 1 - above), 1 / len(draws))
        exponents.append(
            Slope(recipe_name(fit), name, value, *bounds, fit.level, theory, p_value, tuple(notes))
        )
    return exponents


def slope_ratios(first: Fit, second: Fit) -> list[Slope]:
    """Exponents of the first fit over those of the second, where both have them."""
    shared = [name for name in first.law.exponents if name in second.law.exponents]
    if not shared:
        raise InputError(
            f"{first.name} and {second.name} have no exponent of the same name",
            "Fit both recipes with one law.",
        )
    ratios = []
    for name in shared:
        top, above = _exponent(first, name)
        bottom, below = _exponent(second, name)
        count = min(len(above), len(below))
        bounds = _bounds(first, above[:count] / below[:count])
        label = f"{recipe_name(first)} / {recipe_name(second)}"
        ratios.append(Slope(label, name, top / bottom, *bounds, first.level))
    return ratios


def asymptotes(first: Fit, second: Fit) -> Asymptotes | None:
    """The floors of two recipes side by side; None where one's law has none.

    Resamples of different runs are independent, so that each of the first's meets each of the
    second's. On 300 pairs of simulated ladders (24 runs, noise .3 %, floors .05 apart) 12, 25, 52,
    62 and 90 % of the truths were lower where less than .2, .4, .6, .8 and all of it was said.
    """
    fits = (first, second)
    names = [fit.law.floor for fit in fits]
    if None in names or any(fit.then for fit in fits):
        return None
    floors, drawn = [], []
    for fit, name in zip(fits, names, strict=True):
        assert name
        floors.append(fit.values[name])
        drawn.append(fit.draws[:, fit.law.parameter_names.index(name)])
    apart = (drawn[0][:, None] - drawn[1][None, :]).ravel()
    low, high = _bounds(first, apart)
    return Asymptotes(
        (recipe_name(first), recipe_name(second)), (floors[0], floors[1]),
        (_bounds(first, drawn[0]), _bounds(second, drawn[1])), floors[0] - floors[1], low, high,
        float(np.mean(apart < 0)) if len(apart) else None, first.level, tuple(_severe(*fits)),
    )  # fmt: skip


def _exponent(fit: Fit, name: str) -> tuple[float, Floats]:
    power = fit.law.form.power if fit.law.form else None
    names = fit.law.parameter_names
    value, draws = fit.values[name], fit.draws[:, names.index(name)]
    if power is None:
        return value, draws
    return value * fit.values[power], draws * fit.draws[:, names.index(power)]


def _bounds(fit: Fit, draws: Floats) -> tuple[float | None, float | None]:
    if not len(draws):
        return None, None
    low, high = fit.interval(draws)
    return float(low), float(high)


def recipe_name(fit: Fit) -> str:
    """The values of its group, by which people call a recipe; without any, what fitted it."""
    return ", ".join(str(value) for value in fit.group.values()) or fit.name


def _common(first: Fit, second: Fit, along: str) -> tuple[float, float]:
    """From the smallest to the largest value that either fit's runs have."""
    for fit in (first, second):
        if along not in _axes(fit):
            raise InputError(
                f"{fit.name} is no curve along {along}",
                f"Its curve is along {' or '.join(_axes(fit)) or 'nothing'}: `along=`.",
            )
    bounds = [fit.domain[_domain_name(fit, along)] for fit in (first, second)]
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _axes(fit: Fit) -> tuple[str, ...]:
    if fit.law.variables == ("x",):
        return (fit.columns["x"],)
    return ("flops",) if set(fit.law.variables) == {"params", "tokens"} else fit.law.variables[:1]


def _domain_name(fit: Fit, along: str) -> str:
    return "x" if fit.law.variables == ("x",) else along


def curve_of(fit: Fit, at: Floats, ratio: float | None, drawn: bool) -> Floats:
    """The target [1 or resamples, points] along the fit's axis."""
    values: Mapping[str, Any] = (
        fit.draw_values()
        if drawn
        else {n: np.full((1, 1), v) for n, v in {**fit.values, **fit.constants}.items()}
    )
    with np.errstate(all="ignore"):
        if fit.law.variables == ("x",):
            return np.asarray(fit.law.predict(**values, x=at))
        check_law(fit.law)
        asked = Constraints(tokens_per_param=ratio)
        lines = [Line(float(flops), fit.compute, asked) for flops in at]
        splits = [optimum(fit.law, values, line) for line in lines]
        params, tokens = (np.stack(columns, axis=1) for columns in zip(*splits, strict=True))
        return np.asarray(fit.law.predict(**values, params=params, tokens=tokens))


def _gap(first: Fit, second: Fit, grid: Floats, ratio: float | None, drawn: bool) -> Floats:
    """ln of the first curve over the second [pairs, grid]."""
    one, other = (curve_of(fit, grid, ratio, drawn) for fit in (first, second))
    count = min(len(one), len(other))
    with np.errstate(all="ignore"):
        return np.log(one[:count]) - np.log(other[:count])


def zeros(grid: Floats, gap: Floats) -> Floats:
    """Where a gap changes its sign, interpolated in ln of the grid."""
    with np.errstate(invalid="ignore"):
        cells = np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0)
    share = gap[cells] / (gap[cells] - gap[cells + 1])
    return np.asarray(np.exp(np.log(grid[cells]) + share * np.log(grid[cells + 1] / grid[cells])))


def _place(grid: Floats, gap: Floats, after: float, at: float | None) -> float:
    """The crossing of one pair of resamples: that nearest to `at`, or plus or minus infinity where
    the sign that holds after the crossing is never, or always, there."""
    roots = zeros(grid, gap)
    if len(roots):
        return float(roots[-1] if at is None else roots[np.argmin(np.abs(np.log(roots / at)))])
    if not np.isfinite(gap).all():
        return float("nan")
    return float("-inf") if np.sign(gap[-1]) == after else float("inf")


def _needed(second: Fit, loss: Floats, flops: float, ratio: float | None, drawn: bool) -> Floats:
    """The multiple of `flops` at which the second's curve reaches each loss [resamples]."""
    count = int(2 * SEARCHED_DECADES * POINTS_PER_DECADE) + 1
    multiples = np.geomspace(10**-SEARCHED_DECADES, 10**SEARCHED_DECADES, count)
    with np.errstate(all="ignore"):
        logs = np.log(curve_of(second, flops * multiples, ratio, drawn))[: len(loss)]
    logs = np.broadcast_to(logs, (len(loss), count))
    below = logs <= np.log(loss)[:, None]
    cell = np.argmax(below, axis=1)
    rows = np.arange(len(loss))
    before = np.maximum(cell - 1, 0)
    here, there = logs[rows, before], logs[rows, cell]
    with np.errstate(all="ignore"):
        share = np.where(here > there, (here - np.log(loss)) / (here - there), 0.0)
        place = np.log(multiples[before]) + share * np.log(multiples[cell] / multiples[before])
    reached: Floats = np.where(below.any(axis=1) & ~below[:, 0], np.exp(place), np.inf)
    return np.where(below[:, 0], 0.0, reached)


def open_bounds(samples: Floats, level: float) -> tuple[float | None, float | None]:
    """The central `level` of samples of which some are infinite; an infinite end is None."""
    known = np.sort(samples[~np.isnan(samples)])
    if not len(known):
        return None, None
    tail = 0.5 * (1 - level)
    ends = [known[round(share * (len(known) - 1))] for share in (tail, 1 - tail)]
    return _finite(ends[0]), _finite(ends[1])


def _open(low: float | None, high: float | None, resampled: bool) -> dict[str, bool]:
    """Which ends lie beyond all that was searched; none where no interval is known."""
    return {"low": resampled and low is None, "high": resampled and high is None}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _severe(*fits: Fit) -> list[Note]:
    pairs = [(fit, note) for fit in fits for note in fit.notes]
    return [note.about(recipe_name(fit)) for fit, note in pairs if note.severity == "severe"]
