from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaling_cli.adapters import jsonl
from scaling_cli.adapters.reading import Ingested, read_sources
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.records import Run
from scaling_cli.resolve import finals
from scaling_cli.store import open_store


def ingest(tmp_path: Path, *lines: Any, name: str = "t.jsonl", end: str = "\n") -> Ingested:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (tmp_path / name).write_text("\n".join(texts) + end)
    return read_sources([tmp_path / name])


def points(run: Run, metric: str) -> list[tuple[int, float]]:
    series = run.series[metric]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_a_config_line_then_steps(tmp_path: Path) -> None:
    (run,) = ingest(
        tmp_path,
        {"run_id": "a", "config": {"n_params": 5, "model": {"width": 8}}, "tags": ["x"]},
        {"step": 2, "train/loss": 2.0, "eval": {"loss": 2.5}},
        {"step": 1, "train/loss": 3, "lr": None},
    ).runs
    assert (run.run_key, run.run_id, run.tags) == ("jsonl:a", "a", ("x",))
    assert run.config["n_params"] == 5
    assert run.config["model.width"] == 8
    assert points(run, "train/loss") == [(1, 3.0), (2, 2.0)]
    assert points(run, "eval.loss") == [(2, 2.5)]
    assert "lr" not in run.series


def test_a_typed_config_line_and_a_late_summary(tmp_path: Path) -> None:
    (run,) = ingest(
        tmp_path,
        {"_type": "config", "n_params": 5},
        {"step": 1, "loss": 2.0},
        {"best_loss": 1.5, "state": "crashed"},
    ).runs
    assert run.run_id == "t"
    assert run.config == {"n_params": 5, "best_loss": 1.5, "state": "crashed"}
    assert run.status == "failed"


def test_many_runs_in_one_file(tmp_path: Path) -> None:
    by_field = ingest(
        tmp_path,
        {"run_id": "a", "step": 1, "loss": 3, "params": 10},
        {"run_id": "b", "step": 1, "loss": 4, "params": 20},
        {"run_id": "a", "step": 2, "loss": 2, "params": 10},
    )
    assert [run.run_id for run in by_field.runs] == ["a", "b"]
    assert points(by_field.runs[0], "loss") == [(1, 3.0), (2, 2.0)]
    assert by_field.runs[0].config == {"params": 10}
    in_turn = ingest(
        tmp_path,
        {"run_id": "a", "config": {"n": 1}},
        {"step": 1, "loss": 3},
        {"run_id": "b", "config": {"n": 2}},
        {"step": 1, "loss": 4},
    )
    assert [(run.run_id, run.config["n"]) for run in in_turn.runs] == [
        ("a", 1),
        ("b", 2),
    ]


def test_one_row_a_run(tmp_path: Path) -> None:
    named = ingest(tmp_path, {"run_id": "a", "loss": 3}, {"run_id": "b", "loss": "NaN"}).runs
    assert [run.run_id for run in named] == ["a", "b"]
    assert named[0].config == {"loss": 3}
    assert np.isnan(named[1].config["loss"])
    numbered = ingest(tmp_path, {"params": 1, "loss": 3}, {"params": 2, "loss": 2}).runs
    assert [run.run_id for run in numbered] == ["t-1", "t-2"]


def test_what_is_not_finite_is_nan_however_it_is_written(tmp_path: Path) -> None:
    found = ingest(
        tmp_path,
        '{"step": 1, "loss": NaN}',
        '{"step": 2, "loss": -Infinity}',
        '{"step": 3, "loss": "NaN"}',
        '{"step": 4, "loss": "Infinity"}',
        '{"step": 5, "loss": 2}',
    )
    values = found.runs[0].series["loss"].values
    assert np.isnan(values).tolist() == [True, True, True, True, False]
    assert "4 in loss" in found.notes[0].message


def test_the_step_goes_by_the_names_of_the_loggers(tmp_path: Path) -> None:
    for name in ("_step", "global_step", "iteration", "trainer/global_step"):
        (run,) = ingest(tmp_path, {name: 5, "loss": 1}, {name: 6.0, "loss": 2}).runs
        assert points(run, "loss") == [(5, 1.0), (6, 2.0)]
        assert set(run.series) == {"loss"}


def test_points_without_a_step_are_numbered_and_told(tmp_path: Path) -> None:
    found = ingest(tmp_path, {"config": {"n": 1}}, {"loss": 3}, {"loss": 2})
    assert points(found.runs[0], "loss") == [(1, 3.0), (2, 2.0)]
    assert [note.code for note in found.notes] == ["no_step_column"]


def test_text_and_lists_among_the_metrics(tmp_path: Path) -> None:
    found = ingest(
        tmp_path,
        {"step": 1, "loss": 3, "host": "x", "phase": "warmup", "hist": [1, 2]},
        {"step": 2, "loss": 2, "host": "x", "phase": "decay", "hist": [1, 2]},
    )
    assert found.runs[0].config == {"host": "x"}
    assert found.notes[0].message.endswith("phase, hist")


def test_a_cut_off_last_line_is_a_note_and_a_broken_line_an_error(tmp_path: Path) -> None:
    found = ingest(tmp_path, {"step": 1, "loss": 3}, '{"step": 2, "lo', end="")
    assert points(found.runs[0], "loss") == [(1, 3.0)]
    assert [note.code for note in found.notes] == ["truncated"]
    with pytest.raises(InputError, match=r"t\.jsonl: line 2 is not a JSON object"):
        ingest(tmp_path, {"step": 1, "loss": 3}, '{"step": 2, "lo', {"step": 3, "loss": 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" \n", r"t\.jsonl is empty"),
        ("[1, 2]\n", r"t\.jsonl: line 1 is not a JSON object"),
        ("[" * 100_000, r"t\.jsonl: line 1 is not a JSON object"),
        ('{"step": "x", "loss": 1}\n{"step": 2, "loss": 1}', r"line 1: step 'x' is not a whole"),
        ('{"step": 1.5, "loss": 1}\n{"step": 2, "loss": 1}', r"line 1: step 1\.5 is not a whole"),
    ],
)
def test_a_faulty_file_is_refused_by_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(InputError, match=says):
        read_sources([tmp_path / "t.jsonl"])


def test_numbers_and_names_that_do_not_fit_are_still_no_crash(tmp_path: Path) -> None:
    lines = [
        '{"run_id": "a\\ud800", "config": {"big": 1' + "0" * 400 + "}}",
        '{"step": 1, "loss\\ud800": 1' + "0" * 400 + "}",
    ]
    (run,) = ingest(tmp_path, *lines).runs
    assert (run.run_id, list(run.series)) == ("a?", ["loss?"])
    assert np.isnan(run.series["loss?"].values).all()
    store = open_store(tmp_path / "store", create=True)
    mapping = Mapping(columns={"loss": "loss?", "big": "config.big"})
    store.put([run], finals([run], mapping).rows, mapping)
    assert store.runs()[0].final["big"] == np.inf


keys = st.sampled_from(["step", "run_id", "loss", "config", "_type", "tags", "a.b", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@example([{"step": [None, "0"]}])
@given(st.lists(st.dictionaries(keys, json_values, max_size=4), min_size=1, max_size=5))
def test_any_lines_are_read_or_refused_politely(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(InputError):
        path = Path(folder) / "t.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        found = read_sources([path])
        store = open_store(Path(folder) / "store", create=True)
        store.put(found.runs, finals(found.runs).rows)


KEYS = ("step", "loss", "val/loss", "run_id", "note", "config", "n", "_type")
values = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**53 + 1, 2**70, 0.1, 1e308, float("nan"), float("-inf")]),
    st.sampled_from(["a", "NaN", "", "config", "2026-01-01T00:00:00", "2026-01-01", "{[", "é"]),
    st.none(),
    st.booleans(),
    st.lists(st.integers(0, 1), max_size=2),
    st.dictionaries(st.sampled_from(["lr", "at"]), st.sampled_from([1, 2.5, "2026-01-01"])),
)
# Mostly files of steps: only those are read by columns.
steps = st.builds(
    lambda row, rest: row | rest,
    st.fixed_dictionaries({"step": st.integers(0, 9), "loss": st.floats(0, 9)}),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=1),
)
rows = st.lists(
    st.one_of(steps, steps, steps, st.dictionaries(st.sampled_from(KEYS), values, max_size=3)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100)
@given(rows, st.sampled_from(["\n", "\n\n", " \n", "\r\n"]), st.sampled_from([20, 1 << 12]))
def test_by_columns_and_by_lines_the_same_is_read(
    rows: list[dict[str, Any]], separator: str, sample: int
) -> None:
    text = separator.join(map(json.dumps, rows))
    found: list[Any] = []
    for columnar in (True, False):
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.ExitStack() as stack,
        ):
            path = Path(folder) / "t.jsonl"
            path.write_text(text)
            stack.enter_context(mock.patch.multiple(jsonl, _FEW=0, _SAMPLE=sample))
            if not columnar:
                stack.enter_context(mock.patch.object(jsonl, "_columnar_runs", return_value=None))
            try:
                runs = list(jsonl.read(path, "t", Mapping()))
            except InputError as error:
                found.append(str(error))
                continue
        found.append(
            [
                (
                    run.run_id,
                    repr(run.config),
                    run.tags,
                    set(run.notes),
                    *(f"{metric} {points(run, metric)}" for metric in sorted(run.series)),
                )
                for run in runs
            ]
        )
    assert found[0] == found[1]


@settings(max_examples=100)
@given(rows)
def test_what_shows_a_history_is_one(rows: list[dict[str, Any]]) -> None:
    head = "\n".join(map(json.dumps, rows)).encode()
    if jsonl.shows_history(head, Mapping()):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.jsonl"
            path.write_bytes(head)
            with contextlib.suppress(InputError):
                assert any(run.series for run in jsonl.read(path, "t", Mapping()))


def test_steps_are_read_by_columns(tmp_path: Path) -> None:
    """The premise of the test above, on the file that the benchmark measures."""
    lines = [json.dumps({"run_id": "a", "config": {"n": 1, "at": "2026-01-01"}})]
    lines += [json.dumps({"step": s, "loss": 1 / (s + 1), "note": "x"}) for s in range(50)]
    runs = jsonl._columnar_runs("\n".join(lines).encode(), "t", "t", Mapping())
    assert runs is not None
    assert [run.config for run in runs] == [
        {"note": "x", "run_id": "a", "n": 1, "at": "2026-01-01"}
    ]


@pytest.mark.parametrize("nested", ["[", '{"a":'])
def test_what_nests_deeper_than_a_stack_is_refused(tmp_path: Path, nested: str) -> None:
    line = '{"a":' + nested * 100_000 + "1" + ("]" if nested == "[" else "}") * 100_000 + "}"
    with pytest.raises(InputError, match="line 1 is not a JSON object"):
        ingest(tmp_path, line, '{"step": 1}', '{"step": 2}')
