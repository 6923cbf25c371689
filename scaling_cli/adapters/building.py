"""What the text adapters share: rows and columns in, runs out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number
from scaling_cli.losses import is_loss
from scaling_cli.notes import Note
from scaling_cli.quantities import has_one_comma, read_quantity
from scaling_cli.records import Floats, Run, Series, Status
from scaling_cli.spelling import near_names
from scaling_cli.steps import Points

NUMBER_WORDS = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "inf": float("inf"),
    "-infinity": float("-inf"),
    "-inf": float("-inf"),
}
_DOTTED = re.compile(r"[+-]?\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?")
STATUS_NAMES = ("status", "state", "State", "Status")
_STATUS_WORDS: dict[str, Status] = {
    **dict.fromkeys(("running", "unfinished", "pending", "queued", "preempted"), "unfinished"),
    **dict.fromkeys(("crashed", "failed", "killed", "error", "diverged", "oom"), "failed"),
}


def moment(seconds: float) -> str:
    """A time in seconds since 1970 as ISO text, or nothing if it is none."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds > 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""


def flattened(row: Table[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables, their keys joined by dots."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@dataclass
class Logged:
    """What a run logged, value by value: numbers are points, text that never changes is config."""

    numbers: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    texts: dict[str, set[str]] = field(default_factory=dict)
    others: dict[str, None] = field(default_factory=dict)
    # Texts that are numbers, each with its step: points if they change, a setting if they do not.
    written: dict[str, tuple[list[int], list[str]]] = field(default_factory=dict)

    def add(self, step: int, key: str, value: Any) -> None:
        if value is None:
            return
        number = NUMBER_WORDS.get(value.strip().lower()) if isinstance(value, str) else value
        if number is None:
            self.texts.setdefault(key, set()).add(value)
            steps, texts = self.written.setdefault(key, ([], []))
            steps.append(step)
            texts.append(value)
            return
        number = as_number(number)
        if number is None:
            self.others[key] = None
            return
        steps, values = self.numbers.setdefault(key, ([], []))
        steps.append(step)
        values.append(number)

    def points(self) -> Points:
        """The points of each metric; also of one whose numbers were written as texts."""
        self._read_written()
        return {
            key: (np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))
            for key, (steps, values) in self.numbers.items()
        }

    def _read_written(self) -> None:
        for key, (steps, texts) in self.written.items():
            known = numbers_of(self.texts.get(key, ()))
            constant = len(known or ()) == 1 and key not in self.numbers
            if known is None or (constant and not is_loss(key)):
                continue
            at, values = self.numbers.setdefault(key, ([], []))
            at += steps
            values += [known[text] for text in texts]
            order = sorted(range(len(at)), key=at.__getitem__) if at != steps else range(len(at))
            self.numbers[key] = [at[i] for i in order], [values[i] for i in order]
            del self.texts[key]
        self.written = {}

    def constants(self) -> dict[str, str]:
        return {key: next(iter(found)) for key, found in self.texts.items() if len(found) == 1}

    def notes(self) -> list[Note]:
        self._read_written()
        notes = [decimal_comma(key, found) for key, found in self.texts.items()]
        changing = [key for key, found in self.texts.items() if len(found) > 1] + list(self.others)
        known = [note for note in notes if note is not None]
        if not changing:
            return known
        message = f"neither numbers nor constant text, left out: {', '.join(changing)}"
        return [Note.of("text_left_out", message), *known]


def numbers_of(texts: Iterable[str], counts: bool = False) -> dict[str, float] | None:
    """The number that each of the texts writes (`12.5k`, `1,048,576`, `"10.5"`); None unless all
    do, blanks aside. Where all are `counts`, one comma parts thousands too."""
    known: dict[str, float] = {}
    found = list(texts)
    grouped = counts or any(text.count(",") > 1 for text in found)
    for text in found:
        number = NUMBER_WORDS.get(text.strip().lower())
        number = read_quantity(text) if number is None else number
        number = read_quantity(text, counts=True) if number is None and grouped else number
        if number is None and text.strip():
            return None
        known[text] = float("nan") if number is None else number
    return known or None


def decimal_comma(key: str, texts: Iterable[str]) -> Note | None:
    """A note on texts that are numbers with a decimal comma, or with dots between thousands."""
    found = sorted(text for text in texts if text.strip())
    dotted = next((text for text in found if _DOTTED.fullmatch(text.strip())), None)
    if dotted is not None:
        message = (
            f"{key} holds texts such as {dotted.strip()!r}; dots that part thousands are not read:"
            f" write {dotted.strip().replace('.', '')}"
        )
        return Note.of("decimal_comma", message)
    odd = next((text for text in found if has_one_comma(text)), None)
    if odd is None or not all(has_one_comma(t) or read_quantity(t) is not None for t in found):
        return None
    message = (
        f"{key} holds texts such as {odd.strip()!r}; decimal commas are not read: write"
        f" {odd.strip().replace(',', '.')}"
    )
    return Note.of("decimal_comma", message)


def make_series(steps: NDArray[np.int64], values: Floats) -> tuple[Series, int, int]:
    """A series in step order, the last of equal steps kept; with the counts of dropped points and
    of values that are no finite number (NaN in the series)."""
    broken = ~np.isfinite(values)
    if broken.any():
        values = np.where(broken, np.nan, values)
    if not np.all(steps[1:] > steps[:-1]):
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(steps[1:] != steps[:-1], True)
        dropped = len(steps) - int(last.sum())
        steps, values = steps[last], values[last]
    else:
        dropped = 0
    series = Series(np.ascontiguousarray(steps), np.ascontiguousarray(values))
    return series, dropped, int(np.isnan(values).sum())


def _differ(steps: NDArray[np.int64], values: Floats) -> bool:
    """Whether some step was logged with more than one value."""
    order = np.argsort(steps, kind="stable")
    same = steps[order][1:] == steps[order][:-1]
    one, other = values[order][1:][same], values[order][:-1][same]
    return bool(np.any((one != other) & ~(np.isnan(one) & np.isnan(other))))


def make_run(
    adapter: str,
    run_id: str,
    source: str,
    config: Table[str, Any],
    points: Table[str, tuple[NDArray[np.int64], Floats]],
    notes: Sequence[Note] = (),
) -> Run:
    """A run from its config and, for each metric, the points in the order they were logged."""
    run_id, source = storable(run_id), storable(source)
    series: dict[str, Series] = {}
    found = list(notes)
    repeated, broken = dict[str, int](), dict[str, int]()
    for logged, (steps, values) in points.items():
        if not len(steps):
            continue
        name = storable(logged)
        series[name], dropped, non_finite = make_series(steps, values)
        if dropped and not name.startswith("_") and _differ(steps, values):
            repeated[name] = dropped
        if non_finite:
            broken[name] = non_finite
    if repeated:
        count, names = max(repeated.values()), ", ".join(sorted(repeated))
        message = f"{count} steps were logged again in {names}; the last value of each counts"
        found.append(Note.of("repeated_steps", message))
    if broken:
        counts = ", ".join(f"{count} in {name}" for name, count in broken.items())
        found.append(Note.of("non_finite", f"values that are not finite: {counts}"))
    plain = mended(dict(config))
    name = first_text(plain, ("display_name", "run_name", "name", "Name"))
    return Run(
        run_key=f"{adapter}:{run_id}",
        run_id=run_id,
        source=source,
        name=name or run_id,
        group=first_text(plain, ("group", "Group")),
        status=status_of(first_text(plain, STATUS_NAMES)),
        config=plain,
        series=series,
        tags=tags_of(plain.get("tags", plain.get("Tags"))),
        created_at=first_text(plain, ("created_at", "createdAt", "Created")),
        notes=tuple(found),
    )


def first_text(config: Table[str, Any], names: Sequence[str]) -> str:
    values = (config.get(name) for name in names)
    texts = (str(v) for v in values if v is not None and not isinstance(v, (list, dict)))
    return storable(next(texts, ""))


def storable(text: str) -> str:
    """The text, with what UTF-8 cannot say (half a surrogate pair) as question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def mended(value: Any) -> Any:
    """A setting with every text in it, names included, storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {
            storable(key) if isinstance(key, str) else key: mended(v) for key, v in value.items()
        }
    return [mended(item) for item in value] if isinstance(value, list | tuple) else value


def numbered_names(texts: Sequence[str], otherwise: str) -> list[str]:
    """A name for each of the texts that no other has: those that repeat are numbered."""
    counts, taken = Counter(texts), set(texts)
    times: dict[str, int] = {}
    names = []
    for text in texts:
        name = text
        if counts[text] > 1 or not text:
            while name in taken:
                times[text] = times.get(text, 0) + 1
                name = f"{text or otherwise}-{times[text]}"
            taken.add(name)
        names.append(name)
    return names


def names_numbered(source: str, texts: Sequence[str]) -> Note:
    message = (
        f"{source}: {len(set(texts))} names for {len(texts)} runs; each row is a run, and those of"
        " one name are numbered in the order of the rows"
    )
    return Note.of("names_numbered", message)


def no_id(source: str, wanted: str, names: Iterable[str]) -> Note:
    """A note that a file lacks what the mapping names as the run's id."""
    others = near_names(wanted, names)[:3]
    near = f"; near it is {', '.join(others)}" if others else ""
    return Note.of("no_id_column", f"{source}: has no column {wanted!r} for [run] id{near}")


def status_of(word: str) -> Status:
    return _STATUS_WORDS.get(word.strip().lower(), "finished")


def tags_of(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(storable(str(tag)) for tag in value)
    words = value.split(",") if isinstance(value, str) else ()
    return tuple(storable(tag.strip()) for tag in words if tag.strip())


def plain_number(value: float) -> int | float:
    """A whole number as an int, as a config would hold it."""
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def constants_to_config(runs: Sequence[Run]) -> list[Run]:
    """In a file of many runs, a metric that never changes within any run is a setting of the run.

    A file of histories repeats `params` or `width` on every row; one row a run would say it once.
    """
    holders: dict[str, list[Series]] = {}
    for run in runs:
        for name, series in run.series.items():
            holders.setdefault(name, []).append(series)
    settings = {
        name
        for name, found in holders.items()
        if len(found) > 1
        and any(len(series.steps) > 1 for series in found)
        and all(bool(np.all(series.values == series.values[0])) for series in found)
    }
    if len(settings) == len(holders):  # nothing would be left to plot
        return list(runs)
    return [
        replace(
            run,
            config=run.config
            | {n: plain_number(s.values[0]) for n, s in run.series.items() if n in settings},
            series={n: s for n, s in run.series.items() if n not in settings},
        )
        for run in runs
    ]


def whole_steps(values: Floats, where: Callable[[int], str]) -> NDArray[np.int64]:
    """Steps as integers; a fraction is an error that `where` places by its row."""
    odd = np.flatnonzero((values != np.round(values)) | (np.abs(values) > 2**62))
    if len(odd):
        raise InputError(
            f"{where(int(odd[0]))}: step {values[odd[0]]:g} is not a whole number",
            'Name the step column in the mapping: [columns] step = "..."',
        )
    return values.astype(np.int64)
