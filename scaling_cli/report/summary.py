"""The report in words: what was asked, the answer, how far it reaches, its record, its doubts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scaling_cli.notes import Note, kind_of
from scaling_cli.quantities import count, counted, measured, number, percent, power, share
from scaling_cli.report.listing import Listing, group_name, span_of

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.recipes import SideBySide
    from scaling_cli.planning.splits import Allocation

MOST_DOUBTS = 3
MOST_IN_WORDS = 3  # groups
SHORT = 160  # letters of a doubt that is said in full: longer ones list runs and settings
FEW = 5  # held-out runs whose score is luck: of an interval of 90 %, five hold five in six of ten


def summary(
    fits: Sequence[Fit], allocations: Sequence[Allocation], recipes: SideBySide | None = None
) -> list[str]:
    """Paragraphs for a reader who reads nothing else: what is asked, a paragraph a group of its
    first fit, and which group is the best."""
    first = list({repr(fit.group): fit for fit in reversed(fits)}.values())[::-1]
    answered = [_answer(fit, allocations) for fit in first]
    told = [
        " ".join(_of_group(fit, split, fits, allocations))
        for fit, split in zip(first[:MOST_IN_WORDS], answered, strict=False)
    ]
    more = len(first) - len(told)
    asked = next((split for split in answered if split), None)
    return [
        *_question(first),
        *told,
        *([f"The tables give the same for {counted(more, 'more group')}."] if more else []),
        *(_best(recipes, asked.budget_flops, len(first)) if recipes and asked else []),
    ]


def _question(fits: Sequence[Fit]) -> Iterator[str]:
    """What a reader who knows no scaling law has to know before the answers."""
    splits = [fit for fit in fits if fit.law.splits]
    if not splits:
        return
    target = splits[0].target
    yield (
        f"What {target} will a larger training run reach, and how should its compute be split"
        " between the size of the model (params) and the data it is trained on (tokens)? The"
        " answers are forecasts by a curve through smaller runs; an interval of"
        f" {share(splits[0].level)} is meant to hold that share of such runs."
    )


def _answer(fit: Fit, allocations: Sequence[Allocation]) -> Allocation | None:
    """The split that stands for a fit: the first a decade or more ahead, which is what a ladder is
    made for."""
    splits = [item for item in allocations if item.fit_id == fit.fit_id]
    answered = [split for split in splits if split.params is not None and split.loss is not None]
    far = [item for item in answered if (item.decades_beyond or 0) >= 1]
    return next(iter(far or answered[-1:]), None)


def _of_group(
    fit: Fit, split: Allocation | None, fits: Sequence[Fit], allocations: Sequence[Allocation]
) -> Iterator[str]:
    subject = f"the {counted(fit.n_runs, 'run')} of {group_name(fit.group)}"
    subject = subject if fit.group else counted(fit.n_runs, "run")
    severe, milder = (_doubts(fit, split, severity) for severity in ("severe", "warning"))
    if severe:
        yield "Do not rely on what follows before this is settled:"
        yield from map(_sentence, severe[:MOST_DOUBTS])
    if split:
        value, interval = measured(split.loss, *(split.loss_range or (None, None)))
        inside = f" ({share(split.level)} interval {interval})" if split.level else ""
        article = "an" if split.target[0].lower() in "aeiou" else "a"
        yield (
            f"From {subject}, {power(split.budget_flops)} FLOPs lead to {article} {split.target} of"
            f" {value}{inside}, with {count(split.params)} params"
            f" ({span_of(split.params_range, count)}) on {count(split.tokens)} tokens."
        )
        yield from _reach(split)
        yield from _other_laws(fit, split, fits, allocations)
    elif any(item.fit_id == fit.fit_id for item in allocations):
        yield f"From {subject} no split of a budget can be given."
    else:
        yield f"{subject[0].upper()}{subject[1:]} were fitted by {fit.name}."
    yield _record(fit)
    yield from map(_sentence, milder[:MOST_DOUBTS])
    further = [note.code for note in milder[MOST_DOUBTS:]]
    if further:
        yield f"Further doubts, explained below: {', '.join(further)}."


def _reach(split: Allocation) -> Iterator[str]:
    if split.decades_beyond:
        times = count(10**split.decades_beyond, 2)
        yield f"That is {times} times the compute of the largest run that it rests on."
    elif split.decades_beyond is not None:
        yield "That lies within the compute of the runs that it rests on."


def _other_laws(
    fit: Fit, split: Allocation, fits: Sequence[Fit], allocations: Sequence[Allocation]
) -> Iterator[str]:
    """What the other laws of the report say of the same budget: the answer may rest on the law."""
    others = [
        (float(item.loss), other.name)
        for other in fits
        for item in allocations
        if other is not fit and (other.group, other.target) == (fit.group, fit.target)
        if item.fit_id == other.fit_id and item.budget_flops == split.budget_flops and item.loss
    ]
    if others:
        said = [f"{number(loss)} ({name})" for loss, name in (min(others), max(others))]
        yield f"By other laws it would be {' to '.join(dict.fromkeys(said))}."


def _record(fit: Fit) -> str:
    scores = fit.holdout
    if scores and scores.get("n"):
        n = int(scores["n"] or 0)
        covered = scores.get("coverage")
        inside = round(n * covered) if covered is not None else None
        reached = "" if inside is None else f"; its interval held {inside} of {n}"
        little = ". So few runs say little" if n < FEW else ""
        return (
            f"On {counted(n, 'run')} kept out of it{_as_large_as(fit)}, the fit was off by"
            f" {percent(scores['mape'])} on average{reached}{little}."
        )
    if fit.record and fit.record.folds:
        fold = fit.record.folds[0]
        return (
            f"Without its {counted(fold.n_held, 'largest run')}, the fit missed them by"
            f" {percent(fold.error)}."
        )
    return "No run was kept out, so nothing says how well it predicts larger ones."


def _as_large_as(fit: Fit) -> str:
    """How far the runs that tested a fit lie beyond it, which is as far as its record reaches."""
    largest = fit.domain.get("flops", (0.0, 0.0))[1]
    sizes = [
        float(fit.compute.flops(row["params"], row["tokens"])) / largest
        for row in fit.holdout_rows
        if largest and row.get("params") and row.get("tokens")
    ]
    return f", of up to {count(max(sizes), 2)} times its largest" if sizes else ""


def _doubts(fit: Fit, split: Allocation | None, severity: str) -> list[Note]:
    """The notes of a severity, one a code; that it extrapolates is said in words."""
    notes = {note.code: note for note in (*(split.notes if split else ()), *fit.notes)}
    return [n for n in notes.values() if n.severity == severity and n.code != "extrapolation"]


def _sentence(note: Note) -> str:
    """What a note says; of a long one what such notes mean."""
    declared = kind_of(note.code)
    said = declared.meaning if declared and len(note.message) > SHORT else note.message
    said = said if said.endswith(".") else f"{said}."
    return said[0].upper() + said[1:]


def _best(recipes: SideBySide, budget: float, groups: int) -> Iterator[str]:
    """Which group is the best at the budget of the answers, of those that were compared."""
    for ranking in recipes.rankings:
        if ranking.budget_flops == budget:
            part = f" {part_compared(recipes, groups)}" if part_compared(recipes, groups) else ""
            yield f"At {power(budget)} FLOPs {ranking.verdict}.{part}"


def part_compared(recipes: SideBySide, groups: int) -> str:
    """That some groups were not compared, where it is so."""
    n = len(recipes.rankings[0].standings)
    return f"Of {groups} groups the first {n} were compared." if n < groups else ""


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
