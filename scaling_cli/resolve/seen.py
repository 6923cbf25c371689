"""Tokens seen, where no name says them: from what was consumed, or from the step and the batch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from scaling_cli.ending import planned_steps
from scaling_cli.expressions import as_number, parse
from scaling_cli.notes import Note
from scaling_cli.records import Series
from scaling_cli.resolve.column import Column
from scaling_cli.spelling import last_part, quoted, spelled
from scaling_cli.steps import AS_CALLED, STEP_IS, calls_beside

if TYPE_CHECKING:
    from scaling_cli.resolve.resolver import Resolver

# Settings by their spelling, the likeliest first. A batch of all devices and passes, one that may
# be, and that of one device in one pass:
_WHOLE = (
    "global train batch size",
    "global batch size",
    "total train batch size",
    "total batch size",
    "effective batch size",
)
_BATCH = ("train batch size", "batch size")
_MICRO = ("per device train batch size", "micro batch size", "device batch size")
_LENGTH = (
    "max sequence length",
    "seq len",
    "seq length",
    "sequence length",
    "max seq len",
    "max seq length",
    "context length",
    "block size",
)
_ACCUMULATION = (
    "gradient accumulation steps", "grad accum", "accumulate grad batches", "grad accum steps",
    "gradient accumulation", "gradient accumulation iters", "grad accumulation steps",
    "grad acc steps", "gradient acc steps", "grad acc", "accumulation steps", "accum steps",
    "accum iter", "acc steps", "num accumulation steps", "batch accumulation per replica",
    "update freq",
)  # fmt: skip
_DEVICES = (
    "world size", "num devices", "n gpus", "num gpus", "devices", "n devices", "gpus", "n gpu",
    "ngpu", "ngpus", "num gpu", "device count", "gpu count", "dp", "dp size", "data parallel size",
    "ddp world size", "num processes", "devices per node", "gpus per node", "num gpus per node",
    "nproc per node",
)  # fmt: skip
_NODES = ("num nodes", "nnodes", "n nodes", "nodes")
_OF_ALL_NODES = {"world size", "ddp world size", "data parallel size", "dp size", "num processes"}
_ELSEWHERE = {"eval", "val", "valid", "validation", "test", "generation", "inference", "data"}
_LOGGED_BATCH = {"global batch size", "batch size"}
_SAMPLES = {"consumed samples", "consumed train samples", "samples seen", "consumed sequences"}
_NEAR_PLAN = 0.01  # of the plan: calls that end so near to it were one a step
_BEYOND_PLAN = 2.0  # times the plan: a counter that goes so far counts something else
# Tokens in a step that no batch of sequences has: 16 million is the most that is told of (Llama 3,
# arXiv:2407.21783, section 3.4.1), and a batch that counts tokens looks 100 times larger.
_MOST_A_STEP = 2.0**26


class TokensSeen:
    """What the settings and metrics of a run say of the tokens that it has seen."""

    def __init__(self, columns: Resolver) -> None:
        self.columns, self.run = columns, columns.run
        self.config = columns.run.config

    def column(self) -> Column | None:
        """Tokens from what was consumed, or from the step and the batch, where no name says them.

        No product with a count of epochs or of rows: those are no steps.
        """
        if self.columns.column("step") is None:
            return None
        length = self.setting(_LENGTH)
        logged = self.columns.forms
        consumed = next((logged[form] for form in _SAMPLES if form in logged), None)
        if length is not None and consumed is not None:
            text = f"{quoted(consumed)} * {_of(length)}"
            return self.columns.computed(text, parse(text).names)
        if self.config.get(STEP_IS, AS_CALLED) != AS_CALLED:
            return None
        if any(note.code == "step_counts_rows" for note in self.run.notes):
            return None
        computed = self.by_step(length)
        if computed is None or not self.steps_in_plan(computed.origin):
            return None
        if not self.steps_are_steps:
            self.doubt_of_calls(f"tokens are not computed as {computed.origin}")
            return None
        return computed

    def by_step(self, length: str | None) -> Column | None:
        """Tokens from the step and what it takes."""
        batch = self.columns.column("batch_tokens")
        if batch is not None:
            if isinstance(batch.values, Series) and np.ptp(batch.values.values):
                return self.summed(batch, 1.0, "")
            column = self.columns.computed("step * batch_tokens", ("step", "batch_tokens"))
            return Column(f"step * {quoted(batch.origin)}", column.values)
        if length is None:
            return None
        forms = self.columns.forms
        logged = next((forms[form] for form in _LOGGED_BATCH if form in forms), None)
        if logged is not None and self.columns.has_numbers(logged):
            times = as_number(self.config[length]) or 0.0
            return self.summed(Column(logged, self.run.series[logged]), times, f" * {_of(length)}")
        size = self.setting((*_WHOLE, *_BATCH, *_MICRO))
        if size is None:
            return None
        too_large = self.in_a_step(size, length) > _MOST_A_STEP
        return self.of_tokens(size, length) if too_large else self.from_batch(size, length)

    def spread(self, whole: Column) -> Column:
        """One figure for all of a run (`config.total_tokens`) over its steps: it is what the run
        will have seen at its planned end, or else had seen at its last step."""
        total = as_number(whole.values)
        if not self.run.series or total is None:
            return whole
        steps = self.columns.axis.steps
        plan = planned_steps(self.config)
        end, named = (plan[0], f"config.{plan[1]}") if plan else (float(steps[-1]), "")
        if not 0 < steps[-1] <= end:
            return whole
        values = Series(steps, total * (steps / end))
        return Column(f"{whole.origin} * step / {named}" if named else whole.origin, values)

    # The steps

    @cached_property
    def steps_are_steps(self) -> bool:
        """Whether the steps are a trainer's: a logger's count of its calls may be another, unless
        it ends where the config plans the last step."""
        if self.config.get(STEP_IS) != AS_CALLED:
            return True
        plan = planned_steps(self.config)
        return plan is not None and abs(self.calls - plan[0]) <= max(1.0, _NEAR_PLAN * plan[0])

    @property
    def calls(self) -> int:
        return int(self.columns.axis.steps[-1]) + 1

    def steps_in_plan(self, computed: str) -> bool:
        """Whether the steps end at what the config plans, or about there; else it is said."""
        plan = planned_steps(self.config)
        if plan is None or not self.run.series or self.calls <= _BEYOND_PLAN * plan[0] + 1:
            return True
        message = (
            f"the step goes up to {self.calls - 1:,}, and config.{plan[1]} plans {plan[0]:,.0f}: it"
            f" counts something else, so tokens are not computed as {computed}"
        )
        self.columns.notes.append(Note.of("step_beyond_plan", message))
        return False

    def doubt_of_calls(self, what: str) -> None:
        """A note that the steps are a logger's count of its calls, and what speaks against them."""
        plan = planned_steps(self.config)
        beside, metric = calls_beside(self.run)
        against = "nothing says that each was a step"
        if plan is not None:
            against = f"config.{plan[1]} plans {plan[0]:,.0f} steps"
        elif beside:
            against = f"{beside:,} of them log no {metric}, as evaluations between steps do"
        message = (
            f"the step is the logger's count of its calls, {self.calls:,}, and {against}: {what}."
            ' If each step was one call: [columns] step = "_step"; else name the step'
        )
        self.columns.notes.append(Note.of("step_counts_calls", message))

    # The batch

    def summed(self, batch: Column, times: float, factor: str) -> Column:
        """Tokens where the batch was logged and may have changed: the sum over the steps."""
        series = batch.values
        between = np.diff(series.steps, prepend=0)
        seen = np.cumsum(between * np.nan_to_num(series.values)) * times
        return Column(
            f"sum over steps of {quoted(batch.origin)}{factor}", Series(series.steps, seen)
        )

    def in_a_step(self, batch: str, length: str) -> float:
        """The tokens in a step if the batch counts sequences."""
        return (as_number(self.config[batch]) or 0.0) * (as_number(self.config[length]) or 0.0)

    def of_tokens(self, batch: str, length: str) -> Column | None:
        """Tokens by a batch that counts tokens itself, as nanochat's `total_batch_size` beside its
        `device_batch_size` does. Where its size alone speaks for that, it is asked."""
        text = f"step * {_of(batch)}"
        if spelled(batch).endswith("total batch size") and self.setting(_MICRO) is not None:
            return self.columns.computed(text, parse(text).names)
        message = (
            f"a step would take {self.in_a_step(batch, length):,.0f} tokens if {_of(batch)} counted"
            f' sequences, so it may count tokens: [columns] tokens = "{text}", or'
            f' "{text} * {_of(length)}"'
        )
        self.columns.notes.append(Note.of("tokens_batch_unclear", message))
        return None

    def from_batch(self, batch: str, length: str) -> Column:
        """Tokens from the step and a configured batch, which may be that of one device or pass."""
        text = f"step * {_of(batch)} * {_of(length)}"
        ramp = [key for key in self.config if "rampup" in key and self.config[key]]
        if not spelled(batch).endswith(_WHOLE):
            text += self.factors(batch, length, text)
        if ramp:
            message = (
                f"tokens = {text} knows nothing of {ramp[0]}, by which the batch grew at first"
            )
            self.columns.notes.append(Note.of("tokens_batch_unclear", message))
        return self.columns.computed(text, parse(text).names)

    def factors(self, batch: str, length: str, alone: str) -> str:
        """What multiplies the batch of one pass on one device, and a note that it may be none."""
        multiplied = [_of(key) for key in self.multiples()]
        unlogged = spelled(batch).endswith(_MICRO) and self.setting(_DEVICES) is None
        doubts = [*multiplied, *["a number of devices that is not logged"] * unlogged]
        text = "".join(f" * {key}" for key in multiplied)
        if doubts:
            suggest = "suggest" if len(doubts) > 1 else "suggests"
            message = (
                f"tokens = {alone}{text}: see whether {_of(batch)} is the whole batch or that of"
                f" one pass on one device, as {', '.join(doubts)} {suggest}; if it is the whole,"
                f' map tokens: [columns] tokens = "{alone}"'
            )
            self.columns.notes.append(Note.of("tokens_batch_unclear", message))
        return text

    def multiples(self) -> Iterator[str]:
        """The settings by which a batch of one pass on one device grows, where they are not 1."""
        devices = self.setting(_DEVICES)
        nodes = self.setting(_NODES)
        if devices is not None and spelled(devices).endswith(tuple(_OF_ALL_NODES)):
            nodes = None
        for key in (self.setting(_ACCUMULATION), devices, nodes):
            if key is not None and as_number(self.config[key]) != 1.0:
                yield key

    def setting(self, names: Sequence[str]) -> str | None:
        """The config key that goes by the first of the names that is one of a number: as it is, or
        nested (`train.global_batch_size`) where it is alone and of no evaluation."""
        for name in names:
            keys = self.settings.get(name, [])
            whole = [key for key in keys if spelled(key) == name]
            if whole or len(keys) == 1:
                return (whole or keys)[0]
        return None

    @cached_property
    def settings(self) -> dict[str, list[str]]:
        """The settings that are numbers, by the spelling of their last part."""
        known: dict[str, list[str]] = {}
        for key, value in self.config.items():
            if as_number(value) is None or isinstance(value, bool):
                continue
            last = last_part(key)
            folder = key[: -len(last)]
            if not _ELSEWHERE & set(spelled(folder).split()):
                known.setdefault(spelled(last), []).append(key)
        return known


def _of(key: str) -> str:
    """A setting as an expression names it."""
    return f"config.{key}" if re.fullmatch(r"[\w.]+", key) else f"`config.{key}`"
