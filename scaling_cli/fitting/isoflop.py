"""Compute-optimal params without a loss surface: Hoffmann et al. 2022, approaches 1 and 2.

`isoflop` (approach 2) takes the lowest point of each isoFLOP curve, by a parabola in ln params or,
as Porian et al. 2024 do, by Akima's interpolation; `envelope` (approach 1) takes the run of lowest
loss at each compute. Both fit params = G flops**a to these optima by least squares in the
logarithms. Their bias is known and silent (arXiv:2603.22339), so what shapes it is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting import accepts, assembly, problem
from scaling_cli.fitting.assembly import Draws, Optimum, Problem, assemble
from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law, get_law
from scaling_cli.notes import Note
from scaling_cli.quantities import count
from scaling_cli.records import Floats
from scaling_cli.table import Table

Method = Literal["parabola", "akima"]

SAME_BUDGET = 1.2  # budgets of one study lie a factor of two or more apart, their runs within 10 %
LEAST_SIZES = 3  # a parabola has three coefficients
MOST_LOST = 0.5  # share of resamples that may put the optimum outside (Porian et al. 2024)
LEAST_BUDGETS = 3  # two always lie on a line
GRID = 400  # points per curve at which the interpolation is searched; 1 % of a 50-fold range
WIDE = 8.0  # sizes further than this factor from the optimum bend the parabola by more than 1 %
LOPSIDED = 2.0  # one side of the optimum reaching this much further (in ln params) shifts it
ENVELOPE_POINTS = 1500  # log-spaced compute, Hoffmann et al. 2022, section 3.1
LEAST_ENVELOPE_RUNS = 3


@dataclass(frozen=True)
class IsoFlopCurve:
    """One budget: its compute, ln params of its sizes (ascending) and the lowest loss of each."""

    flops: float
    log_params: Floats
    loss: Floats


def fit_isoflop(
    observations: Table,
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
    method: Method = "parabola",
) -> Fit:
    """params = G flops**a through the optima of isoFLOP curves.

    The interval adds to every loss the noise that the parabolas leave over, as often as
    `options.resamples` says; a budget whose optimum then leaves the sampled sizes more often than
    not is dropped. Raises FitError where fewer than three budgets have an optimum inside.
    """
    options = options or FitOptions()
    law = get_law("isoflop" if method == "parabola" else "isoflop_akima")
    accepts.check("optima", law.id, options, "loss")
    rows, notes = _rows(law, observations)
    curves = isoflop_curves(rows)
    noise = _noise(curves)
    if noise is None:
        notes.append(
            Note.of(
                "noise_unknown",
                "No budget has four sizes: how far a loss lies from its parabola by chance cannot"
                " be known, and there is no interval.",
            )
        )
        options, noise = replace(options, resamples=0), 0.0
    random = np.random.default_rng(options.seed)
    optima, drawn, kept = [], [], []
    for curve in curves:
        if len(curve.loss) < LEAST_SIZES:
            notes.append(_dropped(curve, f"it has {len(curve.loss)} sizes, and three are needed"))
            continue
        found = float(minima(curve.log_params, curve.loss[None], method)[0])
        scatter = random.standard_normal((options.resamples, len(curve.loss)))
        draws = minima(curve.log_params, curve.loss * np.exp(noise * scatter), method)
        if np.isnan(found) or np.isnan(draws).sum() > MOST_LOST * len(draws):
            notes.append(_dropped(curve, "its lowest loss is not inside the range of its sizes"))
            continue
        kept.append(curve)
        optima.append(found)
        drawn.append(draws)
        notes += _window_notes(curve, found) if method == "parabola" else []
    if len(kept) < LEAST_BUDGETS:
        why = " ".join(note.message for note in notes if note.code == "budget_dropped")
        known = "".join(
            f" At {curve.flops:.3g} FLOPs it is {count(float(np.exp(optimum)))} params."
            for curve, optimum in zip(kept, optima, strict=True)
        )
        more = "Train smaller or larger sizes at these budgets"
        raise FitError(
            f"{len(kept)} of {len(curves)} budgets have an optimum inside their sizes, and"
            f" {LEAST_BUDGETS} are needed.{known} {why}".strip(),
            f"{more if len(curves) >= LEAST_BUDGETS else 'Train at other budgets too'}, or fit a"
            " surface: `law=chinchilla`.",
        )
    flops = np.array([curve.flops for curve in kept])
    log_params, draws = np.array(optima), np.array(drawn).T
    notes.append(_table(flops, np.exp(log_params)))
    return _power(law, rows, flops, log_params, draws, options, group, notes)


def fit_envelope(
    observations: Table,
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
) -> Fit:
    """params = G flops**a through the runs of lowest loss at each compute.

    Rows are logged points of runs, several a run; between two of them the loss is interpolated in
    the logarithms. The interval resamples whole runs, and so carries the choice of the frontier.
    """
    options = options or FitOptions()
    law = get_law("envelope")
    accepts.check("optima", law.id, options, "loss")
    rows, notes = _rows(law, observations)
    paths = [
        (float(rows.columns["params"][index[0]]), *_path(rows, index))
        for index in _by_run(rows.owners)
    ]
    flops, log_params = _frontier(paths, range(len(paths)))
    if len(np.unique(log_params)) < LEAST_ENVELOPE_RUNS:
        raise FitError(
            f"the frontier passes {len(np.unique(log_params))} sizes between the smallest and the"
            f" largest, and {LEAST_ENVELOPE_RUNS} are needed",
            "The envelope needs many sizes trained past their optimum; try `law=chinchilla`.",
        )
    notes.append(
        Note.of(
            "unannealed_points",
            "Points inside a run have a learning rate that is not annealed yet: their loss is"
            " higher than that of a run planned for this compute.",
        )
    )
    slopes = []
    random = np.random.default_rng(options.seed)
    for _ in range(options.resamples):
        some = random.integers(len(paths), size=len(paths)).tolist()
        at, sizes = _frontier(paths, some)
        if len(np.unique(sizes)) >= LEAST_ENVELOPE_RUNS:
            slopes.append(_line(np.log(at), sizes))
    lines = np.array(slopes).reshape(-1, 2)
    return _power(law, rows, flops, log_params, None, options, group, notes, lines)


def isoflop_curves(observations: Table) -> list[IsoFlopCurve]:
    """The budgets of a study, lowest first: runs parted where the compute leaves a gap."""
    flops, loss = observations.columns["flops"], observations.columns["loss"]
    log_params = np.log(observations.columns["params"])
    order = np.argsort(flops, kind="stable")
    gaps = np.flatnonzero(np.diff(np.log(flops[order])) > np.log(SAME_BUDGET)) + 1
    curves = []
    for part in np.split(order, gaps):
        sizes, inverse = np.unique(log_params[part], return_inverse=True)
        lowest = np.full(len(sizes), np.inf)
        np.minimum.at(lowest, inverse, loss[part])
        curves.append(IsoFlopCurve(float(np.exp(np.mean(np.log(flops[part])))), sizes, lowest))
    return curves


def minima(log_params: Floats, loss: Floats, method: Method) -> Floats:
    """ln params [batch] of the lowest point of each curve loss [batch, sizes]; NaN at an edge."""
    low, high = log_params[0], log_params[-1]
    if method == "parabola":
        bend, slope, _ = _parabola(log_params) @ loss.T
        with np.errstate(all="ignore"):
            vertex = np.where(bend > 0, -slope / (2 * bend), np.nan) + np.mean(log_params)
        return np.where((vertex > low) & (vertex < high), vertex, np.nan)
    grid = np.linspace(low, high, GRID)
    lowest = np.argmin(akima(log_params, np.log(loss), grid), axis=1)
    return np.where((lowest > 0) & (lowest < GRID - 1), grid[lowest], np.nan)


def akima(x: Floats, y: Floats, at: Floats) -> Floats:
    """Akima's interpolation (1970) of curves y [batch, points] over ascending x, at points [m]."""
    steps = np.diff(x)
    inner = np.diff(y, axis=1) / steps
    if len(x) == 2:
        line: Floats = y[:, :1] + inner * (at - x[0])
        return line
    before = 2 * inner[:, :1] - inner[:, 1:2]
    after = 2 * inner[:, -1:] - inner[:, -2:-1]
    slopes = np.concatenate(
        [2 * before - inner[:, :1], before, inner, after, 2 * after - inner[:, -1:]], axis=1
    )
    turns = np.abs(np.diff(slopes, axis=1))
    left, right = turns[:, 2:], turns[:, :-2]
    weight = left + right
    plain = 0.5 * (slopes[:, 1:-2] + slopes[:, 2:-1])
    flat = weight <= 1e-9 * np.max(weight, axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        mixed = (left * slopes[:, 1:-2] + right * slopes[:, 2:-1]) / weight
    tangent = np.where(flat, plain, mixed)
    cell = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(steps) - 1)
    width, offset = steps[cell], at - x[cell]
    first, last, rise = tangent[:, cell], tangent[:, cell + 1], inner[:, cell]
    bend = (3 * rise - 2 * first - last) / width
    twist = (first + last - 2 * rise) / width**2
    result: Floats = y[:, cell] + offset * (first + offset * (bend + offset * twist))
    return result


def _rows(law: Law, observations: Table) -> tuple[Table, list[Note]]:
    names = {name: name for name in ("params", "flops", "loss")}
    rows, notes = problem.usable(law, observations, names, True, least=LEAST_SIZES)
    return rows, notes


def _parabola(log_params: Floats) -> Floats:
    """The matrix [3, sizes] that turns losses into the coefficients of their parabola."""
    x = log_params - np.mean(log_params)
    return np.asarray(np.linalg.pinv(np.stack([x**2, x, np.ones_like(x)], axis=1)))


def _noise(curves: Sequence[IsoFlopCurve]) -> float | None:
    """Standard deviation of ln loss about the parabolas, pooled; None without a fourth size."""
    squares, freedom = 0.0, 0
    for curve in curves:
        if len(curve.loss) <= LEAST_SIZES:
            continue
        x = curve.log_params - np.mean(curve.log_params)
        design = np.stack([x**2, x, np.ones_like(x)], axis=1)
        logs = np.log(curve.loss)
        squares += float(np.sum((logs - design @ (_parabola(curve.log_params) @ logs)) ** 2))
        freedom += len(logs) - LEAST_SIZES
    return float(np.sqrt(squares / freedom)) if freedom else None


def _dropped(curve: IsoFlopCurve, why: str) -> Note:
    return Note.of("budget_dropped", f"The budget {curve.flops:.3g} is left out: {why}.")


def _window_notes(curve: IsoFlopCurve, optimum: float) -> list[Note]:
    """What makes a parabola's vertex miss the optimum (arXiv:2603.22339)."""
    left, right = optimum - curve.log_params[0], curve.log_params[-1] - optimum
    notes = []
    if max(left, right) > np.log(WIDE):
        notes.append(
            Note.of(
                "wide_window",
                f"At {curve.flops:.3g} FLOPs the sizes reach {np.exp(max(left, right)):.0f} times"
                " from the optimum, where the curve is no parabola: its vertex is off by some per"
                " cent, and the more the less alpha and beta agree. `law=chinchilla` has no such"
                " bias.",
            )
        )
    if max(left, right) > LOPSIDED * min(left, right):
        notes.append(
            Note.of(
                "lopsided_window",
                f"At {curve.flops:.3g} FLOPs the sizes reach {np.exp(left):.1f} times below the"
                f" optimum and {np.exp(right):.1f} times above: the vertex leans to the longer"
                " side.",
            )
        )
    return notes


def _table(flops: Floats, params: Floats) -> Note:
    pairs = ", ".join(f"{c:.3g}: {n:.3g}" for c, n in zip(flops, params, strict=True))
    return Note.of("optima", f"Compute-optimal params by budget in FLOPs: {pairs}.")


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Intercept and slope of the least-squares line."""
    centred = x - np.mean(x)
    slope = float(centred @ (y - np.mean(y)) / (centred @ centred))
    return float(np.mean(y) - slope * np.mean(x)), slope


def _power(
    law: Law,
    rows: Table,
    flops: Floats,
    log_params: Floats,
    draws: Floats | None,
    options: FitOptions,
    group: Mapping[str, Any] | None,
    notes: Sequence[Note],
    lines: Floats | None = None,
) -> Fit:
    """The fit of params = G flops**a to optima; `draws` [resamples, budgets] are resampled optima,
    `lines` [resamples, 2] their intercepts and slopes where these are known already."""
    x = np.log(flops)
    intercept, slope = _line(x, log_params)
    if lines is None:
        assert draws is not None
        complete = [(x[~np.isnan(d)], d[~np.isnan(d)]) for d in draws]
        lines = np.array([_line(*pair) for pair in complete if len(pair[0]) >= LEAST_BUDGETS])
        lines = lines.reshape(-1, 2)
    squares = float(np.sum((log_params - intercept - slope * x) ** 2))
    noise = float(np.sqrt(squares / max(1, len(x) - 2)))
    design = Design(
        law,
        rows,
        {"flops": "flops", "target": "params"},
        {"flops": flops},
        np.exp(log_params),
        None,
        None,
        get_objective("squared_log"),
        tuple(notes),
    )
    frame = Frame.around(law, design.columns, options)
    surface = frame.surface(design)

    def coordinates(line: Floats) -> Floats:
        """Intercepts and slopes [batch, 2] -> the surface's coordinates [batch, 2]."""
        values = {"G": np.exp(line[:, 0]), "a": line[:, 1]}
        return surface.encode(law.to_scaled(values, frame.scales))

    optimum = Optimum(
        surface, coordinates(np.array([[intercept, slope]]))[0], noise=noise, value=squares
    )
    failed = "leave too few optima inside the sizes"
    drawn = Draws(coordinates(lines), options.resamples, failed=failed)
    fitted = assemble(Problem(design, frame, options, group or {}, of_runs=False), optimum, drawn)
    sizes = {name: v for name, v in rows.columns.items() if name in ("params", "tokens")}
    return replace(fitted, domain={**assembly.domain(sizes), **fitted.domain})


def _by_run(keys: Sequence[str]) -> list[list[int]]:
    rows: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        rows.setdefault(key, []).append(i)
    return list(rows.values())


def _path(rows: Table, index: Sequence[int]) -> tuple[Floats, Floats]:
    """ln flops and ln loss along one run, by rising compute."""
    flops, order = np.unique(rows.columns["flops"][index], return_index=True)
    return np.log(flops), np.log(rows.columns["loss"][index][order])


def _frontier(
    paths: Sequence[tuple[float, Floats, Floats]], chosen: Iterable[int]
) -> tuple[Floats, Floats]:
    """(flops, ln params) where a run has the lowest loss of all, on a log grid of compute.

    Where the smallest or the largest size is best, a size beyond it might be better: left out.
    """
    some = [paths[i] for i in chosen]
    low = min(path[1][0] for path in some)
    high = max(path[1][-1] for path in some)
    grid = np.linspace(low, high, ENVELOPE_POINTS)
    loss = np.stack([np.interp(grid, x, y, left=np.inf, right=np.inf) for _, x, y in some])
    best = np.argmin(loss, axis=0)
    known = np.isfinite(loss[best, np.arange(ENVELOPE_POINTS)])
    sizes = np.log([path[0] for path in some])[best]
    known &= (sizes > np.log(min(path[0] for path in paths))) & (
        sizes < np.log(max(path[0] for path in paths))
    )
    return np.exp(grid[known]), sizes[known]
