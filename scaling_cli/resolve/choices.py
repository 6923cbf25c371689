"""Which of several losses, or counts of parameters, is taken, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scaling_cli.losses import (
    is_auxiliary,
    is_held_out,
    is_held_out_measure,
    is_loss,
    loss_from,
    of_parts,
    of_the_whole,
    of_training,
)
from scaling_cli.notes import Note
from scaling_cli.records import Run, Series
from scaling_cli.resolve.column import Column, listed


def losses(run: Run, settings: Mapping[str, Any], known: tuple[str, ...],
           slashed: Mapping[str, str]) -> Iterator[Column]:  # fmt: skip
    """A held-out loss before the training loss, whatever loggers call them; of metrics, then of
    the `settings` that are numbers. `known` are the names of losses, the likeliest first."""
    for logged, prefix in ((run.series, ""), (settings, "config.")):
        named = [name for name in known if name in logged]
        named += [slashed[name] for name in known if name in slashed and not prefix]
        judged = [name for name in named if is_held_out(name)]
        parts = of_parts(logged)
        ordered = [*judged, *of_the_whole(logged)]
        ordered += parts if len(parts) == 1 and not prefix else ()
        ordered += [*named, *(of_training(logged) if not prefix else ())]
        for key in dict.fromkeys(ordered):
            if prefix or has_numbers(run, key):
                yield Column(prefix + key, logged[key])
        for key in named:  # all NaN: it diverged at once, or was never evaluated
            yield Column(prefix + key, logged[key])


def has_numbers(run: Run, metric: str) -> bool:
    return bool(np.isfinite(run.series[metric].values).any())


def choices(run: Run, columns: Mapping[str, Column], mapped: Mapping[str, str]) -> Iterator[Note]:
    """What was taken for a column where more than one name could have been meant."""
    loss = columns.get("loss")
    if loss is not None and "loss" not in mapped:
        yield from _other_losses(run, loss)
    size, active = columns.get("params"), columns.get("params_active")
    if size is not None and active is not None and "params" not in mapped:
        message = (
            f"N is {size.origin}, all parameters; {active.origin}, those that a token passes"
            f" through, are kept as params_active and counted for compute. To fit them as N:"
            f' [columns] params = "{active.origin}"'
        )
        yield Note.of("params_active", message)
    rest = columns.get("params_non_embedding")
    if size is not None and rest is not None and "params" not in mapped:
        message = (
            f"N is {size.origin}; {rest.origin}, without embeddings, is kept beside it. To fit"
            f' it as N: [columns] params = "{rest.origin}"'
        )
        yield Note.of("params_chosen", message)


def _other_losses(run: Run, loss: Column) -> Iterator[Note]:
    if not isinstance(loss.values, Series):
        return
    others = [name for name in run.series if name != loss.origin and is_loss(name)]
    judged = [name for name in others if is_held_out(name)]
    if is_held_out(loss.origin):
        if others:
            message = (
                f"the loss is {loss.origin}, held out; also logged: {listed(others, 4)}. To"
                f' take another: [columns] loss = "{others[0]}"'
            )
            yield Note.of("loss_chosen", message)
        return
    if judged:
        message = (
            f"the loss is {loss.origin}, of the training data, though held-out losses are"
            f' there: {listed(judged, 4)}. To take one: [columns] loss = "{judged[0]}"'
        )
        yield Note.of("loss_of_training", message)
        return
    measure = next(filter(is_held_out_measure, run.series), None)
    if measure is not None:
        message = (
            f"the loss is {loss.origin}, of the training data, though {measure} is there, of data"
            f" held out. To take it:"
            f' [columns] loss = "{loss_from(measure)}"'
        )
        yield Note.of("loss_of_training", message)
    if others:
        added = [name for name in run.series if is_auxiliary(name)]
        with_them = f", and {listed(added, 4)}, which may be added in it" if added else ""
        message = (
            f"the loss is {loss.origin}; also logged: {listed(others, 4)}{with_them}. To take"
            f' another: [columns] loss = "{others[0]}"'
        )
        yield Note.of("loss_chosen", message)
