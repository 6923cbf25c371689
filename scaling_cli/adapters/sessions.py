"""Files of one run: a job that was resumed writes another log, and each rank may write its own.

    slurm-101.out  slurm-102.out        log_0.jsonl  log_1.jsonl        rank0.log  rank1.log

Names that differ in a number alone are no proof, since runs of a ladder are numbered too. Two files
are one run where the later begins at a step that no run begins at, behind the first step of the
earlier and not behind its end, and their losses there are the same but for their noise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from scaling_cli.adapters.building import make_series
from scaling_cli.adapters.files import is_generic, uncompressed
from scaling_cli.losses import is_loss
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Run, Series
from scaling_cli.steps import Points, drop_from, join

_KEYS = ("csv:", "jsonl:", "console:")  # of adapters that name a run by its file
_NUMBER = re.compile(r"(?i)(?:[-_.]|part|session|version|rank|worker|proc|process|gpu)\d+$")
_APART = re.compile(r"(?i)(?<![a-z])(?:seed|trial|rep|fold|lr|bs|wd|size|run|exp|n|d)[-_.]?\d+$")
_RANK = re.compile(r"(?i)(?:rank|worker|proc|process|gpu)[-_.]?\d+$")
_LATE = 1.5  # strides from the first step on which a file goes on with another
_NEAR = 0.03  # of the loss: how far two sessions may lie apart where they meet
_Read = tuple[str, Run]  # a file and a run of it


def session_key(path: PurePath) -> str:
    """What the files of one run have in common, as far as their names tell."""
    file = unnumbered(path)
    if is_generic(file):
        folder = path.parent
        named = folder if _told_apart(folder.name) else folder.parent / _bare(folder.name)
        return f"{named.as_posix()}/{file.name.lower()}"
    apart = _APART.search(file.stem) is not None
    return path.as_posix() if apart else f"{path.parent.as_posix()}/{file.stem}#"


def unnumbered(path: PurePath) -> PurePath:
    """`metrics.jsonl` of `metrics_1.jsonl`; a number that tells runs apart stays."""
    file = uncompressed(path)
    return file if _told_apart(file.stem) else file.with_name(_bare(file.stem) + file.suffix)


def _bare(name: str) -> str:
    return _NUMBER.sub("", name)


def _told_apart(name: str) -> bool:
    """Whether a name has no number at its end, or one that tells runs apart."""
    return _NUMBER.search(name) is None or _APART.search(name) is not None


def join_sessions(read: Sequence[_Read], notes: list[Note]) -> list[_Read]:
    """The runs, those put together that are sessions or ranks of one."""
    groups: dict[str, list[_Read]] = {}
    for source, run in read:
        if run.series and run.run_key.startswith(_KEYS):
            groups.setdefault(session_key(PurePath(source)), []).append((source, run))
    replaced: dict[int, _Read | None] = {}
    for group in groups.values():
        alone = len({source for source, _ in group}) == len(group) > 1
        if not alone or not (_all_ranks(group) or any(_begins_late(run) for _, run in group)):
            continue
        ranks = _ranks(group)
        parts = [ranks] if ranks else _chains(group)
        for part in parts:
            if len(part) > 1:
                whole = part[0] if ranks else _joined(part)
                notes.append(_said(part, bool(ranks)))
                replaced |= {id(run): None for _, run in part[1:]} | {id(part[0][1]): whole}
    whole_runs = ((replaced.get(id(run), (source, run))) for source, run in read)
    return [each for each in whole_runs if each is not None]


def _ranks(group: Sequence[_Read]) -> list[_Read]:
    """The files of a group whose names say ranks, and which log the same steps."""
    by_name = sorted(group, key=lambda each: PurePath(each[0]).name)
    if not _all_ranks(by_name):
        return []
    first = _axis(by_name[0][1])
    same = all(np.array_equal(_axis(run), first) for _, run in by_name[1:])
    return by_name if same else []


def _all_ranks(group: Sequence[_Read]) -> bool:
    return all(_RANK.search(PurePath(source).stem) for source, _ in group)


def _begins_late(run: Run) -> bool:
    """Whether no metric of a run begins where one that is logged from the start would."""
    return all(
        len(steps := series.steps) > 1 and steps[0] > _LATE * (steps[1] - steps[0])
        for series in run.series.values()
        if len(series.steps) > 1
    )


def _chains(group: Sequence[_Read]) -> list[list[_Read]]:
    """The files in chains, each of which goes on with the one before and with no other."""
    ordered = sorted(group, key=lambda each: min(int(s.steps[0]) for s in each[1].series.values()))
    chains = [[each] for each in ordered[:1]]
    for each in ordered[1:]:
        late = _begins_late(each[1])
        before = [chain for chain in chains if late and _goes_on(chain[-1][1], each[1])]
        if len(before) == 1:
            before[0].append(each)
        else:
            chains.append([each])
    return chains


def _axis(run: Run) -> np.ndarray:
    return np.unique(np.concatenate([series.steps for series in run.series.values()]))


def _goes_on(before: Run, after: Run) -> bool:
    """Whether one file holds the steps behind another's, of the same run."""
    old, new = _axis(before), _axis(after)
    if len(old) < 2 or len(new) < 2:
        return False
    stride = float(np.median(np.diff(new)))
    late = new[0] > _LATE * stride and new[0] > old[0] + stride / 2
    meets = old[-1] >= new[0] - _LATE * stride and old[-1] < new[-1]
    shared = [name for name in before.series if name in after.series]
    losses = [name for name in shared if is_loss(name)]
    settings = before.config.keys() & after.config.keys()
    alike = all(before.config[key] == after.config[key] for key in settings)
    return bool(late and meets and alike and losses) and all(
        _meet(before.series[name], after.series[name]) for name in losses[:1]
    )


def _meet(old: Series, new: Series) -> bool:
    """Whether two parts of a curve have the same height where one ends and the other begins."""
    steps = new.steps[: max(3, int(np.searchsorted(new.steps, old.steps[-1], side="right")))]
    one = np.interp(steps, old.steps, old.values)
    other = np.interp(steps, new.steps, new.values)
    apart = abs(float(np.mean(other - one)))
    return apart <= _NEAR * abs(float(np.mean(one)))


def _joined(part: Sequence[_Read]) -> _Read:
    """The sessions as one run: from its first step on a later one replaces what was before it."""
    points: Points = {}
    for _, run in part:
        fresh = {name: (series.steps, series.values) for name, series in run.series.items()}
        drop_from(points, {name: int(steps[0]) for name, (steps, _) in fresh.items()})
        for name, piece in fresh.items():
            points[name] = join([points[name], piece]) if name in points else piece
    source, first = part[0]
    last = part[-1][1]
    series = {n: make_series(*found)[0] for n, found in points.items() if len(found[0])}
    config = {key: value for _, run in part for key, value in run.config.items()}
    notes = tuple(dict.fromkeys(note for _, run in part for note in run.notes))
    return source, replace(first, series=series, config=config, notes=notes, status=last.status)


def _said(part: Sequence[_Read], ranks: bool) -> Note:
    folder = PurePath(os.path.commonpath([PurePath(source).parent for source, _ in part]))
    names = [PurePath(source).relative_to(folder).as_posix() for source, _ in part]
    if ranks:
        message = f"{counted(len(part), 'rank')} log the same steps; {names[0]} is read"
        return Note.of("ranks_left_out", f"{folder}: {message}")
    ends = [_axis(run) for _, run in part]
    told = ", then ".join(
        f"{name} ({steps[0]} to {steps[-1]})" for name, steps in zip(names, ends, strict=True)
    )
    message = f"{told}: read as the sessions of one run; where two hold a step, the later counts"
    return Note.of("files_joined", f"{folder}: {message}")
