"""What trainers print: the console logs of nanochat, Megatron-LM and OLMo, kept with `tee`.

A line tells a step and numbers after bars, or the lines below it do, one number each:

    step 00040/01000 (4.00%) | loss: 7.013241 | lrm: 1.00 | tok/sec: 1,048,576      nanochat
    Step 00250 | Validation bpb: 1.2345                                             nanochat
     iteration      100/  5000 | consumed samples: 25600 | lm loss: 7.9E+00 |       Megatron-LM
    [2024-04-17 09:42:26] INFO [olmo.train:816, rank=0] [step=1/739328]             OLMo
        train/CrossEntropyLoss=11.25

The forms are those of the trainers' sources (karpathy/nanochat `scripts/base_train.py`,
NVIDIA/Megatron-LM `training_log`, allenai/OLMo `log_metrics_to_console`). The console rounds: OLMo
prints three or four digits, so what it logs to W&B is the better source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from scaling_cli.adapters.building import Logged, make_run
from scaling_cli.adapters.files import read_bytes, stem_of, suffix_of
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run

name = "console"

_NUMBER = rb"[-+]?(?:[\d,]*\.?\d+(?:[eE][-+]?\d+)?|nan|inf)"
# With a bar or a bracket after it, "step 3" is no sentence about a third step.
_STEP = re.compile(
    rb"(?:^|[\s\[])(?:step|iteration)[ =]\s*(\d{1,18})(?:\s*/\s*(\d{1,18}))?[^|\]\n]{0,40}[|\]]",
    re.IGNORECASE,
)
_AFTER_BAR = re.compile(rb"\|\s*([^|:=\n]{1,80}?)\s*[:=]\s*(" + _NUMBER + rb")", re.IGNORECASE)
_BELOW = re.compile(rb"\s{2,}([^\s=][^=\n]{0,120})=(" + _NUMBER + rb")\s*", re.IGNORECASE)
_COLOUR = re.compile(rb"\x1b\[[\d;]*m")
_LINE = re.compile(rb"[\r\n]+")  # nanochat's offspring overwrite their line
_LONGEST = 4096  # bytes of a line; a longer one is no such log
_SEEN = 2  # different steps in the head that make a file such a log


def recognises(path: Path, head: bytes) -> bool:
    if suffix_of(path) not in (".log", ".txt", ".out", ".err", "") or b"\0" in head:
        return False
    steps: set[bytes] = set()
    numbers = False
    for line in _LINE.split(_COLOUR.sub(b"", head)):
        told = _STEP.search(line) if len(line) <= _LONGEST else None
        steps |= {told[1]} if told else set()
        numbers = numbers or bool(steps and len(line) <= _LONGEST and _numbers(line))
    return len(steps) >= _SEEN and numbers


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    logged, step, last, left_out = Logged(), None, None, 0
    for line in _LINE.split(_COLOUR.sub(b"", read_bytes(path, source))):
        if len(line) > _LONGEST:
            left_out += 1
            continue
        told = _STEP.search(line)
        if told is not None:
            step, last = int(told[1]), told[2] or last
        if step is not None:
            for key, value in _numbers(line):
                logged.add(step, key.decode("utf-8", "replace"), float(value.replace(b",", b"")))
    if not logged.numbers:
        raise InputError(
            f"{source} tells no numbers after a step", "Is it a trainer's console log?"
        )
    notes = [Note("rounded", "info", "a console log holds rounded numbers; see docs/sources.md")]
    if left_out:
        notes.append(Note("long_lines", "warning", f"{left_out} lines are too long and left out"))
    config = {"total_steps": int(last)} if last else {}
    yield make_run(name, stem_of(path), source, config, logged.points(), notes)


def _numbers(line: bytes) -> list[tuple[bytes, bytes]]:
    below = _BELOW.fullmatch(line)
    return [(below[1], below[2])] if below else _AFTER_BAR.findall(line)
