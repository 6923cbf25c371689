"""A store, a mapping, and what can be asked of the runs in them: the library under the commands."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping, load_mapping
from scaling_cli.store import Store, open_store

if TYPE_CHECKING:
    from scaling_cli.checks import Result
    from scaling_cli.checks.base import Bench
    from scaling_cli.fitting.backtest import Comparison
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.fitting.procedures import Procedure
    from scaling_cli.fitting.result import FailedFit, Fit
    from scaling_cli.grouped import Parts
    from scaling_cli.in_full import RunInFull
    from scaling_cli.ingest import Preview
    from scaling_cli.observe import Runs
    from scaling_cli.outcome import Ingest
    from scaling_cli.planning.costs import Utilisation
    from scaling_cli.progress import Progress
    from scaling_cli.saved import Saved
    from scaling_cli.sources import Place, Sources
    from scaling_cli.table import Table
    from scaling_cli.training.assessed import Assessed
    from scaling_cli.training.curve import Curve
    from scaling_cli.training.ends import Ends
    from scaling_cli.training.forecast import Forecast
    from scaling_cli.training.plan import SchedulePlan
    from scaling_cli.workers import Workers

FINAL_POINTS, ALL_POINTS = POINTS = ("final", "all")  # which points of a run are rows
LAST, PREDICTED = FINALS = ("last", "predicted")  # which point of an unfinished run is its final
CONFIG_FILE = "scalefit.toml"


@dataclass(frozen=True)
class Project:
    """What every command works on. `mapping` is None where neither a file nor an option gives one:
    then each run keeps the mapping that it was ingested with."""

    location: str
    mapping: Mapping | None

    @cached_property
    def store(self) -> Store:
        return open_store(self.location)

    def ingest(
        self,
        sources: Sources | Place | Iterable[Place],
        progress: Progress | None = None,
        onto: bool = False,
        again: bool = False,
        reread: bool = False,
        workers: int = 1,
    ) -> Ingest:
        """Read the sources and put their runs into the store, which is made if it is not there; as
        in `scaling_cli.ingest.ingest`. Many files are read by so many `workers`, processes of
        their own, for which a script needs the guard `if __name__ == "__main__":`."""
        from scaling_cli.memory import Memory
        from scaling_cli.sources import Sources

        began = time.monotonic()
        store = open_store(self.location, create=True)
        mapping, asked = self.mapping or Mapping(), Sources.of(sources)
        memory = None if onto else Memory.of(store, mapping, asked, again, reread)
        done = None if memory is None else memory.unchanged()
        if done is None:
            from scaling_cli.ingest import ingest  # and with it all that reads
            from scaling_cli.workers import mapper

            crew = None if workers == 1 else partial(mapper, workers)
            done = ingest(store, mapping, asked, progress, memory, onto, again, crew)
        return replace(done, seconds=time.monotonic() - began)

    def preview(self, sources: Sources | Place | Iterable[Place]) -> Preview:
        """What `ingest` would read of the sources; nothing is written."""
        from scaling_cli.ingest import preview
        from scaling_cli.sources import Sources

        return preview(self.mapping or Mapping(), Sources.of(sources))

    def runs(
        self, where: str | None = None, sort: str | None = None, limit: int | None = None
    ) -> Runs:
        """Every run in the store that matches, also those without a loss.

        `sort` is a name by whose value they stand, with a minus before it the highest first; runs
        without one come last. At most `limit` of them.
        """
        from scaling_cli.observe import listed

        listing = listed(self.store, where, self.mapping)
        listing = listing if sort is None else listing.sorted_by(sort)
        if limit is None:
            return listing
        import numpy as np

        return listing.take(np.arange(min(limit, len(listing))))

    def show(self, run: str) -> RunInFull:
        """One run with all that is known of it: by its key, its id or its name."""
        from scaling_cli.in_full import in_full
        from scaling_cli.observe import listed

        runs = listed(self.store, mapping=self.mapping)
        return in_full(self.store, runs, runs.one_called(run), self.mapping)

    def observations(
        self,
        where: str | None = None,
        every_point: bool = False,
        once: bool = False,
        among: Collection[str] | None = None,
    ) -> Table:
        """The runs at their final points, or with `every_point` at each logged loss; with `once`
        one of two runs that look like one which two loggers wrote. `among` leaves the runs of these
        owners alone, before any of their points is read."""
        from scaling_cli.copies import counted_once
        from scaling_cli.observe import observe

        rows = observe(self.store, self.mapping, where, every_point, among)
        if not once:
            return rows
        finals = observe(self.store, self.mapping, where) if every_point else rows
        kept = counted_once(finals)
        owners = set(kept.owners)
        mask = [owner in owners for owner in rows.owners]
        return rows.select(mask).with_notes([n for n in kept.notes if n.code == "counted_once"])

    def fit(
        self,
        laws: Sequence[str] = ("auto",),
        by: Sequence[str] | None = None,
        where: str | None = None,
        holdout: str | None = None,
        options: FitOptions | None = None,
        save: bool = False,
        workers: Workers = 1,
        finals: str = PREDICTED,
        name: str | None = None,
        command: str | None = None,
        once: bool = False,
        select: str | None = None,
        shared: str | None = None,
        points: str = FINAL_POINTS,
    ) -> list[Fit | FailedFit]:
        """Fit each law, or the procedure `auto`, to each group of runs; a failed one says why.

        With `save` the store keeps the fits, under a `name` if one is given, and answers by them
        from then on. `command` is what was typed, to be kept with them.
        A run that has not ended enters at its predicted end, or is left out where none can be
        predicted; with `finals` "last" its last point counts as if it had. With `once` a
        run that two loggers wrote counts once. Of the runs of a sweep those are fitted that
        `select` names: see `scaling_cli.fitting.selection.selected`. Runs that `shared` matches
        are in every group; with `points` "all" each logged loss is a row, and runs are resampled
        whole.
        The groups are spread over `workers`: so many processes, or a cluster by its URL; they
        change no digit.
        Raises the first group's FitError if nothing could be fitted.
        """
        from scaling_cli import grouped
        from scaling_cli.fitting.problem import FitOptions
        from scaling_cli.fitting.result import FailedFit
        from scaling_cli.saved import resting

        if finals not in FINALS:
            raise InputError(f"finals = {finals!r} is not known", f"Give {' or '.join(FINALS)}.")
        if points not in POINTS:
            raise InputError(f"points = {points!r} is not known", f"Give {' or '.join(POINTS)}.")
        chosen = grouped.chosen_procedures(laws)
        if points == ALL_POINTS:
            chosen = [replace(item, every_point=True) for item in chosen]
        options = options or FitOptions()
        by_points = {
            every: self._parts(by, where, holdout, every, finals, once, shared)
            for every in dict.fromkeys(item.every_point for item in chosen)
        }
        if select is not None:
            from scaling_cli.fitting.selection import judged_by

            target = judged_by(chosen[0].law, options)
            by_points = {
                every: grouped.selected_parts(parts, select, target)
                for every, parts in by_points.items()
            }
        if False in by_points:
            by_points[False] = self._with_curves(by_points[False], chosen, options, where)
        results = grouped.fit_parts(chosen, by_points, options, workers)
        groups = {repr(group): rows for parts in by_points.values() for group, rows in parts.groups}
        keys = next(iter(groups.values())).by if by is None else by
        asked = {"where": where, "by": tuple(keys), "holdout": holdout, "command": command}
        results = resting(results, groups, self.store, self.mapping, asked)
        if save:
            self.saved.save([item for item in results if not isinstance(item, FailedFit)], name)
        return results

    def _parts(
        self,
        by: Sequence[str] | None,
        where: str | None,
        holdout: str | None,
        every_point: bool,
        finals: str,
        once: bool = False,
        shared: str | None = None,
    ) -> Parts:
        """The groups to fit, and by group the runs that are held out."""
        from scaling_cli import grouped

        rows = self.observations(where, every_point, once)
        keys = rows.by if by is None else by
        hidden = self._hidden(rows, where, holdout)
        fitted, unseen = grouped.hold_out(rows, keys, holdout, hidden)
        if finals == LAST or every_point:
            return grouped.parts(fitted, unseen, keys, shared)
        ends = self._ends(rows)
        made = grouped.parts(fitted, None if unseen is None else ends.ended(unseen), keys, shared)
        return made._replace(groups=[(group, ends.of(members)) for group, members in made.groups])

    def _with_curves(
        self, parts: Parts, chosen: Sequence[Procedure], options: FitOptions, where: str | None
    ) -> Parts:
        """The groups with every logged point of their runs, where one of the procedures reads it
        beside the final ones."""
        reading = [
            any(item.reads_curves(rows, options) for item in chosen) for _, rows in parts.groups
        ]
        if not any(reading):
            return parts
        pairs = list(zip(parts.groups, reading, strict=True))
        owners = {owner for (_, rows), reads in pairs if reads for owner in rows.owners}
        points = self.observations(where, True, among=owners)
        return parts._replace(
            groups=[
                (group, rows.with_points(points) if reads else rows)
                for (group, rows), reads in pairs
            ]
        )

    def _hidden(self, rows: Table, where: str | None, holdout: str | None) -> list[str]:
        """The runs that are to be held out and that `where` has left out of the rows."""
        if where is None or holdout is None:
            return []
        every, kept = self.observations(), set(rows.owners)
        at = [i for i in every.matches(holdout).nonzero()[0] if every.owners[i] not in kept]
        return [every.run_ids[i] for i in at]

    def _ends(self, rows: Table) -> Ends:
        """How the runs of the rows end that have not ended."""
        from scaling_cli.training.ends import ends_of

        return ends_of(self.store, rows, self.mapping)

    def compare(
        self,
        laws: Sequence[str] | None = None,
        by: Sequence[str] | None = None,
        where: str | None = None,
        holdout: str | None = None,
        cut: str | None = None,
        options: FitOptions | None = None,
        once: bool = False,
        workers: Workers = 1,
    ) -> list[Comparison]:
        """Rank laws on each group of runs by their errors on larger runs; without `laws`, the
        procedure `auto` and every law whose columns the runs have. `workers` are as of `fit`.

        A group that cannot be cut has no ranking and says why; raises FitError if none can.
        """
        from scaling_cli.grouped import compare_groups

        rows = self.observations(where, once=once)
        keys = rows.by if by is None else by
        hidden, ended = self._hidden(rows, where, holdout), self._ends(rows).ended
        return compare_groups(rows, laws, keys, holdout, cut, options, ended, hidden, workers)

    def curve(
        self,
        run: str,
        where: str | None = None,
        law: str | None = None,
        fit: str | None = None,
        schedule: str | None = None,
        steps: int | None = None,
        params: float | None = None,
        upto: int | None = None,
        level: float = 0.90,
    ) -> tuple[Curve, Forecast, Assessed | None]:
        """The curve of a run and what it will log; see `scaling_cli.training.ask.predict_rest`.

        By a curve `law` fitted to the finished runs like it, or by the saved `fit` of one, where
        either is named; that is then the third.
        """
        from scaling_cli.training.ask import ask, learnt

        rows, among = self.runs(), None if where is None else self.runs(where)
        known = None
        if fit is not None:
            known = self.curve_fit(fit)
        elif law is not None:
            known = learnt(self.store, rows, run, self.mapping, law, among, upto)
        asked = ask(
            self.store,
            rows,
            run,
            self.mapping,
            among=among,
            schedule=schedule,
            steps=steps,
            params=params,
            upto=upto,
            level=level,
            known=known,
        )
        return *asked, known

    def first_curves(self, runs: Runs, most: int = 6) -> list[Curve]:
        """The training curves of the first of these runs that have one."""
        from scaling_cli.training.ask import curves_of

        records = [record for record in runs.records if record.has_history][:most]
        return list(curves_of(self.store, records, self.mapping).values())

    def curve_fit(self, path: str) -> Assessed:
        """The curve fit of a file; its path may be relative to that of the mapping."""
        from scaling_cli.training.assessed import Assessed

        return Assessed.load(self._file(path))

    def schedule(
        self,
        steps: int,
        run: str | None = None,
        where: str | None = None,
        families: Sequence[str] = ("wsd", "cosine", "linear"),
        law: str = "mpl",
        warmup: int | None = None,
        level: float = 0.90,
        seed: int = 0,
    ) -> SchedulePlan:
        """The schedule of the lowest final loss, as the finished runs of one size predict it: those
        like `run`, or all that match; see `scaling_cli.training.plan.plan_schedule`."""
        from scaling_cli.training.ask import alike
        from scaling_cli.training.plan import plan_schedule

        curves = alike(self.store, self.runs(where), run, self.mapping)
        return plan_schedule(curves, steps, families, law, warmup, level, seed=seed)

    def utilisation(self) -> Utilisation | None:
        """The share of their devices' peak that the runs say they reached; None where none does."""
        from scaling_cli.planning.costs import logged_utilisation

        return logged_utilisation(self.runs().table)

    def check(self, runs: Sequence[str] = ()) -> list[Result]:
        """What the mapping's [[check]] tables find on every run, or on those named.

        Without tables the rules that need no settings are applied.
        """
        from scaling_cli.checks import read_checks, run_checks

        checks = read_checks(self.mapping)
        return run_checks(self.bench(), checks, runs)

    def bench(self) -> Bench:
        """The stored runs, crashed and filtered ones too, for checks."""
        from scaling_cli.checks.base import Bench
        from scaling_cli.observe import every_run

        runs = every_run(self.store, self.mapping)
        mapping = None if self.mapping is None or not self.mapping.columns else self.mapping
        return Bench(runs, self.store, mapping, cache(self.frozen_fits), cache(self.curve_fit))

    def frozen_fits(self, fit: str | None = None) -> list[Fit]:
        """The fits of a file (its path may be relative to that of the mapping), of a name or an
        id; those that answer for the loss for None."""
        from scaling_cli.saved import is_file

        if fit is None:
            return self.saved.answering()
        file = str(self._file(fit))
        return self.saved.named(file if is_file(file) else fit)

    def _file(self, path: str) -> Path:
        """The file beside the mapping, or else from the working folder."""
        beside = Path(self.mapping.path).parent / path if self.mapping else Path(path)
        return beside if os.path.isfile(beside) else Path(path)

    def save(self, fits: Sequence[Fit], name: str | None = None) -> None:
        """Keep the fits in the store, as one set that answers from now on for its target."""
        self.saved.save(fits, name)

    def saved_fits(
        self, fit: str | None = None, law: str | None = None, target: str | None = None
    ) -> list[Fit]:
        """The fits of a name, an id or a file; else the newest of a law, a target, or the loss."""
        return self.saved.newest(law, target) if fit is None else self.saved.named(fit)

    @cached_property
    def saved(self) -> Saved:
        """The fits that the store keeps."""
        from scaling_cli.saved import Saved

        return Saved(lambda: self.store)


def open_project(location: str = ".scalefit", config: str | Path | None = None) -> Project:
    """A project on the store at `location`, with the mapping in `config` (or ./scalefit.toml)."""
    if config is None and os.path.lexists(CONFIG_FILE):  # also where it is none that can be read
        config = CONFIG_FILE
    return Project(location, load_mapping(Path(config)) if config else None)


def load_fit(fit: str, project: Project | None = None) -> Fit:
    """The one fit of a file that `fit -o` wrote, or of a name or an id in a project's store."""
    from scaling_cli.saved import load_fits, one_of

    fits = load_fits(Path(fit)) if project is None else project.saved.named(fit)
    return one_of(fits, fit)


def budget_ladder(fits: Sequence[Fit]) -> list[float]:
    """Budgets that a report plans for: the next four powers of ten past the largest run."""
    from math import ceil, log10

    largest = max(
        (item.domain["flops"][1] for item in fits if "flops" in item.domain), default=1e22
    )
    first = ceil(log10(largest) + 1e-9)
    return [10.0 ** (first + i) for i in range(4)]
