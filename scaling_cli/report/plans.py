"""Splits of compute, hyperparameters and recipes side by side as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scaling_cli.notes import Note
from scaling_cli.quantities import count, measured, number, percent, power, share
from scaling_cli.report.listing import RANGES, Listing, group_name, span, span_of

if TYPE_CHECKING:
    from scaling_cli.planning.contrasts import Asymptotes, Crossing, Equivalence, Slope
    from scaling_cli.planning.costs import Cost
    from scaling_cli.planning.hyperparameters import Advice
    from scaling_cli.planning.sensitivity import Sensitivity
    from scaling_cli.planning.splits import Allocation


def hparams_table(advice: Advice) -> Listing:
    """One line a rule."""
    rows = tuple(
        (
            item.target,
            item.name,
            group_name(item.group),
            *(
                (count(item.loss), span(item.low, item.high, count))
                if item.target == "batch_tokens"
                else measured(item.loss, item.low, item.high)
            ),
        )
        for item in sorted(advice.values, key=lambda item: item.target, reverse=True)
    )
    notes = dict.fromkeys(note for item in advice.values for note in item.notes)
    headers = ("hyperparameter", "rule", "from", "value", "interval")
    lines: tuple[str | Note, ...] = (*advice.caveats, *advice.silent, *notes)
    return Listing("Hyperparameters", headers, rows, left=3, lines=lines)


def allocation_tables(
    allocations: Sequence[Allocation],
    costs: Sequence[Cost | None] = (),
    leans: Sequence[Sensitivity | None] = (),
) -> list[Listing]:
    """One table a fit, one line a budget; under the last what training takes and what refits say,
    if that is known."""
    tables = _tables_of_fits(allocations)
    prices = tuple(dict.fromkeys(cost.sentence for cost in costs if cost))
    prices += tuple(
        f"At {power(lean.split.budget_flops)} FLOPs: {said}"
        for lean in leans
        if lean
        for said in lean.sentences
    )
    if not prices:
        return tables
    return [*tables[:-1], replace(tables[-1], lines=(*tables[-1].lines, *prices))]


def _tables_of_fits(allocations: Sequence[Allocation]) -> list[Listing]:
    fits: dict[tuple[str, str, str | None], list[Allocation]] = {}
    for item in allocations:
        fits.setdefault((item.name, group_name(item.group), item.fit_id), []).append(item)
    tables = []
    for (law, group, _), items in fits.items():
        # A law of the optimum itself, as of isoFLOP curves, tells no loss.
        told = any(item.loss is not None for item in items)
        rows = tuple(
            (
                power(item.budget_flops),
                "-" if item.decades_beyond is None else f"{item.decades_beyond:.1f}",
                count(item.params),
                span_of(item.params_range, count),
                count(item.tokens),
                number(item.tokens_per_param, 3),
                *(measured(item.loss, *(item.loss_range or (None, None))) if told else ()),
            )
            for item in items
        )
        inside = share(items[0].level) if items[0].level else "interval"
        headers: tuple[str, ...] = ("FLOPs", "past", "params", inside, "tokens", "D/N")
        headers += (items[0].target, inside) if told else ()
        lines: list[str | Note] = _costs(items)
        if any(f"{item.decades_beyond or 0:.1f}" != "0.0" for item in items):
            lines.append("past: decades of compute beyond the largest fitted run.")
        notes = dict.fromkeys(note for item in items for note in item.notes)
        title = f"Compute-optimal splits: {law}, {group}"
        tables.append(Listing(title, headers, rows, left=0, lines=(*lines, *notes)))
    return tables


def served_line(item: Allocation) -> str:
    """What serving takes of a budget, if it takes any."""
    if not item.constraints.inference_tokens:
        return ""
    length = item.constraints.served_length
    if length is not None:
        each = f"a forward pass each with attention over {length:g} tokens"
    else:
        each = "2 FLOPs a param each" if item.compute.name == "6nd" else "a forward pass each"
    return f"The budget pays for the served tokens too, at {each}."


def chosen_lines(item: Allocation) -> list[str]:
    """What was chosen beside the split, each with its bounds."""
    if not item.choices:
        return []
    said = []
    for name, value in item.choices.items():
        pair = item.choices_range.get(name)
        inside = f" ({span_of(pair, number)})" if pair else ""
        end = ", an end of the range searched" if name in item.choices_at_end else ""
        said.append(f"{name} {number(value)}{inside}{end}")
    size = "" if item.size == "params" else f" Params are {item.size}."
    return [f"Chosen at {power(item.budget_flops)} FLOPs: {'; '.join(said)}.{size}"]


def _costs(items: Sequence[Allocation]) -> list[str | Note]:
    """How flat the optimum is, which constraints decide, and which compute is counted."""
    lines: list[str | Note] = []
    for item in items:
        lines += chosen_lines(item)
        if item.budget_range:
            lines.append(
                f"The smallest budget for this loss is {power(item.budget_flops)} FLOPs,"
                f" {span_of(item.budget_range, power)}."
            )
        if item.binding:
            cost = item.cost_of_binding
            lines.append(
                f"At {power(item.budget_flops)} FLOPs {' and '.join(item.binding)} decides"
                + (f"; it costs {percent(cost)} of the loss." if cost is not None else ".")
            )
    flat = [item for item in items if item.valley is not None]
    if flat:
        last = flat[-1]
        lines.append(
            f"At {power(last.budget_flops)} FLOPs the loss rises by less than 1 % within"
            f" {span_of(last.valley, count)} params"
            + (
                f"; by {percent(last.cost_of_double)} at twice the params and"
                f" {percent(last.cost_of_half)} at half of them."
                if last.cost_of_double is not None
                else "."
            )
        )
    served = dict.fromkeys(map(served_line, items))
    lines += [text for text in served if text]
    computes = dict.fromkeys(str(item.compute) for item in items if item.compute.name != "6nd")
    lines += [f"FLOPs are {text}." for text in computes]
    return lines


def crossing_table(item: Crossing) -> Listing:
    shape = dict(RANGES).get(item.along, number)
    low, high = ("open" if place is None else shape(place) for place in (item.low, item.high))
    share = "-" if item.share is None else percent(item.share, 0)
    row = (item.along, shape(item.at), f"{low}..{high}", share, item.before, item.after)
    return Listing(
        f"Where {item.first} and {item.second} meet",
        ("along", "at", "interval", "resamples", "lower before", "after"),
        (row,),
        lines=("resamples: share of them in which the curves cross.", *item.notes),
    )


def equivalence_table(items: Sequence[Equivalence]) -> Listing:
    rows = tuple(
        (
            power(item.flops),
            number(item.loss),
            "never" if item.multiple is None else number(item.multiple, 3),
            f"{number(item.low, 3)}..{'never' if item.high is None else number(item.high, 3)}"
            if item.low is not None
            else "-",
        )
        for item in items
    )
    notes = dict.fromkeys(note for item in items for note in item.notes)
    return Listing(
        f"Compute that {items[0].second} needs for the {items[0].target} of {items[0].first}",
        ("FLOPs", items[0].target, "times", "interval"),
        rows,
        left=0,
        lines=tuple(notes),
    )


def asymptotes_table(item: Asymptotes) -> Listing:
    """What endless compute leaves of the loss of two recipes."""
    rows = [
        (name, *measured(value, *ends))
        for name, value, ends in zip(item.names, item.floors, item.bounds, strict=True)
    ]
    rows.append((" - ".join(item.names), *measured(item.difference, item.low, item.high)))
    lines: tuple[Note | str, ...] = item.notes
    if item.p_lower is not None:
        first, second = item.names
        lines = (f"P({first} ends lower than {second}) = {item.p_lower:.2f}", *lines)
    return Listing(
        "Loss that no compute takes away", ("recipe", "floor", "interval"), tuple(rows), left=1,
        lines=lines,
    )  # fmt: skip


def slopes_table(items: Sequence[Slope]) -> Listing:
    rows = tuple(
        (
            item.name,
            item.exponent,
            *measured(item.value, item.low, item.high),
            *(() if item.theory is None else (number(item.theory), number(item.p_value))),
        )
        for item in items
    )
    headers = ("recipe", "exponent", "value", "interval")
    tested = any(item.theory is not None for item in items)
    notes = dict.fromkeys(note for item in items for note in item.notes)
    return Listing(
        "Slopes of the loss above its floor" if "/" not in items[0].name else "Ratios of slopes",
        (*headers, "theory", "p") if tested else headers,
        rows,
        left=2,
        lines=tuple(notes),
    )
