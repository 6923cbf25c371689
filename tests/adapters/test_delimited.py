from __future__ import annotations

import contextlib
import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_cli.adapters.reading import Ingested, read_sources
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.records import Run
from scaling_cli.sources import Sources


def ingest(
    tmp_path: Path, text: str, name: str = "t.csv", mapping: Mapping | None = None
) -> Ingested:
    (tmp_path / name).write_text(text)
    return read_sources([tmp_path / name], mapping)


def points(run: Run, metric: str) -> list[tuple[int, float]]:
    series = run.series[metric]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def codes(found: Ingested) -> list[str]:
    return [note.code for note in found.notes]


def test_one_row_a_run_keeps_every_column_as_config(tmp_path: Path) -> None:
    text = (
        "run_id,group,params,loss,in_fit,kind\nr1,g,7000000000,2.5,1,true\nr2,g,1e9,nan,0,false\n"
    )
    found = ingest(tmp_path, text)
    one, two = found.runs
    assert (one.run_key, one.run_id, one.group, one.status) == ("csv:r1", "r1", "g", "finished")
    assert one.series == {}
    assert one.config == {"group": "g", "params": 7e9, "loss": 2.5, "in_fit": 1, "kind": True}
    assert np.isnan(two.config["loss"])


def test_rows_without_an_id_are_numbered(tmp_path: Path) -> None:
    found = ingest(tmp_path, "params;loss\n1;2\n3;4\n", "ladder.csv")
    assert [run.run_id for run in found.runs] == ["ladder-1", "ladder-2"]


def test_ids_stay_texts(tmp_path: Path) -> None:
    found = ingest(tmp_path, "run_id,loss\n007,2\n7,3\n1e5,4\n")
    assert {run.run_id for run in found.runs} == {"007", "7", "1e5"}


def test_empty_cells_are_absent_and_missing_words_are_not_text(tmp_path: Path) -> None:
    one, two = ingest(tmp_path, "run_id,params,note\na,NA,none\nb,5,\n").runs
    assert one.config == {"note": "none"}
    assert two.config == {"params": 5}


def test_several_rows_of_a_run_are_its_history(tmp_path: Path) -> None:
    text = (
        "run_id,step,loss,params,recipe,config.seed,event\n"
        "a,20,2.0,100,x,1,start\na,10,3.0,100,x,1,\nb,10,4.0,200,y,2,start\nb,20,,200,y,2,end\n"
    )
    found = ingest(tmp_path, text)
    a, b = found.runs
    assert points(a, "loss") == [(10, 3.0), (20, 2.0)]
    assert points(b, "loss") == [(10, 4.0)]
    # params does not change within any run, so it is a setting as in a table of one row a run
    assert a.config == {"recipe": "x", "seed": 1, "params": 100, "event": "start"}
    assert codes(found) == ["text_left_out"]


def test_a_file_with_steps_and_no_run_id_is_one_run_named_by_the_file(tmp_path: Path) -> None:
    (run,) = ingest(tmp_path, "step\ttrain/loss\tlr\n1\t3\t.1\n2\t2\t.2\n", "d16-1.0e11.tsv").runs
    assert run.run_id == "d16-1.0e11"
    assert points(run, "lr") == [(1, 0.1), (2, 0.2)]


def test_files_that_every_run_calls_the_same_are_named_by_their_folder(tmp_path: Path) -> None:
    for folder in ("version_0", "version_1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "metrics.csv").write_text(f"step,loss\n1,2\n2,{folder[-1]}\n")
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["version_0", "version_1"]


def test_metrics_logged_on_separate_rows_of_a_step_are_no_repeats(tmp_path: Path) -> None:
    found = ingest(tmp_path, "step,train_loss,val_loss\n1,3,\n1,,4\n2,2,\n")
    assert points(found.runs[0], "val_loss") == [(1, 4.0)]
    assert found.notes == ()


def test_of_a_repeated_step_the_last_value_counts_and_is_told(tmp_path: Path) -> None:
    found = ingest(tmp_path, "step,loss\n1,5\n2,4\n2,3\n3,2\n")
    assert points(found.runs[0], "loss") == [(1, 5.0), (2, 3.0), (3, 2.0)]
    assert codes(found) == ["repeated_steps"]


def test_values_that_are_not_finite_stay_as_nan_and_are_counted(tmp_path: Path) -> None:
    found = ingest(tmp_path, "step,loss\n1,5\n2,NaN\n3,Infinity\n4,-inf\n5,\n")
    values = found.runs[0].series["loss"].values
    assert np.isnan(values).tolist() == [False, True, True, True]
    assert "3 in loss" in found.notes[0].message


def test_a_long_table_is_run_step_metric_value(tmp_path: Path) -> None:
    text = "run,step,metric,value,recipe\na,1,loss,3,x\na,1,lr,.1,x\na,2,loss,2,x\nb,1,loss,9,y\n"
    a, b = ingest(tmp_path, text).runs
    assert points(a, "loss") == [(1, 3.0), (2, 2.0)]
    assert points(a, "lr") == [(1, 0.1)]
    assert (a.config, b.config) == ({"recipe": "x"}, {"recipe": "y"})
    (alone,) = ingest(tmp_path, "step,name,value\n1,loss,3\n2,loss,2\n", "solo.csv").runs
    assert (alone.run_id, points(alone, "loss")) == ("solo", [(1, 3.0), (2, 2.0)])


def test_a_chart_export_is_split_on_the_last_dash(tmp_path: Path) -> None:
    text = (
        '"Step","my - run - val/loss","my - run - val/loss__MIN","my - run - val/loss__MAX",'
        '"b - val/loss"\n"1","3","2","4",""\n"2","2.5","2","3","9"\n'
    )
    found = ingest(tmp_path, text)
    b, mine = found.runs
    assert (mine.run_id, b.run_id) == ("my - run", "b")
    assert points(mine, "val/loss") == [(1, 3.0), (2, 2.5)]
    assert points(b, "val/loss") == [(2, 9.0)]
    assert set(mine.series) == {"val/loss"}
    assert codes(found) == ["sampled"]


def test_a_chart_export_takes_the_settings_of_the_table_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "chart.csv").write_text(
        '"Step","a - val/loss","b - val/loss","c - val/loss"\n"1","3","2","1"\n'
    )
    runs = tmp_path / "export"
    runs.mkdir()
    head = '"Name","State","Tags","Created","params","val/loss"\n'
    row = '"{}","{}","x, y","2026-01-02T03:04:05.000Z","{}","1.5"\n'
    (runs / "runs.csv").write_text(head + row.format("a", "crashed", 100) + row.format("b", "", 7))
    found = read_sources(Sources.of([tmp_path / "chart.csv"], meta=str(runs / "runs.csv")))
    a, b, c = found.runs
    assert (a.config["params"], a.status, a.tags) == (100, "failed", ("x", "y"))
    assert (b.config["params"], c.config) == (7, {})
    assert points(a, "val/loss") == [(1, 3.0)]
    assert "run_not_described" in codes(found)
    (runs / "runs.csv").write_text(head + row.format("a", "", 1) + row.format("a", "", 2))
    with pytest.raises(InputError, match=r"runs\.csv: two rows are named 'a'"):
        read_sources(Sources.of([tmp_path / "chart.csv"], meta=str(runs / "runs.csv")))


def test_a_table_beside_the_histories_describes_them(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(
        "run_id,params,State,group\na,100,crashed,g\nb,200,finished,g\nlost,300,finished,g\n"
    )
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("step,loss\n1,3\n2,2\n")
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["a", "b"]
    assert [run.config["params"] for run in found.runs] == [100, 200]
    assert [run.status for run in found.runs] == ["failed", "finished"]
    assert found.runs[0].group == "g"
    assert "lost" in found.notes[0].message
    alone = read_sources([tmp_path / "runs.csv"])
    assert len(alone.runs) == 3


def test_checkpoints_under_one_id_are_a_history_by_tokens(tmp_path: Path) -> None:
    found = ingest(tmp_path, "run_id,tokens,loss\na,2e9,2\na,1e9,3\nb,1e9,4\n")
    assert points(found.runs[0], "loss") == [(1, 3.0), (2, 2.0)]
    assert codes(found) == ["no_step_column"]


def test_an_id_that_repeats_without_any_axis_is_an_error_if_the_losses_differ(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r"run 'a' stands in rows 2 and 4 with different loss"):
        ingest(tmp_path, "run_id,loss\na,1\nb,2\na,3\n")
    found = ingest(tmp_path, "run_id,loss\na,1\nb,2\na,1\n")
    assert (len(found.runs), codes(found)) == (2, ["repeated_runs"])


def test_runs_that_repeat_their_steps_for_each_group_are_parted(tmp_path: Path) -> None:
    text = "run_id,group,step,loss\na,c4,1,3\na,c4,2,2\na,wiki,1,5\na,wiki,2,4\nb,c4,1,7\n"
    found = ingest(tmp_path, text)
    assert [run.run_id for run in found.runs] == ["a/c4", "a/wiki", "b"]
    assert points(found.runs[1], "loss") == [(1, 5.0), (2, 4.0)]
    assert codes(found) == ["parted_by_group"]


def test_the_mapping_names_the_id_and_the_step(tmp_path: Path) -> None:
    text = "experiment_name,k,loss\nx,1,3\nx,2,2\ny,1,3\n"
    mapping = Mapping(id="experiment_name", columns={"step": "k"})
    found = ingest(tmp_path, text, mapping=mapping)
    assert [run.run_id for run in found.runs] == ["x", "y"]
    assert points(found.runs[0], "loss") == [(1, 3.0), (2, 2.0)]


def test_quotes_bom_crlf_and_gzip_are_read(tmp_path: Path) -> None:
    text = '\ufeffrun_id,note,loss\r\na,"x, ""y""\nz",2\r\nb,plain,3\r\n'
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    one, two = read_sources([tmp_path / "t.csv.gz"]).runs
    assert one.config == {"note": 'x, "y"\nz', "loss": 2}
    assert two.config == {"note": "plain", "loss": 3}


def test_counts_beyond_63_bits_are_numbers(tmp_path: Path) -> None:
    (run,) = ingest(tmp_path, "run_id,flops\na,9456351902178213888\n").runs
    assert run.config["flops"] == pytest.approx(9.456351902178213888e18, rel=1e-12)


def test_a_last_row_that_is_cut_off_is_left_out_with_a_note(tmp_path: Path) -> None:
    found = ingest(tmp_path, "step,loss,lr\n1,5,0.1\n2,4,0.1\n3,3")
    assert points(found.runs[0], "loss") == [(1, 5.0), (2, 4.0)]
    assert codes(found) == ["truncated"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "t.csv is empty"),
        ("\n\n", "t.csv is empty"),
        ("step,loss\n", "has a header and no rows"),
        ("step,loss\n1,2\n2,3,4\n3,4\n", "row 3 has 3 fields, the header has 2"),
        ("step,loss\n1,2\n2\n3,4\n", "row 3 has 1 fields, the header has 2"),
        ("loss,loss\n1,2\n", "column 'loss' stands twice"),
        ("step,loss\n1,2\n1.5,3\n", "row 3: step 1.5 is not a whole number"),
        ("run_id,loss\na,1\n,2\n", "row 3 has no run_id"),
    ],
)
def test_a_faulty_table_is_refused_by_file_and_row(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=rf"t\.csv.*{says}|{says}") as caught:
        ingest(tmp_path, text)
    assert "t.csv" in str(caught.value)
    assert caught.value.mend


def test_bytes_that_are_no_text_are_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"step,loss\n1,2\n\xff\xfe,3\n")
    with pytest.raises(InputError, match=r"t\.csv: line 3 is not UTF-8"):
        read_sources([tmp_path / "t.csv"])


def test_the_public_tables_read_as_what_they_are(public_data: Path) -> None:
    rows = read_sources([public_data / "chinchilla_epoch" / "chinchilla.csv"]).runs
    assert len(rows) == 245
    assert sum(run.config["in_epoch_fit"] for run in rows) == 240
    assert not any(run.series for run in rows)

    curves = read_sources([public_data / "mpl_curves" / "mpl_curves.csv"]).runs
    assert len(curves) == 27
    assert sum(len(run.series["loss"].steps) for run in curves) == 6265
    assert {run.config["params"] for run in curves} == {25e6, 100e6, 400e6}

    gemstones = read_sources([public_data / "gemstones" / "gemstones.csv"]).runs
    assert sum(len(run.series["loss"].steps) for run in gemstones) == 2358  # no row is lost


def test_a_published_table_with_a_step_and_no_id_is_one_row_a_run(tmp_path: Path) -> None:
    text = "params,step,loss\n1e8,1000,3.1\n2e8,2000,3.0\n3e8,4000,2.9\n"
    assert [run.run_id for run in ingest(tmp_path, text).runs] == ["t-1", "t-2", "t-3"]


def test_a_table_above_the_histories_describes_them_too(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("run_id,params\na,100\n")
    (tmp_path / "logs" / "a").mkdir(parents=True)
    (tmp_path / "logs" / "a" / "metrics.csv").write_text("step,loss\n1,3\n2,2\n")
    (run,) = read_sources([tmp_path]).runs
    assert (run.run_id, run.config) == ("a", {"params": 100})


cells = st.sampled_from(["1", "2.5", "", "nan", "x", '"', "\n", "step", "run_id", "loss", " - "])


@given(st.lists(st.lists(cells, min_size=1, max_size=4), min_size=1, max_size=5))
def test_any_table_is_read_or_refused_politely(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(InputError):
        path = Path(folder) / "t.csv"
        path.write_text("\n".join(",".join(row) for row in rows))
        for run in read_sources([path]).runs:
            for series in run.series.values():
                assert np.all(np.diff(series.steps) > 0)


def test_metrics_that_are_always_logged_hold_their_steps_once(tmp_path: Path) -> None:
    """Half the memory of a long history."""
    (run,) = ingest(tmp_path, "step,loss,lr,eval\n1,3,1,5\n2,2,1.5,\n").runs
    assert run.series["loss"].steps is run.series["lr"].steps
    assert run.series["eval"].steps.tolist() == [1]


def test_a_step_with_a_nul_is_named_by_its_row(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_bytes(b"step,loss\n1,3\n2\0,2.5\n3,2\n4,1\n")
    with pytest.raises(InputError, match="row 3"):
        read_sources([tmp_path / "run.csv"])
