"""What is one run, and what is none: lines, rows, sessions and counters that begin again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.adapters.reading import Ingested, read_sources
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.records import Run
from scaling_cli.resolve import finals
from scaling_cli.store import open_store


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def codes(found: Ingested) -> set[str]:
    return {note.code for note in found.notes}


def steps(run: Run, metric: str) -> list[int]:
    return run.series[metric].steps.tolist()


@pytest.mark.parametrize(
    "step", ["current_steps", "update", "num_updates", "train/iter", "Iteration"]
)
def test_a_step_by_any_trainers_name_makes_one_history(tmp_path: Path, step: str) -> None:
    rows = [{step: 10 * i, "loss": 5 - i / 10, "total": 100} for i in range(1, 6)]
    (run,) = read_sources([lines(tmp_path / "a.jsonl", *rows)]).runs
    assert steps(run, "loss") == [10, 20, 30, 40, 50]
    text = f"{step},train_loss,tokens\n" + "".join(
        f"{10 * i},{5 - i / 9},{i}00\n" for i in range(5)
    )
    (run,) = read_sources([table(tmp_path / "b.csv", text)]).runs
    assert steps(run, "train_loss") == [0, 10, 20, 30, 40]


def test_a_step_of_unknown_name_is_found_by_its_rise_and_told(tmp_path: Path) -> None:
    rows = [{"pass_number": 4 * i, "n_params": 7, "loss": 3.0 / i} for i in range(1, 9)]
    found = read_sources([lines(tmp_path / "a.jsonl", *rows)])
    assert steps(found.runs[0], "loss") == [4 * i for i in range(1, 9)]
    assert codes(found) == {"step_by_order"}
    text = "clicks,n_params,loss\n" + "".join(f"{5 * i},7,{4 - i / 9}\n" for i in range(9))
    found = read_sources([table(tmp_path / "b.csv", text)])
    assert steps(found.runs[0], "loss") == [5 * i for i in range(9)]
    assert codes(found) == {"step_by_order"}


def test_two_columns_that_may_be_the_step_are_asked_about(tmp_path: Path) -> None:
    text = "clicks,turns,loss\n" + "".join(f"{5 * i},{7 * i},{4 - i / 9}\n" for i in range(9))
    with pytest.raises(InputError, match=r"more than one .* step: clicks, turns") as caught:
        read_sources([table(tmp_path / "b.csv", text)])
    assert '[columns] step = "clicks"' in str(caught.value.mend)
    (run,) = read_sources([tmp_path / "b.csv"], Mapping(columns={"step": "turns"})).runs
    assert steps(run, "loss")[-1] == 56


@pytest.mark.parametrize(
    "text",
    [
        "params,tokens,loss\n1e7,1e9,4\n2e7,2e9,3\n4e7,4e9,2.5\n8e7,8e9,2\n",
        "seed,n_params,loss\n0,7,4\n1,7,3.9\n2,7,4.1\n3,7,4\n",
        "model,tokens,loss\nsmall,1,4\nmedium,2,3\nlarge,3,2\nxl,4,1\n",
        "tokens,loss\n1e9,4\n2e9,3\n4e9,2.5\n8e9,2\n16e9,1.9\n",
    ],
)
def test_rows_whose_settings_differ_are_runs(tmp_path: Path, text: str) -> None:
    found = read_sources([table(tmp_path / "t.csv", text)])
    assert len(found.runs) == text.count("\n") - 1
    assert not any(run.series for run in found.runs)


def test_a_counter_that_begins_again_with_each_epoch_goes_on(tmp_path: Path) -> None:
    rows = [(e, s, 4 - e / 2 - s / 100) for e in range(3) for s in range(0, 50, 10)]
    text = "epoch,step,loss\n" + "".join(f"{e},{s},{v}\n" for e, s, v in rows)
    found = read_sources([table(tmp_path / "t.csv", text)])
    assert steps(found.runs[0], "loss") == list(range(0, 150, 10))
    assert codes(found) == {"counter_joined"}
    as_lines = [{"epoch": e, "step": s, "loss": v} for e, s, v in rows]
    found = read_sources([lines(tmp_path / "t.jsonl", *as_lines)])
    assert steps(found.runs[0], "loss") == list(range(0, 150, 10))
    assert codes(found) == {"counter_joined"}


def test_after_a_restart_the_later_value_counts(tmp_path: Path) -> None:
    text = "step,loss\n10,5\n20,4\n30,3\nstep,loss\n20,4.5\n30,3.5\n40,2\n"
    found = read_sources([table(tmp_path / "t.csv", text)])
    assert steps(found.runs[0], "loss") == [10, 20, 30, 40]
    assert found.runs[0].series["loss"].values.tolist() == [5, 4.5, 3.5, 2]
    assert codes(found) == {"header_again", "repeated_steps"}
    assert "row 5" in next(n.message for n in found.notes if n.code == "header_again")


def test_a_row_or_line_without_a_step_goes_with_the_one_before(tmp_path: Path) -> None:
    text = "step,loss,val_loss\n10,5,\n,,4.5\n20,4,\n,,3.5\n"
    found = read_sources([table(tmp_path / "t.csv", text)])
    assert steps(found.runs[0], "val_loss") == [10, 20]
    assert codes(found) == {"rows_without_step"}
    rows = [
        {"step": 10, "loss": 5},
        {"eval_loss": 4.5},
        {"step": 20, "loss": 4},
        {"eval_loss": 3.5},
    ]
    found = read_sources([lines(tmp_path / "t.jsonl", *rows)])
    assert steps(found.runs[0], "eval_loss") == [10, 20]
    assert codes(found) == {"rows_without_step"}


def test_a_settings_line_is_no_point(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 5}, {"step": 2, "loss": 4}, {"n_params": 7, "state": "finished"}]
    (run,) = read_sources([lines(tmp_path / "t.jsonl", *rows)]).runs
    assert (run.config["n_params"], steps(run, "loss")) == (7, [1, 2])


def test_seeds_under_one_name_are_a_run_each(tmp_path: Path) -> None:
    text = '"Name","State","Created","seed","iter","val/loss"\n' + "".join(
        f'"{name}","finished","2026-05-0{seed}","{seed}","{iters}","{loss}"\n'
        for name, loss in (("a", 4), ("b", 3))
        for seed, iters in ((1, 500), (2, 500), (3, 410))
    )
    found = read_sources([table(tmp_path / "export.csv", text)])
    assert sorted(run.run_id for run in found.runs) == ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3"]
    assert {run.name for run in found.runs} == {"a", "b"}
    assert codes(found) == {"names_numbered"}
    with_ids = text.replace('"Name"', '"ID","Name"', 1)
    head, *rows = with_ids.splitlines()
    numbered = "\n".join([head, *(f'"r{i}",{row}' for i, row in enumerate(rows))])
    found = read_sources([table(tmp_path / "ids.csv", numbered)])
    assert sorted(run.run_id for run in found.runs) == [f"r{i}" for i in range(6)]


def test_data_in_a_folder_is_passed_over_and_counted(tmp_path: Path) -> None:
    table(tmp_path / "runs" / "a.csv", "step,loss\n1,3\n2,2\n")
    for model in "ab":
        table(tmp_path / model / "scores.csv", f"task,score\nx,{model == 'a'}\ny,3\n")
        lines(tmp_path / model / "answers.jsonl", {"q": "1+1", "a": model}, {"q": "2", "a": "4"})
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["a"]
    (note,) = found.notes
    assert (note.code, note.message[:7]) == ("not_runs", "4 files")
    lines(tmp_path / "corpus.jsonl", *({"id": i, "text": "a b", "num_tokens": i} for i in range(9)))
    lines(tmp_path / "nll.jsonl", *({"doc_id": i, "acc": 1, "loss": 2.5 - i} for i in range(9)))
    table(tmp_path / "speed.csv", "gpus,tokens_per_s,params\n1,9e3,3e7\n2,2e4,3e7\n")
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["a"]
    assert len(read_sources([tmp_path / "a" / "scores.csv"]).runs) == 2  # it was named
    mapped = Mapping(columns={"accuracy": "score"})
    with pytest.raises(InputError, match="both hold a run 'scores-1'"):
        read_sources([tmp_path], mapped)


def test_a_store_of_our_own_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    table(tmp_path / "a.csv", "step,loss\n1,3\n2,2\n")
    found = read_sources([tmp_path])
    store = open_store(tmp_path / "any" / "name", create=True)
    store.put(found.runs, finals(found.runs).rows)
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["a"]
    assert codes(found) == {"own_store"}


def test_a_chart_over_the_tokens_keeps_them(tmp_path: Path) -> None:
    text = (
        '"throughput/total_tokens","a - _step","a - eval/loss","b - _step","b - eval/loss"\n'
        '"1000","10","4.5","",""\n"1010","","","11","4.25"\n"2000","20","4","",""\n'
    )
    a, b = read_sources([table(tmp_path / "chart.csv", text)]).runs
    assert (steps(a, "eval/loss"), steps(b, "eval/loss")) == ([10, 20], [11])
    assert a.series["throughput/total_tokens"].values.tolist() == [1000, 2000]
    assert b.series["throughput/total_tokens"].values.tolist() == [1010]


def test_numbers_with_a_unit_and_a_decimal_comma_in_a_history(tmp_path: Path) -> None:
    text = 'step,tokens,loss\n"1,000",1048.58M,4\n"2,000",2.1B,3\n"1,003,000",1.05T,2\n'
    (run,) = read_sources([table(tmp_path / "t.csv", text)]).runs
    assert steps(run, "tokens") == [1000, 2000, 1003000]
    assert run.series["tokens"].values == pytest.approx([1048.58e6, 2.1e9, 1.05e12])
    found = read_sources([table(tmp_path / "c.csv", "step;loss\n1;4,125\n2;3,25\n")])
    assert "decimal_comma" in codes(found)
    rows = [{"num_updates": str(i), "loss": f"{5 - i / 10}"} for i in range(1, 4)]
    (run,) = read_sources([lines(tmp_path / "t.jsonl", *rows)]).runs
    assert run.series["loss"].values.tolist() == [4.9, 4.8, 4.7]


def test_epochs_are_no_steps_to_compute_tokens_from(tmp_path: Path) -> None:
    """Keras' CSVLogger: one row an epoch."""
    text = "epoch,batch_size,seq_len,loss,val_loss\n0,8,128,4,4.5\n1,8,128,3,3.5\n2,8,128,2,2.5\n"
    found = read_sources([table(tmp_path / "log.csv", text)])
    (row,) = finals(found.runs).rows
    assert row.values["loss"] == 2.5
    assert "tokens" not in row.values
    assert "no_step_column" in codes(found)


def history(first: int, last: int, shift: float = 0.0) -> list[dict[str, Any]]:
    at = range(first, last + 1, 50)
    return [{"step": s, "loss": round(4 - s / 1000 + shift, 3), "tokens": s * 512} for s in at]


def test_a_resumed_jobs_files_are_one_run_and_others_are_not(tmp_path: Path) -> None:
    for name, rows in (
        ("slurm-101", history(50, 1000)),
        ("slurm-102", history(900, 2000, 0.001)),
        ("other-1", history(50, 1000)),  # of another height: a run of its own
        ("other-2", history(900, 2000, 0.5)),
        ("seed_0", history(50, 1000)),
        ("seed_1", history(900, 2000)),
    ):
        lines(tmp_path / f"{name}.jsonl", *rows)
    found = read_sources([tmp_path])
    runs = {run.run_id: run for run in found.runs}
    assert sorted(runs) == ["other-1", "other-2", "seed_0", "seed_1", "slurm-101"]
    assert steps(runs["slurm-101"], "loss") == list(range(50, 2001, 50))
    assert runs["slurm-101"].series["loss"].values[18] == 3.051  # at 950, the later's
    (note,) = found.notes
    assert (note.code, "slurm-102.jsonl (900 to 2000)" in note.message) == ("files_joined", True)


def test_of_files_that_ranks_write_one_is_read(tmp_path: Path) -> None:
    for rank in range(3):
        lines(tmp_path / f"rank{rank}.jsonl", *history(50, 400, rank / 100))
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["rank0"]
    assert codes(found) == {"ranks_left_out"}


def test_seeds_of_one_name_in_a_table_of_histories_are_runs(tmp_path: Path) -> None:
    rows = [f"n10,{seed},{s},{4 - s / 99 + seed}" for seed in (0, 1) for s in range(10, 60, 10)]
    text = "\n".join(["name,seed,step,loss", *rows])
    found = read_sources([table(tmp_path / "a.csv", text)])
    assert [run.run_id for run in found.runs] == ["n10/seed0", "n10/seed1"]
    assert codes(found) == {"parted_by_group"}


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("".join(f"{s},{4 - s / 99},3e-4\n" for s in range(0, 500, 50)), 450),  # pandas' index
        ("".join(f"{s},{4 - s / 99},{3e-4 - s * 1e-6}\n" for s in range(10)), 10),
    ],
)
def test_rows_of_what_a_trainer_logs_are_one_history(tmp_path: Path, text: str, last: int) -> None:
    found = read_sources([table(tmp_path / "a.csv", ",loss,lr\n" + text)])
    (run,) = found.runs
    assert steps(run, "loss")[-1] == last
    assert codes(found) <= {"step_by_order", "no_step_column"}


def test_a_table_of_steps_and_of_passes_stands_at_its_steps(tmp_path: Path) -> None:
    """As litgpt's table does: `iter` counts passes, `step` counts what the optimiser did."""
    rows = "".join(f"{s},{8 * s},{4 - s / 99}\n" for s in range(10, 60, 10))
    (run,) = read_sources([table(tmp_path / "a.csv", "step,iter,loss\n" + rows)]).runs
    assert steps(run, "loss") == list(range(10, 60, 10))


COURSE = [(s, 500 * s, round(2 + 9 * s**-0.4, 4)) for s in range(100, 1100, 100)]


@pytest.mark.parametrize("write", [table, lines])
@pytest.mark.parametrize(
    ("named", "runs", "code"),
    [
        ([{"model": m} for m in ("small", "base")], ["t/base", "t/small"], "parted_by_settings"),
        ([{"params": p} for p in (7, 9)], ["t/params=7", "t/params=9"], "parted_by_settings"),
        ([{}, {}], ["t-1", "t-2"], "several_runs"),
        ([{"run": "a", "seed": s} for s in (0, 1)], ["a/seed0", "a/seed1"], "parted_by_group"),
        ([{"run": "a", "data": s} for s in ("train", "val")], ["a"], ""),
    ],
)
def test_histories_in_one_file_are_told_apart(
    tmp_path: Path, write: Any, named: list[dict[str, Any]], runs: list[str], code: str
) -> None:
    rows = [
        {**part, "step": s, "tokens": t, "loss": loss + place / 100}
        for place, part in enumerate(named)
        for s, t, loss in COURSE
    ]
    if write is lines:
        path = lines(tmp_path / "t.jsonl", *rows)
    else:
        text = "\n".join(",".join(map(str, row.values())) for row in rows)
        path = table(tmp_path / "t.csv", ",".join(rows[0]) + "\n" + text + "\n")
    found = read_sources([path])
    assert [run.run_id for run in found.runs] == runs
    assert codes(found) == {code} - {""}
    for run in found.runs:
        assert {len(series.steps) for series in run.series.values()} == {len(COURSE)}
    if "data" in rows[0]:
        assert {"train/loss", "val/loss"} <= set(found.runs[0].series)


@pytest.mark.parametrize("write", [table, lines])
def test_a_counter_that_begins_again_while_tokens_rise_goes_on(tmp_path: Path, write: Any) -> None:
    rows = [
        (s, 500 * (s + 1000 * part), 4 - part - s / 2000) for part in (0, 1) for s, *_ in COURSE
    ]
    if write is lines:
        keys = ("step", "tokens", "loss")
        path = lines(tmp_path / "t.jsonl", *(dict(zip(keys, row, strict=True)) for row in rows))
    else:
        text = "".join(f"{s},{t},{loss}\n" for s, t, loss in rows)
        path = table(tmp_path / "t.csv", "step,tokens,loss\n" + text)
    found = read_sources([path])
    assert steps(found.runs[0], "loss") == list(range(100, 2100, 100))
    assert codes(found) == {"counter_joined"}


def test_a_resumed_run_at_another_rate_is_one_run(tmp_path: Path) -> None:
    rows = [(s, 1e-3) for s in range(100, 1100, 100)] + [(s, 5e-4) for s in range(900, 2100, 100)]
    text = "".join(f"{s},{rate},{5 - s / 1000}\n" for s, rate in rows)
    found = read_sources([table(tmp_path / "t.csv", "step,lr,loss\n" + text)])
    assert steps(found.runs[0], "loss") == list(range(100, 2100, 100))


@pytest.mark.parametrize(
    ("head", "part", "runs"),
    [
        ("name,seed,n_params,step,loss", "{s}", ["m/seed1", "m/seed2"]),
        ("name,state,created_at,n_params,step,loss", "finished,2026-11-0{s}T0", ["m-1", "m-2"]),
        ("run,note,n_params,step,loss", "x", ["m-1", "m-2"]),
    ],
)
def test_results_under_one_name_are_a_run_each(
    tmp_path: Path, head: str, part: str, runs: list[str]
) -> None:
    text = "".join(f"m,{part.format(s=s)},7,2000,{4 - s / 9}\n" for s in (1, 2))
    found = read_sources([table(tmp_path / "t.csv", head + "\n" + text)])
    assert [run.run_id for run in found.runs] == runs


MODELS = (("small", 1.0), ("large", 0.0))


@pytest.mark.parametrize(
    ("header", "rows", "runs"),
    [
        (
            "seed,epoch,val_loss",
            [(k, e, 3 + e**-0.5 + k / 50) for k in range(3) for e in range(1, 11)],
            ["grid/seed=0", "grid/seed=1", "grid/seed=2"],
        ),
        (
            "step,model,loss",
            [(s, m, 3 + (s + 1) ** -0.5 + b) for s in range(0, 500, 50) for m, b in MODELS],
            ["grid/large", "grid/small"],
        ),
        # Sessions of one run, or attempts at it: one history, and never a run a row.
        ("epoch,loss", [(e, 3 + e**-0.5) for n in (3, 7, 20) for e in range(1, n + 1)], ["grid"]),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_histories_that_epochs_count_or_that_stand_side_by_side_are_runs(
    tmp_path: Path, kind: str, header: str, rows: list[tuple[Any, ...]], runs: list[str]
) -> None:
    names = header.split(",")
    if kind == "csv":
        text = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
        source = table(tmp_path / "grid.csv", text)
    else:
        source = lines(tmp_path / "grid.jsonl", *(dict(zip(names, r, strict=True)) for r in rows))
    found = read_sources([source])
    assert sorted(run.run_id for run in found.runs) == runs
    points = sum(len(series.steps) for run in found.runs for series in run.series.values())
    assert points >= len(rows)  # nothing is lost
