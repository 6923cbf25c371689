from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.copies import same_run_twice
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.isoflop import fit_isoflop
from scaling_cli.laws import get_law
from scaling_cli.mapping import Mapping
from scaling_cli.observe import listed, observe
from scaling_cli.records import Run, Series
from scaling_cli.resolve import finals
from scaling_cli.store import Store, open_store
from scaling_cli.table import Table


def run(key: str, loss: list[float], **config: Any) -> Run:
    steps = np.arange(1, len(loss) + 1, dtype=np.int64) * 10
    series = {
        "val/loss": Series(steps, np.array(loss)),
        "train/loss": Series(steps, np.array(loss) - 0.5),
    }
    status = "failed" if config.get("state") == "crashed" else "finished"
    return Run(f"csv:{key}", key, f"logs/{key}.csv", status=status, config=config, series=series)


def filled(tmp_path: Path, *runs: Run, mapping: Mapping | None = None) -> Store:
    store = open_store(tmp_path / "store", create=True)
    store.put(runs, finals(runs, mapping).rows, mapping)
    return store


@pytest.fixture
def ladder(tmp_path: Path) -> Store:
    return filled(
        tmp_path,
        run("b", [4.0, 3.0], n_params=200, batch_tokens=8, recipe="x", seed=1),
        run("a", [5.0, 4.0], n_params=100, batch_tokens=8, recipe="y", seed=2, state="crashed"),
        run("c", [3.0, 2.0], n_params=400, batch_tokens=8, recipe="x", seed=1, extra=None),
    )


def ids(rows: Table) -> list[str]:
    return list(rows.run_ids)


def test_one_row_a_run_at_its_final_point(ladder: Store) -> None:
    rows = observe(ladder)
    assert ids(rows) == ["a", "b", "c"]
    assert rows.columns["loss"].tolist() == [4, 3, 2]
    assert rows.columns["params"].tolist() == [100, 200, 400]
    assert rows.columns["tokens"].tolist() == [160] * 3
    assert rows.columns["flops"].tolist() == [6 * n * 160 for n in (100, 200, 400)]
    assert all(values.dtype == np.float64 for values in rows.columns.values())


def test_a_column_that_was_not_read_is_not_had_from_the_config(tmp_path: Path) -> None:
    """Compute with a value below zero is left out at ingest, and then no law reads it."""
    runs = [run(key, [4.0, 3.0], params=10.0**i, flops=-(1.0**i)) for i, key in enumerate("abcde")]
    rows = observe(filled(tmp_path, *runs))
    assert rows.look_up("config.flops").tolist() == [-1] * 5
    with pytest.raises(FitError, match="needs the column flops"):
        fit_isoflop(rows)


def test_the_mapping_of_the_ingest_needs_no_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = Mapping(columns={"loss": "train/loss"}, final="min")
    store = filled(tmp_path, run("a", [2.0, 3.0]), mapping=mapping)
    monkeypatch.delattr(Store, "series")
    for again in (None, Mapping(), mapping, Mapping(columns={"loss": "train/loss"}, final="min")):
        assert observe(store, again).columns["loss"].tolist() == [1.5]


def test_another_mapping_reads_the_histories_anew(ladder: Store) -> None:
    mapping = Mapping(columns={"loss": "train/loss", "bpb": "`val/loss` / log(2)"}, final="mean:2")
    rows = observe(ladder, mapping)
    assert rows.columns["loss"].tolist() == [4, 3, 2]  # the mean of two points 0.5 below
    assert rows.columns["bpb"] * np.log(2) == pytest.approx([4, 3, 2])
    with pytest.raises(InputError, match=r"m\.toml: \[columns\] loss.*no run has 'eval/loss'"):
        observe(ladder, Mapping(columns={"loss": "eval/loss"}, path="m.toml"))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("params < 300", "ab"),
        ("recipe == 'x' and config.seed == 1", "bc"),
        ("run_id in ['a', 'c']", "ac"),
        ("loss <= 3", "bc"),
        ("status == 'failed'", "a"),
        ("status == 'crashed'", "a"),
        ("status != 'crashed'", "bc"),
        ("`val/loss` > 2.5", "ab"),
        ("source == 'logs/b.csv'", "b"),
        ("params * 2 == 400", "b"),
        ("not (recipe == 'x')", "a"),
    ],
)
def test_filters_know_fields_columns_settings_and_metrics(
    ladder: Store, where: str, expected: str
) -> None:
    assert "".join(ids(observe(ladder, where=where))) == expected
    assert "".join(ids(listed(ladder, where).table)) == expected


def test_a_run_is_found_by_key_id_name_or_wildcard(tmp_path: Path) -> None:
    named = [replace(run(key, [2.0]), name=name) for key, name in zip("abc", "xxz", strict=True)]
    runs = listed(filled(tmp_path, *named, run("big-1", [3.0]), run("big-2", [3.0])))
    for asked, keys in (
        ("csv:a", ["csv:a"]),
        ("b", ["csv:b"]),
        ("z", ["csv:c"]),
        ("x", ["csv:a", "csv:b"]),
        ("big-*", ["csv:big-1", "csv:big-2"]),
        ("big-?", ["csv:big-1", "csv:big-2"]),
    ):
        assert [runs.records[row].run_key for row in runs.called(asked)] == keys
    assert runs.one_called("z") == 4
    with pytest.raises(InputError, match=r"'x' means 2 runs. Name one: csv:a, csv:b"):
        runs.one_called("x")
    with pytest.raises(InputError, match=r"no run 'bigg-1' in the store. Near names: big-1"):
        runs.called("bigg-1")


def test_an_unknown_name_is_an_error_with_the_near_names(ladder: Store) -> None:
    with pytest.raises(InputError, match=r"No run has 'parms'\. Near names: params"):
        observe(ladder, where="parms < 3")
    with pytest.raises(InputError, match="stands in backticks"):
        observe(ladder, where="val/loss < 3")
    with pytest.raises(InputError, match=r"No run has 'recipes'.*config.recipe|recipe"):
        observe(ladder).groups(["recipes"])


def test_a_filter_that_leaves_nothing_is_an_error(ladder: Store) -> None:
    with pytest.raises(InputError, match=r"None of the 3 runs is left by `params < 1`"):
        observe(ladder, where="params < 1")


def test_the_mappings_own_filter_and_grouping_are_kept_with_the_runs(tmp_path: Path) -> None:
    mapping = Mapping(where="status != 'crashed'", group=("recipe",))
    store = filled(
        tmp_path, run("a", [1.0], recipe="x"), run("b", [1.0], state="crashed"), mapping=mapping
    )
    rows = observe(store)
    assert (ids(rows), rows.by) == (["a"], ("recipe",))
    assert ids(observe(store, Mapping(where="run_id == 'b'"))) == ["b"]


def test_groups_are_sorted_and_whole(ladder: Store) -> None:
    rows = observe(ladder)
    assert [(group, ids(part)) for group, part in rows.groups(["recipe"])] == [
        ({"recipe": "x"}, ["b", "c"]),
        ({"recipe": "y"}, ["a"]),
    ]
    by_number = rows.groups(["params", "config.seed"])
    assert [group for group, _ in by_number] == [
        {"params": 100, "config.seed": 2},
        {"params": 200, "config.seed": 1},
        {"params": 400, "config.seed": 1},
    ]
    ((group, whole),) = rows.groups(())
    assert (group, len(whole)) == ({}, 3)


def test_runs_without_a_value_to_group_by_are_a_group(tmp_path: Path) -> None:
    store = filled(tmp_path, run("a", [1.0], recipe="x"), run("b", [1.0]))
    assert [group["recipe"] for group, _ in observe(store).groups(["recipe"])] == ["x", None]


def test_runs_without_a_loss_are_named_and_left_out(tmp_path: Path) -> None:
    store = filled(tmp_path, run("a", [1.0, np.nan]), run("b", [2.0]))
    rows = observe(store)
    assert ids(rows) == ["b"]
    (note,) = rows.notes
    assert (note.code, note.message.endswith(": a")) == ("no_loss", True)
    assert ids(listed(store).table) == ["a", "b"]


def test_a_size_that_was_logged_once_holds_to_the_end() -> None:
    """Loggers of scripts write it at step 0, where no token has been seen: 6 N 0 is no compute."""
    steps = np.arange(0, 1001, 100, dtype=np.int64)
    once = Series(steps[:1], np.array([2e7]))
    series = {"model/total_parameters": once, "loss": Series(steps, 5 - steps / 1000)}
    config = {"training/batch_size": 16, "model/context_length": 256}
    values = finals([Run("csv:a", "a", "a.csv", config=config, series=series)]).rows[0].values
    assert values["flops"] == 6 * 2e7 * values["tokens"] == 6 * 2e7 * 1000 * 16 * 256


def test_losses_of_parts_of_the_data_are_named_for_a_choice() -> None:
    steps = np.arange(100, 1001, 100, dtype=np.int64)
    parts = {f"eval/{part}/CrossEntropyLoss": Series(steps, 5 - steps / 1e3) for part in "ab"}
    notes = finals([Run("csv:a", "a", "a.csv", series=parts)], strict=False).notes
    (said,) = [note.message for note in notes if note.code == "no_loss"]
    assert 'loss = "`eval/a/CrossEntropyLoss`"' in said
    assert "eval/b/CrossEntropyLoss" in said


def test_no_loss_in_any_run_is_an_error(tmp_path: Path) -> None:
    store = filled(tmp_path, run("a", [np.nan]), run("b", [np.nan]))
    with pytest.raises(InputError, match=r"All 2 runs have no loss, or NaN for it \(a, b\)"):
        observe(store)


def test_a_store_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no runs\. Bring some in"):
        observe(open_store(tmp_path, create=True))


def test_the_digest_is_of_the_numbers_and_the_runs(ladder: Store) -> None:
    rows = observe(ladder)
    assert rows.digest() == observe(ladder).digest()
    assert rows.digest() != rows.select([True, True, False]).digest()
    moved = dict(rows.columns, loss=rows.columns["loss"] + 1e-15 * 4)
    assert rows.digest() != rows.of_columns(moved).digest()


def test_columns_of_a_published_table_filter_it(public_data: Path, tmp_path: Path) -> None:
    found = read_sources([public_data / "chinchilla_epoch" / "chinchilla.csv"])
    rows = observe(filled(tmp_path, *found.runs), where="in_epoch_fit == 1")
    assert len(rows) == 240
    assert set(rows.columns) == {"params", "tokens", "flops", "loss"}
    assert len(observe(open_store(tmp_path / "store"), where="not in_epoch_fit")) == 5


def test_what_a_column_of_the_table_says_of_the_source_counts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("run_id,source,loss\na,paper,1\nb,blog,2\n")
    found = read_sources([tmp_path / "t.csv"])
    assert ids(observe(filled(tmp_path, *found.runs), where="source == 'paper'")) == ["a"]


def test_text_logs_of_one_run_agree_whatever_the_format(tmp_path: Path) -> None:
    rows = [(10, 0.3, 4.0, 4.5), (20, 0.2, 3.0, None), (30, 0.1, 2.0, 2.5)]
    (tmp_path / "wide.csv").write_text(
        "step,lr,train/loss,val/loss\n"
        + "".join(f"{s},{lr},{t},{'' if v is None else v}\n" for s, lr, t, v in rows)
    )
    cells = [
        (s, name, x)
        for s, *values in rows
        for name, x in zip(("lr", "train/loss", "val/loss"), values, strict=True)
        if x is not None
    ]
    (tmp_path / "long.csv").write_text(
        "step,metric,value\n" + "".join(f"{s},{name},{x}\n" for s, name, x in cells)
    )
    (tmp_path / "lines.jsonl").write_text(
        "".join(f'{{"step": {s}, "{name}": {x}}}\n' for s, name, x in cells)
    )
    found = read_sources([tmp_path])
    assert len(found.runs) == 3
    values = [row.values for row in finals(found.runs).rows]
    assert values[0] == values[1] == values[2]
    assert (values[0]["loss"], values[0]["lr"], values[0]["step"]) == (2.5, 0.1, 30)


def test_one_run_of_two_loggers_is_told_of(tmp_path: Path) -> None:
    def logged(key: str, loss: float, params: int = 100) -> Run:
        logger, _, run_id = key.partition(":")
        made = run(run_id, [5.0, loss], n_params=params, batch_tokens=8)
        return replace(made, run_key=key, source=f"{logger}/{run_id}")

    twice = [logged("jsonl:a", 2.0), logged("tensorboard:tb/a", float(np.float32(2.0000001)))]
    alike = [
        logged("jsonl:b", 3.0),
        logged("csv:b", 3.0001),
        logged("csv:c", 3.0),  # of another id
        logged("jsonl:d", 4.0),
        logged("csv:d", 4.0, params=200),
        logged("csv:x/e", 6.0),
        logged("csv:y/e", 6.0),  # of one logger
    ]
    store = filled(tmp_path, *twice, *alike)
    (note,) = same_run_twice(observe(store))
    assert (note.code, note.severity) == ("same_run_twice", "warning")
    assert "jsonl:a (from jsonl/a) and tensorboard:tb/a (from tensorboard/tb/a)" in note.message
    mend = note.message.split("'")[1]
    assert mend == 'source != "tensorboard/tb/a"'
    assert not same_run_twice(observe(store, where=mend))
    printed = filled(tmp_path / "printed", logged("console:a", 2.3457), logged("csv:a", 2.34567))
    (note,) = same_run_twice(observe(printed))
    assert note.message.startswith("csv:a (from csv/a) and console:a")  # the rounded one goes
    sizes = [logged(f"{kind}:s{n}", 3 - n / 10, 100 * n) for n in (1, 2, 3) for kind in "ab"]
    fitted = fit(get_law("kaplan_n"), observe(filled(tmp_path / "ladder", *sizes)))
    (note,) = (note for note in fitted.notes if note.code == "same_run_twice")
    assert "and 2 more such pairs" in note.message
