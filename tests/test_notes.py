"""Warnings come where there is reason to warn, and stay away where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.mapping import load_mapping
from scaling_cli.notes import SECTIONS, Note
from scaling_cli.planning.contrasts import crossing, slopes
from scaling_cli.records import Run, Series
from scaling_cli.report.stores import verified_table
from scaling_cli.resolve import Final
from scaling_cli.store import log, open_store
from scaling_cli.store.digests import seal
from tests.places import DATA, ROOT
from tests.planning.test_contrasts import FLAT, STEEP, recipe

Made = Callable[[Path, bool], list[Note]]
LOSS = Series(np.array([1, 2]), np.array([3.0, 2.0]))


def read(folder: Path, mapping: str = "") -> list[Note]:
    config = folder.parent / f"{folder.name}.toml"
    config.write_text(mapping)
    done = read_sources([folder], load_mapping(config))
    return [*done.notes, *(note for run in done.runs for note in run.notes)]


def long_lines(folder: Path, odd: bool) -> list[Note]:
    lines = [f"step {i}/10 | loss: {3 - 0.1 * i:.3f}" for i in range(1, 10)]
    more = [f"step 10/10 | loss: 2.0 {'x' * 5000}"] if odd else []
    (folder / "train.log").write_text("\n".join(lines + more))
    return read(folder)


def no_id_column(folder: Path, odd: bool) -> list[Note]:
    (folder / "runs.csv").write_text("model,params,tokens,loss\na,1e6,1e8,3\nb,2e6,1e8,2.8\n")
    return read(folder, f'[run]\nid = "{"modle" if odd else "model"}"\n')


def rows_without_step(folder: Path, odd: bool) -> list[Note]:
    rows = [f"a,{i},{3 - 0.1 * i}" for i in range(1, 9)]
    rows[4] = "a,,2.5" if odd else rows[4]
    (folder / "runs.csv").write_text("\n".join(["run_id,step,loss", *rows]))
    return read(folder)


def run_without_history(folder: Path, odd: bool) -> list[Note]:
    for name in ("a", "b"):
        rows = [{"step": i, "loss": 3 - 0.1 * i} for i in range(9)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    more = "c,3e6\n" if odd else ""
    (folder / "meta.csv").write_text("run_id,params\na,1e6\nb,2e6\n" + more)
    return read(folder)


def isoflop(loss: Callable[[Any, Any], Any], flops: float = 1.0, hole: bool = False) -> list[Note]:
    """Notes of optima read off four budgets of five sizes."""
    from scaling_cli.table import Table

    compute = np.repeat(10.0 ** np.arange(18, 22), 5)
    params = np.sqrt(compute / 120) * np.tile(np.geomspace(0.3, 3, 5), 4)
    tokens = compute / 6 / params
    columns = {"params": params, "tokens": tokens, "flops": flops * compute}
    columns["loss"] = loss(params, tokens)
    if hole:
        columns["loss"][3] = np.nan
    table = Table.from_columns(columns)
    return list(fitter("isoflop")(table, FitOptions(resamples=0), {}).notes)


def surface(params: Any, tokens: Any) -> Any:
    return 1.8 + 480 / params**0.348 + 2085 / tokens**0.366


def flops_not_6nd(folder: Path, odd: bool) -> list[Note]:
    return isoflop(surface, 1.3 if odd else 1.0)


def budget_dropped(folder: Path, odd: bool) -> list[Note]:
    def without_minimum(params: Any, tokens: Any) -> Any:
        loss = surface(params, tokens)
        if odd:
            loss[:5] = 3 - 0.01 * np.log(params[:5])  # the larger the better: no minimum inside
        return loss

    return isoflop(without_minimum)


def rows_dropped(folder: Path, odd: bool) -> list[Note]:
    return isoflop(surface, hole=odd)


def several_crossings(folder: Path, odd: bool) -> list[Note]:
    """A frontier that falls faster from above to a higher floor is met twice."""
    bent = {"E": 1.76, "A": 6500.0, "alpha": 0.5, "B": 6500.0, "beta": 0.5}
    return list(crossing(recipe("a", **STEEP), recipe("b", **(bent if odd else FLAT))).notes)


def crossing_possible(folder: Path, odd: bool) -> list[Note]:
    """A twin that is a little worse: scattered resamples cross, exact ones do not."""
    worse = STEEP | {"E": 1.71, "A": 1010.0, "B": 1010.0}
    spread = 0.05 if odd else 0.0
    return list(crossing(recipe("a", spread, **STEEP), recipe("b", spread, **worse)).notes)


def no_floor(folder: Path, odd: bool) -> list[Note]:
    from scaling_cli.table import Table

    tokens = np.geomspace(1e8, 1e11, 20)
    table = Table.from_columns({"tokens": tokens, "loss": 2 + 40 * tokens**-0.2})
    law = fitter("power" if odd else "power_offset")
    fitted = law(table, FitOptions(resamples=0, x="tokens"), {})
    return [note for slope in slopes(fitted) for note in slope.notes]


def old_store(folder: Path) -> tuple[Path, list[Path], list[Path]]:
    """A store of the first format, whose log has no digests, and its segments: runs, histories."""
    store = Path(shutil.copytree(DATA / "store_format_1", folder / "store"))
    return store, sorted(store.glob("runs/*.parquet")), sorted(store.glob("history/*.parquet"))


def verified(store: Path) -> list[Note]:
    return verified_table(open_store(store).verify()).notes


def runs_missing(folder: Path, odd: bool) -> list[Note]:
    store, (one, other), _ = old_store(folder)
    if odd:
        one.write_bytes(other.read_bytes())
    return verified(store)


def history_missing(folder: Path, odd: bool) -> list[Note]:
    store, _, (one, other) = old_store(folder)
    if odd:
        for path, content in ((one, other.read_bytes()), (other, one.read_bytes())):
            path.write_bytes(content)
    return verified(store)


def series_damaged(folder: Path, odd: bool) -> list[Note]:
    store, _, histories = old_store(folder)
    table = pq.read_table(histories[1])
    steps = [[5, *item[1:], 5][: len(item)] if odd else item for item in table["step"].to_pylist()]
    column = pa.array(steps, table.schema.field("step").type)
    place = table.schema.get_field_index("step")
    pq.write_table(table.set_column(place, table.schema.field("step"), column), histories[1])
    return verified(store)


def unnamed_file(folder: Path, odd: bool) -> list[Note]:
    store, (one, _), _ = old_store(folder)
    if odd:
        shutil.copy(one, one.with_name("0" * 32 + ".parquet"))
    return verified(store)


def checkpoint_differs(folder: Path, odd: bool) -> list[Note]:
    """By someone who seals what he wrote."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "CHECKPOINT_EVERY", 1)
        store = open_store(folder / "store", create=True)
        for name in ("a", "b"):
            run = Run(f"csv:{name}", name, "x.csv", series={"loss": LOSS})
            store.put([run], [Final({"loss": 2.0}, {})])
    path = max((folder / "store" / log.CHECKPOINTS).glob("*.json"))
    entry = json.loads(path.read_bytes())
    del entry["digest"]
    if odd:
        entry["segments"] = entry["segments"][:1]
    path.write_bytes(seal(entry))
    return verified(folder / "store")


CASES: tuple[Made, ...] = (
    long_lines,
    no_id_column,
    rows_without_step,
    run_without_history,
    flops_not_6nd,
    budget_dropped,
    rows_dropped,
    several_crossings,
    crossing_possible,
    no_floor,
    runs_missing,
    history_missing,
    series_damaged,
    unnamed_file,
    checkpoint_differs,
)


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.__name__)
def test_a_warning_comes_and_stays_away(made: Made, tmp_path: Path) -> None:
    """Each function makes what its name warns of, or the same without it."""
    for name, odd in (("odd", True), ("sound", False)):
        (tmp_path / name).mkdir()
        said = {note.code for note in made(tmp_path / name, odd)}
        assert (made.__name__ in said) == odd, (name, said)


def test_every_code_is_made_by_a_test() -> None:
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "test_explain.py"]
    here = Path(__file__)
    written = "\n".join(path.read_text(encoding="utf-8") for path in files if path != here)
    written += " ".join(made.__name__ for made in CASES)
    codes = {kind.code for kinds in SECTIONS.values() for kind in kinds}
    assert {code for code in codes if code.strip("*") not in written} == set()
