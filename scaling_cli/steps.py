"""Which of its counters is a run's step, and what it logged, put on it.

A logger counts its calls (`_step`), a trainer its updates, and only the second is the step that
tokens are computed from. The trainer's own counter, if it was logged, comes first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scaling_cli.columns import COLUMNS
from scaling_cli.notes import Note
from scaling_cli.records import Floats, Run, Series
from scaling_cli.spelling import spelled, unfiled

Points = dict[str, tuple[NDArray[np.int64], Floats]]  # metric -> steps and values as logged

CALLS = ("_step",)  # how often a logger was called
STEP_IS = "step_is"  # the setting that says what the steps count, where they are none of a trainer
AS_CALLED = "calls"  # its value where they may be but how often the logger was called
_UNBROKEN = 0.95  # of the strides are 1 where a logger counts by itself; some calls log only media
# The likeliest first, as `spelled` makes them.
_OWN = (
    "global step", "global steps", "optimizer step", "optimizer steps", "optim step", "opt step",
    "gradient step", "gradient steps", "step", "training step", "training steps", "train step",
    "train steps", "num updates", "num update", "n updates", "update", "updates", "update step",
    "current steps", "current step", "iteration", "iterations", "iter", "iters", "it", "itr",
    "iter num", "step num", "step idx", "n iter", "training iteration", "valid num updates",
    "train num updates", "global step max steps", "time batch",
)  # fmt: skip
_RANK = {name: place for place, name in enumerate(_OWN)}
_LARGEST = 2.0**62
_ONE_COUNT = 0.01  # of a count: one that begins at 0 and one that begins at 1


@lru_cache(maxsize=1 << 14)
def own_rank(name: str) -> int | None:
    """How likely a name is the run's own step, the smaller the likelier; None if it is not."""
    if name.startswith("_"):
        return None
    ranks = [_RANK[n] for n in (spelled(name), unfiled(name)) if n in _RANK]
    return min(ranks, default=None)


def step_names(names: Iterable[str], mapped: str | None = None) -> list[str]:
    """Those of the names that may be the step: the mapped one, the run's own, a logger's count."""
    known = list(names)
    own = [(rank, name) for name in known if (rank := own_rank(name)) is not None]
    chosen = [mapped] if mapped in known else []
    chosen += [name for _, name in sorted(own, key=lambda item: item[0])]
    chosen += [name for name in (*CALLS, *COLUMNS["step"].names) if name in known]
    return list(dict.fromkeys(name for name in chosen if name is not None))


_SAVED = {"checkpoint", "ckpt", "revision", "checkpoint name", "checkpoint step", "model step"}
_IN_A_NAME = re.compile(r"(\D*)(\d{1,15})(\D*)")


def saved_steps(name: str, texts: Sequence[str]) -> list[int] | None:
    """The steps in the names of checkpoints: `step100`, `step200`."""
    if len(texts) < 2 or not {spelled(name), unfiled(name)} & _SAVED:
        return None
    parts = [_IN_A_NAME.fullmatch(text.strip()) for text in texts]
    frames = {(part[1], part[3]) for part in parts if part is not None}
    if None in parts or len(frames) > 1:
        return None
    return [int(part[2]) for part in parts if part is not None]


def from_names(source: str, name: str, text: str) -> Note:
    message = f"{source}: the step is the number in {name} ({text})"
    return Note.of("step_by_order", message)


def is_counter(values: Floats) -> bool:
    """Whether values, in the order of logging, may count steps: whole, and rising in the end."""
    if not len(values) or not np.isfinite(values).all():
        return False
    whole = bool(np.all((values >= 0) & (values < _LARGEST) & (values == np.round(values))))
    rises = len(values) < 2 or float(values.max()) > float(values[0])
    return whole and rises and int((np.diff(values) < 0).sum()) * 4 <= len(values)


def own_step(points: Points, declared: Sequence[str] = ()) -> str | None:
    """The metric that is the run's own step, if one is: as declared to the logger, else by name."""
    means = {spelled(name) for column in ("tokens", "flops") for name in COLUMNS[column].names}
    named = [n for n in declared if n in points and spelled(n) not in means]
    for name in dict.fromkeys([*(n for n in named if not _is_time(n)), *step_names(points)]):
        if name not in CALLS and len(points[name][0]) and is_counter(points[name][1]):
            return name
    return None


def _is_time(name: str) -> bool:
    words = set(spelled(name).split())
    return bool(words & {"epoch", "epochs", "time", "timestamp", "runtime", "tokens", "samples"})


def put_on(points: Points, name: str) -> tuple[Points, list[Note]]:
    """The points on the steps that the metric `name` counts.

    A row without it stands where the last row with it stood, or between two of them where many
    rows would fall on one step. What a restart logged again replaces what was logged before.
    """
    calls, counted = points[name]
    order = np.argsort(calls, kind="stable")
    calls, counted = calls[order], counted[order]
    joined, notes = unrolled(counted, _epochs(points, calls), name)
    if joined is not None:
        counted = joined
    whole = counted.astype(np.int64)
    if np.array_equal(calls, whole):
        return points, notes
    bounds = [0, *(np.flatnonzero(np.diff(counted) < 0) + 1).tolist(), len(counted)]
    moved: Points = {}
    replaced = 0
    for first, last in pairwise(bounds):
        start = calls[first] if first else None
        stop = calls[last] if last < len(calls) else None
        part = {
            metric: piece
            for metric, (at, values) in points.items()
            if len((piece := _between(at, values, start, stop))[0])
        }
        fresh = _moved(part, calls[first:last], whole[first:last])
        firsts = {metric: int(at.min()) for metric, (at, _) in fresh.items()}
        replaced += drop_from(moved, firsts)
        for metric, piece in fresh.items():
            moved[metric] = join([moved[metric], piece]) if metric in moved else piece
    if replaced:
        message = f"{replaced} points from before a restart were logged again and are replaced"
        notes.append(Note.of("restarted", message))
    return moved, notes


def in_sessions(
    sessions: Sequence[Points], declared: Sequence[str] = ()
) -> tuple[Points, list[Note]]:
    """One history from those of a run's sessions, each on its own step, in the order of their
    starts; and what was joined or replaced.

    A session replaces what the ones before it logged from its first step on. Offline its logger
    counts from 0 again: without a step of its own it is put behind the one before.
    """
    points: Points = {}
    notes: list[Note] = []
    again = joined = 0
    names = [own_step(session, declared) for session in sessions]
    common = names[0] if len(set(names)) == 1 else None
    calls = last = 0
    for session in sessions:
        if common is not None:
            calls = max(calls, _end(session))
            session, said = put_on(session, common)
            notes += said
        elif points and _begins_again(session, points):
            shift = _end(points) + 1
            session = {metric: (at + shift, values) for metric, (at, values) in session.items()}
            joined += 1
        firsts = {metric: int(at.min()) for metric, (at, _) in session.items() if len(at)}
        counter = {name: firsts.pop(name) for name in (common,) if name in firsts}
        again += drop_from(points, firsts)
        drop_from(points, counter)
        for metric, found in session.items():
            points[metric] = join([points[metric], found]) if metric in points else found
        last = max(last, _end(session))
    if again:
        message = f"{again} points from before a restart were logged again and are replaced"
        notes.append(Note.of("restarted", message))
    if joined:
        message = (
            f"{joined + 1} sessions count their calls from 0 and log no step of their own; they are"
            " put behind one another, so steps logged twice stand twice"
        )
        notes.append(Note.of("counter_joined", message))
    if common is not None and calls != last:
        notes.append(disagreement(common, calls, last))
    return points, notes


def _end(points: Points) -> int:
    return max((int(at.max()) for at, _ in points.values() if len(at)), default=0)


def _begins_again(session: Points, before: Points) -> bool:
    """Whether a session's count goes on from nothing that was logged before: it counts its calls
    from 0, one by one."""
    at = np.unique(np.concatenate([steps for steps, _ in session.values()] or [np.zeros(1, int)]))
    old = np.unique(np.concatenate([steps for steps, _ in before.values()] or [np.zeros(1, int)]))
    counts = len(at) > 1 and at[0] == 0 and bool((np.diff(at) == 1).all())
    counted = counts and len(old) > 1 and old[0] == 0 and bool((np.diff(old) == 1).all())
    return counted and not _says_the_same(session, before)


def _says_the_same(session: Points, before: Points) -> bool:
    """Whether two sessions logged the same values at the same steps: one is a copy of the other."""
    for metric in session.keys() & before.keys():
        if metric.startswith("_"):
            continue
        known = dict(zip(*(array.tolist() for array in before[metric]), strict=True))
        pairs = [(v, known[s]) for s, v in zip(*session[metric], strict=True) if s in known]
        if sum(one != other for one, other in pairs) * 10 > len(pairs):
            return False
    return True


def marked_if_called(run: Run, declared: Sequence[str] = ()) -> Run:
    """The run, with the setting that says so where it logged no step of its own and its steps look
    like a logger's count of its calls: from 0 on, one by one."""
    points = {name: (series.steps, series.values) for name, series in run.series.items()}
    if STEP_IS in run.config or not points or own_step(points, declared) is not None:
        return run
    at = np.unique(np.concatenate([series.steps for series in run.series.values()]))
    counts = len(at) > 1 and at[0] == 0 and bool((np.diff(at) == 1).mean() >= _UNBROKEN)
    return replace(run, config=run.config | {STEP_IS: AS_CALLED}) if counts else run


def unmarked(run: Run) -> Run:
    """The run, whose steps are now said to be steps."""
    if run.config.get(STEP_IS) != AS_CALLED:
        return run
    return replace(run, config={k: v for k, v in run.config.items() if k != STEP_IS})


def calls_beside(run: Run) -> tuple[int, str]:
    """How many calls logged metrics without the one that most calls log, as evaluations do, and
    that one's name; those behind its last are left out."""
    logged = {n: s.steps for n, s in run.series.items() if not n.startswith("_") and len(s.steps)}
    if not logged:
        return 0, ""
    most = max(logged, key=lambda name: len(logged[name]))
    others = np.unique(np.concatenate(list(logged.values())))
    others = others[others < logged[most][-1]]
    return int((~np.isin(others, logged[most])).sum()), most


def disagreement(name: str, calls: int, last: int) -> Note:
    """That the logger's count of calls is not the step."""
    message = (
        f"the step is {name}, up to {last:,}, as the run logged it; the logger's own count, up to"
        f" {calls:,}, is of its calls"
    )
    return Note.of("own_step", message)


def on_own_step(run: Run, mapped: str | None = None, declared: Sequence[str] = ()) -> Run:
    """The run on its own step, with a note where its source had it on another."""
    if mapped is not None and mapped in run.series:
        name: str | None = mapped
        if not is_counter(run.series[mapped].values):
            return run
    elif mapped is not None:
        return unmarked(run) if mapped in CALLS else run
    else:
        candidates = {n: run.series[n] for n in run.series if own_rank(n) is not None}
        candidates |= {n: run.series[n] for n in declared if n in run.series}
        name = own_step({n: (s.steps, s.values) for n, s in candidates.items()}, declared)
    if name is None:
        return run
    if mapped is None and _likelier(run.step_name, name):
        return _beside(run, name)
    own = run.series[name]
    if np.array_equal(own.steps, own.values):
        return run
    before = max(int(s.steps[-1]) for s in run.series.values() if len(s.steps))
    points, notes = put_on({n: (s.steps, s.values) for n, s in run.series.items()}, name)
    series = {n: Series(*_last_of_each(*found)) for n, found in points.items() if len(found[0])}
    last = max(int(s.steps[-1]) for s in series.values())
    note = disagreement(name, before, last)
    return replace(unmarked(run), series=series, notes=(*run.notes, *notes, note))


def _beside(run: Run, name: str) -> Run:
    """The run, with a note where another count of it goes elsewhere than its step."""
    own = run.series[name]
    last, other = float(own.steps[-1]), float(own.values.max())
    if not is_counter(own.values) or abs(other - last) <= _ONE_COUNT * max(last, other):
        return run
    message = (
        f"the step is {run.step_name}, up to {last:,.0f}; {name}, up to {other:,.0f}, is another"
        f' count. To take it: [columns] step = "{name}"'
    )
    return replace(run, notes=(*run.notes, Note.of("own_step", message)))


def _likelier(axis: str, name: str) -> bool:
    """Whether what the source has as its step is a trainer's, and by name the likelier."""
    known, other = own_rank(axis), own_rank(name)
    called = not axis or axis == "Step"  # as W&B's exports call the count of calls
    return not called and known is not None and (other is None or known <= other)


def begun_again(counted: Floats, loss: Floats) -> list[int]:
    """Where a history of another run begins, as its counter and its loss both stand again where
    they began; the loss is NaN where it was not logged. None of these are a restart of one run."""
    falls = np.flatnonzero(np.diff(counted) < 0) + 1
    known = np.flatnonzero(np.isfinite(loss))
    if not len(falls) or not len(known) or (counted[falls] > counted[0]).any():
        return []
    ends = counted[[*(falls - 1), -1]]
    if ends.min() < _AS_FAR * ends.max():  # it broke off, and was begun again
        return []
    first = float(loss[known[0]])
    for fall in falls.tolist():
        before, after = known[known < fall], known[known >= fall]
        if not len(before) or not len(after):
            return []
        old, new = float(loss[before[-1]]), float(loss[after[0]])
        if not (first - old > _FALLEN * abs(first) and first - new < 0.5 * (first - old)):
            return []
    return falls.tolist()


def unrolled(
    counted: Floats, epochs: Floats | None, name: str, seen: Floats | None = None
) -> tuple[Floats | None, list[Note]]:
    """A counter that begins again with each epoch, or while what was `seen` in all goes on to rise,
    as one that rises; None if it does not."""
    falls = np.flatnonzero(np.diff(counted) < 0) + 1
    if not len(falls):
        return None, []
    bounds = [0, *falls.tolist(), len(counted)]
    starts = counted[bounds[:-1]]
    if epochs is not None:
        known = bool(np.all(epochs[falls] > epochs[falls - 1])) and bool(
            np.all(starts <= starts[0])
        )
    elif seen is not None:
        known = bool(np.all(starts <= starts[0])) and bool(np.all(np.diff(seen) >= 0))
    else:
        ends = counted[falls - 1]
        known = len(falls) > 1 and bool(np.all(starts == starts[0]) and np.all(ends == ends[0]))
    if not known:
        return None, []
    rises = np.diff(counted)
    stride = float(np.median(rises[rises > 0])) if (rises > 0).any() else 1.0
    offset, joined = 0.0, counted.copy()
    for first, last in pairwise(bounds):
        joined[first:last] += offset
        offset = joined[last - 1] + (stride if starts[0] == 0 else 0.0)
    message = f"{name} begins again {len(falls)} times; its parts are put behind one another"
    return joined, [Note.of("counter_joined", message)]


def join(arrays: Sequence[tuple[NDArray[np.int64], Floats]]) -> tuple[NDArray[np.int64], Floats]:
    """One metric's points from several parts."""
    steps, values = zip(*arrays, strict=True)
    return np.concatenate(steps), np.concatenate(values)


def drop_from(points: Points, firsts: Mapping[str, int]) -> int:
    """Drop each metric's points from a step on, since a restart logged them again; counts them."""
    dropped = 0
    for metric in points.keys() & firsts.keys():
        steps, values = points[metric]
        kept = steps < firsts[metric]
        dropped += len(steps) - int(kept.sum())
        points[metric] = steps[kept], values[kept]
    return dropped


def _epochs(points: Points, calls: NDArray[np.int64]) -> Floats | None:
    """The epoch at each of the calls, where one was logged."""
    for metric, (at, values) in points.items():
        if unfiled(metric) == "epoch" and len(at):
            place = np.searchsorted(at, calls, side="right") - 1
            return np.asarray(values[np.maximum(place, 0)], dtype=np.float64)
    return None


def _between(
    at: NDArray[np.int64], values: Floats, start: int | None, stop: int | None
) -> tuple[NDArray[np.int64], Floats]:
    kept = np.ones(len(at), dtype=bool)
    if start is not None:
        kept &= at >= start
    if stop is not None:
        kept &= at < stop
    return at[kept], values[kept]


def _moved(part: Points, calls: NDArray[np.int64], counted: NDArray[np.int64]) -> Points:
    moved: Points = {}
    for metric, (at, values) in part.items():
        place = np.maximum(np.searchsorted(calls, at, side="right") - 1, 0)
        steps = counted[place]
        if len(np.unique(steps)) < len(np.unique(at)) and len(calls) > 1:
            between = np.interp(at, calls, counted.astype(np.float64))
            beyond = at > calls[-1]
            if beyond.any():
                rate = (counted[-1] - counted[0]) / max(int(calls[-1] - calls[0]), 1)
                between[beyond] = counted[-1] + rate * (at[beyond] - calls[-1])
            steps = np.round(between).astype(np.int64)
        moved[metric] = steps, values
    return moved


def _last_of_each(steps: NDArray[np.int64], values: Floats) -> tuple[NDArray[np.int64], Floats]:
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    last = np.append(steps[1:] != steps[:-1], True)
    return np.ascontiguousarray(steps[last]), np.ascontiguousarray(values[last])


# A history whose step goes by an unknown name

_HINTS = {
    "step", "steps", "iter", "iters", "iteration", "iterations", "update", "updates", "batch",
    "batches", "tick", "round", "it", "itr", "idx",
}  # fmt: skip
_NO_COUNTERS = {
    "token", "tokens", "sample", "samples", "example", "examples", "sequence", "sequences", "flops",
    "flos", "seed", "time", "seconds", "timestamp", "runtime", "epoch", "epochs", "index",
    "unnamed", "id", "rank", "memory", "mem", "bytes", "size", "max", "total", "num", "width",
    "idx", "depth", "layers", "heads", "params", "year", "day", "wps", "loss", "eta",
    "acc", "acc1", "acc5", "top1", "top5", "accuracy", "error", "score", "reward", "bleu", "f1",
}  # fmt: skip
_SETTINGS = {
    spelled(name)
    for column in ("params", "params_non_embedding", "width", "depth", "experts", "vocab", "N")
    for name in (COLUMNS[column].names if column in COLUMNS else (column,))
} | {
    "seed", "d model", "n layer", "n layers", "num layers", "n head", "hidden size", "dim",
    "unique tokens", "unique samples", "budget", "budget flops", "model size", "size",
}  # fmt: skip
_CLOCKS = {"time", "timestamp", "runtime", "elapsed", "seconds", "secs", "minutes", "hours", "wall"}
_LEAST_ROWS = 3
_AS_FAR = 0.9  # of the longest of several runs in one file
_FALLEN = 0.02  # of the first loss: a run that has fallen less says nothing by its loss
_EVEN = 0.8  # of the strides are the usual one


def settings_differ(numbers: Mapping[str, Floats]) -> bool:
    """Whether a column that is a setting of a run differs between the rows."""
    for name, values in numbers.items():
        if spelled(name) in _SETTINGS or unfiled(name) in _SETTINGS:
            known = values[np.isfinite(values)]
            if len(known) > 1 and bool((known != known[0]).any()):
                return True
    return False


def counters(numbers: Mapping[str, Floats]) -> list[str]:
    """The columns that may count the steps of one history, the likeliest alone if one is; each
    column is [rows], NaN where empty."""
    rising = [name for name, values in numbers.items() if _counts(name, values)]
    hinted = [name for name in rising if set(spelled(name).split()) & _HINTS]
    return hinted or rising


def _counts(name: str, values: Floats) -> bool:
    words = set(spelled(name).split())
    if not words or (words & _NO_COUNTERS and not words & _HINTS):
        return False
    known = values[np.isfinite(values)]
    if len(known) < max(_LEAST_ROWS, _EVEN * len(values)) or not is_counter(known):
        return False
    rises = np.diff(known)
    if (rises > 0).sum() < 0.5 * len(rises):
        return False
    return bool(words & _HINTS) or is_even(known)


def is_even(values: Floats) -> bool:
    """Whether values rise by one stride, but for a few: a history's do, a ladder's do not."""
    known = values[np.isfinite(values)]
    rises = np.diff(known)
    rises = rises[rises > 0]
    if len(rises) < _LEAST_ROWS - 1 or len(rises) < 0.5 * (len(known) - 1):
        return False
    usual = float(np.median(rises))
    return bool((np.abs(rises - usual) <= 0.01 * usual).mean() >= _EVEN)


def epoch_column(numbers: Mapping[str, Floats]) -> str | None:
    """The column of epochs, where it may count the rows of one history."""
    for name, values in numbers.items():
        known = values[np.isfinite(values)]
        whole = unfiled(name) == "epoch" and len(known) > 1 and is_counter(known)
        if whole and bool((np.diff(known) > 0).all()):
            return name
    return None


def rising(numbers: Mapping[str, Floats], names: Collection[str]) -> str | None:
    """The first of the columns that rises from row to row evenly."""
    for name, values in numbers.items():
        known = values[np.isfinite(values)]
        rises = len(known) > _LEAST_ROWS and bool((np.diff(known) >= 0).all())
        if name in names and rises and is_even(known):
            return name
    return None


def passing(numbers: Mapping[str, Floats]) -> str | None:
    """The column of a time that passes from row to row, where nothing says the size or the compute
    of a run: its rows are points of one history."""
    sized = {spelled(name) for column in ("tokens", "flops") for name in COLUMNS[column].names}
    if any(spelled(name) in sized or unfiled(name) in sized for name in numbers):
        return None
    for name, values in numbers.items():
        passes = len(values) >= _LEAST_ROWS and bool((np.diff(values) > 0).all())
        if passes and set(spelled(name).split()) & _CLOCKS:
            return name
    return None
