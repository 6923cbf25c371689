"""Which fits gave an answer, and which fits a store has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from scaling_cli.quantities import counted, percent
from scaling_cli.report.listing import Listing, group_name

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit
    from scaling_cli.store.saved import SavedFit

_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))


def age(made: str | None, now: datetime | None = None) -> str:
    """How long ago an ISO time was, in its largest unit."""
    if made is None:
        return "-"
    then = datetime.fromisoformat(made)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{counted(int(seconds // size), unit)} ago"
    return "just now"


def origin(fits: Sequence[Fit]) -> str:
    """One line: which fits answer, of how many runs, chosen how, and how old they are."""
    ids = list(dict.fromkeys(fit.fit_id for fit in fits))
    shown = ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"
    runs = {tuple(sorted(fit.group.items(), key=str)): fit.n_runs for fit in fits}
    words = [f"Answered by {shown}, of {counted(sum(runs.values()), 'run')}"]
    if any(fit.prior for fit in fits):
        words.append("with the language models' prior")
    if any(fit.by_curves for fit in fits):
        words.append("by the curves of runs of one ratio of tokens to params")
    basis = fits[0].rests_on
    if basis is not None:
        words.append(f"where {basis.where}" if basis.where else "no filter")
        if basis.holdout:
            words.append(f"without {basis.holdout}")
        words.append(f"made {age(basis.made)}")
    return f"{', '.join(words)}."


def origins_json(fits: Sequence[Fit]) -> list[dict[str, Any]]:
    """The same for programs, fit by fit."""
    return [
        {
            "fit_id": fit.fit_id,
            "group": dict(fit.group),
            "n_runs": fit.n_runs,
            "where": fit.rests_on.where if fit.rests_on else None,
            "holdout": fit.rests_on.holdout if fit.rests_on else None,
            "made": fit.rests_on.made if fit.rests_on else None,
            "version": fit.version,
        }
        for fit in {fit.fit_id: fit for fit in fits}.values()
    ]


def with_origin(tables: Sequence[Listing], fits: Sequence[Fit]) -> list[Listing]:
    """The tables of an answer; the last says by which fits it is."""
    if not tables or not fits:
        return list(tables)
    *before, last = tables
    return [*before, replace(last, lines=(*last.lines, origin(fits)))]


def saved_table(saved: Sequence[SavedFit], answering: set[str]) -> Listing:
    """One line a saved fit, the newest first; a star marks those that answer."""
    rows = tuple(
        (
            f"{'*' if item.file in answering else ' '} {item.fit_id}",
            ", ".join(item.names) or "-",
            str(item.about["target"] or "-"),
            group_name(item.about["group"]),
            str(item.about["runs"] if item.about["runs"] is not None else "-"),
            item.about["where"] or "-",
            age(item.about["saved"]),
            percent(item.about["mape"]),
        )
        for item in saved
    )
    headers = ("fit", "name", "target", "group", "runs", "where", "made", "held-out error")
    lines = ("* answers, of its target, where `fit=` and `law=` are not given.",) if rows else ()
    return Listing(counted(len(saved), "saved fit"), headers, rows, left=4, lines=lines)


def basis_tables(fit: Fit, names: Sequence[str]) -> list[Listing]:
    """What one fit rests on, and its runs."""
    basis = fit.rests_on
    rows = [("id", fit.fit_id), ("name", ", ".join(names) or "-"), ("target", fit.target)]
    rows += [("group", group_name(fit.group)), ("runs", str(fit.n_runs))]
    if basis is not None:
        rows += [
            ("runs digest", basis.runs_digest),
            ("where", basis.where or "-"),
            ("by", ", ".join(basis.by) or "-"),
            ("holdout", basis.holdout or "-"),
            ("mapping digest", basis.mapping or "that of each run"),
            ("made", f"{basis.made} ({age(basis.made)})"),
            ("command", basis.command or "-"),
        ]
    rows.append(("version", fit.version))
    tables = [Listing(f"What {fit.fit_id} rests on", ("what", "value"), tuple(rows), left=2)]
    if basis is not None:
        ids = tuple((run_id,) for run_id in basis.runs)
        tables.append(Listing(f"The runs of {fit.fit_id}", ("run",), ids))
    return tables
