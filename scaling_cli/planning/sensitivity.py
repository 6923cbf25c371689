"""How much a split leans on single runs, sizes and budgets, and on the law: refits without each.

An interval says what runs drawn anew would give by the same law. It does not say that one run
carries the answer, nor what another law makes of the same runs: both are seen by fitting again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import comparable, fitter
from scaling_cli.fitting.record import SAME_LEVEL
from scaling_cli.fitting.result import Fit
from scaling_cli.planning.budget import FREE, Constraints
from scaling_cli.planning.splits import Allocation, allocate_fit
from scaling_cli.quantities import count, counted, number, percent
from scaling_cli.records import Floats
from scaling_cli.table import Mask, Table

MOST_RUNS = 40  # left out one by one; of more, those of the most compute
SAME_BUDGET = 1.1  # runs of one budget lie within 10 % of it
KINDS = {"run": "any one run", "size": "any one size", "rung": "any one budget", "law": "its law"}


@dataclass(frozen=True)
class Refit:
    """The split of the budget by a fit without `left_out`, or by another law of that name; None
    where there is none."""

    kind: str
    left_out: str
    params: float | None = None
    loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Sensitivity:
    """The refits beside the split itself. `asked` and `again` are the loss of the split and of a
    refit to all of its runs: where they differ, the fit was made with options of its own."""

    split: Allocation
    refits: tuple[Refit, ...]
    again: float | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)

    def of(self, kind: str) -> list[Refit]:
        return [item for item in self.refits if item.kind == kind]

    @property
    def sentences(self) -> list[str]:
        """One a kind: the range of losses and params, and what moves them most."""
        return [said for kind in KINDS for said in self._sentence(kind)] + list(self.notes)

    def _sentence(self, kind: str) -> Iterator[str]:
        known = [item for item in self.of(kind) if item.loss is not None]
        if not known or self.split.loss is None:
            return
        losses = [item.loss for item in known if item.loss is not None]
        params = [item.params for item in known if item.params is not None]
        base = self.again if self.again is not None and kind != "law" else self.split.loss
        worst = max(known, key=lambda item: abs((item.loss or base) / base - 1))
        moved = (worst.loss or base) / base - 1
        lost = len(self.of(kind)) - len(known)
        where = "by another law" if kind == "law" else f"without {KINDS[kind]}"
        if kind == "run" and len(self.of(kind)) == MOST_RUNS:
            where += f" of the {MOST_RUNS} largest"
        yield (
            f"{where[0].upper()}{where[1:]} ({counted(len(known), 'refit')}) the"
            f" {self.split.target} is {number(min(losses))} to {number(max(losses))}, params"
            f" {count(min(params))} to {count(max(params))}; {worst.left_out} moves it most,"
            f" {percent(moved, 2, sign=True)}"
            + (f"; {counted(lost, 'refit')} without a split." if lost else ".")
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "refits": [item.to_json() for item in self.refits],
            "again": self.again,
            "sentences": self.sentences,
        }


def sensitivity(
    fitted: Fit, rows: Table, split: Allocation, constraints: Constraints = FREE
) -> Sensitivity:
    """The split of a fit to `rows` by refits: without each run, size and budget, by each other law
    of the same columns."""
    if split.params is None or fitted.then:
        return Sensitivity(split, ())
    budget = split.budget_flops
    options = FitOptions(resamples=0, seed=fitted.seed, target=fitted.columns["target"])

    def again(kind: str, name: str, law: str, chosen: Table) -> Refit:
        try:
            one = allocate_fit(fitter(law)(chosen, options, fitted.group), budget, constraints)
        except (FitError, InputError):
            return Refit(kind, name)
        return Refit(kind, name, one.params, one.loss)

    own = fitted.name
    whole = again("all", "nothing", own, rows)
    refits = [again(kind, name, own, rows.select(~mask)) for kind, name, mask in _parts(rows)]
    laws = [name for name in comparable(rows) if name != own]
    refits += [again("law", name, name, rows) for name in laws]
    notes = []
    if whole.loss is not None and split.loss and abs(whole.loss / split.loss - 1) > 1e-6:
        notes.append(
            "The refits take the options of a plain fit, which alone moves the"
            f" {split.target} by {percent(whole.loss / split.loss - 1, 2, sign=True)}."
        )
    return Sensitivity(split, tuple(refits), whole.loss, tuple(notes))


def _parts(rows: Table) -> Iterator[tuple[str, str, Mask]]:
    """What is left out: its kind, its name and the rows [rows] that it is."""
    params, tokens = rows.columns["params"], rows.columns["tokens"]
    flops: Floats = rows.columns.get("flops", params * tokens)
    owners = rows.owner_numbers()
    firsts = {int(owner): row for row, owner in reversed(list(enumerate(owners)))}
    largest = sorted(firsts, key=lambda owner: -flops[firsts[owner]])[:MOST_RUNS]
    for owner in sorted(largest):
        yield "run", rows.run_ids[firsts[owner]], owners == owner
    for kind, values, factor in (("size", params, SAME_LEVEL), ("rung", flops, SAME_BUDGET)):
        levels = _levels(values, factor)
        groups: Sequence[int] = np.unique(levels).tolist()
        shown: Mapping[str, str] = {"size": "params", "rung": "FLOPs"}
        if 2 < len(groups) < len(firsts):
            for group in groups:
                mask = levels == group
                middle = float(np.exp(np.mean(np.log(values[mask]))))
                yield kind, f"{count(middle)} {shown[kind]}", mask


def _levels(values: Floats, factor: float) -> Floats:
    """Numbers [rows] of levels: values that lie within a factor of their neighbours are one."""
    order = np.argsort(values)
    steps = np.diff(np.log(values[order]), prepend=np.log(values[order[:1]])) > np.log(factor)
    levels = np.empty(len(values))
    levels[order] = np.cumsum(steps)
    return levels
