"""Which learning rate, batch and weight decay rules give a run: those of papers, and those of a
tuned run that is carried over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scaling_cli.compute import SIX_ND
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Prediction, predict_published
from scaling_cli.laws import get_law, published_rules
from scaling_cli.laws.base import Law, Published
from scaling_cli.laws.transfer import TRANSFERS
from scaling_cli.notes import Note
from scaling_cli.quantities import count, number

FAR = 3.0  # times the range of a rule's runs: beyond, its power is a guess
COUNTS = ("params", "tokens", "flops", "batch_tokens")


@dataclass(frozen=True)
class Advice:
    """What the rules give, and `silent`: what the others lack, a sentence each."""

    values: tuple[Prediction, ...]
    silent: tuple[str, ...]
    caveats: tuple[str, ...]


def advice_of(predictions: Sequence[Prediction]) -> Advice:
    """Those of rules fitted to runs, with what their laws say."""
    caveats = [
        f"{item.name}: {text}" for item in predictions for text in get_law(item.name).caveats
    ]
    return Advice(tuple(predictions), (), tuple(dict.fromkeys(caveats)))


def advise(
    run: Mapping[str, float],
    base: Mapping[str, float] | None = None,
    published: str | None = None,
) -> Advice:
    """Every rule, or those of one set's paper, at the columns of `run`; with the settings of a
    tuned run, `base`, what carries over from it too."""
    values, silent, caveats = [], [], []
    read: set[str] = set()
    for law, entry in published_rules(published):
        read |= set(law.variables)
        given = {name: value for name, value in run.items() if name in _readable(law)}
        lacks = [name for name in law.variables if name not in {*run, "flops"}]
        if lacks:
            silent.append(f"{law.id} needs {' and '.join(lacks)}.")
            continue
        answer = predict_published(law, entry, given)
        notes = beyond(law, entry, answer.inputs)
        values.append(replace(answer, notes=(*answer.notes, *notes)))
        caveats += [f"{law.id}: {text}" for text in law.caveats]
    for transfer in TRANSFERS if base else ():
        read |= {*transfer.of_base, *transfer.of_run, "residual_multiplier"}
        missing = transfer.missing(base or {}, run)
        if missing:
            silent.append(
                f"{transfer.id} needs {' and '.join(missing)} for the {transfer.hyperparameter}."
            )
            continue
        point = {name: run[name] for name in {*transfer.of_run, *transfer.of_base} if name in run}
        group = {"from": f"the base run, by {transfer.source.authors} {transfer.source.year}"}
        found = transfer.value(base or {}, run)
        values.append(
            Prediction(None, transfer.id, group, point, found, target=transfer.hyperparameter)
        )
        said = f"{transfer.id}: {transfer.caveat} Shown for {transfer.holds}."
        caveats.append(said.replace(":  ", ": "))
    unread = sorted({*run, *(base or {})} - read - {"params", "tokens"})
    if unread:
        raise InputError(
            f"no rule reads {' and '.join(unread)}",
            f"They read {', '.join(sorted(read | {'params', 'tokens'}))}.",
        )
    return Advice(tuple(values), tuple(dict.fromkeys(silent)), tuple(dict.fromkeys(caveats)))


def _readable(law: Law) -> set[str]:
    """What the law reads, or what its compute follows from."""
    return {*law.variables, *(("params", "tokens") if "flops" in law.variables else ())}


def beyond(law: Law, entry: Published, at: Mapping[str, float]) -> list[Note]:
    """Where the point lies outside the runs that the rule was found on."""
    point = dict(at)
    if "flops" in entry.ranges and "flops" not in point:
        point["flops"] = float(SIX_ND.flops(point["params"], point["tokens"]))
    notes = []
    for name, (low, high) in entry.ranges.items():
        value = point.get(name, low)
        if low <= value <= high:
            continue
        times = max(value / high, low / value)
        say = count if name in COUNTS else number
        notes.append(
            Note.of(
                "outside_design",
                f"{entry.name} was found at {say(low)} to {say(high)} {name}; {say(value)} is"
                f" {number(times)} times {'more' if value > high else 'less'}.",
                "warning" if times > FAR else "info",
            )
        )
    return notes
