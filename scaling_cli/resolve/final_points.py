"""Runs in one row each: the canonical columns at the point that counts, and where they are from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field

import numpy as np

from scaling_cli.columns import names_score
from scaling_cli.ending import ENDED, PLANNED, ending
from scaling_cli.errors import InputError
from scaling_cli.losses import by_seed, is_held_out_measure, is_measure, loss_from, of_parts
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note, gather
from scaling_cli.records import Floats, Run, Series
from scaling_cli.resolve.column import Resolved, is_linear, listed, sample
from scaling_cli.resolve.resolver import on_mapped_step, resolve
from scaling_cli.spelling import near, quoted


@dataclass(frozen=True)
class Final:
    """A run in one row: canonical values at its final point, and where each comes from.

    `values` also holds `steps`, the last step that the run reached. `summary` is every logged
    metric at the final point.
    """

    values: dict[str, float]
    mapped: dict[str, str]
    summary: dict[str, float] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Finals:
    """One `Final` a run. `mapped` counts, for each column, the runs that have it from an origin."""

    rows: tuple[Final, ...]
    mapped: dict[str, dict[str, int]]
    notes: tuple[Note, ...]


def finals(runs: Sequence[Run], mapping: Mapping | None = None, strict: bool = True) -> Finals:
    """Each run at its final point, and what was mapped from where.

    If `strict`, an InputError tells of a mapped column whose names no run has, and of runs without
    any loss; else each such run has a note, as where only some runs are without.
    """
    mapping = mapping or Mapping()
    runs = [on_mapped_step(run, mapping) for run in runs]
    resolved = _resolve_all(runs, mapping)
    if strict:
        _check(runs, mapping, resolved)
    notes = [tuple(_lacking(run, columns)) for run, columns in zip(runs, resolved, strict=True)]
    rows = tuple(
        _final(run, columns, mapping.final, (*columns.notes, *notes[i]))
        for i, (run, columns) in enumerate(zip(runs, resolved, strict=True))
    )
    return together([run.run_id for run in runs], rows)


def together(run_ids: Sequence[str], rows: Sequence[Final]) -> Finals:
    """The rows of these runs with what was mapped from where in all of them."""
    mapped: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, origin in row.mapped.items():
            origins = mapped.setdefault(name, {})
            origins[origin] = origins.get(origin, 0) + 1
    pairs = [
        (run_id, note) for run_id, row in zip(run_ids, rows, strict=True) for note in row.notes
    ]
    return Finals(tuple(rows), mapped, (*_mixtures(mapped), *gather(pairs)))


def points(run: Run, mapping: Mapping | None = None) -> dict[str, Floats]:
    """Every column at each step at which the loss was logged; one row for a run without history."""
    columns = resolve(run, mapping).columns
    loss = columns.get("loss")
    if loss is None or not isinstance(loss.values, Series):
        return {name: column.at([0]) for name, column in columns.items()}
    steps = loss.values.steps
    return {name: column.at(steps, is_linear(name)) for name, column in columns.items()}


def _mixtures(mapped: dict[str, dict[str, int]]) -> Iterator[Note]:
    """Runs whose loss or size was read from different names may not compare."""
    for name in ("loss", "params"):
        origins = mapped.get(name, {})
        if len(origins) > 1:
            told = ", ".join(f"{origin} in {count} runs" for origin, count in origins.items())
            message = f"{name} is read from different names: {told}; map it if they differ"
            yield Note.of("mixed_origins", message)


def _resolve_all(runs: Sequence[Run], mapping: Mapping) -> list[Resolved]:
    """A column that is negative in one run of a file (a count past 63 bits wraps around) is wrong
    in its other runs too, even where it looks right."""
    resolved = [resolve(run, mapping) for run in runs]
    refused: dict[str, set[tuple[str, str]]] = {}
    for run, columns in zip(runs, resolved, strict=True):
        if columns.refused:
            refused.setdefault(run.source, set()).update(columns.refused)
    return [
        resolve(run, mapping, refused[run.source])
        if not refused.get(run.source, set()) <= columns.refused
        else columns
        for run, columns in zip(runs, resolved, strict=True)
    ]


# What makes the rows of a table runs.
_SIZED = {"params", "params_non_embedding", "params_active", "tokens", "flops"}


def _check(runs: Sequence[Run], mapping: Mapping, resolved: Sequence[Resolved]) -> None:
    if not runs:
        return
    for name in mapping.columns:
        lacking = [columns.unknown[name] for columns in resolved if name in columns.unknown]
        if len(lacking) == len(runs):
            found = {known for columns in resolved for known in columns.columns}
            raise _unknown_name(runs, mapping, name, lacking[0], found)
    if not any("loss" in columns.columns for columns in resolved):
        for run, columns in zip(runs, resolved, strict=True):
            for note in columns.notes:
                if note.code == "loss_no_number":
                    raise InputError(f"{run.source}: {note.message}", "Write it as 3.21.")
        for run in runs:
            for note in run.notes:
                if note.code == "decimal_comma":
                    where = "" if note.message.startswith(run.source) else f"{run.source}: "
                    raise InputError(where + note.message, "Write numbers with a decimal point.")
        names = sorted({name for run in runs for name in _logged_names(run)})
        known = [set(columns.columns) for columns in resolved]
        sized = any(not _SIZED.isdisjoint(found) for found in known)
        # Rows of a table are runs, whatever their size is called.
        rows = len(runs) > 1 and len(names) > 1 and not any(run.series for run in runs)
        if any(map(names_score, names)) and (sized or rows):
            return  # runs of another target: it keeps its own name, and is no loss
        measure = next(filter(is_held_out_measure, names), None)
        if measure is None and rows:  # a table's one perplexity, or one loss of another name
            alike = [n for n in names if is_measure(n) or n.lower().endswith("_loss")]
            measure = alike[0] if len(alike) == 1 else None
        seeds = by_seed(names)
        given = "..." if measure is None else loss_from(measure)
        given = mean_of(seeds) if seeds else given
        sources = list(dict.fromkeys(run.source for run in runs))
        where = sources[0] + (f" and {len(sources) - 1} more files" if len(sources) > 1 else "")
        raise InputError(
            f"{where}: no run has a loss among its {len(names)} columns ({listed(names)})",
            f'{near("loss", names)} Name it in scalefit.toml: [columns] loss = "{given}"'.strip(),
        )


def mean_of(names: Sequence[str]) -> str:
    """The mean of the losses of some seeds, as a mapping writes it."""
    return f"({' + '.join(map(quoted, names))}) / {len(names)}"


_LEAST = {"params": 1e3, "tokens": 1e3}  # of a model and of what it was trained on


def _too_small(values: Dict[str, float], origins: Dict[str, str]) -> Iterator[Note]:
    """A note on counts that must be of thousands, millions or billions."""
    for name, least in _LEAST.items():
        if 0 < values.get(name, least) < least and re.fullmatch(r"[\w./]+", origins[name]):
            message = (
                f"{name} is {values[name]:g}, from {origins[name]}, which is too few to be their"
                f' count. If it is in millions: [columns] {name} = "{origins[name]} * 1e6"'
            )
            yield Note.of("units_unlikely", message)


def _lacking(run: Run, columns: Resolved) -> Iterator[Note]:
    for name, names in columns.unknown.items():
        told = f"[columns] {name}: no {' and no '.join(names)}"
        yield Note.of("mapped_name_missing", told)
    if "loss" not in columns.columns and "loss" not in columns.unknown:
        message = "no column is known as the loss; a score is fitted by its own name: `y=NAME`"
        parts = of_parts(run.series)
        if parts:
            message = (
                f"no column is known as the loss, for each of these is of a part of the data:"
                f' {listed(parts)}. To take one: [columns] loss = "{quoted(parts[0])}"'
            )
        yield Note.of("no_loss", message)


def _unknown_name(
    runs: Sequence[Run], mapping: Mapping, column: str, names: tuple[str, ...], found: set[str]
) -> InputError:
    text = mapping.columns[column]
    logged = sorted({name for run in runs for name in _logged_names(run)})
    steps = {run.step_name for run in runs if run.step_name} if column == "step" else set()
    known = [*logged, *sorted((found | steps) - {*logged, column})]
    bare = re.fullmatch(r"[\w./-]+", text) is not None  # a name, whatever else it may be read as
    names = (text,) if bare else names
    hint = " ".join(filter(None, (near(name, known) for name in names)))
    if not hint:
        hint = f"Logged are {listed(logged)}."
        hint += f" The step is called {' or '.join(sorted(steps))} there." if steps else ""
    parts = set(re.findall(r"[\w./-]+", text))
    slashed = next((n for n in logged if "/" in n and n in parts and f"`{n}`" not in text), None)
    if slashed is not None:
        hint += f" Inside an expression write `{slashed}` in backticks."
    return InputError(
        f'{mapping.path or "mapping"}: [columns] {column} = "{text}": no run has'
        f" {' and no '.join(map(repr, names))}",
        hint,
    )


def _logged_names(run: Run) -> Iterator[str]:
    yield from run.series
    for key in run.config:
        yield f"config.{key}"


def _final(run: Run, resolved: Resolved, rule: str, notes: tuple[Note, ...]) -> Final:
    columns = resolved.columns
    loss = columns.get("loss")
    last = max((int(s.steps[-1]) for s in run.series.values() if len(s.steps)), default=0)
    step, target = last, None
    if loss is not None and isinstance(loss.values, Series) and len(loss.values.steps):
        step, target = _final_point(loss.values, rule)
    values = {n: float(column.at([step], is_linear(n))[0]) for n, column in columns.items()}
    if target is not None:
        values["loss"] = target
    if run.series:
        values["steps"] = float(last)
    elif "step" in values:
        values["steps"] = values["step"]
    summary = {
        name: float(sample(series, np.array([step]), is_linear(name))[0])
        for name, series in run.series.items()
        if len(series.steps)
    }
    end, plan = ending(run, columns, values.get("steps"))
    origins = {**resolved.origins, **({PLANNED: plan} if plan else {}), ENDED: end.origin}
    if end.planned is not None:
        values[PLANNED] = end.planned
    if end.ended is not None:
        values[ENDED] = float(end.ended)
    doubts = (*_too_small(values, origins), *end.notes(run.status))
    return Final(values, origins, summary, (*notes, *doubts))


def _final_point(loss: Series, rule: str) -> tuple[int, float]:
    """The step that counts and the loss there: the last, the lowest, or a mean of the last K."""
    if rule == "min" and not np.all(np.isnan(loss.values)):
        lowest = int(np.nanargmin(loss.values))
        return int(loss.steps[lowest]), float(loss.values[lowest])
    if rule.startswith("mean:"):
        k = int(rule.removeprefix("mean:"))
        return int(loss.steps[-1]), float(np.mean(loss.values[-k:]))
    return int(loss.steps[-1]), float(loss.values[-1])
