"""Whether a run has ended: by its plan, by its learning rate, by what its logger says of it.

The format of a log tells nothing of that. In this order:

1. The plan. A run ends at the steps that it was to take: the column `planned_steps` of the mapping,
   or the config's `total_steps`, `max_steps` and the like, its `max_tokens` where tokens are
   logged, its `max_duration` (`4800ba`), or its `num_train_epochs`. Where the rate lies at its
   floor at a small share of it, the log counts something else (calls of `log`), and the rate is
   believed.
2. The learning rate. A schedule that falls and is still high has not come down: the run broke off.
   One that lies at its floor has.
3. The logger's own state (running, crashed, finished), where it keeps one.
4. A row of a table is what its author calls a run's result.

A history of which none of these says anything may have ended or not, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.notes import Note
from scaling_cli.quantities import count
from scaling_cli.records import Floats, Run, Series
from scaling_cli.spelling import last_part, spelled, unfiled
from scaling_cli.steps import STEP_IS

BY_PLAN, BY_EPOCHS, BY_RATE, BY_STATE, BY_TABLE, BY_NOTHING = (
    "steps of planned_steps",
    "epochs",
    "lr",
    "status",
    "table",
    "nothing says so",
)
PLANNED, ENDED = "planned_steps", "ended"  # among the values of a run's final point
NOT_ENDED = "not_ended"  # the code of what an ingest says of such a run
TOTAL_KEYS = (
    "total_steps",
    "max_steps",
    "num_train_steps",
    "train_steps",
    "num_training_steps",
    "max_train_steps",
    "total_training_steps",
    "training_steps",
    "train_iters",
    "max_iters",
    "total_iters",
    "num_iterations",
    "total_iterations",
    "max_updates",
    "max_update",
    "total_updates",
)
WHOLE_KEYS = ("training.steps", "train.steps", "trainer.steps")  # `steps` alone may be anything
EPOCH_KEYS = ("num_train_epochs", "num_epochs", "n_epochs", "max_epochs", "epochs")
EPOCH_NAMES = ("train/epoch", "epoch")
TOKEN_KEYS = (
    "max_tokens",
    "max_train_tokens",
    "max_training_tokens",
    "num_train_tokens",
    "train_tokens",
    "training_tokens",
    "total_train_tokens",
    "total_training_tokens",
    "target_tokens",
    "token_budget",
    "tokens_budget",
)
# Composer's and OLMo's: batches, tokens or epochs, or else steps.
_DURATION = re.compile(r"\s*(\d[\d_]*\.?\d*(?:[eE]\+?\d+)?)\s*(ba|tok|T|ep|)\s*")
DURATION = "max_duration"
KEPT_STATE = ("wandb", "mlflow")  # adapters of loggers that say how a run ended
STATE_NAMES = ("status", "state", "State", "Status")

OVERSHOT = 1.05  # of the planned tokens: how far a run may go beyond them
REACHED = 0.99  # of the plan: the last steps are often not logged
CONTRADICTED = 0.2  # of the plan, below which a rate at its floor is believed before the plan
FLOOR = 0.02  # of the peak: a rate below it has come down, whatever its slope
HIGH = 0.15  # of the peak: schedules end at a tenth of it or lower, unless they are flat there
STRETCH = 0.1  # of the steps, over which the rate's slope is taken
FLAT = 0.03  # of the peak: a smaller fall over such a stretch is none (2 % at the end of a cosine)
LEAST_POINTS = 5  # rates from which on they say something


@dataclass(frozen=True)
class Ending:
    """Whether a run has ended (None: nothing says so), the steps that it was to take, the last one
    that it logged, and what says so."""

    ended: bool | None
    planned: float | None
    reached: float | None
    origin: str

    @property
    def done(self) -> float | None:
        """The share of the planned steps that it has taken, at most 1."""
        if self.planned is None or self.reached is None:
            return None
        return min(self.reached / self.planned, 1.0)

    def in_words(self, status: str) -> str:
        """How the run stands and why, as a clause: `has taken 1.1K of 2K planned steps`."""
        reached, planned = count(self.reached), count(self.planned)
        if self.origin == BY_PLAN:
            return f"has taken {reached} of {planned} planned steps"
        if self.origin == BY_EPOCHS:
            return f"has not taken all of its planned epochs by step {reached}"
        if self.origin == BY_RATE and self.ended:
            return f"has brought its learning rate down by step {reached}"
        if self.origin == BY_RATE:
            return f"stands at step {reached}, its learning rate still high"
        if self.origin == BY_STATE:
            word = {"unfinished": "goes on", "failed": "broke off"}.get(status, "has finished")
            return f"{word}, as its logger says"
        if self.origin == BY_TABLE:
            return "is a row of a table, which is its result"
        return "says neither what it was to take nor that it has ended"

    def notes(self, status: str) -> Iterator[Note]:
        """What an ingest has to say of it."""
        if self.ended is False:
            yield Note.of(NOT_ENDED, f"not ended: {self.in_words(status)}")


def planned_steps(config: Mapping[str, Any]) -> tuple[float, str] | None:
    """The steps that a config plans and its key, by the names that trainers use."""
    for name in TOTAL_KEYS:
        for key, value in config.items():
            if last_part(key) == name and _is_count(value):
                return float(value), key
    for key, value in config.items():
        if key.replace("/", ".") in WHOLE_KEYS and _is_count(value):
            return float(value), key
    return _duration(config, ("ba", ""))


def _duration(config: Mapping[str, Any], units: tuple[str, ...]) -> tuple[float, str] | None:
    """What a config's `max_duration` says in one of the units, and its key."""
    for key, value in config.items():
        if last_part(key) == DURATION:
            told = _DURATION.fullmatch(value if isinstance(value, str) else f"{value}")
            if told is not None and told[2] in units and _is_count(float(told[1])):
                return float(told[1]), key
    return None


def planned_by_tokens(
    config: Mapping[str, Any], tokens: Any, reached: float
) -> tuple[float, str] | None:
    """The steps that the tokens a config plans take, from the tokens that were logged."""
    series = None if tokens is None else tokens.values
    if not isinstance(series, Series) or not reached or f"config.{DURATION}" in tokens.origin:
        return None
    seen = float(series.values[-1]) * reached / max(float(series.steps[-1]), 1.0)
    plans = [
        (float(value), key)
        for name in TOKEN_KEYS
        for key, value in config.items()
        if last_part(key) == name and _is_count(value) and key not in tokens.origin
    ]
    plans += [plan for plan in (_duration(config, ("tok", "T")),) if plan is not None]
    # What is less than was seen plans something else: an answer, or a batch.
    for planned, key in plans:
        if seen > 0 and planned * OVERSHOT >= seen:
            return reached * planned / seen, key
    return None


def planned_by_epochs(run: Run, reached: float) -> tuple[float, str] | None:
    """The steps of the epochs that a config plans, from the epochs that were logged."""
    for epochs, key in _epochs(run.config):
        for series in _counted_epochs(run):
            # A whole number may count from zero: only shares of epochs are known to end at `value`.
            if np.any(series.values % 1) and series.values[-1] > 0:
                return reached * epochs / float(series.values[-1]), key
    return None


def _epochs(config: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    """The epochs that a config plans, and their keys."""
    for name in EPOCH_KEYS:
        for key, value in config.items():
            if last_part(key) == name and _is_count(value):
                yield float(value), key
    by_duration = _duration(config, ("ep",))
    if by_duration is not None:
        yield by_duration


def _counted_epochs(run: Run) -> Iterator[Series]:
    named = (run.series.get(metric) for metric in EPOCH_NAMES)
    yield from (series for series in named if series is not None and len(series.values))


def _lacks_epochs(run: Run) -> bool:
    """Whether whole epochs are missing of the planned ones, counted from one or from zero."""
    planned = next((epochs for epochs, _ in _epochs(run.config)), None)
    ends = [float(series.values[-1]) for series in _counted_epochs(run)]
    return planned is not None and bool(ends) and max(ends) < planned - 1


def ending(run: Run, columns: Mapping[str, Any], reached: float | None) -> tuple[Ending, str]:
    """How the run stands, and where its plan comes from ("" without one).

    `columns` are those that were found in it (of `resolve`), `reached` its last step.
    """
    if not run.series:
        ended = run.status == "finished"
        return Ending(ended, None, reached, BY_TABLE if ended else BY_STATE), ""
    planned = _plan(run, columns, reached or 0.0)
    steps, origin = planned or (None, "")
    made = Ending(None, steps, reached, BY_NOTHING)
    verdict = _come_down(columns.get("lr"))
    if steps is not None and reached is not None:
        interval = _interval(columns.get("loss"))
        near = reached >= REACHED * steps or reached + interval >= steps
        if not near and STEP_IS in run.config:  # calls or rows, which the plan does not count
            made, origin = Ending(None, None, reached, BY_NOTHING), ""
        elif near or not (verdict and reached < CONTRADICTED * steps):
            return _replaced(made, near, BY_PLAN), origin
    if steps is None and STEP_IS not in run.config and _lacks_epochs(run) and not verdict:
        return _replaced(made, False, BY_EPOCHS), origin
    if verdict is not None:
        return _replaced(made, verdict, BY_RATE), origin
    if run.status != "finished":
        return _replaced(made, False, BY_STATE), origin
    adapter = run.run_key.partition(":")[0]
    if adapter.startswith(KEPT_STATE) or any(name in run.config for name in STATE_NAMES):
        return _replaced(made, True, BY_STATE), origin
    return made, origin


def _replaced(made: Ending, ended: bool, origin: str) -> Ending:
    return Ending(ended, made.planned, made.reached, origin)


def _plan(run: Run, columns: Mapping[str, Any], reached: float) -> tuple[float, str] | None:
    own = columns.get(PLANNED)
    if own is not None:
        steps = float(own.at([int(reached)])[0])
        return (steps, own.origin) if steps >= 1 else None
    planned = planned_steps(run.config)
    if planned is not None:
        return planned[0], f"config.{planned[1]}"
    planned = _planned_in_lines(run)
    if planned is not None:
        return planned
    planned = planned_by_tokens(run.config, columns.get("tokens"), reached)
    if planned is not None:
        return planned[0], f"steps by tokens of config.{planned[1]}"
    planned = planned_by_epochs(run, reached)
    return None if planned is None else (planned[0], f"steps by epochs of config.{planned[1]}")


def _planned_in_lines(run: Run) -> tuple[float, str] | None:
    """The planned steps that each line of a log repeats, and the metric that says them."""
    for name in TOTAL_KEYS:
        for metric, series in run.series.items():
            if unfiled(metric) != spelled(name) or not len(series.values):
                continue
            if np.ptp(series.values) == 0 and _is_count(float(series.values[-1])):
                return float(series.values[-1]), metric
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value < 1e15


def _interval(loss: Any) -> float:
    """The steps between two logged losses: the end may lie as far behind the last of them."""
    series = None if loss is None else loss.values
    if not isinstance(series, Series) or len(series.steps) < 2:
        return 0.0
    return float(np.median(np.diff(series.steps)))


def _come_down(lr: Any) -> bool | None:
    """Whether the rate has fallen to its end (True), still falls from high up (False), or says
    nothing: it is constant, or not logged."""
    series = None if lr is None else lr.values
    if not isinstance(series, Series):
        return None
    good = np.isfinite(series.values) & (series.values >= 0)
    steps, rates = series.steps[good].astype(float), series.values[good]
    if len(rates) < LEAST_POINTS or not np.max(rates) > 0:
        return None
    shares: Floats = rates / np.max(rates)
    last = float(shares[-1])
    if last < FLOOR:
        return True
    before = float(np.interp(steps[-1] - STRETCH * (steps[-1] - steps[0]), steps, shares))
    if abs(before - last) < FLAT:  # flat: at its floor, or as high as it ever was
        return True if last <= HIGH else None
    if last <= HIGH or before < last or _inverse_root(steps, shares):
        return None
    return False


def _inverse_root(steps: Floats, shares: Floats) -> bool:
    """Whether the second half of the rates falls as the inverse square root, which never ends."""
    late = steps >= 0.5 * (steps[0] + steps[-1])
    flat = shares[late] * np.sqrt(np.maximum(steps[late], 1.0))
    return bool(np.max(flat) <= (1 + FLAT) * np.min(flat))


def stored(final: Mapping[str, float], mapped: Mapping[str, str]) -> Ending:
    """How a stored run stands, by the values of its final point and where they come from."""
    ended = final.get(ENDED)
    origin = mapped.get(ENDED, BY_NOTHING)
    return Ending(
        None if ended is None else bool(ended), final.get(PLANNED), final.get("steps"), origin
    )


def judged(ended: float | None, status: str) -> str:
    """The status of a run: its logger's, unless its plan or its rate says another."""
    if status == "failed" or ended is None:
        return status
    return "finished" if ended else "unfinished"
