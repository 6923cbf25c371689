"""The groups of a table, each fitted by itself or all at once, and scored on what was held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from scaling_cli.errors import FitError, InputError
from scaling_cli.expressions import parse
from scaling_cli.fitting import accepts, backtest, imputed, procedures, tied
from scaling_cli.fitting.backtest import Comparison
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import Procedure
from scaling_cli.fitting.result import FailedFit, Fit
from scaling_cli.fitting.scoring import score_holdout
from scaling_cli.fitting.selection import selected
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.table import Table
from scaling_cli.workers import Mapper, Workers, mapper

# A table's, which its fit says.
ABOUT_RUNS = ("shared_runs", "unfinished_runs", "end_unknown", "counted_once", "held_out_hidden")
WAIT = "Wait until they have ended, or take their last points (`finals=last`)."
LISTED = 5
CHUNK = 4  # groups that a worker gets at a time: their sending costs under 1 % of their fits

Group = dict[str, Any]
Key = tuple[tuple[str, str], ...]


class Parts(NamedTuple):
    """The groups to fit, and by group the runs that are held out."""

    groups: Sequence[tuple[Group, Table]]
    unseen: Mapping[Key, Table]


def chosen_procedures(laws: Sequence[str]) -> list[Procedure]:
    """The procedures of these names, each once; InputError for an unknown name."""
    return list({item.id: item for item in map(procedures.procedure, laws)}.values())


def hold_out(
    rows: Table, by: Sequence[str], holdout: str | None, hidden: Sequence[str] = ()
) -> tuple[Table, Table | None]:
    """The rows to fit and those to hold out, with a note on what they are grouped and held out by
    where that is ambiguous; InputError where either are none. `hidden` are runs that are to be held
    out and that a filter has left out: what is held out says so."""
    rows = rows.with_notes(rows.remarks([*by, *(parse(holdout).names if holdout else ())]))
    if not holdout:
        return rows, None
    mask = rows.matches(holdout)
    if not mask.any():
        if hidden:
            raise InputError(
                f"`holdout=` '{holdout}' matches no run that `where=` leaves: it hides"
                f" {_listed(hidden)}",
                "Widen `where=`: held-out runs are not fitted in any case.",
            )
        raise InputError(f"`holdout=` '{holdout}' matches no run", "See `scalefit runs`.")
    if mask.all():
        raise InputError(
            f"`holdout=` '{holdout}' matches all {len(rows)} runs and leaves none to fit",
            "Narrow it to the runs that are to be predicted.",
        )
    unseen = rows.select(mask)
    if hidden:
        message = (
            f"{len(hidden)} of {len(hidden) + len(unseen)} runs that `holdout=` matches are left"
            f" out by `where=`, and are not scored: {_listed(hidden)}."
        )
        unseen = unseen.with_notes([Note.of("held_out_hidden", message)])
    return rows.select(~mask), unseen


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:LISTED]) + (f" and {len(ids) - LISTED} more" if len(ids) > LISTED else "")


def parts(
    fitted: Table, unseen: Table | None, by: Sequence[str], shared: str | None = None
) -> Parts:
    """Both parted by the values of `by`; a group that is held out whole has no rows to fit. Runs
    that `shared` matches, such as the dense ones beside routed models, are in every group."""
    unseen_groups = [] if unseen is None else unseen.groups(by)
    groups = fitted.groups(by) if shared is None else _sharing(fitted, by, shared)
    known = {_key(group) for group, _ in groups}
    groups += [
        (group, rows.take(np.array([], dtype=np.intp)))
        for group, rows in unseen_groups
        if _key(group) not in known
    ]
    return Parts(groups, {_key(group): rows for group, rows in unseen_groups})


def _sharing(fitted: Table, by: Sequence[str], shared: str) -> list[tuple[Group, Table]]:
    """The groups of `by`, each with the shared runs; those alone are none."""
    mask = fitted.matches(shared)
    if not by:
        raise InputError("`shared=` gives runs to every group, and there are none", "Add `by=`.")
    if not mask.any():
        raise InputError(f"`shared=` '{shared}' matches no run", "See `scalefit runs`.")
    groups = []
    for group, members in fitted.parted(by):
        if mask[members].all():
            continue
        chosen = mask.copy()
        chosen[members] = True
        count = int(np.count_nonzero(mask)) - int(np.count_nonzero(mask[members]))
        message = f"{counted(count, 'run')} of other groups, those of {shared}, count here too."
        groups.append((group, fitted.select(chosen).with_notes([Note.of("shared_runs", message)])))
    if not groups:
        raise InputError(f"`shared=` '{shared}' matches every run", "Narrow it.")
    return groups


def selected_parts(parts: Parts, select: str, target: str) -> Parts:
    """The runs of each group that `select` names. Those held out are scored by the same, but where
    it makes rows of its own."""
    groups = [(group, selected(rows, select, target)) for group, rows in parts.groups]
    if select.startswith("smooth"):
        return parts._replace(groups=groups)
    unseen = {key: selected(rows, select, target) for key, rows in parts.unseen.items()}
    return parts._replace(groups=groups, unseen=unseen)


def fit_parts(
    chosen: Sequence[Procedure],
    by_points: Mapping[bool, Parts],
    options: FitOptions,
    workers: Workers,
) -> list[Fit | FailedFit]:
    """Each procedure fitted to each group, group by group; `by_points` holds the groups of rows
    for those that read every logged point (True) and for those that read final ones (False).

    Raises the first group's FitError if nothing could be fitted.
    """
    accepts.check_column([item.law for item in chosen], options)
    by_law = []
    with mapper(workers) as mapped:
        for item in chosen:
            groups, unseen = by_points[item.every_point]
            fits = _fit_groups(item, groups, options, mapped)
            if item.scored:
                fits = [_scored(result, unseen.get(_key(result.group))) for result in fits]
            by_law.append(fits)
    results = [result for group in zip(*by_law, strict=True) for result in group]
    failed = [item for item in results if isinstance(item, FailedFit)]
    if len(failed) == len(results):
        raise FitError(failed[0].message if failed else "no runs are left to fit. Widen `where=`.")
    return results


def compare_groups(
    rows: Table,
    laws: Sequence[str] | None,
    by: Sequence[str],
    holdout: str | None,
    cut: str | None,
    options: FitOptions | None,
    ended: Callable[[Table], Table] = lambda rows: rows,
    hidden: Sequence[str] = (),
    workers: Workers = 1,
) -> list[Comparison]:
    """The laws ranked on each group; without `laws`, `auto` and every law whose columns there are.
    `hidden` is as of `held_out`, and `ended` leaves of the rows what predictions can be held
    against. Without `cut` it is the column that the options name for one-variable laws, else
    compute; they read it where none is named. Each law of each group may go to another of the
    `workers`.

    A group that cannot be cut has no ranking and says why; raises FitError if none can.
    """
    options = options or FitOptions(resamples=backtest.RESAMPLES)
    options = replace(options, x=options.x or cut)
    cut = cut or options.x or "flops"
    if cut == (options.target or "loss"):
        raise InputError(
            f"runs cannot be cut by {cut}, which is what is predicted",
            "Cut by flops, params, tokens or another column that the laws read.",
        )
    chosen = laws or procedures.comparable(rows)
    for name in chosen:
        procedures.fitter(name)
    _, unseen = hold_out(rows, by, holdout, hidden)
    if unseen is not None:
        rows = rows.with_notes(n for n in unseen.notes if n.code == "held_out_hidden")
    groups = rows.groups(by)
    contests = [_contest(group, members, cut, holdout, ended) for group, members in groups]
    if all(contest.error for contest in contests):
        raise next(contest.error for contest in contests if contest.error)
    entries = [(law, contest) for contest in contests if not contest.error for law in chosen]
    with mapper(workers) as mapped:
        results = mapped(partial(_backtested, options), entries)
        return [contest.decided(results, len(chosen), cut) for contest in contests]


class _Contest(NamedTuple):
    """A group of runs cut into folds, or why it cannot be."""

    group: Group
    folds: Sequence[backtest.Fold]
    notes: Sequence[Note]
    error: FitError | None = None

    def decided(
        self, results: Iterator[backtest.Score | FailedFit], laws: int, cut: str
    ) -> Comparison:
        """Who won, by the next results of this many laws."""
        if self.error:
            note = Note.of("no_folds", str(self.error))
            return Comparison(self.group, cut, (), (), (), (note,))
        ranked = backtest.ranked(list(islice(results, laws)), self.folds, cut, self.group)
        return replace(ranked, notes=(*ranked.notes, *self.notes))


def _contest(
    group: Group,
    members: Table,
    cut: str,
    holdout: str | None,
    ended: Callable[[Table], Table],
) -> _Contest:
    try:
        members = ended(members)
        folds = backtest.named(members, holdout) if holdout else backtest.rolling(members, cut)
    except FitError as error:
        return _Contest(group, (), (), error)
    return _Contest(group, folds, _about_runs(members))


def _backtested(options: FitOptions, entry: tuple[str, _Contest]) -> backtest.Score | FailedFit:
    law, contest = entry
    return backtest.backtested(law, contest.folds, options, contest.group)


def _fit_groups(
    chosen: Procedure, groups: Sequence[tuple[Group, Table]], options: FitOptions, mapped: Mapper
) -> list[Fit | FailedFit]:
    """The procedure fitted to each group, or to all at once where a parameter is tied."""
    accepts.check(chosen.kind, chosen.id, options, "loss")
    if options.tied:
        whole = [(group, _of_ended(rows)) for group, rows in groups if len(rows)]
        tied_fits = tied.fit(chosen.law, whole, options)
        return [_with_remarks(item, rows) for item, (_, rows) in zip(tied_fits, whole, strict=True)]
    chunks = (groups[start : start + CHUNK] for start in range(0, len(groups), CHUNK))
    work = partial(_fit_chunk, chosen.id, options)
    return [result for part in mapped(work, chunks) for result in part]


def _fit_chunk(
    name: str, options: FitOptions, groups: Sequence[tuple[Group, Table]]
) -> list[Fit | FailedFit]:
    """The procedure of this name fitted to each group; itself it cannot be sent to a worker."""
    chosen = procedures.procedure(name)
    fits: list[Fit | FailedFit] = []
    for group, rows in groups:
        try:
            if not len(rows):
                why = [n.message for n in _about_runs(rows) if n.code != "held_out_hidden"]
                if not why:
                    raise FitError(
                        "`holdout=` takes all runs of this group and leaves none to fit",
                        "Narrow it to the runs that are to be predicted.",
                    )
                raise FitError(" ".join(why), WAIT)
            unsure = imputed.SPREAD in rows.columns
            fit = partial(imputed.fit, chosen.fit) if unsure else chosen.fit
            fits.append(_with_remarks(fit(rows, options, group), rows))
        except FitError as error:
            fits.append(FailedFit(chosen.id, group, len(rows), str(error)))
    return fits


def _of_ended(rows: Table) -> Table:
    """Without the runs at a predicted end: a tied fit does not carry how unsure that is."""
    if imputed.SPREAD not in rows.columns:
        return rows
    kept, notes = imputed.ended_alone(rows, "how unsure a tied fit is of the loss")
    return kept.with_notes(notes)


def _with_remarks(result: Fit | FailedFit, rows: Table) -> Fit | FailedFit:
    """The fit with what its table says of runs that have not ended."""
    return result if isinstance(result, FailedFit) else result.with_notes(_about_runs(rows))


def _about_runs(rows: Table) -> list[Note]:
    return [note for note in rows.notes if note.code in ABOUT_RUNS]


def _scored(result: Fit | FailedFit, unseen: Table | None) -> Fit | FailedFit:
    """The fit with its errors on the held-out runs of its group, if there are any."""
    if isinstance(result, FailedFit) or unseen is None:
        return result
    try:
        return _with_remarks(score_holdout(result, unseen), unseen)
    except FitError as error:
        return FailedFit(result.name, result.group, result.n_observations, str(error))


def _key(group: Mapping[str, Any]) -> Key:
    return tuple((name, repr(value)) for name, value in group.items())
