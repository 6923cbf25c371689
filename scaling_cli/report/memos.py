"""The memo of a budget, and recipes side by side, as tables: one sentence first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scaling_cli.notes import Note
from scaling_cli.quantities import chance, count, measured, number, percent, power, share
from scaling_cli.report.listing import Listing, group_name, span_of
from scaling_cli.report.plans import chosen_lines, served_line

if TYPE_CHECKING:
    from scaling_cli.planning.memo import Memo
    from scaling_cli.planning.recipes import Ranking, SideBySide


def memo_tables(memos: Sequence[Memo]) -> list[Listing]:
    """One table a memo."""
    return [_memo_table(item) for item in memos]


def _memo_table(memo: Memo) -> Listing:
    split = memo.split
    name = f"Plan for {group_name(split.group)}: "
    if split.params is None:
        return Listing(name + memo.sentence, (), (), lines=tuple(dict.fromkeys(memo.notes)))
    figures = (
        (split.target, *measured(split.loss, *(split.loss_range or (None, None)))),
        ("params", count(split.params), span_of(split.params_range, count)),
        ("tokens", count(split.tokens), span_of(split.tokens_range, count)),
        ("tokens per param", number(split.tokens_per_param, 3), "-"),
        ("FLOPs", power(split.budget_flops), "-"),
    )
    inside = share(split.level) if split.level else "interval"
    lines = (*_parts(memo), *dict.fromkeys(memo.notes))
    return Listing(name + memo.sentence, ("of the plan", "value", inside), figures, lines=lines)


def _parts(memo: Memo) -> list[str | Note]:
    """What is said of the plan, a line a part."""
    split = memo.split
    lines: list[str | Note] = []
    if split.valley:
        twice, half = percent(split.cost_of_double), percent(split.cost_of_half)
        lines.append(
            f"Valley: from {span_of(split.valley, count).replace('..', ' to ')} params costs under"
            f" 1 % of the loss; twice the params {twice}, half {half}."
        )
    lines += chosen_lines(split)
    if split.binding:
        cost = split.cost_of_binding
        price = f", at {percent(cost)} of the loss" if cost is not None else ""
        lines.append(f"Constraints: {' and '.join(split.binding)} decides the split{price}.")
    else:
        lines.append("Constraints: none decides the split.")
    if memo.cost:
        lines.append(f"Cost: {memo.cost.sentence}")
    lines.append(f"Record: {memo.track.sentence}")
    lines.append(f"Weakest link: {memo.weakest}")
    if memo.lean:
        lines += [f"Sensitivity: {said}" for said in memo.lean.sentences]
    if memo.next_run:
        lines.append(f"Next run: {memo.next_run.sentence}")
    lines += filter(None, [served_line(split)])
    if split.compute.name != "6nd":
        lines.append(f"FLOPs are {split.compute}.")
    return lines


def recipes_tables(found: SideBySide) -> list[Listing]:
    """One table a budget, and where recipes cross."""
    tables = [_ranking_table(item, found) for item in found.rankings]
    if found.meetings:
        rows = tuple(
            (
                item.before,
                item.after,
                power(item.flops),
                span_of(item.flops_range, power),
                percent(item.share, 0),
            )
            for item in found.meetings
        )
        headers = ("best below", "best above", "FLOPs", share(found.level), "of the resamples")
        title = "Where recipes cross, two by two"
        tables.append(Listing(title, headers, rows, left=2))
    fair = (
        "Losses are compared as they are: recipes of different tokenizers or evaluation sets are"
        " not comparable."
    )
    return [*tables[:-1], replace(tables[-1], lines=(*tables[-1].lines, fair))]


def _ranking_table(ranking: Ranking, found: SideBySide) -> Listing:
    rows = tuple(
        (
            item.recipe,
            *measured(item.split.loss, *(item.split.loss_range or (None, None))),
            "never" if item.multiple is None else number(item.multiple, 3),
            span_of(item.multiple_range, lambda value: number(value, 3)),
            chance(item.p_best),
        )
        for item in ranking.standings
    )
    inside = share(found.level)
    curse = (
        f"Chosen among {len(rows)} for looking best, a recipe does worse than it looks: expect"
        f" {number(ranking.expected)}, {percent(ranking.optimism)} more."
    )
    return Listing(
        f"At {power(ranking.budget_flops)} FLOPs {ranking.verdict}",
        ("recipe", found.target, inside, f"compute of {found.baseline}", inside, "P(best)"),
        rows,
        lines=(curse, *ranking.notes),
    )
