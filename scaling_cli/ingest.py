"""Sources into the store, commit by commit: what has been committed stays, whatever comes after."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as Dict
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, isnan, nan
from operator import itemgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.adapters.reading import Crew, Ingested, stream
from scaling_cli.copies import copies, duplicates, same_run_twice
from scaling_cli.ending import ENDED, PLANNED
from scaling_cli.errors import InputError
from scaling_cli.manifest import Part
from scaling_cli.memory import Memory
from scaling_cli.notes import Note, gather
from scaling_cli.outcome import Ingest
from scaling_cli.progress import Progress
from scaling_cli.quantities import counted
from scaling_cli.resolve import Final, finals, resolve, together
from scaling_cli.store import SEGMENT_POINTS, SEGMENT_RUNS, RunRecord, Store
from scaling_cli.table import Table

if TYPE_CHECKING:
    from scaling_cli.mapping import Mapping
    from scaling_cli.records import Run
    from scaling_cli.sources import Sources

# What a sudden end costs at most; a commit itself takes some hundredths of a second.
COMMIT_SECONDS = 10.0
RESTS_ON = ("params", "tokens")  # what a law of size and data needs besides the loss
ENDS = ("loss", *RESTS_ON)  # by which runs are told to be one


@dataclass(frozen=True)
class Preview:
    """What an ingest would read. `runs`: a document each; `mapped` as of an Ingest; `forms`: a
    console log -> its form and its first lines with what was read in them."""

    runs: tuple[dict[str, Any], ...]
    mapped: Dict[str, Dict[str, int]]
    forms: Dict[str, tuple[str, list[str]]]
    notes: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        forms = {
            source: {"form": form, "matches": found} for source, (form, found) in self.forms.items()
        }
        document = {"dry_run": True, "runs": list(self.runs), "mapped": self.mapped}
        return document | {"console": forms, "warnings": [note.to_json() for note in self.notes]}


_SHOWN = 3  # console logs whose lines are shown


def preview(
    mapping: Mapping,
    sources: Sources,
) -> Preview:
    """What the sources hold, with nothing written."""
    from scaling_cli.adapters import console

    runs: list[dict[str, Any]] = []
    notes: list[Note] = []
    ends: list[tuple[str, Final]] = []
    forms: dict[str, tuple[str, list[str]]] = {}
    for piece in stream(sources, mapping):
        notes += piece.notes
        rows = finals(piece.runs, mapping, strict=False).rows
        for run, row in zip(piece.runs, rows, strict=True):
            ends.append((run.run_id, row))
            steps = [s.steps for s in run.series.values() if len(s.steps)]
            runs.append(
                {
                    "run_id": run.run_id,
                    "source": run.source,
                    "first_step": min((int(s[0]) for s in steps), default=None),
                    "last_step": max((int(s[-1]) for s in steps), default=None),
                    "points": sum(map(len, steps)),
                    "metrics": sorted(run.series),
                }
            )
            is_log = run.run_key.startswith(f"{console.NAME}:")
            if is_log and len(forms) < _SHOWN and Path(run.source).is_file():
                forms[run.source] = console.matches(Path(run.source), run.source, mapping)
    last = together([run_id for run_id, _ in ends], [row for _, row in ends])
    return Preview(tuple(runs), last.mapped, forms, (*notes, *last.notes))


def ingest(
    store: Store,
    mapping: Mapping,
    sources: Sources,
    progress: Progress | None = None,
    memory: Memory | None = None,
    onto: bool = False,
    again: bool = False,
    crew: Crew | None = None,
) -> Ingest:
    """Put the runs of the sources into the store. When it is broken off by an error or by Ctrl-C,
    the runs that had arrived are in the store.

    Files of which the `memory` says that they are as they were are not read again.
    With `onto` a run keeps the settings that the store has of it and the sources have not: those of
    a table that is not read again. Runs that were forgotten are left out, unless they are to come
    `again`. Many files are read by a `crew` of workers, while what they read is stored here.
    """
    landing = _Landing(store, mapping, progress or Progress(), onto, again)

    def cursors() -> dict[str, str]:
        return {
            key: record.cursor
            for key, record in landing.records.items()
            if record.cursor and record.mapping == mapping and sources.group in (None, record.group)
        }

    recall = None if memory is None else memory.recall()
    try:
        with closing(stream(sources, mapping, cursors, progress, recall, crew)) as pieces:
            for piece in pieces:
                landing.take(piece)
    except BaseException:
        landing.commit()
        raise
    landing.commit(whole=True)
    vanished = () if memory is None else memory.vanished(landing.seen, landing.unread)
    answer = landing.summary(vanished)
    if memory is not None:
        memory.settle(answer, () if landing.unread else landing.names)
    return answer


class _Landing:
    """Runs on their way into the store."""

    def __init__(
        self,
        store: Store,
        mapping: Mapping,
        progress: Progress,
        onto: bool,
        again: bool,
    ) -> None:
        self.again, self.onto = again, onto
        self.store, self.mapping, self.progress = store, mapping, progress
        self.state = store.log.state()
        self.forgotten: Collection[str] = () if again else self.state.forgotten
        self.left_out: dict[str, None] = {}  # ids of runs that had been forgotten
        self.seen: dict[str, None] = {}  # keys of all runs that the sources hold
        self.unread: list[tuple[str, str]] = []  # names of files that could not be read
        self.names: frozenset[tuple[str, str]] = frozenset()  # of all files that were found
        self.parts: list[Part] = []  # files of the runs that are pending
        self.not_read = 0
        self.lost: list[tuple[str, Note]] = []
        self.new = self.replaced = self.unchanged = 0
        self.notes: list[Note] = []
        self.logged: dict[str, None] = {}  # metrics, in order of appearance
        self.missing: dict[str, list[str]] = {}
        # Of the committed runs: key, id, and the final point without its values
        self.landed: list[tuple[str, str, Final]] = []
        self.ends: list[tuple[str, str, str, dict[str, float]]] = []  # with the source
        self.pending: list[Run] = []
        self.points = 0
        self.since = time.monotonic()

    @cached_property
    def records(self) -> dict[str, RunRecord]:
        """The runs of the store, which an ingest that finds nothing new never asks for."""
        return {record.run_key: record for record in self.store.runs()}

    def take(self, piece: Ingested) -> None:
        self.notes += piece.notes
        self.unchanged += piece.unchanged
        self._pass_over(piece.known)
        self.seen |= dict.fromkeys(run.run_key for run in piece.runs)
        self.seen |= dict.fromkeys(run.key for part in piece.parts for run in part.runs)
        self.unread += piece.lost
        self.names |= piece.names
        self.parts += piece.parts
        self.left_out |= {r.run_id: None for r in piece.runs if r.run_key in self.forgotten}
        runs = [run for run in piece.runs if run.run_key not in self.forgotten]
        self.pending += map(self._kept, runs) if self.onto else runs
        self.points += sum(len(s.steps) for run in piece.runs for s in run.series.values())
        if len(self.pending) >= SEGMENT_RUNS or self.points >= SEGMENT_POINTS:
            self.commit(whole=True)
        elif time.monotonic() - self.since > COMMIT_SECONDS:
            self.commit()

    def _pass_over(self, known: Sequence[Part]) -> None:
        """Count the runs of files that have not changed."""
        for run in (run for part in known for run in part.runs if run.key not in self.seen):
            self.seen[run.key] = None
            if run.key in self.forgotten:
                self.left_out[run.key.partition(":")[2]] = None
            elif run.key in self.records:
                self.unchanged += 1
                self.not_read += 1
                self._describe(self.records[run.key])

    def _describe(self, record: RunRecord) -> None:
        """Say of a run that was not read what is said of one that was."""
        self.logged |= dict.fromkeys(record.summary)
        for name in RESTS_ON:
            if name not in record.final:
                self.missing.setdefault(name, []).append(record.run_id)
        told = [n for n in record.notes if n.message.startswith(record.source)]
        self.notes += told
        notes = tuple(note for note in record.notes if note not in told)
        self.landed.append((record.run_key, record.run_id, Final({}, record.mapped, {}, notes)))
        self.ends.append((record.run_key, record.run_id, record.source, _end(record.final)))

    def commit(self, whole: bool = False) -> None:
        """Store what is pending.

        The first runs that arrive may be those that broke off before their first loss. They wait
        for others; if a `whole` segment has no loss, the mapping is at fault and an InputError says
        so.
        """
        if not self.pending and not self.parts:
            return
        try:
            rows = self._finals(strict=not self.landed and not self.unchanged)
        except InputError:
            if whole:
                raise
            return
        had = self._before()
        put = self.store.put(self.pending, rows, self.mapping, self.again, self.parts)
        for run, row in zip(self.pending, rows, strict=True):
            self.lost += [(run.run_id, note) for note in _lost(had.get(run.run_key), run, row)]
            self.logged |= dict.fromkeys(row.summary)
            for name in RESTS_ON:
                if name not in row.values:
                    self.missing.setdefault(name, []).append(run.run_id)
        self.new += put.new
        self.replaced += put.replaced
        self.unchanged += put.unchanged
        self.landed += [
            (run.run_key, run.run_id, replace(row, values={}, summary={}))
            for run, row in zip(self.pending, rows, strict=True)
        ]
        self.ends += [
            (run.run_key, run.run_id, run.source, _end(row.values))
            for run, row in zip(self.pending, rows, strict=True)
        ]
        self.progress.stored(len(self.pending))
        self.pending, self.parts, self.points, self.since = [], [], 0, time.monotonic()

    def _kept(self, run: Run) -> Run:
        record = self.records.get(run.run_key)
        if record is None:
            return run
        config, group = record.config | run.config, run.group or record.group
        return replace(run, config=config, group=group, name=run.name or record.name)

    def _before(self) -> dict[str, RunRecord]:
        """The runs of the store as they were; not asked for where none of them is among these."""
        if any(run.run_key in self.state.places for run in self.pending):
            return self.records
        return {}

    def _finals(self, strict: bool) -> tuple[Final, ...]:
        rows = finals(self.pending, self.mapping, strict).rows
        ends = [row.values["loss"] for row in rows if "loss" in row.values]
        if strict and ends and all(map(isnan, ends)) and not any(map(self._had_loss, self.pending)):
            raise InputError(
                f"{self.pending[0].source}: the loss is NaN in every run",
                'Name a column that holds numbers in the mapping: [columns] loss = "...".',
            )
        return rows

    def _had_loss(self, run: Run) -> bool:
        """Whether a run that ends in NaN had a loss before: it diverged, and a check says so."""
        loss = resolve(run, self.mapping).columns.get("loss")
        return loss is not None and bool(np.isfinite(getattr(loss.values, "values", nan)).any())

    def _left_out(self) -> Iterator[Note]:
        if self.left_out:
            first = ", ".join(list(self.left_out)[:3])
            message = (
                f"{len(self.left_out)} runs were forgotten and are left out ({first}); ingest with"
                " `again=` to bring them back"
            )
            yield Note.of("runs_forgotten", message)

    @staticmethod
    def _gone(vanished: Sequence[str]) -> Iterator[Note]:
        if vanished:
            first = ", ".join(key.partition(":")[2] for key in vanished[:3])
            message = (
                f"{counted(len(vanished), 'run')} of the store"
                f" {'is' if len(vanished) == 1 else 'are'} no more where they were read ({first});"
                " they stay until they are forgotten"
            )
            yield Note.of("runs_vanished", message)

    def _twice(self) -> list[Note]:
        """On runs that two loggers wrote, as a fit says it too: here they can still be parted."""
        known = sorted((end for end in self.ends if isfinite(end[3]["loss"])), key=itemgetter(0))
        if len({key.partition(":")[0] for key, *_ in known}) < 2:
            return []
        keys, ids, sources, ends = zip(*known, strict=True)
        columns = {name: np.array([end[name] for end in ends]) for name in ENDS}
        rows = Table.from_columns(columns | {"source": np.array(sources, object)}, ids, keys)
        return same_run_twice(rows) or duplicates(rows, copies(rows, "loss"))

    def summary(self, vanished: tuple[str, ...]) -> Ingest:
        landed = sorted(self.landed, key=lambda item: item[0])  # whatever came first
        last = together([run_id for _, run_id, _ in landed], [row for *_, row in landed])
        origins = {origin for found in last.mapped.values() for origin in found}
        return Ingest(
            store=self.store.location,
            runs=self.new + self.replaced + self.unchanged,
            new=self.new,
            replaced=self.replaced,
            unchanged=self.unchanged,
            mapped=last.mapped,
            notes=(
                *self.notes,
                *last.notes,
                *gather(self.lost),
                *self._left_out(),
                *self._gone(vanished),
                *self._twice(),
            ),
            also_logged=tuple(
                name for name in self.logged if name[:1] != "_" and not _named(name, origins)
            ),
            missing={name: tuple(self.missing[name]) for name in RESTS_ON if name in self.missing},
            not_read=self.not_read,
            vanished=vanished,
        )


def _end(values: Dict[str, float]) -> dict[str, float]:
    return {name: values.get(name, nan) for name in ENDS}


def _lost(had: RunRecord | None, run: Run, row: Final) -> Iterator[Note]:
    """Notes on columns that the run had in the store and has no more, and on a run of that id which
    came from another file and ended otherwise."""
    if had is not None and PurePath(had.source).name != PurePath(run.source).name:
        was, now = _end(had.final), _end(row.values)
        if any(was[name] != now[name] for name in ENDS if not isnan(was[name] - now[name])):
            message = (
                f"the store had it from {had.source}, with other values at its end, and it is"
                f" replaced by that of {run.source}; if these are two runs, give them two ids"
            )
            yield Note.of("replaced_from_elsewhere", message)
    known = {*row.values, PLANNED, ENDED}
    final = {} if had is None else had.final
    names = [n for n, value in final.items() if not isnan(value) and n not in known]
    if names:
        message = (
            f"the store had {', '.join(names)} of it, and what was read has not: ingest it"
            " again with the same `config=`, and with the table of its settings"
        )
        yield Note.of("columns_lost", message)


def _named(metric: str, origins: Iterable[str]) -> bool:
    """Whether a column is read from the metric, by itself or within an expression."""
    return any(metric == origin or f"`{metric}`" in origin for origin in origins)
