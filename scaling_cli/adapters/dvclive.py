"""Folders of DVCLive: a table for each metric below `plots/metrics`, and `params.yaml` beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling_cli.adapters import delimited
from scaling_cli.adapters.base import BY_SIGNATURE, Adapter
from scaling_cli.adapters.building import make_run
from scaling_cli.adapters.files import Found, read_bytes, run_folder
from scaling_cli.adapters.settings import of_yaml
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run, Series

NAME = "dvclive"

_PLOTS, _METRICS = ("plots", "metrics")
_PARAMS = "params.yaml"
_BESIDE = ("timestamp", "step")  # columns beside the metric, which is named by the file's path


def recognises(path: Path, head: bytes) -> bool:
    if path.name == _PARAMS:
        return path.with_name(_PLOTS).joinpath(_METRICS).is_dir()
    if _home(path) is None or path.suffix != ".tsv":
        return False
    header = head.partition(b"\n")[0].decode("utf-8", "replace").strip().split("\t")
    others = [name for name in header if name not in _BESIDE]
    return "step" in header and others == [_metric(path)]


def read_together(files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    for parts in apart(files):
        yield from _run(_home_of(parts[0]), parts, mapping)


def apart(files: Sequence[Found]) -> list[list[Found]]:
    homes: dict[Path, list[Found]] = {}
    for found in files:
        homes.setdefault(_home_of(found), []).append(found)
    return list(homes.values())


def _run(home: Path, parts: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    config: dict[str, Any] = {}
    series: dict[str, Series] = {}
    notes: list[Note] = []
    for found in parts:
        if found.path.name == _PARAMS:
            config |= of_yaml(read_bytes(found.path, found.source).decode("utf-8", "replace"))
            continue
        try:
            (table,) = delimited.read(found.path, found.source, mapping)
        except InputError as error:
            notes.append(Note.of("unreadable", f"{error.what} (left out)"))
            continue
        notes += table.notes
        series |= {name: s for name, s in table.series.items() if name not in _BESIDE}
    if not series:
        yield from notes
        return
    tables = [found for found in parts if found.path.name != _PARAMS]
    up = len(tables[0].path.relative_to(home).parts)
    source = tables[0].source.rsplit("/", up)[0] if tables[0].source.count("/") >= up else "."
    # `dvclive` is what the folder is called in every project
    named = home.absolute().parent if home.name == NAME else home
    run = make_run(NAME, run_folder(named, tables[0].root), source, config, {}, notes)
    yield replace(run, series=series)


def _home_of(found: Found) -> Path:
    own = None if found.path.name == _PARAMS else _home(found.path)
    return found.path.parent if own is None else own


def _home(path: Path) -> Path | None:
    """The folder of a run that a table of a metric lies in."""
    for metrics in path.parents:
        if metrics.name == _METRICS and metrics.parent.name == _PLOTS:
            return metrics.parent.parent
    return None


def _metric(path: Path) -> str:
    home = _home(path)
    assert home is not None
    return path.relative_to(home / _PLOTS / _METRICS).with_suffix("").as_posix()


ADAPTER = Adapter(NAME, recognises, read_together=read_together, apart=apart, order=BY_SIGNATURE)
