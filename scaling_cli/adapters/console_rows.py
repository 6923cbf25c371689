"""The rows that Hugging Face's Trainer prints, and what is built on it: an epoch, and no step.

    {'loss': 6.2324, 'grad_norm': 1.2, 'learning_rate': 3e-04, 'epoch': 0.05}

The step is taken from the row (ms-swift: `'global_step/max_steps': '10/2000'`), else from the epoch
and the printed plan (`Total optimization steps`), else from the progress bar before the row where
it agrees with the epochs. Where nothing says it the rows are counted, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from scaling_cli.adapters.building import Logged, make_run
from scaling_cli.adapters.console_text import Lines
from scaling_cli.notes import Note
from scaling_cli.records import Run

Setting = tuple[int, str, int | float | str]

_ROW = re.compile(rb"""\{\s*['"][^{}\n]*['"]epoch['"]\s*:[^{}\n]*\}""")
_ITEM = re.compile(
    rb"""['"]([^'"\n]{1,80})['"]\s*:\s*['"]?([-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|nan|inf|NaN|Infinity))['"]?\s*[,}]"""
)
_PLACE = re.compile(
    rb"""['"](?:global_step/max_steps|step)['"]\s*:\s*['"]?(\d{1,18})(?!\d)(?:/(\d{1,18})(?!\d))?"""
)
_BAR = re.compile(rb"\|\s*(\d{1,18})/(\d{1,18})\s*\[")
_TOLERANCE = 0.02  # of an epoch that is printed to two digits
_ENDED = b"train_runtime"
_MOST_STEPS = 1 << 53


def row(line: bytes) -> bool:
    """Whether a line holds such a row."""
    return b"{" in line and b"epoch" in line and _ROW.search(line) is not None


def read(adapter: str, run_id: str, source: str, lines: Lines, settings: Sequence[Setting]) -> Run:
    plan = {key: value for _, key, value in settings}
    rows: list[tuple[dict[str, float], tuple[int, int] | None]] = []
    said: list[tuple[int, int | None]] = []
    bar: tuple[int, int] | None = None
    ended: tuple[float, int | None] | None = None
    total = plan.get("total_steps")
    for number in _candidates(lines):
        line = lines.line(number)
        for match in _BAR.finditer(line):
            done, of = int(match[1]), int(match[2])
            if total in (None, of):
                bar = done, of
        found = _ROW.search(line)
        if found is None:
            continue
        values = {
            m[1].decode("utf-8", "replace"): float(m[2].replace(b"_", b""))
            for m in _ITEM.finditer(found[0])
        }
        place = _PLACE.search(found[0])
        if _ENDED in found[0]:
            ended = values.get("epoch", 0.0), bar[1] if bar and bar[0] == bar[1] else None
            continue
        if rows and rows[-1][0] == values:  # printed and logged
            continue
        rows.append((values, bar))
        said.append((int(place[1]), int(place[2]) if place[2] else None) if place else (-1, None))
    steps, last, note = _steps(rows, said, plan, ended)
    logged = Logged()
    for step, (values, _) in zip(steps, rows, strict=True):
        for key, value in values.items():
            if key not in ("step", "global_step/max_steps"):
                logged.add(step, key, value)
    config = dict(plan) | ({"total_steps": last} if last else {})
    notes = [
        Note.of(
            "rounded",
            "rows that Hugging Face's Trainer prints, rounded; trainer_state.json beside its"
            " checkpoints has them whole",
        ),
    ]
    if note is not None:
        notes.append(note)
        if note.code == "step_counts_rows":
            config["step_is"] = "rows"
    return make_run(adapter, run_id, source, config, logged.points(), notes)


def _candidates(lines: Lines) -> list[int]:
    """The lines with rows or bars, in their order."""
    found = [
        lines.numbers_of(layout)
        for layout in lines.layouts.each
        if row(layout.line) or _BAR.search(layout.line)
    ]
    return sorted(np.concatenate([*found, np.empty(0, np.intp)]).astype(int).tolist())


def _steps(
    rows: Sequence[tuple[dict[str, float], tuple[int, int] | None]],
    said: Sequence[tuple[int, int | None]],
    plan: dict[str, int | float | str],
    ended: tuple[float, int | None] | None,
) -> tuple[list[int], int | None, Note | None]:
    """The step of each row, the planned last one, and how they were found if not as printed."""
    if said and all(step >= 0 for step, _ in said):
        return [step for step, _ in said], said[-1][1], None
    epochs = np.array([values.get("epoch", np.nan) for values, _ in rows])
    total = plan.get("total_steps")
    whole = plan.get("num_train_epochs") if ended is None else ended[0]
    if total is None and ended is not None:
        total = ended[1]
    # A damaged row has no epoch, or one beyond any step: then rows are counted.
    if (
        isinstance(total, int)
        and isinstance(whole, int | float)
        and whole > 0
        and np.abs(epochs * total / whole).max(initial=0) < _MOST_STEPS
    ):
        found = np.rint(epochs * total / whole).astype(int).tolist()
        bars = [bar[0] for _, bar in rows if bar]
        if len(bars) == len(rows) and _agree(epochs, np.array(bars)):
            return bars, total, None
        message = (
            f"rows print no step: it is the epoch times {total} steps in {whole:g} epochs, to what"
            " the epoch's digits give"
        )
        return found, total, Note.of("step_from_epoch", message)
    bars = [bar[0] for _, bar in rows if bar]
    if len(bars) == len(rows) and _agree(epochs, np.array(bars)):
        return bars, rows[-1][1][1] if rows[-1][1] else None, None
    message = (
        "rows print no step, so rows are counted instead: a step is a row here, and no tokens are"
        " computed from it; trainer_state.json beside the checkpoints has the steps"
    )
    # An evaluation's row is of the step of the row before it.
    counted, place = [], 0
    for values, _ in rows:
        place += not any(key.startswith("eval_") for key in values) or place == 0
        counted.append(place)
    return counted, None, Note.of("step_counts_rows", message)


def _agree(epochs: np.ndarray, steps: np.ndarray) -> bool:
    """Whether steps grow in proportion to epochs, to the digits that these are printed with."""
    known = (epochs > 0) & (steps > 0)
    if known.sum() < 2 or np.any(np.diff(steps) < 0):
        return False
    rate = steps[known][-1] / epochs[known][-1]
    return bool(
        np.all(np.abs(steps[known] / rate - epochs[known]) <= _TOLERANCE + 0.01 * epochs[known])
    )
