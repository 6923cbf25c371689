"""Runs of several sources put together: tables of runs with their histories, settings with runs."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from scaling_cli.adapters.building import mended
from scaling_cli.adapters.files import download_of, is_generic, stem_of
from scaling_cli.adapters.settings import beside
from scaling_cli.columns import COLUMNS, names_score
from scaling_cli.errors import InputError
from scaling_cli.losses import is_loss, is_measure
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.spelling import spelled, unfiled
from scaling_cli.steps import STEP_IS

_COUNTS = ("params", "params_non_embedding", "params_active", "tokens", "flops")
# How a size may be called -> what it is a size of; a letter alone as it is written.
_SIZES = {
    form: column.partition("_")[0]
    for column in _COUNTS
    for name in COLUMNS[column].names
    if len(name) > 1
    for form in (unfiled(name), spelled(name))
}
_LETTERS = {name: c for c in _COUNTS for name in COLUMNS[c].names if len(name) == 1}
# What rows of answers and documents are told apart by.
_DOCUMENTS = {
    "doc id", "document id", "sample id", "example id", "question id", "instance id", "task id",
    "prompt id", "doc", "text", "prompt", "target",
}  # fmt: skip
_LEADING = re.compile(r" holds texts such as .*", re.DOTALL)
Passed = dict[str, tuple[str, Run | bytes]]  # run_key -> its file; the run, or its digest later


def _join_run_tables(
    read: Sequence[tuple[PurePath, str, list[Run]]], notes: list[Note]
) -> list[tuple[str, Run]]:
    """A table with one row a run, in the folder of these runs' histories or above it, is their
    config and holds no runs of its own."""
    below: dict[PurePath, set[str]] = {}
    for path, _, runs in read:
        ids = {run.run_id for run in runs if run.series}
        for folder in path.parents:
            below.setdefault(folder, set()).update(ids)
    rows: dict[PurePath, dict[str, Run]] = {}
    tables = set()
    for path, source, runs in read:
        described = below[path.parent]
        keys = [run.run_id if run.run_id in described else run.name for run in runs]
        if any(run.series for run in runs) or not described.intersection(keys):
            continue
        tables.add(path)
        for key, run in zip(keys, runs, strict=True):
            if key in described:
                rows.setdefault(path.parent, {})[key] = run
            else:
                message = f"{source} describes run {run.run_id}, which has no history beside it"
                notes.append(Note.of("run_without_history", message))
    joined = []
    for path, source, runs in read:
        if path not in tables:
            above = [rows[folder] for folder in path.parents if folder in rows]
            for run in runs:
                row = next((table[run.run_id] for table in above if run.run_id in table), None)
                joined.append((source, _described(run, row)))
    return joined


def _join_parts(joined: Sequence[tuple[str, Run]], notes: list[Note]) -> list[tuple[str, Run]]:
    """Files of one folder whose names say what is in them (`train.csv`, `eval.csv`), as one run.

    A metric that more than one of them has goes by its file: `train/loss`, `eval/loss`.
    """
    parts: dict[str, list[tuple[str, Run]]] = {}
    for source, run in joined:
        parts.setdefault(run.run_key, []).append((source, run))
    whole = []
    for source, run in joined:
        found = parts.pop(run.run_key, None)
        if found is None:
            continue
        if len(found) == 1 or not _are_parts([source for source, _ in found]):
            whole += found
            continue
        names = [PurePath(source).stem for source, _ in found]
        message = f"{' and '.join(PurePath(s).name for s, _ in found)} are read as one run"
        notes.append(Note.of("files_joined", f"{PurePath(source).parent}: {message}"))
        held = Counter(name for _, part in found for name in part.series)
        series = {
            f"{stem}/{name}" if held[name] > 1 and not _alike(name, found) else name: points
            for stem, (_, part) in zip(names, found, strict=True)
            for name, points in part.series.items()
        }
        config = {key: value for _, part in reversed(found) for key, value in part.config.items()}
        told = tuple(dict.fromkeys(note for _, part in found for note in part.notes))
        whole.append((source, replace(run, series=series, config=config, notes=told)))
    return whole


def _are_parts(sources: Sequence[str]) -> bool:
    paths = [Path(source) for source in sources]
    several = len({path.stem for path in paths}) == len(paths) > 1
    saved = all(download_of(path)[0] != path.stem for path in paths)  # a file for each metric
    named = saved or all(map(is_generic, paths))
    return several and named and len({path.parent for path in paths}) == 1


def _alike(name: str, found: Sequence[tuple[str, Run]]) -> bool:
    """Whether all that have a metric have the same of it where their steps meet, as counters do."""
    known: dict[int, float] = {}
    for _, part in found:
        if name in part.series:
            points = part.series[name]
            for step, value in zip(points.steps.tolist(), points.values.tolist(), strict=True):
                if known.setdefault(step, value) != value:
                    return False
    return bool(known)


_OF_FOLDERS = ("csv:", "jsonl:", "console:")  # whose logs say little of settings


Stems = dict[PurePath, set[str]]  # of the files of each folder


def stems_of(sources: Iterable[str]) -> Stems:
    """What the files of each folder are called, without what their kinds add."""
    inside: Stems = {}
    for source in sources:
        inside.setdefault(PurePath(source).parent, set()).add(stem_of(Path(source)))
    return inside


def join_settings(
    joined: Sequence[tuple[str, Run]], found: Stems, notes: list[Note]
) -> list[tuple[str, Run]]:
    """The runs, those that are alone in their folder with the settings that a file beside them
    holds (`config.json`, `hparams.yaml`). `found` are all files that were found."""
    own = stems_of(source for source, _ in joined)
    files: dict[str, None] = {}
    described = []
    for source, run in joined:
        log = Path(source)
        name, settings = "", dict[str, Any]()
        if run.series and run.run_key.startswith(_OF_FOLDERS):
            names = own[log.parent] | found.get(log.parent, set())
            name, settings = beside(log, alone=len(names) == 1)
        if name and name != source:
            files[name] = None
            run = replace(run, config=mended(settings) | run.config)
        described.append((source, run))
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        message = f"settings of {next(iter(files))}{more} are those of the run beside it"
        notes.append(Note.of("settings_beside", message))
    return described


def _join_meta(
    joined: Sequence[tuple[str, Run]], rows: dict[str, Run], undescribed: list[str]
) -> list[tuple[str, Run]]:
    found = [(source, run, rows.get(run.run_id) or rows.get(run.name)) for source, run in joined]
    undescribed += [run.run_id for _, run, row in found if row is None]
    return [(source, _described(_with_settings(run, row), row)) for source, run, row in found]


def _with_settings(run: Run, row: Run | None) -> Run:
    """The run without the advice to give a table of settings, if it was given one."""
    if row is None:
        return run
    plain = Note.of("sampled", "a chart export holds sampled points; ingest the runs for them all")
    return replace(run, notes=tuple(plain if n.code == "sampled" else n for n in run.notes))


def _described(run: Run, row: Run | None) -> Run:
    if row is None:
        return run
    return replace(
        run,
        config=row.config | run.config,
        name=row.name if run.name == run.run_id else run.name,
        group=run.group or row.group,
        status=row.status if run.status == "finished" else run.status,
        tags=run.tags or row.tags,
        created_at=run.created_at or row.created_at,
        notes=(*run.notes, *row.notes),
    )


def tells_of_training(run: Run, mapped: Iterable[str | None] = ()) -> bool:
    """Whether a run is one by its names: those that loggers give a step, a loss, a size or tokens,
    or those of a mapping. A row alone needs a loss, or two of sizes and scores: rows that count
    tokens and nothing else are documents and shards."""
    if any(n.code == "decimal_comma" and is_loss(_LEADING.sub("", n.message)) for n in run.notes):
        return True  # a loss, which its message names, in numbers that are not read
    names = [*run.series, *run.config]
    known = set(mapped) | {f"config.{name}" for name in mapped if name is not None}
    if not known.isdisjoint(names):
        return True
    if not run.series:
        sizes = {column for name in names if (column := _SIZES.get(unfiled(name)))}
        sizes |= {_LETTERS[name] for name in names if name in _LETTERS}
        if not sizes and not _DOCUMENTS.isdisjoint(map(spelled, names)):
            return False
        scored = any(map(names_score, names))
        return len(sizes) + scored > 1 or any(is_loss(n) or is_measure(n) for n in names)
    if run.config.get(STEP_IS) != "rows":
        return True
    telling = any(n in _LETTERS or is_loss(n) or unfiled(n) in _SIZES for n in names)
    return telling and _DOCUMENTS.isdisjoint(map(spelled, names))


def _unique(found: Iterable[tuple[str, Run]], passed: Passed) -> Iterator[Run]:
    """The runs that are not among those that have `passed`, which they are added to."""
    for source, run in found:
        other, known = passed.setdefault(run.run_key, (source, run))
        if known is run:
            yield run
        elif _digest(run) != (_digest(known) if isinstance(known, Run) else known):
            raise InputError(
                f"{source} and {other} both hold a run {run.run_id!r}, and they differ",
                "Give the runs different ids, or ingest only one of the files.",
            )


def _digest(run: Run) -> bytes:
    """A hash of settings and history; NaN is NaN, whatever its bits."""
    digest = hashlib.blake2b(repr(run.config).encode(), digest_size=16)
    for name, series in sorted(run.series.items()):
        values = series.values + 0.0  # no zero is negative
        values[np.isnan(values)] = np.nan
        digest.update(f"\0{name}\0{len(values)}\0".encode())
        digest.update(np.ascontiguousarray(series.steps).data)
        digest.update(values.data)
    return digest.digest()
