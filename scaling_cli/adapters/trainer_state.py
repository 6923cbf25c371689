"""Hugging Face Trainer: `trainer_state.json` of an output folder or of its checkpoints.

A checkpoint holds the whole history up to its step, so the one that got furthest is the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling_cli.adapters.base import BY_SIGNATURE, Adapter
from scaling_cli.adapters.building import Logged, flattened, make_run
from scaling_cli.adapters.files import Found, read_bytes, run_folder, suffix_of
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run

NAME = "trainer-state"

_CHECKPOINT = re.compile(r"checkpoint-\d+")
_COUNTS = ("total_flos", "num_input_tokens_seen")  # 0 where the Trainer was not told to count


def recognises(path: Path, head: bytes) -> bool:
    return suffix_of(path) == ".json" and b'"log_history"' in head


def read_together(files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    furthest: dict[Path, tuple[int, Found, dict[str, Any]]] = {}
    for found in files:
        state = _state(found)
        if state is None:
            message = f"{found.source} is no whole trainer state and is left out"
            yield Note.of("unreadable", message)
            continue
        parent = found.path.absolute().parent
        folder = found.path.parent.parent if _CHECKPOINT.fullmatch(parent.name) else parent
        step = state.get("global_step")
        step = step if isinstance(step, int) else 0
        if folder not in furthest or step > furthest[folder][0]:
            furthest[folder] = step, found, state
    for folder, (step, found, state) in furthest.items():
        yield _run(found, run_folder(folder, found.root), step, state)


def _state(found: Found) -> dict[str, Any] | None:
    try:
        state = json.loads(read_bytes(found.path, found.source))
    except (ValueError, RecursionError):
        return None
    good = isinstance(state, dict) and isinstance(state.get("log_history"), list)
    return state if good else None


def _run(found: Found, run_id: str, last: int, state: dict[str, Any]) -> Run:
    rows: dict[int, dict[str, Any]] = {}  # training and evaluation log one step separately
    lost = 0
    for row in state["log_history"]:
        step = row.get("step") if isinstance(row, dict) else None
        if isinstance(step, int) and abs(step) < 2**62:
            rows.setdefault(step, {}).update(flattened(row))
        else:
            lost += 1
    logged = Logged()
    for step, row in rows.items():
        for key, value in row.items():
            if key != "step" and not (key in _COUNTS and value == 0):
                logged.add(step, key, value)
    notes = logged.notes()
    if lost:
        notes.append(Note.of("rows_without_step", f"{lost} entries have no step"))
    config = logged.constants() | {
        key: value
        for key, value in state.items()
        if isinstance(value, (int, float, str)) and not (key in _COUNTS and value == 0)
    }
    run = make_run(NAME, run_id, found.source, config, logged.points(), notes)
    wanted = state.get("max_steps")
    control = dict(flattened(state)).get(
        "stateful_callbacks.TrainerControl.args.should_training_stop"
    )
    stopped = isinstance(wanted, int) and last < wanted and control is not True
    return replace(run, status="unfinished" if stopped else run.status)


ADAPTER = Adapter(NAME, recognises, read_together=read_together, order=BY_SIGNATURE)
