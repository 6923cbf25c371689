"""A mapping to begin with, from what the runs of a source log: which names look like what."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.adapters.reading import stream
from scaling_cli.columns import COLUMNS
from scaling_cli.ending import PLANNED
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number
from scaling_cli.mapping import Mapping
from scaling_cli.quantities import count, counted, number
from scaling_cli.records import Run
from scaling_cli.resolve import Final, finals
from scaling_cli.resolve.offers import in_ones, of_a_transformer
from scaling_cli.sources import Sources
from scaling_cli.text import visible, whole

NEEDED = ("params", "tokens", "loss")  # what a law of size and data rests on
# Canonical column -> how names of it look, beyond those that are known.
LOOKS = {
    "params": r"param|n_?non_?emb|model_?size|\bsize\b",
    "tokens": r"tok(en)?s?(?!.*(/s|per|sec))|\bD\b|consumed|seen",
    "loss": r"loss|nll|cross_?entropy|\bce\b|bpb|bits",
    "lr": r"\blr\b|learning.?rate",
}
MEANT = {
    "params": "parameters, N",
    "tokens": "training tokens, D",
    "loss": "the loss that a law predicts, best a held-out one",
    "lr": "the learning rate: training curves, and the ends of runs that have not ended",
    PLANNED: "the steps that a run is to take: tells which runs have ended",
}
SUPPLY = {
    "params": (
        "no name looks like it. Log it (`n_params` in the config), give a table of settings with",
        "a column `params` (`scalefit ingest` with `meta=runs.csv`), or write it as an",
        'expression over the config, e.g. "12 * config.n_layer * config.n_embd**2".',
    ),
    "tokens": (
        "no name looks like it. Log it (`tokens`), or compute it from the step, e.g.",
        '"step * config.batch_size * config.seq_len" (batch of all devices, with accumulation).',
    ),
    "loss": ("no name looks like it. Name the metric that is to be predicted.",),
    "lr": ("no name looks like it. Log it (`lr`) with the loss.",),
    PLANNED: ("no name looks like it. Log it in the config (`max_steps`).",),
}
GROUP_NAMES = re.compile(r"recipe|data|mix|optim|arch|variant|family|group|schedule|tokeni[sz]er")
SPLIT_NAMES = re.compile(r"split|phase|purpose|role|holdout|held")
SPLIT_VALUES = re.compile(r"hold.?out|held.?out|test|valid|target|train|fit|ladder", re.IGNORECASE)
HELD_OUT = re.compile(r"hold.?out|held.?out|test|valid|target", re.IGNORECASE)
MOST_GROUPS = 12
LISTED = 6  # alternatives of a column, values of a key


@dataclass(frozen=True)
class _Name:
    """A logged metric or a config key, and its values at the end of the runs that have it."""

    origin: str
    values: tuple[Any, ...]

    @property
    def numbers(self) -> list[float]:
        values = (as_number(value) for value in self.values)
        return [value for value in values if value is not None and np.isfinite(value)]


def suggest(sources: Sources) -> str:
    """A commented scalefit.toml for the runs of the sources. It reads them as no mapping does, and
    each line that is a comment is one that could be wanted.

    InputError where there are no runs.
    """
    runs = [run for piece in stream(sources) for run in piece.runs]
    if not runs:
        raise InputError(
            f"{', '.join(sources.places)}: there are no runs", "Name a file or a folder."
        )
    rows = finals(runs, strict=False).rows
    return "\n".join(_lines(sources.places, runs, rows)) + "\n"


def _lines(places: Sequence[str], runs: Sequence[Run], rows: Sequence[Final]) -> Iterator[str]:
    names = _names(runs, rows)
    yield from (
        f"# What the {counted(len(runs), 'run')} of {_safe(', '.join(places))} call things.",
        "# Written by `scalefit init`; it works as it is, and reads what would be read without it.",
        "# A line that begins with # says nothing. Values are those at the ends of the runs.",
        "",
        "[columns]",
    )
    for column in (*NEEDED, "lr", PLANNED):
        yield from _column(column, runs, rows, names)
        yield ""
    yield from _further(rows, names)
    yield "[run]"
    yield from _grouping(runs, names)
    yield from (
        "",
        '# final = "last"       # which point of a history counts: last | min | mean:K',
        "# where = \"status != 'crashed'\"      # a filter that always holds",
    )


def _names(runs: Sequence[Run], rows: Sequence[Final]) -> dict[str, _Name]:
    values: dict[str, list[Any]] = {}
    for run, row in zip(runs, rows, strict=True):
        for metric, value in row.summary.items():
            values.setdefault(metric, []).append(value)
        for key, value in run.config.items():
            if value is not None and not isinstance(value, list | dict):
                values.setdefault(f"config.{key}", []).append(value)
    return {origin: _Name(origin, tuple(found)) for origin, found in values.items()}


def _column(
    column: str, runs: Sequence[Run], rows: Sequence[Final], names: Dict[str, _Name]
) -> Iterator[str]:
    """The line of a column, with what else could be meant by it."""
    yield f"# {MEANT[column]}"
    origins = Counter(row.mapped[column] for row in rows if column in row.mapped)
    for origin, having in origins.most_common():
        values = [r.values.get(column) for r in rows if r.mapped.get(column) == origin]
        range_text = (
            f"{_range([v for v in values if v is not None])}, in {having} of {len(runs)} runs"
        )
        mark = "" if _reads_alike(column, origin, runs, rows) else "# "
        yield f"{mark}{column} = {_text(origin)}  # {range_text}"
    if len(origins) > 1:
        yield "#   ^ different names in different runs; each is found by itself. Is it one thing?"
    others = [
        name
        for name in names.values()
        if column in LOOKS
        and name.origin not in origins
        and re.search(LOOKS[column], name.origin.removeprefix("config."), re.IGNORECASE)
        and name.numbers
    ]
    for name in others[:LISTED]:
        text = in_ones(name.origin) if column in ("params", "tokens") else name.origin
        text = name.origin if text.strip("`") == name.origin else text  # it is that very name
        yield f"# {column} = {_text(text)}  # {_described(name, len(runs))}"
    if len(others) > LISTED:
        yield f"#   and {len(others) - LISTED} more names like it"
    if not origins and others:
        yield "#   MISSING: no known name. Take the # from the line above that is meant."
    elif not origins:
        yield from (f"#   {line}" for line in _supply(column, names))


def _reads_alike(column: str, origin: str, runs: Sequence[Run], rows: Sequence[Final]) -> bool:
    """Whether a line for the column gives every run what it has without one."""
    try:
        alike = finals(runs, Mapping(columns={column: origin}), strict=False).rows
    except InputError:
        return False
    return all(
        column in row.values and row.values.get(column) == own.values.get(column)
        for row, own in zip(rows, alike, strict=True)
    )


def _supply(column: str, names: Dict[str, _Name]) -> Iterator[str]:
    """How a column that is missing could be supplied."""
    yield f"MISSING: {SUPPLY[column][0]}"
    yield from SUPPLY[column][1:]
    if column == "params":
        shape = of_a_transformer(list(names))
        if shape:
            yield "The config has layers and width; of a plain transformer, without embeddings:"
            yield f"params = {_text(shape)}"


def _further(rows: Sequence[Final], names: Dict[str, _Name]) -> Iterator[str]:
    """What else was found, and what else is logged and could be predicted."""
    shown = {*NEEDED, "lr", PLANNED, "step", "ended"}
    read = {c: o for row in rows for c, o in row.mapped.items() if c not in shown and c in COLUMNS}
    if read:
        yield "# Read without a line here: " + ", ".join(
            f"{c} ({_safe(o)})" for c, o in read.items()
        )
    used = {origin for row in rows for origin in row.mapped.values()}
    metrics = [
        n
        for n in names.values()
        if not n.origin.startswith("config.")
        and n.origin not in used
        and not n.origin.startswith("_")
    ]
    if metrics:
        yield "# Also logged; a line gives one a column of its own, to fit it by `y=`:"
        for name in metrics[: 2 * LISTED]:
            column = re.sub(r"\W+", "_", name.origin).strip("_") or "metric"
            yield f"# {_key(column)} = {_text(name.origin)}  # {_described(name, len(rows))}"
        if len(metrics) > 2 * LISTED:
            yield f"#   and {len(metrics) - 2 * LISTED} more"
    if read or metrics:
        yield ""


def _grouping(runs: Sequence[Run], names: Dict[str, _Name]) -> Iterator[str]:
    """The config keys that part the runs."""
    lines = []
    for name in names.values():
        key = name.origin.removeprefix("config.")
        if key == name.origin or len(name.values) < len(runs):
            continue
        values = Counter(str(value) for value in name.values)
        texts = any(isinstance(value, str) for value in name.values)
        named = bool(GROUP_NAMES.search(key.lower()) or SPLIT_NAMES.search(key.lower()))
        if 2 <= len(values) <= min(MOST_GROUPS, len(runs) // 2) and (texts or named):
            lines.append((not named, key, name.origin, values))
    splits = [item for item in lines if _is_split(item[1], item[3])]
    groups = sorted(item for item in lines if item not in splits)
    if not groups:
        yield "# No setting parts the runs into a few groups: `group` is not needed."
    else:
        yield "# Runs of several kinds follow laws of their own: one of these may part them."
        yield "# Without the # each of its values is fitted by itself."
    for _, _, origin, values in groups[:LISTED]:
        yield f"# group = [{_text(origin)}]  # {_counts(values)}"
    for _, key, _, values in splits[:LISTED]:
        least = next(filter(HELD_OUT.search, values), values.most_common()[-1][0])
        asked = f"{_quoted_name(key)} == {json.dumps(least, ensure_ascii=False)}"
        yield f"# {_safe(key)} looks like a split ({_counts(values)}):"
        yield f"#   scalefit fit `holdout=` {_safe(shlex.quote(asked))}"


def _is_split(key: str, values: Counter[str]) -> bool:
    return bool(SPLIT_NAMES.search(key.lower())) or all(map(SPLIT_VALUES.fullmatch, values))


def _counts(values: Counter[str]) -> str:
    shown = [f"{_safe(value)} ({n})" for value, n in values.most_common(LISTED)]
    return ", ".join(shown) + (f" and {len(values) - LISTED} more" if len(values) > LISTED else "")


def _described(name: _Name, runs: int) -> str:
    return f"{_range(name.numbers)}, in {len(name.values)} of {runs} runs"


def _range(values: Sequence[float]) -> str:
    good = [value for value in values if np.isfinite(value)]
    if not good:
        return "no number"
    low, high = min(good), max(good)
    shape = count if low >= 1e4 else number
    return shape(low) if low == high else f"{shape(low)} to {shape(high)}"


def _text(text: str) -> str:
    """A text as TOML writes it: on one line, and with nothing in it that is not seen."""
    shown = json.dumps(whole(text), ensure_ascii=False).replace("##", "#\\u0023")
    return "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in shown)


def _safe(text: str) -> str:
    """A text within a comment: nothing in it ends the line."""
    return visible(text)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _quoted_name(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][\w.]*", key) else f"`{key}`"
