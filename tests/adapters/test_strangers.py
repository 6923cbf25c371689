"""Small logs as strangers bring them: what a careless user would believe is right, or said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.ending import ENDED, PLANNED
from scaling_cli.errors import InputError
from scaling_cli.resolve import Finals, finals

STEPS = range(100, 2001, 100)


def table(header: str, line: str) -> str:
    """A CSV with a line for each step; `{s}` is the step, `{t}` its tokens, `{loss}` falls."""
    rows = (line.format(s=s, t=500_000 * s, loss=round(5 - s / 1000, 4)) for s in STEPS)
    return "\n".join([header, *rows]) + "\n"


def lines(**more: Any) -> str:
    rows = ({"step": s, "tokens": 500_000 * s, "val_loss": 5 - s / 1000} | more for s in STEPS)
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(tmp_path: Path, files: dict[str, str | bytes]) -> tuple[Finals, dict[str, str]]:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    done = read_sources(tmp_path)
    found = finals(done.runs)
    return found, {note.code: note.message for note in (*done.notes, *found.notes)}


def test_a_step_with_thousands_parted_is_the_step_of_one_run(tmp_path: Path) -> None:
    text = table("step;loss;tokens", "{s:,};{loss};{t:,}")
    found, _ = read(tmp_path, {"run.csv": text})
    (row,) = found.rows
    assert (row.values["steps"], row.values["tokens"]) == (2000, 1e9)


def test_times_that_pass_are_points_of_one_run(tmp_path: Path) -> None:
    found, notes = read(tmp_path, {"run.csv": table("time_s,val_loss", "{s}.5,{loss}")})
    assert len(found.rows) == 1
    assert "numbered by time_s" in notes["no_step_column"]


def test_train_and_eval_files_of_a_folder_are_one_run(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {}
    for run in ("a", "b"):
        files[f"{run}/train.csv"] = table("step,loss,tokens", "{s},{loss},{t}")
        files[f"{run}/eval.csv"] = table("step,loss,tokens", "{s},1{loss},{t}")
    found, notes = read(tmp_path, files)
    assert [row.mapped["loss"] for row in found.rows] == ["eval/loss"] * 2
    assert [row.values["loss"] for row in found.rows] == [13.0] * 2
    assert [row.values["tokens"] for row in found.rows] == [1e9] * 2  # equal in both, so it is one
    assert "eval.csv and train.csv are read as one run" in notes["files_joined"]


@pytest.mark.parametrize(
    ("measure", "given"), [("eval_perplexity", "log(eval_perplexity)"), ("val_bpb", "val_bpb")]
)
def test_a_held_out_measure_beside_a_training_loss_is_said(
    tmp_path: Path, measure: str, given: str
) -> None:
    text = table(f"step,tokens,{measure},train_loss", "{s},{t},9,{loss}")
    found, notes = read(tmp_path, {"run.csv": text})
    assert found.rows[0].mapped["loss"] == "train_loss"
    assert f'[columns] loss = "{given}"' in notes["loss_of_training"]


def test_a_perplexity_alone_is_no_loss_and_how_it_serves_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, {"run.csv": table("step,tokens,val_ppl", "{s},{t},9")})
    assert '[columns] loss = "log(val_ppl)"' in caught.value.mend


def test_tokens_that_begin_again_are_none(tmp_path: Path) -> None:
    rows = [f"{s},{(s % 800) * 500_000},{5 - s / 1000}" for s in STEPS]
    found, notes = read(tmp_path, {"run.csv": "\n".join(["step,tokens,val_loss", *rows])})
    assert "tokens" not in found.rows[0].values
    assert "tokens begins again within the run" in notes["not_rising"]


def test_a_plan_that_each_line_repeats_tells_that_a_run_goes_on(tmp_path: Path) -> None:
    found, _ = read(tmp_path, {"run.jsonl": lines(max_steps=4000)})
    values = found.rows[0].values
    assert (values[PLANNED], values[ENDED]) == (4000, 0)


def test_params_without_embeddings_are_kept_beside_the_total(tmp_path: Path) -> None:
    config = {"num_parameters": 1.3e8, "num_non_embedding_parameters": 9e7}
    text = json.dumps({"config": config}) + "\n" + lines()
    found, notes = read(tmp_path, {"run.jsonl": text})
    values = found.rows[0].values
    assert (values["params"], values["params_non_embedding"]) == (1.3e8, 9e7)
    assert "N is config.num_parameters" in notes["params_chosen"]


def test_utf_16_among_the_files_of_a_folder_is_named(tmp_path: Path) -> None:
    _, notes = read(tmp_path, {"run.jsonl": lines(), "other.jsonl": lines().encode("utf-16")})
    assert "other.jsonl is UTF-16 text: save it as UTF-8" in notes["files_not_known"]


@pytest.mark.parametrize(
    ("text", "number"), [("1048.58M", 1048580000), ("1.05B", 1050000000), ("331.48M", 331480000)]
)
def test_a_unit_gives_the_printed_digits(tmp_path: Path, text: str, number: int) -> None:
    rows = f"step,tokens,val_loss\n1,1M,3\n2,{text},2\n"
    found, _ = read(tmp_path, {"run.csv": rows})
    assert found.rows[0].values["tokens"] == number
