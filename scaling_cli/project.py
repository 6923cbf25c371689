"""A store, a mapping, and what can be asked of the runs in them: the library under the commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping, load_mapping
from scaling_cli.notes import Note
from scaling_cli.store import Store, open_store

if TYPE_CHECKING:
    from scaling_cli.checks import Result
    from scaling_cli.checks.base import Bench
    from scaling_cli.fitting.backtest import Comparison
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.fitting.result import FailedFit, Fit
    from scaling_cli.grouped import Parts
    from scaling_cli.ingest import Ingest
    from scaling_cli.observe import Runs
    from scaling_cli.planning.splits import Allocation
    from scaling_cli.progress import Progress
    from scaling_cli.selection import Selection
    from scaling_cli.table import Table
    from scaling_cli.training.assessed import Assessed
    from scaling_cli.training.curve import Curve
    from scaling_cli.training.finals import Ends
    from scaling_cli.training.forecast import Forecast
    from scaling_cli.training.plan import SchedulePlan

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
        sources: Sequence[str],
        as_format: str | None = None,
        group: str | None = None,
        select: Selection | None = None,
        progress: Progress | None = None,
        meta: str | None = None,
        onto: bool = False,
    ) -> Ingest:
        """Read the sources and put their runs into the store, which is made if it is not there; as
        in `scaling_cli.ingest.ingest`."""
        from scaling_cli.ingest import ingest

        store = open_store(self.location, create=True)
        mapping = self.mapping or Mapping()
        return ingest(store, mapping, sources, as_format, group, select, progress, meta, onto)

    def runs(self, where: str | None = None) -> Runs:
        """Every run in the store that matches, also those without a loss."""
        from scaling_cli.observe import listed

        return listed(self.store, where)

    def observations(self, where: str | None = None, every_point: bool = False) -> Table:
        """The runs at their final points, or with `every_point` at each logged loss."""
        from scaling_cli.observe import observe

        return observe(self.store, self.mapping, where, every_point)

    def fit(
        self,
        laws: Sequence[str] = ("auto",),
        by: Sequence[str] | None = None,
        where: str | None = None,
        holdout: str | None = None,
        options: FitOptions | None = None,
        save: bool = False,
        workers: int = 1,
        finals: str = PREDICTED,
    ) -> list[Fit | FailedFit]:
        """Fit each law, or the procedure `auto`, to each group of runs; a failed one says why.

        With `save` the store keeps the fits, and answers by them from then on.
        A run that has not ended enters at its predicted end, or is left out where none can be
        predicted; with `finals` "last" its last point counts as if it had.
        The groups are spread over `workers` processes; their number changes no digit.
        Raises the first group's FitError if nothing could be fitted.
        """
        from scaling_cli import grouped
        from scaling_cli.fitting.problem import FitOptions
        from scaling_cli.fitting.result import FailedFit

        if finals not in FINALS:
            raise InputError(f"finals = {finals!r} is not known", f"Give {' or '.join(FINALS)}.")
        chosen = grouped.chosen_procedures(laws)
        by_points = {
            every: self._parts(by, where, holdout, every, finals)
            for every in dict.fromkeys(item.every_point for item in chosen)
        }
        results = grouped.fit_parts(chosen, by_points, options or FitOptions(), workers)
        if save:
            self.save([item for item in results if not isinstance(item, FailedFit)])
        return results

    def _parts(
        self,
        by: Sequence[str] | None,
        where: str | None,
        holdout: str | None,
        every_point: bool,
        finals: str,
    ) -> Parts:
        """The groups to fit, and by group the runs that are held out."""
        from scaling_cli import grouped

        rows = self.observations(where, every_point)
        keys = rows.by if by is None else by
        fitted, unseen = grouped.held_out(grouped.with_name_notes(rows, keys, holdout), holdout)
        if finals == LAST or every_point:
            return grouped.parts(fitted, unseen, keys)
        ends = self._ends(rows)
        made = grouped.parts(fitted, None if unseen is None else ends.ended(unseen), keys)
        return made._replace(groups=[(group, ends.of(members)) for group, members in made.groups])

    def _ends(self, rows: Table) -> Ends:
        """How the runs of the rows end that have not ended."""
        from scaling_cli.training.finals import predicted_ends

        return predicted_ends(self.store, rows, self.mapping)

    def compare(
        self,
        laws: Sequence[str] | None = None,
        by: Sequence[str] | None = None,
        where: str | None = None,
        holdout: str | None = None,
        cut: str = "flops",
        options: FitOptions | None = None,
    ) -> list[Comparison]:
        """Rank laws on each group of runs by their errors on larger runs; without `laws`, the
        procedure `auto` and every law whose columns the runs have.

        A group that cannot be cut has no ranking and says why; raises FitError if none can.
        """
        from scaling_cli.grouped import compare_groups

        rows = self.observations(where)
        keys = rows.by if by is None else by
        return compare_groups(rows, laws, keys, holdout, cut, options, self._ends(rows).ended)

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
        """The schedule of the lowest final loss, foreseen from the finished runs of one size: those
        like `run`, or all that match; see `scaling_cli.training.plan.plan_schedule`."""
        from scaling_cli.training.ask import alike
        from scaling_cli.training.plan import plan_schedule

        curves = alike(self.store, self.runs(where), run, self.mapping)
        return plan_schedule(curves, steps, families, law, warmup, level, seed=seed)

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
        """The fits of a file (its path may be relative to that of the mapping) or of an id, which
        may be several; the newest of the store for None."""
        if fit is None:
            return self.forecasts()
        file = self._file(fit)
        return load_fits(file) if _is_file(str(file)) else self.saved_fits(fit)

    def _file(self, path: str) -> Path:
        """The file beside the mapping, or else from the working folder."""
        beside = Path(self.mapping.path).parent / path if self.mapping else Path(path)
        return beside if beside.is_file() else Path(path)

    def save(self, fits: Sequence[Fit]) -> None:
        """Keep the fits in the store, as one set: `saved_fits` gives the newest set."""
        self.store.fits.save([item.to_document() for item in fits])

    def saved_fits(self, fit: str | None = None, law: str | None = None) -> list[Fit]:
        """The fit with this id or in this file; else the newest set, of one law if it is named."""
        from scaling_cli.fitting.result import STORE_CHANGED, Fit

        if fit is not None:
            return [load_fit(fit, self)]
        documents = [item for item in self.store.fits.listed() if law in (None, item.about["law"])]
        if not documents:
            what = f"no fit of law {law} is saved" if law else "no fit is saved"
            asked = f" --law {law}" if law else ""
            raise InputError(
                f"{what} in the store {self.location}",
                f"Run `scalefit fit{asked}` first, or give --published NAME.",
            )
        chosen = [item for item in documents if item.set == documents[0].set]
        loaded = zip(chosen, self.store.fits.load(chosen), strict=True)
        fits = [Fit.from_document(document, item.fit_id) for item, document in loaded]
        if chosen[0].about["contents"] in (None, self.store.contents()):
            return fits
        changed = Note(
            STORE_CHANGED,
            "warning",
            "The runs in the store are not those of when this fit was made. Fit again, if it is to"
            " count them as they are.",
        )
        return [item.with_notes([changed]) for item in fits]

    def forecasts(self, fit: str | None = None, law: str | None = None) -> list[Fit]:
        """The saved fits that answer for the future: those of `auto`, unless another is asked for
        or there are none."""
        from scaling_cli.fitting.auto import RECIPE

        fits = self.saved_fits(fit, law)
        return [item for item in fits if item.name == RECIPE and not fit and not law] or fits

    def recipe_fit(self, name: str, law: str | None = None) -> Fit:
        """The fit that `name` means: an id, a file, or a value of a group of the newest set."""
        if _is_file(name):
            return load_fit(name, self)
        fits = self.forecasts(law=law)
        found = [item for item in fits if name in map(str, item.group.values())]
        if not found:
            found = [item for item in self.saved_fits(law=law) if item.fit_id == name]
        if len(found) == 1:
            return found[0]
        groups = ", ".join(str(value) for item in fits for value in item.group.values())
        if found:
            laws = ", ".join(dict.fromkeys(item.name for item in found))
            raise InputError(f"{name} is fitted by {laws}", f"Say which: --law {found[0].name}.")
        raise InputError(
            f"{name} is no fit: neither an id, nor a file, nor a group of the newest fits",
            f"Groups are {groups}." if groups else "Fit the recipes first: scalefit fit --by KEY.",
        )


def open_project(location: str = ".scalefit", config: str | Path | None = None) -> Project:
    """A project on the store at `location`, with the mapping in `config` (or ./scalefit.toml)."""
    if config is None and Path(CONFIG_FILE).is_file():
        config = CONFIG_FILE
    return Project(location, load_mapping(Path(config)) if config else None)


def load_fit(fit: str, project: Project | None = None) -> Fit:
    """A fit from a file that `fit -o` wrote, or from the store by its id."""
    from scaling_cli.fitting.result import Fit

    if _is_file(fit):
        found = load_fits(Path(fit))
        if len(found) != 1:
            ids = ", ".join(item.fit_id for item in found)
            raise InputError(f"{fit} holds {len(found)} fits ({ids})", "Save them one by one.")
        return found[0]
    if project is None:
        raise InputError(f"{fit}: there is no such file")
    return Fit.from_document(project.store.fits.load(project.store.fits.find(fit))[0], fit)


def load_fits(path: Path) -> list[Fit]:
    """The fits of a file that `fit -o` wrote: one, or one for each group."""
    from scaling_cli.fitting.result import DOCUMENT, Fit

    document = DOCUMENT.read(path)
    several = isinstance(document, dict) and isinstance(document.get("fits"), list)
    documents = document["fits"] if several else [document]
    return [Fit.from_document(item, str(path)) for item in documents]


def _is_file(fit: str) -> bool:
    return fit.endswith(".json") or Path(fit).is_file()


def budget_ladder(fits: Sequence[Fit]) -> list[float]:
    """Budgets that a report plans for: the next four powers of ten past the largest run."""
    from math import ceil, log10

    largest = max(
        (item.domain["flops"][1] for item in fits if "flops" in item.domain), default=1e22
    )
    first = ceil(log10(largest) + 1e-9)
    return [10.0 ** (first + i) for i in range(4)]


def optimal(
    fits: Sequence[Fit], budgets: Sequence[float], ratio: float | None = None
) -> list[Allocation]:
    """The split of each budget by each fit."""
    from scaling_cli.planning.budget import Constraints
    from scaling_cli.planning.splits import allocate_fit

    asked = Constraints(tokens_per_param=ratio)
    return [allocate_fit(item, budget, asked) for item in fits for budget in budgets]
