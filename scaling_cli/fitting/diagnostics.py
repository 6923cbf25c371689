"""What makes a fit doubtful, each as a coded note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaling_cli.fitting.objective import MAD
from scaling_cli.fitting.shares import LARGE_COUNTS, LEAST_COUNT
from scaling_cli.fitting.targets import is_cross_entropy, is_share
from scaling_cli.laws import Law
from scaling_cli.notes import Note, Severity
from scaling_cli.quantities import counted
from scaling_cli.records import Floats

ROWS_PER_PARAMETER = 3  # below it intervals are wide and laws cannot be told apart
MIN_SIZES = 5  # distinct model sizes that an exponent of params should rest on
SAME_SIZE = 1.02  # sizes within 2 % are one size
SAME_BUDGET = 0.35  # standard deviation of ln compute of runs at, in effect, one budget
COLLINEAR = 0.98  # |correlation| of ln params and ln tokens
NARROW_SPREAD = 0.25  # standard deviation of ln(tokens / params) of a single-ratio design
AGREEMENT = 0.5  # share of the starts that should end in the reported optimum
VANISHED = 1e-3  # a term below this share of the smallest target has been driven to its bound
AT_BOUND = 1e-6  # of a coordinate, or of the range between two bounds if that is narrower
LITTLE = 0.8  # of the spread of the targets: what a fit leaves over that explains little of it
OUTLIER = 6.0  # noise scales
MAX_FAILED_RESAMPLES = 0.05
# Share of resamples without which there is no interval. Of five parameters 3, 31 and 57 % of draws
# of 5, 6 and 7 runs give a fit, and intervals by these alone cover 2, 54 and 78 %, not 90.
LEAST_FOUND = 0.5
WIDE = 10.0  # ratio of an interval's bounds above which a parameter is not identified
LISTED = 5
ROUNDING = 1e-9
EPOCHS = 4.0  # up to here repeated tokens are as good as new (Muennighoff et al. 2023, section 1)
LEAST_CELL = 3  # runs at one place that show how far other settings move the loss
QUESTIONS = 200  # of a small benchmark: a share of them has a binomial spread
SEVERAL = 4.0  # standard deviations: the range of five seeds exceeds it once in 50
SEEDS = 0.03  # relative spread of the loss at one place: ten seeds of one recipe stay within 2 %
LEAST_GROUP = 3  # runs of a group whose residuals are compared with those of others
BY_CHANCE = 3.09  # standard deviations of a normal that chance exceeds once in a thousand
# Share of the way between two levels below which the upper one is not seen: to there a sigmoid is
# no other than a power; and how many of the highest targets say how far runs have come.
SEEN, SEEN_BY = 0.5, 3
LEAST_SIDE = 4  # points on either side of a turn: a line through three leaves one residual
# How many standard errors a slope of the given degrees of freedom is to differ from zero. Where its
# side begins is chosen at the lowest or highest point: with Student's t that chance exceeds once in
# 200, .3 % of 39,000 ladders that never turn (six shapes, 6 to 100 runs) seem to; with these .06 %.
FREEDOM = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 60.0)
SIGNIFICANT = (22.3, 7.00, 6.30, 5.80, 5.30, 4.80, 4.40, 3.75, 3.40)


def design_notes(law: Law, columns: Mapping[str, Floats], runs: float, free: int) -> list[Note]:
    """Notes on the rows [rows] alone, before a fit of `free` parameters.

    `runs` counts the runs as `problem.effective_runs` does.
    """
    notes = []
    rows, wanted = len(next(iter(columns.values()))), ROWS_PER_PARAMETER * free
    if runs < wanted * (1 - ROUNDING):
        few = f"{rows} runs"
        if runs < rows * (1 - ROUNDING):
            few = (
                f"{rows} rows that count as {runs:.1f} runs (by weight, points of one run together)"
            )
        notes.append(
            Note.of(
                "few_runs",
                f"{few} for {counted(free, 'parameter')}; {wanted} or more are needed before the"
                " intervals mean much.",
            )
        )
    notes += _unit_notes(columns)
    for name in law.variables:
        count = distinct(columns[name])
        if count < MIN_SIZES and not _is_indicator(columns[name]):
            notes.append(
                Note.of(
                    "few_sizes",
                    f"Only {counted(count, 'distinct value')} of {name}: its exponent rests on too"
                    " little.",
                    "severe" if count < 3 else "warning",
                )
            )
    if {"params", "tokens"} <= set(law.variables) and rows > 2:
        notes += _ratio_notes(np.log(columns["params"]), np.log(columns["tokens"]))
    return notes


def _ratio_notes(log_params: Floats, log_tokens: Floats) -> list[Note]:
    """Designs [rows] in which params and tokens are one variable: one ratio, or one budget."""
    spread, of_budget, correlation = _together(log_params, log_tokens)
    if spread > NARROW_SPREAD and of_budget < SAME_BUDGET:
        message = (
            "All runs have about one compute budget: how the loss falls with compute is not in"
            " them, and splits of other budgets cannot be recommended. Add runs at other budgets."
        )
        return [Note.of("single_budget_design", message)]
    if spread < NARROW_SPREAD or abs(correlation) > COLLINEAR:
        message = (
            f"params and tokens move together (correlation {correlation:.3f}, tokens per param"
            f" within a factor of {np.exp(2 * spread):.2g}): their terms cannot be separated, so"
            " no split of a budget can be recommended. Add runs at other ratios."
        )
        return [Note.of("collinear_design", message)]
    return []


def _together(log_params: Floats, log_tokens: Floats) -> tuple[float, float, float]:
    """The spread of the ratios and of the budgets of runs [rows], and how params and tokens
    correlate."""
    spread, of_budget = (
        float(np.std(x)) for x in (log_tokens - log_params, log_tokens + log_params)
    )
    both = np.std(log_params) * np.std(log_tokens)
    return spread, of_budget, float(np.corrcoef(log_params, log_tokens)[0, 1]) if both > 0 else 1.0


def on_one_line(log_params: Floats, log_tokens: Floats) -> bool:
    """Whether params and tokens [rows] move together over several budgets."""
    return "collinear_design" in {note.code for note in _ratio_notes(log_params, log_tokens)}


def _unit_notes(columns: Mapping[str, Floats]) -> list[Note]:
    """Counts so small that they are told in another unit."""
    notes = []
    for name in LARGE_COUNTS:
        small = columns.get(name, np.empty(0))
        rows, small = len(small), small[small < LEAST_COUNT]
        if not len(small):
            continue
        told = f"{name} is below {LEAST_COUNT:,.0f} in {counted(len(small), 'run')}"
        message = (
            f"{told} (from {np.min(small):.3g}): it is to be a plain number, and these look like"
            f' millions or billions. Map it, as by [columns] {name} = "config.{name} * 1e9", and'
            " ingest again."
        )
        if 2 * len(small) < rows and np.median(columns[name]) > LEAST_COUNT**2:
            message = (
                f"{told} (from {np.min(small):.3g}) and a plain number in the others: some rows"
                " look like millions or billions. Write all in one unit, and ingest again."
            )
        notes.append(Note.of("units_doubtful", message))
    return notes


def repeated_notes(law: Law, columns: Mapping[str, Floats]) -> list[Note]:
    """Runs [rows] that repeat their data more often than a law that does not know of it allows."""
    if "unique_tokens" in law.variables or not {"tokens", "unique_tokens"} <= set(columns):
        return []
    if "tokens" not in law.variables:
        return []
    many = columns["tokens"] > EPOCHS * SAME_SIZE * columns["unique_tokens"]
    if not many.any():
        return []
    return [
        Note.of(
            "repeated_data",
            f"{np.sum(many)} of {len(many)} runs repeat their unique_tokens more than {EPOCHS:.0f}"
            f" times, and {law.id} takes a repeated token for a new one. Use"
            f" `law=data_constrained`, or `where=` 'tokens <= {EPOCHS:.0f} * unique_tokens'.",
        )
    ]


def settings_notes(columns: Mapping[str, Floats], target: Floats, name: str) -> list[Note]:
    """Runs at one place of the law whose targets [rows], called `name`, differ by more than chance
    would make them."""
    places, cell = np.unique(np.stack(list(columns.values())), axis=1, return_inverse=True)
    cell = cell.reshape(-1)
    ends = np.cumsum(np.bincount(cell, minlength=places.shape[1]))[:-1]
    members = np.split(target[np.argsort(cell, kind="stable")], ends)
    members = [values for values in members if len(values) >= LEAST_CELL]
    spreads = [float(np.ptp(values) / np.median(np.abs(values))) for values in members]
    runs = sum(map(len, members))
    if not runs > len(target) / 2 or not _more_than_seeds(members, target, name):
        return []
    return [
        Note.of(
            "other_settings",
            f"{runs} of {len(target)} runs share {', '.join(columns)} with two others or more, and"
            f" there the target spreads by {np.median(spreads):.0%} (median of"
            f" {counted(len(members), 'place')}): other settings move it, and the fit goes through"
            " their middle. Fit the best of each place, or those of one setting, by `where=`.",
        )
    ]


def _more_than_seeds(members: Sequence[Floats], target: Floats, name: str) -> bool:
    """Whether the targets at one place spread by more than those of seeds do.

    What seeds of a loss do is known. Of a score it is not: there the spread has to be more than
    half of what the whole table shows, and of a share more than a small set of questions makes.
    """
    ranges = np.array([np.ptp(values) for values in members])
    middles = np.array([np.median(values) for values in members])
    if is_cross_entropy(name):
        return float(np.median(ranges / np.abs(middles))) > SEEDS
    chance = 0.0
    if is_share(name):
        share = np.clip(middles, 0.0, 1.0)
        chance = float(np.median(SEVERAL * np.sqrt(share * (1 - share) / QUESTIONS)))
    return float(np.median(ranges)) > max(chance, 0.5 * float(np.ptp(middles)))


def group_notes(relative: Floats, groups: Sequence[str]) -> list[Note]:
    """Groups that do not follow the one law that was fitted to all of them.

    By the ranks of the `relative` residuals [rows] (Kruskal and Wallis 1952): their H is compared
    with a quantile of chi squared (Wilson and Hilferty 1931).
    """
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sizes = np.bincount(member)
    kept = sizes[member] >= LEAST_GROUP
    among = np.flatnonzero(sizes >= LEAST_GROUP)
    freedom = len(among) - 1
    if freedom < 1:
        return []
    values, member = relative[kept], member[kept]
    ranks = np.argsort(np.argsort(values, kind="stable")) - (len(values) - 1) / 2
    between = sum(np.sum(ranks[member == one]) ** 2 / sizes[one] for one in among)
    statistic = 12 * float(between) / (len(values) * (len(values) + 1))
    step = 2 / (9 * freedom)
    if statistic < freedom * (1 - step + BY_CHANCE * step**0.5) ** 3:
        return []
    middles = {str(names[one]): float(np.median(values[member == one])) for one in among}
    low, high = min(middles, key=middles.__getitem__), max(middles, key=middles.__getitem__)
    return [
        Note.of(
            "groups_differ",
            f"The runs of {len(among)} groups do not follow one law: the median residual is"
            f" {middles[low]:+.2%} in {_named(low)} and {middles[high]:+.2%} in {_named(high)}."
            " Fit each by `by=group`, or choose by `where=`.",
        )
    ]


def _named(group: str) -> str:
    return repr(group) if group else "those without a group"


def turn(x: Floats, y: Floats) -> float | None:
    """Where y [n] turns around along x [n]; None where it does not, as far as the noise can tell.

    Two lines in ln x, as Simonsohn (2018, doi:10.1177/2515245918805755) tests a U shape: both
    slopes must be significant and of opposite signs. The break is tried where a parabola has its
    vertex and at the lowest and the highest point.
    """
    order = np.argsort(x, kind="stable")
    logs, y = np.log(x[order]), y[order]
    if distinct(x) < 2 * LEAST_SIDE:
        return None
    bend, slope, _ = np.polyfit(logs, y, 2)
    places = [float(logs[np.argmin(y)]), float(logs[np.argmax(y)])]
    places += [float(-slope / (2 * bend))] if bend else []
    for place in places:
        left, right = logs <= place, logs >= place
        if min(distinct(np.exp(logs[left])), distinct(np.exp(logs[right]))) < LEAST_SIDE:
            continue
        before, after = (_significance(logs[side], y[side]) for side in (left, right))
        if before * after < 0 and min(abs(before), abs(after)) > 1:
            return float(np.exp(place))
    return None


def _significance(x: Floats, y: Floats) -> float:
    """The t value of the slope over its critical value; above 1 it is no chance."""
    centred = x - np.mean(x)
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    left_over = y - np.mean(y) - slope * centred
    freedom = len(x) - 2
    error = float(np.sqrt(left_over @ left_over / freedom / spread))
    critical = float(np.interp(freedom, FREEDOM, SIGNIFICANT))
    return slope / max(error, np.finfo(float).tiny) / critical


def distinct(values: Floats) -> int:
    """How many sizes there are: what lies within 2 % of the first of a cluster belongs to it."""
    values = np.sort(values)
    count, first = 0, 0
    while first < len(values):
        count += 1
        end = values[first] + (SAME_SIZE - 1) * abs(values[first])
        first = int(np.searchsorted(values, end, side="right"))
    return count


def sizes(columns: Mapping[str, Floats]) -> dict[str, int]:
    """How many distinct values each column [rows] has, as `few_sizes` counts them."""
    return {name: distinct(values) for name, values in columns.items()}


def _is_indicator(values: Floats) -> bool:
    """Whether the column only says yes or no, and so has two values by nature."""
    return bool(np.isin(values, (0.0, 1.0)).all() and len(np.unique(values)) == 2)


def solution_notes(agreement: float, starts: int, converged: bool) -> list[Note]:
    """Notes on how the optimum was found."""
    notes = []
    if not converged:
        notes.append(Note.of("not_converged", "The solver stopped before the optimum was reached."))
    if agreement < AGREEMENT:
        notes.append(
            Note.of(
                "starts_disagree",
                f"{agreement:.0%} of {starts} starts end in the reported optimum; the others are"
                " worse. The surface has several minima on this data.",
            )
        )
    return notes


def vanished_notes(names: Sequence[str]) -> list[Note]:
    """Amplitudes and exponents that were driven to zero."""
    return [
        Note.of(
            "at_bound",
            f"{name} was driven to zero: the data do not show this term, and far"
            " extrapolations of the law are not to be relied on.",
        )
        for name in names
    ]


def bound_notes(
    values: Mapping[str, float], bounds: Mapping[str, tuple[float, float]]
) -> list[Note]:
    """Parameters that ended, at these values, at a bound which the user set."""
    notes = []
    for name, value in values.items():
        low, high = bounds[name]
        end, side = (low, "less") if abs(value - low) < abs(value - high) else (high, "more")
        notes.append(
            Note.of(
                "at_bound",
                f"{name} ended at its bound {end:g}: the data ask for {side}, and its interval"
                " stops there.",
            )
        )
    return notes


def level_notes(
    law: Law, free: Sequence[str], target: Floats, values: Mapping[str, float]
) -> list[Note]:
    """A curve between two levels of the target whose upper one lies beyond what the runs show."""
    if len(law.levels) != 2 or law.levels[1] not in free:
        return []
    low, high = (values[name] for name in law.levels)
    best = float(np.median(np.sort(target)[-SEEN_BY:]))
    share = (best - low) / (high - low) if high > low else 1.0
    if share >= SEEN:
        return []
    message = (
        f"The best of the runs reach {best:.3g}, {share:.0%} of the way from {law.levels[0]} to"
        f" {law.levels[1]}: where the curve levels off is not in them, and what lies beyond them"
        " rests on its form."
    )
    return [Note.of("plateau_not_seen", message)]


def no_share(law: str, target: str, value: float) -> Note:
    """A prediction of a share that is none."""
    return Note.of(
        "share_outside",
        f"{law} gives {value:.3g} for {target}, a share, which lies between 0 and 1: the law does"
        " not hold there, and there is no interval.",
    )


def no_rise_notes(law: Law, notes: Sequence[Note]) -> list[Note]:
    """A curve between two levels, by runs that do not show it rise: all may stand at either."""
    between = bool(law.plateaus) or len(law.levels) == 2
    if not between or "explains_little" not in {note.code for note in notes}:
        return []
    message = (
        "No rise is to be seen in these runs: whether they stand at the lower level, before it, or"
        " at the upper one is not in them, and no prediction has an interval."
    )
    return [Note.of("plateau_not_seen", message)]


def explained_notes(
    target: Floats, missed: Floats, weights: Floats | None, name: str
) -> list[Note]:
    """A fit that lies no nearer to the targets [rows] than their median does.

    By squares: where most models of a table are at chance, the medians of both are the noise,
    whatever the fit says of the others. By squares of what is held to an outlier's distance too: a
    robust fit is not to blame for the one run that it leaves aside.
    """
    weights = np.ones(len(target)) if weights is None else weights
    most = OUTLIER * MAD * weighted_median(np.abs(missed), weights)
    aways = np.abs(missed), np.abs(target - weighted_median(target, weights))
    shares = []
    for reach in (np.inf, most):
        left, spread = (float(np.sqrt(weights @ np.minimum(away, reach) ** 2)) for away in aways)
        if not left > LITTLE * spread or not spread > 0:
            return []
        shares.append(left / spread)
    return [
        Note.of(
            "explains_little",
            f"The fit is hardly nearer to the runs than their median {name} is ({min(shares):.0%}"
            " of the distance): the law is not theirs, or the noise hides it.",
        )
    ]


def weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])


def one_run_notes(rows: int) -> list[Note]:
    return [
        Note.of(
            "one_run",
            f"All {rows} rows are points of one run: what another run would give is not known, and"
            " no interval says it.",
        )
    ]


def resample_notes(
    found: int, wanted: int, short: int = 0, failed: str = "did not converge"
) -> list[Note]:
    """Too few of the wanted resamples gave a fit: `short` of them had too few distinct rows, and
    the others `failed`."""
    if not wanted or 1 - found / wanted <= MAX_FAILED_RESAMPLES:
        return []
    shares = {
        "hold fewer distinct rows than the law has free parameters": short / wanted,
        failed: (wanted - found - short) / wanted,
    }
    said = " and ".join(f"{share:.0%} {what}" for what, share in shares.items() if share > 0)
    if found < LEAST_FOUND * wanted:
        end = "too few are left for an interval."
    else:
        end = "these are left out, and the intervals may be too narrow."
    severity: Severity = "severe" if found < LEAST_FOUND * wanted else "warning"
    return [Note.of("resamples_failed", f"Of the resamples, {said}; {end}", severity)]


def interval_notes(law: Law, low: Floats, high: Floats, unknown: Sequence[str]) -> list[Note]:
    """Parameters whose interval [parameters] spans more than a factor of ten; of what is `unknown`
    there is none."""
    wide = [
        parameter.name
        for i, parameter in enumerate(law.parameters)
        if parameter.transform in ("log", "negative")
        and parameter.name not in unknown
        and not max(abs(low[i]), abs(high[i])) <= WIDE * min(abs(low[i]), abs(high[i]))
    ]
    if not wide:
        return []
    return [
        Note.of(
            "not_identified",
            f"The data do not identify {', '.join(wide)} by itself (interval wider than a factor of"
            f" {WIDE:.0f}); predictions near the data are not affected.",
            "info",
        )
    ]


def unknown_notes(names: Sequence[str]) -> list[Note]:
    """Parameters of which the runs say nothing at all."""
    if not names:
        return []
    message = (
        f"The runs say nothing of {', '.join(names)}: the values are where the search ended, and"
        " have no interval."
    )
    return [Note.of("not_identified", message, "warning")]


def outlier_notes(
    residuals: Floats, noise: float, relative: Floats, run_ids: Sequence[str]
) -> list[Note]:
    """Runs whose residual [rows] is many noise scales from the fit; `relative` says how far."""
    far = np.flatnonzero(np.abs(residuals) > OUTLIER * noise)
    if not len(far) or noise <= 0:
        return []
    far = far[np.argsort(-np.abs(residuals[far]), kind="stable")]
    named = ", ".join(f"{run_ids[i]} ({relative[i]:+.1%})" for i in far[:LISTED])
    more = f" and {len(far) - LISTED} more" if len(far) > LISTED else ""
    return [
        Note.of(
            "outliers",
            f"{len(far)} of {len(residuals)} runs lie more than {OUTLIER:.0f} noise scales from the"
            f" fit: {named}{more}.",
            "warning",
        )
    ]
