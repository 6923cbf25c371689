"""docs/papers.md: each command that has more to it than a law's name is run on runs that its law
makes; `fit --law LAW` alone is what the catalogue's own tests do."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli import laws
from scaling_cli.cli import app
from scaling_cli.laws import Law
from tests.places import ROOT
from tests.simulate import columns_of, observed, values_of

RUN = CliRunner()
ROWS = 48
WORDS = {"NAME": "score", "KEY": "recipe", "LOSS": "loss_web"}  # stand for a user's own


def commands() -> list[str]:
    """The commands of the third column that name more than a law."""
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    cells = [row.split("|")[3] for row in text.splitlines() if row.startswith("| ")]
    spans = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell) if " " in span]
    bare = re.compile(r"fit --law [\w.]+|fit --formula|slope .*|curve .*|schedule .*")
    return sorted({span for span in spans if not bare.fullmatch(span)})


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


def runs_of(law: Law, words: list[str]) -> dict[str, np.ndarray]:
    """Columns of runs that follow the law, under the names that the command gives them."""
    if law.family == "hyperparameters":
        return sweep(law)
    columns = columns_of(law, ROWS)
    target = observed(law, columns, values_of(law, columns), 1e-3)
    if law.variables == ("x",):
        columns = {option(words, "--x") or "tokens": columns["x"]}
    last = option(words, "--metric") if "--then" not in words else None
    name = option(words, "--y") or last or law.target
    if name == WORDS["LOSS"]:  # runs are known by a loss
        columns["loss"] = target
    return {**columns, name: target}


def sweep(law: Law) -> dict[str, np.ndarray]:
    """Six sizes at five values each of what the rule is about, whose best one follows it."""
    entry = law.published[0]
    params = np.geomspace(1e8, 1e9, 6)
    sizes = {"params": params, "tokens": 20 * params * np.tile([1.0, 3.0], 3)}
    best = law.predict(**entry.values, **{name: sizes[name] for name in law.variables})
    away = np.tile([0.5, 0.7, 1.0, 1.4, 2.0], 12)  # once in each of two groups
    rows = {name: np.repeat(column, 10) for name, column in sizes.items()}
    loss = 1.7 + 400 / rows["params"] ** 0.34 + 0.05 * np.log(away) ** 2
    return {**rows, law.target: np.repeat(best, 10) * away, "loss": loss}


def written(path: Path, columns: dict[str, np.ndarray], group: str | None) -> str:
    names = ["run_id", *columns, *([group] if group else [])]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names)
        for i, row in enumerate(zip(*columns.values(), strict=True)):
            table.writerow([f"r{i}", *map(float, row), *([f"g{i // 5 % 2}"] if group else [])])
    return str(path)


def asked(words: list[str], tmp_path: Path) -> dict[str, object]:
    store = ["--store", str(tmp_path / "store")]
    found = RUN.invoke(app, [*words, "--json", *store])
    assert found.exit_code == 0, found.stderr
    document: dict[str, object] = json.loads(found.stdout)
    return document


@pytest.mark.parametrize("command", [c for c in commands() if c.split()[0] in ("fit", "compare")])
def test_a_fit_that_the_page_names_gives_numbers(command: str, tmp_path: Path) -> None:
    words = [WORDS.get(word, word) for word in shlex.split(command)]
    name = option(words, "--law")
    formula = option(words, "--formula")
    many = (option(words, "--laws") or "").split(",")[0]
    law = laws.get_law(name or many or f"={formula}")
    columns = runs_of(law, words)
    if "--then" in words:  # a score that falls with the loss, between its plateaus
        spread = np.std(columns[law.target])
        columns["score"] = 0.2 + 0.6 / (
            1 + np.exp((columns[law.target] - np.mean(columns[law.target])) / spread)
        )
        words += [] if "--metric" in words else ["--metric", "score"]
    if many:
        words += ["--x", "tokens", "--y", law.target]
        largest = f"tokens > {np.quantile(columns['tokens'], 0.8)}"
        words = [largest if word == "EXPR" else word for word in words]
    source = written(tmp_path / "runs.csv", columns, option(words, "--by"))
    store = ["--store", str(tmp_path / "store")]
    ingested = RUN.invoke(app, ["ingest", source, *store])
    assert ingested.exit_code == 0, ingested.stderr
    document = asked([*words, *([] if many else ["--bootstrap", "0"])], tmp_path)
    assert document["groups" if many else "fits"]
    if not many:
        fits = document["fits"]
        assert isinstance(fits, list)
        assert {item["status"] for item in fits} == {"ok"}
        assert len(fits) >= (2 if "--by" in words else 1)


@pytest.mark.parametrize("command", [c for c in commands() if "--published" in c])
def test_a_published_set_that_the_page_names_answers(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    law, entry = laws.get_published(words[words.index("--published") + 1])
    if words[0] == "optimal":
        assert asked([*words, "--budget", "1e21"], tmp_path)["allocations"]
        return
    point = {name: column[0] for name, column in columns_of(law, 1).items()}
    if words[0] == "hparams":
        assert asked([*words, "--params", "1B", "--tokens", "20B"], tmp_path)["hparams"]
        return
    sizes = {n: v for n, v in point.items() if n in ("params", "tokens", "flops")}
    words += [word for n, v in sizes.items() for word in (f"--{n}", repr(float(v)))]
    rest = {n: v for n, v in point.items() if n not in sizes}
    words += [word for n, v in rest.items() for word in ("--at", f"{n}={float(v)!r}")]
    (found,) = asked(words, tmp_path)["predictions"]  # type: ignore[misc]
    exact = float(law.predict(**entry.values, **{n: np.array([v]) for n, v in point.items()})[0])
    assert found["loss"] == pytest.approx(exact, rel=1e-9)


def test_the_growth_of_a_vision_network_is_where_no_flop_is_better_spent() -> None:
    law = laws.get_law("compound")
    values = {"E": 0.1, "a": 2.0, "p": 0.9, "b": 5.0, "q": 1.7, "c": 9.0, "r": 1.2}
    assert law.derived
    growth = {name.split()[0]: value for name, value in law.derived(values).items()}
    assert growth["depth"] * growth["width"] ** 2 * growth["resolution"] ** 2 == pytest.approx(2)

    def best(flops: float) -> tuple[float, float, float]:
        depth, width = (np.exp(np.linspace(0, 8, 1601)) for _ in range(2))
        depth, width = depth[:, None], width[None, :]
        resolution = np.sqrt(flops / depth / width**2)
        error = law.predict(**values, depth=depth, width=width, resolution=resolution)
        i, j = np.unravel_index(np.argmin(error), error.shape)
        return float(depth[i, 0]), float(width[0, j]), float(resolution[i, j])

    for first, last, name in zip(best(1e6), best(64e6), growth, strict=True):
        assert last / first == pytest.approx(growth[name] ** 6, rel=0.02)
