"""The figures of a report, made from its runs, fits and splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.drawing.figure import PARAMS, TOKENS, Axis, Figure, Mark, Series
from scaling_cli.quantities import count, number, percent, power, share
from scaling_cli.records import Floats
from scaling_cli.report.listing import group_name

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.splits import Allocation
    from scaling_cli.table import Table
    from scaling_cli.training.curve import Curve
    from scaling_cli.training.forecast import Forecast

FLOPS = Axis("training FLOPs", shape=power)
MOST_GROUPS = 8  # colours that can be told apart; of more groups these are drawn
MOST_LISTED = 2  # groups each of whose series has a line of the legend; of more, their runs alone
STEPS = 40  # of a line along compute or params
LONGEST_NAME = 80  # characters of a figure's file
HIDDEN = 0.05  # of the steps at the beginning, whose fall would flatten all the rest of a curve


def report_figures(
    table: Table, fits: Sequence[Fit], allocations: Sequence[Allocation]
) -> list[Figure]:
    """All that can be drawn of these fits: those of the first law of each group, side by side, and
    for each group what its own fit says."""
    main = list({repr(fit.group): fit for fit in reversed(fits)}.values())[::-1]
    surfaces = [fit for fit in main if fit.law.splits]
    made: list[Figure | None] = []
    if surfaces:
        made.append(loss_over_compute(table, surfaces[:MOST_GROUPS], allocations))
    for fit in surfaces[:MOST_GROUPS]:
        made += [isoflops(table, fit, allocations), optimum_ray(table, fit)]
    made += [residuals(table, main[:MOST_GROUPS], along) for along in _ALONG]
    made += [held_out(fits), coverage(fits)]
    made += [errors_by_distance(table, fits), laws_apart(fits, allocations)]
    figures = list(_told_apart(item for item in made if item))
    if len(main) > MOST_GROUPS and figures:
        more = f" Of {len(main)} groups the first {MOST_GROUPS} are drawn."
        figures[0] = replace(figures[0], caption=figures[0].caption + more)
    return [figure.thinned() for figure in figures]


def _of(fit: Fit) -> str:
    return group_name(fit.group) if fit.group else ""


def _slug(*words: str) -> str:
    text = "-".join(word for word in words if word)
    plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in text).lower()
    return re.sub("-+", "-", plain)[:LONGEST_NAME].strip("-")


def _told_apart(figures: Iterable[Figure]) -> Iterator[Figure]:
    """The figures, those whose groups make the same name with a number each."""
    seen: dict[str, int] = {}
    for figure in figures:
        seen[figure.name] = seen.get(figure.name, 0) + 1
        again = seen[figure.name]
        yield replace(figure, name=f"{figure.name}-{again}") if again > 1 else figure


def fitted_rows(table: Table, fit: Fit) -> Table:
    """The runs that a fit rests on, of those that have its columns; all of its group where it does
    not say which."""
    basis = fit.rests_on
    if basis is not None:
        wanted = set(basis.runs)
        table = table.select([run in wanted for run in table.run_ids])
    elif fit.group and fit.group.keys() <= {*table.columns, *table.labels.known()}:
        groups = table.groups(list(fit.group))
        table = next((rows for group, rows in groups if group == fit.group), table)
    names = [name for name in (*fit.law.variables, fit.target) if name in table.columns]
    finite = np.ones(len(table), dtype=bool)
    for name in names:
        finite &= np.isfinite(table.columns[name])
    return table.select(finite)


def _frontier(fit: Fit, budgets: Floats) -> list[Allocation]:
    from scaling_cli.planning.splits import allocate_fit

    splits = [allocate_fit(fit, float(budget)) for budget in budgets]
    return [split for split in splits if split.params and split.loss]


def _compute(fit: Fit, rows: Table) -> Floats:
    return rows.columns["flops"] if "flops" in rows.columns else np.full(len(rows), np.nan)


def loss_over_compute(
    table: Table, fits: Sequence[Fit], allocations: Sequence[Allocation]
) -> Figure | None:
    """Runs, the frontier of every group and, beyond its runs, the interval of what it predicts; of
    many groups the best runs alone, and no intervals."""
    target = fits[0].target
    drawn = [(i, f) for i, f in enumerate(fits) if f.target == target and "flops" in f.domain]
    furthest = max((item.budget_flops for item in allocations), default=0.0)
    series = [item for i, fit in drawn for item in _along_compute(table, fit, i, furthest)]
    many = len(drawn) > MOST_LISTED
    if many:
        series = [
            replace(_best_runs(item), listed=item.mark == "points")
            for item in series
            if item.mark != "band"
        ]
    series = [item for item in series if len(item.x)]
    if not series:
        return None
    rules = ((max(fit.domain["flops"][1] for _, fit in drawn), "largest run"),)
    return Figure(
        "loss-over-compute",
        f"{target.capitalize()} against compute",
        " ".join((*_compute_caption(target, {item.mark for item in series}, many), *_going(fits))),
        FLOPS,
        Axis(target),
        tuple(series),
        rules,
    )


def _compute_caption(target: str, marks: set[Mark], many: bool) -> Iterator[str]:
    """What is seen of the loss over compute, and nothing of what is not."""
    if many:
        yield "Each point is a run; of so many groups those that no cheaper run of theirs beats."
    else:
        yield "Each point is a run."
    if "line" in marks:
        interval = ", and with its interval," if "band" in marks else ""
        yield (
            f"The line is the lowest {target} that the fit expects for that much compute, split"
            f" between params and tokens at its best; dashed{interval or ','} it lies beyond the"
            " largest fitted run. Runs above the line are not split at their best."
        )
    else:
        yield "No line is drawn, as the runs do not say how compute is best split."
    if "hollow" in marks:
        yield "Open marks are runs that were kept out of the fit."


def _going(fits: Sequence[Fit]) -> Iterator[str]:
    if any(note.code == "predicted_finals" for fit in fits for note in fit.notes):
        yield "Runs that have not ended stand at the end that is predicted of them."


def _best_runs(item: Series) -> Series:
    """Of a series of runs those that no run with as little compute beats."""
    if item.mark != "points":
        return item
    x, y = np.asarray(item.x, float), np.asarray(item.y, float)
    best = [i for i in np.lexsort((y, x)) if y[i] <= np.min(y[x <= x[i]])]
    return replace(item, x=x[best], y=y[best], names=[item.names[i] for i in best])


def _along_compute(table: Table, fit: Fit, colour: int, furthest: float) -> Iterator[Series]:
    """The runs of one fit, its frontier inside them and beyond, and its held-out runs."""
    rows = fitted_rows(table, fit)
    low, high = fit.domain["flops"]
    name = _of(fit) or "runs"
    if fit.target in rows.columns:
        points = _compute(fit, rows), rows.columns[fit.target]
        yield Series(name, "points", *points, names=rows.run_ids, colour=colour)
    ahead = _frontier(fit, np.geomspace(high, max(furthest, 10 * high), STEPS // 2))
    both = [split for split in ahead if split.loss_range]
    yield Series(
        f"{share(fit.level)} interval" + (f", {_of(fit)}" if fit.group else ""),
        "band",
        *_columns(both, "budget_flops", "loss"),
        low=[split.loss_range[0] for split in both if split.loss_range],
        high=[split.loss_range[1] for split in both if split.loss_range],
        colour=colour,
    )
    inside = _frontier(fit, np.geomspace(low, high, STEPS // 2))
    line, far = (_columns(splits, "budget_flops", "loss") for splits in (inside, ahead))
    yield Series(f"frontier, {name}", "line", *line, colour=colour)
    yield Series(f"predicted, {name}", "dashes", *far, colour=colour)
    held_out = [row for row in fit.holdout_rows if row.get("params") and row.get("tokens")]
    if held_out:
        compute = [float(fit.compute.flops(row["params"], row["tokens"])) for row in held_out]
        observed = [float(row["observed"]) for row in held_out]
        names = [str(row["run_id"]) for row in held_out]
        yield Series(f"held out, {name}", "hollow", compute, observed, names=names, colour=colour)


def _columns(splits: Iterable[Allocation], x: str, y: str) -> tuple[list[float], list[float]]:
    """Two fields of the splits, each [splits]."""
    rows = [(float(getattr(split, x)), float(getattr(split, y))) for split in splits]
    return [across for across, _ in rows], [up for _, up in rows]


def isoflops(table: Table, fit: Fit, allocations: Sequence[Allocation]) -> Figure | None:
    """Loss over params at budgets inside the runs and at those that were asked."""
    if "flops" not in fit.domain or set(fit.law.variables) != {"params", "tokens"}:
        return None
    rows = fitted_rows(table, fit)
    low, high = fit.domain["flops"]
    asked = [item.budget_flops for item in allocations if item.fit_id == fit.fit_id]
    budgets = [*np.geomspace(low, high, 4)[1:], *sorted(set(asked))[:3]]
    series: list[Series] = []
    for colour, budget in enumerate(budgets):
        best = _frontier(fit, np.array([budget]))
        if not best or best[0].params is None or best[0].loss is None:
            continue
        params = best[0].params * np.geomspace(1 / 12, 12, STEPS)
        tokens = fit.compute.tokens(params, budget)
        loss = fit.curve({"params": params, "tokens": tokens})
        name = f"{power(budget)} FLOPs" + ("" if budget <= high * 1.001 else ", predicted")
        mark: Mark = "line" if budget <= high * 1.001 else "dashes"
        series.append(Series(name, mark, params, loss, colour=colour))
        minimum = [best[0].params], [best[0].loss]
        series.append(Series("", "points", *minimum, names=[f"best of {name}"], colour=colour))
        if budget <= high * 1.001 and fit.target in rows.columns:
            near = np.abs(np.log(_compute(fit, rows) / budget)) < 0.18  # within 20 %
            own = rows.select(near)
            points = own.columns["params"], own.columns[fit.target]
            series.append(Series("", "hollow", *points, names=own.run_ids, colour=colour))
    if not series:
        return None
    return Figure(
        _slug("isoflop", _of(fit)),
        _titled(f"{fit.target.capitalize()} at one budget, by size", fit),
        "Along each curve the compute stays the same and goes from tokens to params. The point is"
        " its minimum, the best size. Open marks are runs whose compute is within 20 % of a curve."
        " A flat curve says that the size hardly matters.",
        PARAMS,
        Axis(fit.target),
        tuple(series),
    )


def _titled(title: str, fit: Fit) -> str:
    return f"{title}: {_of(fit)}" if fit.group else title


def optimum_ray(table: Table, fit: Fit) -> Figure | None:
    """Where the runs lie in params and tokens, and the best split of every budget."""
    rows = fitted_rows(table, fit)
    if "flops" not in fit.domain or not {"params", "tokens"} <= set(rows.columns):
        return None
    low, high = fit.domain["flops"]
    splits = _frontier(fit, np.geomspace(low, 1000 * high, STEPS))
    if not splits:
        return None
    line = _columns(splits, "params", "tokens")
    known = [item for item in splits[::6] if item.tokens_range and None not in item.tokens_range]
    ends = [item.tokens_range for item in known if item.tokens_range]
    bars = Series(
        f"{share(fit.level)} interval",
        "points",
        *_columns(known, "params", "tokens"),
        low=[float(low or 0) for low, _ in ends],
        high=[float(high or 0) for _, high in ends],
        colour=1,
    )
    points = rows.columns["params"], rows.columns["tokens"]
    losses = rows.columns.get(fit.target)
    names = list(rows.run_ids)
    if losses is not None:
        names = [f"{n}, {fit.target} {v:.4g}" for n, v in zip(names, losses, strict=True)]
    return Figure(
        _slug("params-and-tokens", _of(fit)),
        _titled("Runs and best splits, in params and tokens", fit),
        "Points are runs. The line is the best split of every budget, to 1,000 times the compute"
        " of the largest run; its bars reach as far as the interval of the tokens.",
        PARAMS,
        TOKENS,
        (
            Series("runs", "points", *points, names=names),
            bars,
            Series("best split", "line", *line, colour=1),
        ),
    )


_ALONG = {  # what residuals are drawn along, in words
    "params": "by params",
    "tokens": "by tokens",
    "flops": "by compute",
    "run": "in the order of the store",
}


def residuals(table: Table, fits: Sequence[Fit], along: str) -> Figure | None:
    """What each fit misses on its own runs, along one column or in their order in the store."""
    fits = [fit for fit in fits if fit.log == fits[0].log]
    series = [_missed(table, fit, along, colour) for colour, fit in enumerate(fits)]
    drawn = [item for item in series if item is not None]
    if not drawn:
        return None
    places = [float(place) for item in drawn for place in item.x]
    ends = [min(places), max(places)]
    axis = {"params": PARAMS, "tokens": TOKENS, "flops": FLOPS}.get(along)
    caption = (
        "Observed less fitted, run by run. Points that scatter around zero are noise; a bend or a"
        " slope says that the law does not hold there, and what it predicts further on is off."
    )
    if any(fit.metrics.get("hardly_count") for fit in fits):
        caption += " Runs far below the largest hardly count, and may lie far off."
    return Figure(
        f"residuals-{along}",
        f"What the fit misses, {_ALONG[along]}",
        caption,
        axis or Axis("run", log=False, shape=count, whole=True),
        Axis("observed less fitted", log=False, shape=_signed if fits[0].log else number),
        (*drawn, Series("", "line", ends, [0.0, 0.0], colour=6)),
    )


def _signed(value: float | None) -> str:
    return "0" if value is not None and abs(value) < 1e-9 else percent(value, 1, sign=True)


def _missed(table: Table, fit: Fit, along: str, colour: int) -> Series | None:
    rows = fitted_rows(table, fit)
    inputs = {name: fit.columns.get(name, name) for name in fit.law.variables}
    needed = {*inputs.values(), fit.target, *({along} - {"run"})}
    if not len(rows) or not needed <= set(rows.columns):
        return None
    predicted = fit.curve({name: rows.columns[column] for name, column in inputs.items()})
    observed = rows.columns[fit.target]
    missed = observed / predicted - 1 if fit.log else observed - predicted
    places = np.arange(1.0, len(rows) + 1) if along == "run" else rows.columns[along]
    return Series(_of(fit) or "runs", "points", places, missed, names=rows.run_ids, colour=colour)


def held_out(fits: Sequence[Fit]) -> Figure | None:
    """What each fit predicted for runs that it has not seen, over what they came to."""
    series = []
    for colour, fit in enumerate(fits[:MOST_GROUPS]):
        rows = [row for row in fit.holdout_rows if row.get("low") is not None]
        if rows:
            x, y, low, high = (
                [float(row[name]) for row in rows]
                for name in ("observed", "predicted", "low", "high")
            )
            name = f"{fit.name}, {_of(fit)}" if fit.group else fit.name
            names = [f"{row['run_id']} by {name}" for row in rows]
            series.append(Series(name, "points", x, y, low, high, names, colour))
    if not series:
        return None
    values = [value for item in series for value in item.x]
    ends = [min(values), max(values)]
    ends = ends if ends[0] < ends[1] else [0.97 * ends[0], 1.03 * ends[1]]
    target = fits[0].target
    return Figure(
        "held-out",
        "Runs that no fit has seen",
        f"Each point is a run that was kept out of a fit: across, the {target} that it came to; up,"
        " what was predicted, with its interval. On the line the prediction was right; a bar that"
        " does not reach it is a miss that the interval did not cover.",
        Axis(f"observed {target}", log=False),
        Axis(f"predicted {target}", log=False),
        (*series, Series("as observed", "dashes", ends, ends, colour=6)),
    )


LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def coverage(fits: Sequence[Fit]) -> Figure | None:
    """How many of the held-out runs intervals of several levels hold, law by law."""
    series = []
    for colour, name in enumerate(dict.fromkeys(fit.name for fit in fits)):
        asked = [fit for fit in fits if fit.name == name and len(fit.draws)]
        rows = [(fit, row) for fit in asked for row in fit.holdout_rows]
        held = [[_holds(fit.at_level(level), row) for fit, row in rows] for level in LEVELS]
        if rows and all(None not in inside for inside in held):
            shares = [sum(map(bool, inside)) / len(rows) for inside in held]
            names = [f"{name}, {sum(map(bool, inside))} of {len(rows)}" for inside in held]
            label = f"{name}, {len(rows)} runs"
            series.append(Series(label, "points", LEVELS, shares, names=names, colour=colour))
            series.append(Series("", "line", LEVELS, shares, colour=colour))
    if not series:
        return None
    ends = [LEVELS[0], LEVELS[-1]]
    return Figure(
        "coverage",
        "How often intervals held",
        "Across, the share of runs that an interval is to hold; up, the share of the held-out runs"
        " that it held. On the dashed line an interval is what it says; below, it is too narrow."
        " Of few runs a point says little.",
        Axis("share that was stated", log=False, shape=_share),
        Axis("share that was held", log=False, shape=_share),
        (*series, Series("as stated", "dashes", ends, ends, colour=6)),
    )


def _share(value: float | None) -> str:
    return percent(value, 0)


def _holds(fit: Fit, row: Mapping[str, Any]) -> bool | None:
    """Whether the interval of a held-out run holds what it came to; None where it has none."""
    inputs = {name: float(row[name]) for name in fit.law.variables if row.get(name) is not None}
    predicted = fit.predict(inputs) if len(inputs) == len(fit.law.variables) else None
    if predicted is None or predicted.low is None or predicted.high is None:
        return None
    return bool(predicted.low <= float(row["observed"]) <= predicted.high)


def errors_by_distance(table: Table, fits: Sequence[Fit]) -> Figure | None:
    """How far each law missed larger runs, by how much larger they were: its own runs above a cut
    when it was fitted below it, and runs that were kept out."""
    series = []
    for colour, name in enumerate(dict.fromkeys(fit.name for fit in fits)):
        of_law = [fit for fit in fits if fit.name == name]
        cuts = [point for fit in of_law for point in _beyond_cuts(table, fit)]
        single = [point for fit in of_law for point in _beyond_runs(fit)]
        series += _marks(f"{name}, cuts", "points", cuts, colour)
        series += _marks(f"{name}, held-out runs", "hollow", single, colour)
    if not series:
        return None
    return Figure(
        "errors-by-distance",
        "How far laws missed larger runs",
        "Full marks: the law was fitted to the runs below a cut, and missed those above it by so"
        " much (root mean square). Open marks: single runs that were kept out. The further right,"
        " the larger the runs were beside those that the law knew.",
        Axis("times the largest fitted"),
        Axis("relative error", log=False, shape=percent),
        tuple(series),
    )


def _marks(
    name: str, mark: Mark, points: Sequence[tuple[float, float, str]], colour: int
) -> list[Series]:
    """Points of a place, a height and a name each, as one series where there are any."""
    if not points:
        return []
    places, heights, names = zip(*points, strict=True)
    return [Series(name, mark, places, heights, names=names, colour=colour)]


def _beyond_cuts(table: Table, fit: Fit) -> Iterator[tuple[float, float, str]]:
    """How many times the cut the runs above it have, the error on them, and what it is of."""
    rows = fitted_rows(table, fit)
    if fit.record is None or fit.record.along not in rows.columns or not fit.log:
        return
    values = rows.columns[fit.record.along]
    for fold in fit.record.folds:
        above = values[values > fold.cut]
        if len(above):
            what = f"{fit.name}{', ' if fit.group else ''}{_of(fit)}, {fold.n_held} runs"
            yield float(np.median(above) / fold.cut), fold.error, what


def _beyond_runs(fit: Fit) -> Iterator[tuple[float, float, str]]:
    largest = fit.domain.get("flops", (0.0, 0.0))[1]
    for row in fit.holdout_rows:
        if largest and fit.log and row.get("params") and row.get("tokens"):
            flops = float(fit.compute.flops(row["params"], row["tokens"]))
            yield flops / largest, abs(float(row["error"])), f"{row['run_id']} by {fit.name}"


def laws_apart(fits: Sequence[Fit], allocations: Sequence[Allocation]) -> Figure | None:
    """What the laws of one group predict, the further the more apart."""
    group = repr(fits[0].group) if fits else ""
    same = [fit for fit in fits if repr(fit.group) == group and fit.law.splits]
    if len(same) < 2 or "flops" not in same[0].domain:
        return None
    low, high = same[0].domain["flops"]
    furthest = max((item.budget_flops for item in allocations), default=10 * high)
    series = tuple(
        Series(
            fit.name,
            "line" if colour % 2 == 0 else "dashes",
            *_columns(_frontier(fit, np.geomspace(low, furthest, STEPS)), "budget_flops", "loss"),
            colour=colour,
        )
        for colour, fit in enumerate(same[:MOST_GROUPS])
    )
    return Figure(
        "laws-apart",
        _titled("The same runs by several laws", same[0]),
        "The lowest loss for each budget by each law. Where the lines part, the answer rests on the"
        " choice of the law more than on the runs.",
        FLOPS,
        Axis(same[0].target),
        series,
        ((high, "largest run"),),
    )


def curve_figure(curve: Curve, forecast: Forecast) -> Figure:
    """A training curve and what it will log: seen points full, points to come that were not used
    open, the cut between them drawn."""
    last = forecast.steps[-1]
    shown = (curve.steps >= HIDDEN * last) & (curve.steps <= last)
    used = shown & (curve.steps <= forecast.seen)
    unused = shown & (curve.steps > forecast.seen)
    ahead = (forecast.steps > forecast.seen) & (forecast.steps >= HIDDEN * last)
    steps = forecast.steps[ahead]
    series = [
        Series(
            f"{share(forecast.level)} of what may come",
            "band",
            steps,
            forecast.loss[ahead],
            forecast.low[ahead],
            forecast.high[ahead],
            colour=1,
        ),
        Series("predicted", "line", steps, forecast.loss[ahead], colour=1),
        Series("logged", "points", curve.steps[used], curve.loss[used]),
    ]
    if unused.any():
        series.append(Series("logged later", "hollow", curve.steps[unused], curve.loss[unused]))
    cut = ((float(forecast.seen), "predicted from here"),) if 0 < forecast.seen < last else ()
    return Figure(
        "curve",
        forecast.run_id,
        "Logged losses, and what is predicted of the rest with its interval. The first steps, whose"
        " losses are far above all others, are left out.",
        Axis("step", log=False, shape=count, whole=True),
        Axis("loss", log=False),
        tuple(series),
        cut,
    )


def forecast_figures(forecasts: Sequence[tuple[Curve, Forecast]]) -> list[Figure]:
    """The curve of each run with what was predicted of its rest."""
    made = []
    for i, (curve, forecast) in enumerate(forecasts, 1):
        whole = len(curve.steps) and curve.steps[-1] > forecast.seen
        ahead = ", as if it had stopped half way" if whole else ", which goes on"
        title = f"The curve of {curve.run_id}{ahead}"
        drawn = replace(curve_figure(curve, forecast), name=f"forecast-{i}", title=title)
        made.append(drawn.thinned())
    return made


def curves_figure(curves: Sequence[Curve]) -> Figure | None:
    """The training curves of a few runs side by side."""
    if not curves:
        return None
    series = tuple(_lines(curves[:MOST_GROUPS]))
    return Figure(
        "training-curves",
        "Training curves of the largest runs",
        "The loss of each run at every logged step, after its first twentieth.",
        Axis("step", log=False, shape=count, whole=True),
        Axis("loss", log=False),
        series,
    ).thinned()


def _lines(curves: Sequence[Curve]) -> Iterator[Series]:
    for colour, curve in enumerate(curves):
        shown = curve.steps >= HIDDEN * curve.steps[-1]
        yield Series(curve.run_id, "line", curve.steps[shown], curve.loss[shown], colour=colour)
