"""The report in words: what was asked, the answer, how far it reaches, its record, its doubts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scaling_cli.notes import kind_of
from scaling_cli.quantities import count, counted, measured, percent, power, share
from scaling_cli.report.listing import Listing, group_name, span_of

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.splits import Allocation

MOST_DOUBTS = 3
MOST_IN_WORDS = 3  # groups


def summary(fits: Sequence[Fit], allocations: Sequence[Allocation]) -> list[str]:
    """Paragraphs for a reader who reads nothing else: one a group, of its first fit."""
    first = list({repr(fit.group): fit for fit in reversed(fits)}.values())[::-1]
    told = [
        " ".join(_of_group(fit, [a for a in allocations if a.fit_id == fit.fit_id]))
        for fit in first[:MOST_IN_WORDS]
    ]
    more = len(first) - len(told)
    return [
        *told,
        *([f"The tables say the same of {counted(more, 'more group')}."] if more else []),
    ]


def _of_group(fit: Fit, splits: Sequence[Allocation]) -> Iterator[str]:
    subject = f"the {counted(fit.n_runs, 'run')} of {group_name(fit.group)}"
    subject = subject if fit.group else counted(fit.n_runs, "run")
    answered = [split for split in splits if split.params is not None and split.loss is not None]
    if answered:
        far = [item for item in answered if (item.decades_beyond or 0) >= 1]
        split = (far or answered[-1:])[0]  # a decade ahead is what a ladder is made for
        value, interval = measured(split.loss, *(split.loss_range or (None, None)))
        inside = f" ({share(split.level)} interval {interval})" if split.level else ""
        yield (
            f"From {subject}, {power(split.budget_flops)} FLOPs lead to a {split.target} of"
            f" {value}{inside}, with {count(split.params)} params"
            f" ({span_of(split.params_range, count)}) on {count(split.tokens)} tokens."
        )
        if split.decades_beyond:
            times = count(10**split.decades_beyond, 2)
            yield f"That is {times} times the compute of the largest of them."
        elif split.decades_beyond is not None:
            yield "That lies within what they trained."
    elif splits:
        yield f"From {subject} no split of a budget can be given."
    else:
        yield f"{subject[0].upper()}{subject[1:]} were fitted by {fit.name}."
    yield _record(fit)
    notes = split.notes if answered else ()
    doubts = {note.code: note for note in (*notes, *fit.notes)}
    severe = [note for note in doubts.values() if note.severity == "severe"]
    if severe:
        yield "Do not rely on it before this is settled:"
        for note in severe[:MOST_DOUBTS]:
            yield note.message if note.message.endswith(".") else f"{note.message}."


def _record(fit: Fit) -> str:
    scores = fit.holdout
    if scores and scores.get("n"):
        n = int(scores["n"] or 0)
        covered = scores.get("coverage")
        inside = round(n * covered) if covered is not None else None
        reached = "" if inside is None else f"; its interval held {inside} of {n}"
        return (
            f"On {counted(n, 'run')} kept out of it, the fit was off by"
            f" {percent(scores['mape'])} on average{reached}."
        )
    if fit.record and fit.record.folds:
        fold = fit.record.folds[0]
        return (
            f"Without its {counted(fold.n_held, 'largest run')}, the fit missed them by"
            f" {percent(fold.error)}."
        )
    return "No run was kept out, so nothing says how well it predicts larger ones."


def meanings_table(tables: Sequence[Listing]) -> Listing | None:
    """Each warning of the tables once, with what it means and what to do about it."""
    codes: dict[str, str] = {}
    for table in tables:
        for note in table.notes:
            codes.setdefault(note.code, note.severity)
    rows = tuple(
        (code, codes[code], declared.meaning, declared.mend)
        for code in codes
        if (declared := kind_of(code)) is not None
    )
    if not rows:
        return None
    return Listing(
        "What the warnings mean", ("warning", "severity", "meaning", "what to do"), rows, left=4
    )


def reproduction_table(fits: Sequence[Fit]) -> Listing:
    """How each fit was made: what has to be typed to have it again."""
    rows = []
    for fit in {fit.fit_id: fit for fit in fits}.values():
        basis = fit.rests_on
        rows.append(
            (
                fit.fit_id,
                (basis.command if basis else None) or "-",
                (basis.where if basis else None) or "-",
                (basis.holdout if basis else None) or "-",
                basis.runs_digest if basis else fit.data_digest,
                fit.version,
                basis.made if basis else "-",
            )
        )
    headers = ("fit", "command", "where", "held out", "runs digest", "version", "made")
    return Listing("How to reproduce it", headers, tuple(rows), left=7)
