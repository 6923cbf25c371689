"""The boxes that OpenAI's logger prints, and what is built on it (baselines, Stable-Baselines3,
guided-diffusion): a name and a number a line, a box a step.

    ---------------------------
    | train/       |          |
    |    loss      | 4.12     |
    | step         | 1.2e+03  |
    ---------------------------

Numbers have three digits, those of the step too; `progress.csv` beside them has them whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scaling_cli.adapters.building import Logged, make_run
from scaling_cli.adapters.console_text import Lines
from scaling_cli.errors import InputError
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.steps import step_names

Setting = tuple[int, str, int | float | str]

_CELL = re.compile(
    rb"\s*\|( +)([A-Za-z_][^|\n]{0,80}?)\s*\|\s*"
    rb"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan|inf)|)\s*\|\s*"
)


def cell(line: bytes) -> tuple[str, float | None, bool] | None:
    """The name and the number of a line of a box, and whether it is of the section above it; a
    section itself has no number."""
    match = _CELL.fullmatch(line) if b"|" in line else None
    if match is None:
        return None
    name = match[2].decode("utf-8", "replace")
    return name, float(match[3]) if match[3] else None, len(match[1]) > 1


def rows(lines: Lines) -> list[dict[str, float]]:
    """The numbers of each box by name."""
    found: list[dict[str, float]] = []
    box: dict[str, float] = {}
    section = ""
    for number in range(len(lines.codes)):
        line = lines.line(number)
        held = cell(line)
        if held is not None:
            name, value, inside = held
            if value is None:
                section = name
            else:
                box[f"{section.rstrip('/')}/{name}" if inside and section else name] = value
        elif box:
            found.append(box)
            box, section = {}, ""
    return [*found, box] if box else found


def read(adapter: str, run_id: str, source: str, lines: Lines, settings: Sequence[Setting]) -> Run:
    boxes = rows(lines)
    names = step_names(dict.fromkeys(name for box in boxes for name in box))
    step = next((name for name in names if all(name in box for box in boxes)), None)
    if step is None:
        raise InputError(
            f"{source}: its boxes name no step ({', '.join(list(boxes[0])[:8])})",
            "Log the step in each of them, or give the progress.csv that lies beside.",
        )
    logged = Logged()
    for box in boxes:
        for name, value in box.items():
            if name != step and abs(box[step]) < 1 << 53:
                logged.add(int(box[step]), name, value)
    message = (
        f"boxes of OpenAI's logger, rounded to three digits, {step} too; progress.csv beside them"
        " has them whole"
    )
    config = {key: value for _, key, value in settings}
    return make_run(adapter, run_id, source, config, logged.points(), [Note.of("rounded", message)])
