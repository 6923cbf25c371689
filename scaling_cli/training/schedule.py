"""Learning-rate schedules: written as a specification, read from a file, or taken from a log."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling_cli.documents import read_text
from scaling_cli.errors import InputError
from scaling_cli.notes import Note
from scaling_cli.quantities import count, parse_quantity
from scaling_cli.records import Floats, Steps

MOST_STEPS = 20_000_000  # rates are held step by step; 160 MB
_MOST_BYTES = 64 << 20  # of a file of a schedule: two million lines
SHOWN = "Write e.g. cosine:peak=3e-4,warmup=2000,total=72000,min=3e-5."
DECAY_SHARE = (
    0.2  # of a wsd schedule's steps, where it does not say: Hu et al. 2024 used 0.1 to 0.2
)
SAME_RATE = 2e-3  # relative difference at which a logged rate is that of a schedule
FLOOR = 0.1  # of the peak: the final rate of a decay that has not begun
AT_ONCE = 4.0  # times as steep as the intervals beside it; a cosine's or a line's are alike
LEAST_DROP = 0.02  # of the peak: a smaller change moves no curve
STARTS = 33  # of a decay between two logged steps that are tried
FAMILIES = ("constant", "cosine", "linear", "inv_sqrt", "wsd")  # the first that agrees is taken
WARMUP_KEYS = ("warmup_steps", "num_warmup_steps", "lr_warmup_steps", "warmup")
WORDS = {  # how configurations name the families
    "wsd": r"wsd|warmup.?stable|trapezoid",
    "cosine": r"cosine",
    "linear": r"linear",
    "inv_sqrt": r"inv.*sqrt|inverse.*sqrt|rsqrt",
    "constant": r"constant",
}


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step: `rates` [total + 1], from step 0 on.

    `warmup` is the last step of the initial rise (0 without one); `name` is how it was written,
    and `notes` what was assumed where it was logged with gaps.
    """

    rates: Floats
    warmup: int
    name: str
    notes: tuple[Note, ...] = ()

    @property
    def total(self) -> int:
        return len(self.rates) - 1

    @property
    def peak(self) -> float:
        return float(self.rates.max())


def parse_schedule(spec: str, total: int | None = None) -> Schedule:
    """The schedule that `NAME:key=value,...` or a CSV file (step, learning rate) gives.

    `total` is the number of steps where the specification does not say, and wins over it where it
    does. InputError says what is missing or unknown.
    """
    name, _, rest = spec.partition(":")
    name = name.strip().lower()
    if name not in _BUILDERS:
        if Path(spec).suffix.lower() in (".csv", ".tsv") or os.path.isfile(spec):
            return _from_file(Path(spec), total)
        raise InputError(
            f"there is no schedule '{name}'",
            f"Known: {', '.join(_BUILDERS)}, or a CSV of step and learning rate. {SHOWN}",
        )
    given = dict(_settings(spec, rest))
    if total is not None:
        given["total"] = str(total)
    build, known = _BUILDERS[name]
    for key in given:
        if key not in known and not (name == "piecewise" and _is_step(key)):
            raise InputError(
                f"`schedule=` {spec}: {name} has no setting '{key}'",
                f"It has {', '.join(known)}. {SHOWN}",
            )
    return build(_Settings(spec, given))


def family(
    name: str, peak: float, warmup: int, total: int, least: float | None = None, **more: Any
) -> Schedule:
    """A schedule by its numbers: `family("cosine", 3e-4, 2000, 72000, 3e-5)`."""
    given = {"peak": repr(peak), "warmup": str(warmup), "total": str(total)}
    if least is not None and "min" in _BUILDERS[name][1]:
        given["min"] = repr(
            float(f"{least:.9g}")
        )  # a fitted one has digits of rounding behind these
    given |= {key: str(value) for key, value in more.items()}
    spec = f"{name}:" + ",".join(f"{key}={value}" for key, value in given.items())
    return parse_schedule(spec)


def logged_schedule(
    steps: Steps, rates: Floats, total: int, config: Mapping[str, Any] | None = None
) -> Schedule:
    """The schedule behind logged rates [n] at increasing `steps` [n], carried on to `total`.

    Between two logged steps the rate is a straight line, or drops at once where it does not fall so
    before or after; before the first it rises from zero. The name is that of the family (named in
    `config` under a key that ends in `schedule`, or else the first that gives every logged rate),
    and what comes after the last step is its; where there is none, the last rate.
    """
    steps, rates = np.asarray(steps, dtype=np.int64), np.asarray(rates, dtype=float)
    good = np.isfinite(rates) & (rates >= 0) & (steps >= 0)
    steps, rates = steps[good], rates[good]
    if not len(steps) or not np.any(rates > 0):
        raise InputError(
            "the run has no positive learning rate",
            'Map the column ([columns] lr = "...") or give `schedule=`.',
        )
    config = config or {}
    warmup, last = _warmup_of(steps, rates, config), int(steps[-1])
    breaks = drops(steps, rates, warmup)
    notes = (*_first_noted(steps, rates), *_drop_noted(steps, breaks))
    known = _between(*_risen_by(warmup, steps, rates), breaks, min(last, total))
    ends = [max(total, last)]
    if last >= total and len(steps) > 1:  # the end lies before the step that would be logged next
        ends.append(roundest(last + 1, 2 * last - int(steps[-2])))
    tried = [recognise(steps, rates, end, config, warmup, breaks) for end in ends]
    later = steps > warmup
    planned = min(
        filter(None, tried), key=lambda made: _off(made, steps[later], rates[later]), default=None
    )
    if last >= total:
        name = "logged" if planned is None else f"logged, {planned.name}"
        return Schedule(known, min(warmup, total), name, notes)
    if planned is None:
        tail = np.full(total - last, rates[-1])
        whole = Schedule(np.concatenate([known, tail]), warmup, "logged, held", notes)
    else:
        tail = planned.rates[last + 1 :]
        whole = Schedule(np.concatenate([known, tail]), warmup, planned.name, notes)
    return replace(whole, notes=(*notes, *_tail_noted(planned, last, rates, breaks, config)))


def _first_noted(steps: Steps, rates: Floats) -> list[Note]:
    first = int(steps[0])
    if first <= 1 or not rates[0] > 0:
        return []
    message = (
        f"The learning rate is logged from step {first}; before it a straight rise from zero is"
        " assumed."
    )
    return [Note.of("warmup_assumed", message)]


def _drop_noted(steps: Steps, breaks: Sequence[Drop]) -> list[Note]:
    if not breaks:
        return []
    at, before, after = breaks[0]
    more = f", and {len(breaks) - 1} more such changes" if len(breaks) > 1 else ""
    low, high = steps[np.searchsorted(steps, at) - 1], steps[np.searchsorted(steps, at)]
    message = (
        f"Between the logged steps {low} and {high} the learning rate goes from {before:.3g} to"
        f" {after:.3g} at once; step {at} is taken for it{more}."
    )
    return [Note.of("rate_drop", message)]


def _tail_noted(
    planned: Schedule | None, last: int, rates: Floats, breaks: Sequence[Drop],
    config: Mapping[str, Any],
) -> list[Note]:  # fmt: skip
    """What is assumed of the rates after the last logged step."""
    if planned is None:
        message = (
            f"After step {last} the schedule is not known; the last rate ({rates[-1]:.3g}) is held."
            " Give `schedule=` for another."
        )
        return [Note.of("schedule_unknown", message)]
    if planned.name.startswith(("constant", "piecewise")) and not _named(config):
        since = f" since step {breaks[-1][0]}" if breaks else ""
        message = (
            f"The rate has been constant{since} up to step {last}; that it stays so is assumed."
        )
        return [Note.of("schedule_assumed", message)]
    return []


Drop = tuple[int, float, float]  # the first step of the new rate, the rate before it, the new one


def drops(steps: Steps, rates: Floats, warmup: int) -> list[Drop]:
    """Where the rate [n] changes at once between two logged steps [n] after the warmup.

    It does where it changes `AT_ONCE` times as steeply as in the intervals before and after. The
    roundest step in between is taken: it is the one that people write into a config.
    """
    slopes = np.abs(np.diff(rates)) / np.diff(steps)
    falls = []
    for i in range(1, len(slopes) - 1):
        beside = max(slopes[i - 1], slopes[i + 1])
        leap = abs(rates[i + 1] - rates[i]) > LEAST_DROP * rates.max()
        if steps[i] >= warmup and leap and slopes[i] > AT_ONCE * beside:
            at = roundest(int(steps[i]) + 1, int(steps[i + 1]))
            falls.append((at, float(rates[i]), float(rates[i + 1])))
    return falls


def roundest(low: int, high: int) -> int:
    """The step of low..high that is a multiple of the largest of 1, 2, 5, 10, 20, 50, ...; of
    several the one nearest to the middle."""
    unit = 1
    for power in range(len(str(high))):
        for digit in (1, 2, 5):
            if high // (digit * 10**power) > (low - 1) // (digit * 10**power):
                unit = digit * 10**power
    least = -(-low // unit) * unit
    middle = least + round(max(0.0, (low + high) / 2 - least) / unit) * unit
    return middle if middle <= high else middle - unit


def _risen_by(warmup: int, steps: Steps, rates: Floats) -> tuple[Steps, Floats]:
    """The logged points, and the end of a warmup that lies before all of them."""
    if not 0 < warmup < steps[0]:
        return steps, rates
    return np.insert(steps, 0, warmup), np.insert(rates, 0, rates[0])


def _between(steps: Steps, rates: Floats, breaks: Sequence[Drop], last: int) -> Floats:
    """The rate of every step up to `last` [last + 1]."""
    first = 0.0 if steps[0] else rates[0]
    at, known = np.append(0, steps), np.append(first, rates)
    for step, before, after in breaks:
        place = int(np.searchsorted(at, step))
        new = [(step - 1, before), (step, after)]
        new = [pair for pair in new if pair[0] not in (at[place - 1], at[place])]
        at = np.insert(at, place, [pair[0] for pair in new])
        known = np.insert(known, place, [pair[1] for pair in new])
    every: Floats = np.interp(np.arange(last + 1), at, known)
    return every


def recognise(
    steps: Steps,
    rates: Floats,
    total: int,
    config: Mapping[str, Any],
    warmup: int,
    breaks: Sequence[Drop] = (),
) -> Schedule | None:
    """The family whose rates are the logged ones, or None. The final rate follows from them."""
    peak = float(rates.max())
    hint = _named(config)
    warmup = _planned_warmup(config) or warmup
    after = steps > warmup
    if breaks:
        levels: dict[str, Any] = {f"{step}": repr(float(f"{rate:.9g}")) for step, _, rate in breaks}
        stepwise = family("piecewise", peak, warmup, total, **levels)
        if _off(stepwise, steps[after], rates[after]) <= SAME_RATE * peak:
            return stepwise
    for name in [hint] if hint else FAMILIES:
        least = None
        if "min" in _BUILDERS[name][1]:
            to_zero = family(name, peak, warmup, total, 0.0).rates[steps]
            pull = 1.0 - to_zero / family(name, peak, warmup, total, peak).rates[steps].clip(1e-300)
            least = _least(to_zero, pull, rates, peak)
        made = family(name, peak, warmup, total, least)
        if _off(made, steps[after], rates[after]) <= SAME_RATE * peak:
            return made
    return _late_decay(steps[after], rates[after], total, warmup, peak)


def _late_decay(
    steps: Steps, rates: Floats, total: int, warmup: int, peak: float
) -> Schedule | None:
    """A stable stretch and then a decay that the log has seen begin: its start, shape and end."""
    high = np.flatnonzero(rates >= (1 - SAME_RATE) * peak)
    if not len(high) or high[-1] + 2 >= len(rates):  # two lower rates are needed for a shape
        return None
    best: Schedule | None = None
    least_off = SAME_RATE * peak
    first, beyond = int(steps[high[-1]]), int(steps[high[-1] + 1])
    for start in np.unique(np.linspace(first, beyond - 1, STARTS).astype(int)).tolist():
        done = ((steps - start) / (total - start)).clip(0.0, 1.0)
        for shape, fall in SHAPES.items():
            if shape == "exponential":
                if np.min(rates) <= 0:
                    continue
                least = peak * float(np.exp(done @ np.log(rates / peak) / (done @ done)))
            else:
                least = _least(peak * fall(done), 1 - fall(done), rates, peak)
            if not least < peak or (shape == "exponential" and least <= 0):
                continue
            more: dict[str, Any] = {"decay": total - start, "shape": shape}
            made = family("wsd", peak, warmup, total, least, **more)
            off = _off(made, steps, rates)
            if off <= least_off:
                best, least_off = made, off
    return best


def _least(to_zero: Floats, pull: Floats, rates: Floats, peak: float) -> float:
    """The final rate: each logged one is `to_zero` + least * `pull` [n]."""
    weight = float(np.sum(pull**2))
    least = float(np.sum(pull * (rates - to_zero))) / weight if weight > 0 else FLOOR * peak
    return min(max(least, 0.0), peak)


def _off(made: Schedule, steps: Steps, rates: Floats) -> float:
    """How far the logged rates are from those of a schedule, at the most."""
    return float(np.max(np.abs(made.rates[steps] - rates), initial=0.0))


def _named(config: Mapping[str, Any]) -> str | None:
    """The family that a run's config names (`lr_scheduler_type = "cosine"`), if it is known."""
    for key, value in config.items():
        if isinstance(value, str) and re.search(r"schedule|scheduler", key.lower()):
            for name, pattern in WORDS.items():
                if re.search(pattern, value.lower()):
                    return name
    return None


def _planned_warmup(config: Mapping[str, Any]) -> int | None:
    """The steps of the warmup that a run's config names."""
    for key in WARMUP_KEYS:
        if isinstance(config.get(key), int | float) and config[key] >= 1:
            return int(config[key])
    return None


def _warmup_of(steps: Steps, rates: Floats, config: Mapping[str, Any] | None = None) -> int:
    """The last step of the initial rise: where the first highest rate is logged, or what the config
    says where that is before the log begins."""
    highest = np.flatnonzero(rates >= rates.max() * (1 - 1e-9))[0]
    if highest and steps[highest] - steps[highest - 1] > 1 and rates[highest - 1] > 0:
        # The rise ended between two logged steps: where its straight line meets the peak.
        at, rate = steps[highest - 1], rates[highest - 1]
        return int(min(steps[highest], np.ceil(at * rates[highest] / rate)))
    planned = _planned_warmup(config or {})
    if not highest and planned is not None and planned < steps[0]:
        return planned
    return int(steps[highest]) if highest or steps[0] > 1 else 0


def _settings(spec: str, rest: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"`schedule=` {spec}: '{part}' is no key=value", SHOWN)
        yield key.strip().lower(), value.strip()


@dataclass(frozen=True)
class _Settings:
    spec: str
    given: Mapping[str, str]

    def number(self, key: str, default: float | None = None) -> float:
        if key not in self.given:
            if default is None:
                raise InputError(f"`schedule=` {self.spec} does not say {key}", SHOWN)
            return default
        value = parse_quantity(self.given[key], f"`schedule=` {self.spec}: {key}")
        if value < 0:
            raise InputError(f"`schedule=` {self.spec}: {key} is below zero", SHOWN)
        return value

    def steps(self, key: str, default: float | None = None) -> int:
        value = self.number(key, default)
        if value > MOST_STEPS:
            raise InputError(
                f"`schedule=` {self.spec}: {count(value)} steps are more than {count(MOST_STEPS)}",
                "Give fewer, larger steps: divide steps and multiply rates by the same number.",
            )
        return int(value)

    def frame(self) -> tuple[float, int, int]:
        """Peak, warmup and total, which every family has."""
        peak, warmup, total = self.number("peak"), self.steps("warmup", 0), self.steps("total")
        if total < 1 or warmup >= total:
            raise InputError(
                f"`schedule=` {self.spec}: {warmup} warmup steps do not end before the {total} of"
                " the total",
                SHOWN,
            )
        if peak <= 0:
            raise InputError(f"`schedule=` {self.spec}: the peak must be above zero", SHOWN)
        return peak, warmup, total


def _risen(peak: float, warmup: int, after: Floats) -> Floats:
    """Rates [total + 1] of a straight rise to `peak` at `warmup`, then `after` [total + 1]."""
    step = np.arange(len(after))
    return np.where(step < warmup, peak * step / max(warmup, 1), after)


def _decaying(shape: Callable[[Floats], Floats]) -> Callable[[_Settings], Schedule]:
    """A family that falls from the peak to `min` over all steps after the warmup."""

    def build(settings: _Settings) -> Schedule:
        peak, warmup, total = settings.frame()
        least = settings.number("min", 0.0)
        done = np.clip((np.arange(total + 1) - warmup) / (total - warmup), 0.0, 1.0)
        return _made(settings, _risen(peak, warmup, least + (peak - least) * shape(done)), warmup)

    return build


def _made(settings: _Settings, rates: Floats, warmup: int) -> Schedule:
    return Schedule(rates, warmup, settings.spec)


def _wsd(settings: _Settings) -> Schedule:
    peak, warmup, total = settings.frame()
    least = settings.number("min", 0.0)
    decay = settings.number("decay", DECAY_SHARE)
    start = total - round(decay * total if decay <= 1 else decay)
    if start < warmup:
        raise InputError(f"`schedule=` {settings.spec}: it decays before its warmup ends", SHOWN)
    shape = settings.given.get("shape", "linear")
    if shape not in SHAPES:
        raise InputError(
            f"`schedule=` {settings.spec}: there is no shape '{shape}'",
            f"Choose one of {', '.join(SHAPES)}.",
        )
    if shape == "exponential" and least <= 0:
        raise InputError(
            f"`schedule=` {settings.spec}: an exponential decay does not end at zero", "Add min=..."
        )
    done = np.clip((np.arange(total + 1) - start) / max(total - start, 1), 0.0, 1.0)
    fallen = (
        peak * (least / peak) ** done
        if shape == "exponential"
        else least + (peak - least) * SHAPES[shape](done)
    )
    return _made(settings, _risen(peak, warmup, fallen), warmup)


def _constant(settings: _Settings) -> Schedule:
    peak, warmup, total = settings.frame()
    return _made(settings, _risen(peak, warmup, np.full(total + 1, peak)), warmup)


def _inv_sqrt(settings: _Settings) -> Schedule:
    """peak * sqrt(warmup / step) after the warmup (Vaswani et al. 2017, eq. 3)."""
    peak, warmup, total = settings.frame()
    step = np.maximum(np.arange(total + 1), 1)
    return _made(settings, _risen(peak, warmup, peak * np.sqrt(max(warmup, 1) / step)), warmup)


def _piecewise(settings: _Settings) -> Schedule:
    """The peak, then from each step that is named on the rate given there."""
    peak, warmup, total = settings.frame()
    rates = np.full(total + 1, peak)
    for key in sorted((key for key in settings.given if _is_step(key)), key=parse_quantity):
        rates[int(parse_quantity(key)) :] = settings.number(key)
    return _made(settings, _risen(peak, warmup, rates), warmup)


def _is_step(key: str) -> bool:
    return key[:1].isdigit()


SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + np.cos(np.pi * done)),
    "sqrt": lambda done: 1.0 - np.sqrt(done),
    "exponential": lambda done: 1.0 - done,  # by its own formula: it falls by factors
}
_FRAME = ("peak", "warmup", "total")
# name -> what builds it, and the settings that it knows
_BUILDERS: dict[str, tuple[Callable[[_Settings], Schedule], tuple[str, ...]]] = {
    "cosine": (_decaying(SHAPES["cosine"]), (*_FRAME, "min")),
    "linear": (_decaying(SHAPES["linear"]), (*_FRAME, "min")),
    "wsd": (_wsd, (*_FRAME, "min", "decay", "shape")),
    "inv_sqrt": (_inv_sqrt, _FRAME),
    "constant": (_constant, _FRAME),
    "piecewise": (_piecewise, (*_FRAME, "STEP")),
}


def _from_file(path: Path, total: int | None) -> Schedule:
    """A CSV with a step and a learning rate a line; straight lines in between."""
    import csv

    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such schedule file", SHOWN)
    try:
        text = read_text(path, _MOST_BYTES, errors="replace")
        rows = list(csv.reader(text.splitlines(), delimiter="\t" if "\t" in text else ","))
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({reason})", SHOWN) from None
    points = []
    for number, row in enumerate(rows, start=1):
        try:
            points.append((int(float(row[0])), float(row[1])))
        except (ValueError, IndexError, OverflowError):
            if number > 1 and row:  # the first line may be a header
                raise InputError(
                    f"{path}, line {number}: no step and learning rate",
                    "Give two columns: step, learning_rate.",
                ) from None
    points.sort()
    steps = np.array([step for step, _ in points], dtype=np.int64)
    rates = np.array([rate for _, rate in points])
    end = total if total is not None else int(steps[-1]) if len(steps) else 0
    bad = not len(steps) or steps[0] < 0 or not (np.isfinite(rates).all() and (rates >= 0).all())
    if bad or not rates.any() or not 1 <= end <= MOST_STEPS:
        raise InputError(
            f"{path} holds no schedule: steps from 0 and rates from zero are needed",
            "Give two columns: step, learning_rate.",
        )
    every = np.interp(
        np.arange(end + 1),
        np.append(0, steps),
        np.append(rates[0] if steps[0] <= 1 else 0.0, rates),
    )
    return Schedule(every, _warmup_of(steps, rates), str(path))
