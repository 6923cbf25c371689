"""The page of a report: stands alone, says in words what it shows, holds the report's numbers."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scaling_cli as scalefit
from scaling_cli.cli import app
from scaling_cli.cli.demo import HOLDOUT, LADDER
from scaling_cli.project import Project
from scaling_cli.quantities import power
from scaling_cli.report.summary import summary
from tests.places import SAMPLES

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


class Elements(HTMLParser):
    """Every element of a page, and the text of its paragraphs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [about for name, about in self.found if name == tag]


@pytest.fixture(scope="module")
def page(samples: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(samples.location, folder / "store")
    asked = ["--store", str(folder / "store"), "--config", str(SAMPLES / "scalefit.toml")]
    fitted = ["fit", "--by", "recipe", "--where", LADDER, "--holdout", HOLDOUT]
    for line in (fitted, ["report", "-o", str(folder / "report.html")]):
        answer = CliRunner().invoke(app, [*line, *asked])
        assert answer.exit_code == 0, answer.output
    document = CliRunner().invoke(app, ["report", "--json", *asked])
    (folder / "report.json").write_text(document.stdout, encoding="utf-8")
    return folder / "report.html"


def test_nothing_is_taken_from_elsewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    assert "http" not in re.sub(r'(?:xmlns|http-equiv)[^">]*', "", text)
    elements = Elements(text)
    for tag in ("link", "img", "iframe", "object"):
        assert not elements.named(tag)
    assert all("src" not in about for about in elements.named("script"))


def test_the_page_says_in_words_what_the_report_says_in_numbers(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\xa0", " ")
    document = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))
    assert "From the 27 runs of baseline, 1.00e14 FLOPs lead to a loss of" in text
    for fit in document["fits"]:
        assert f"the fit was off by {100 * fit['holdout']['mape']:.2f} % on average" in text
    assert "How to reproduce it" in text
    assert "What the warnings mean" in text
    for title in ("How often intervals held", "How far laws missed larger runs", "half way</h3>"):
        assert title in text
    for budget in document["recipes"]["budgets"]:
        verdict = html.escape(budget["verdict"])
        assert f"At {power(budget['budget_flops'])} FLOPs {verdict}" in text
    failed = sum(item["status"] == "fail" for item in document["checks"])
    assert f"{len(document['checks'])} checks: " in text
    assert f" pass, {failed} fail, " in text


class Shown(HTMLParser):
    """What a page shows: the rows of each table and the lines of each list, by the heading."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.lines: dict[str, list[str]] = {}
        self.title = self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("h3", "td", "li"):
            self.text = ""
        if tag == "tr":
            self.rows.setdefault(self.title, []).append([])

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "h3":
            self.title = " ".join(self.text.split())
        elif tag == "td":
            self.rows[self.title][-1].append(self.text)
        elif tag == "li":
            self.lines.setdefault(self.title, []).append(self.text)

    def table(self, part: str) -> list[list[str]]:
        """The rows of the one table whose title has this part, without its head."""
        (found,) = (rows for title, rows in self.rows.items() if part in title)
        return [row for row in found if row]


FIGURE = re.compile(r"([-+]?\d+)(\.\d+)?(e[-+]?\d+)?([KMBT]?)( ?%)?")
SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def agrees(shown: str, *values: float | None) -> bool:
    """Whether the figures of a text are these values, to half of the last digit that each shows;
    an end that is not known is open."""
    figures = list(FIGURE.finditer(shown.replace("open", "0e0").replace("(at its bound)", "")))
    if shown == "-":
        return all(value is None for value in values)
    return len(figures) == len(values) and all(map(_is_near, figures, values))


def _is_near(figure: re.Match[str], value: float | None) -> bool:
    whole, part, power, suffix, share = (text or "" for text in figure.groups())
    if value is None:
        return figure.group() == "0e0"
    scale = float("1" + (power or "e0")) * SCALES[suffix] * (0.01 if share else 1.0)
    zeros = 0 if part or share or not whole.strip("-+0") else len(whole) - len(whole.rstrip("0"))
    last = 10.0 ** (1 - len(part) if part else zeros)
    return abs(float(whole + part) * scale - value) <= 0.5001 * last * scale


def test_a_figure_agrees_to_its_last_digit() -> None:
    assert agrees("0.82", 0.8249)
    assert not agrees("0.82", 0.8251)
    assert agrees("1.21M..open", 1.2149e6, None)
    assert agrees("12000", 12499)
    assert not agrees("12001", 12002)
    assert agrees("-0.68 %", -0.00679)
    assert not agrees("100 %", 0.99)


@pytest.fixture(scope="module")
def shown(page: Path) -> tuple[Shown, dict[str, Any]]:
    """The page and the document of the same report."""
    document = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))
    return Shown(page.read_text(encoding="utf-8").replace("\xa0", " ")), document


def ends(item: dict[str, Any], name: str) -> tuple[float | None, float | None]:
    return item[f"{name}_low"], item[f"{name}_high"]


def test_the_fits_of_the_page_are_those_of_the_document(shown: tuple[Shown, Any]) -> None:
    page, document = shown
    for fit in document["fits"]:
        rows = page.table(f"({fit['fit_id']})")
        assert [row[0] for row in rows] == list(fit["parameters"])
        for (_, value, interval), item in zip(rows, fit["parameters"].values(), strict=True):
            assert agrees(value, item["value"])
            assert agrees(interval, *([item["low"], item["high"]] if interval != "-" else [None]))
        (title,) = (title for title in page.rows if fit["fit_id"] in title)
        (runs,) = (line for line in page.lines[title] if "procedure" in line)
        metrics, scores, low_high = fit["metrics"], fit["holdout"], fit["domain"]["flops"]
        assert agrees(runs.partition(" FLOPs")[0], fit["n_runs"], *low_high)
        of_fit = fit["objective"]["value"], metrics["r2"], metrics["mape"], fit["noise"]
        assert agrees(runs.partition("objective")[2].replace("r2 ", ""), *of_fit)
        (held,) = (line for line in page.lines[title] if line.startswith("held out"))
        assert agrees(held, *(scores[name] for name in ("n", "mape", "bias", "coverage")))
    held_out = [(fit["law"], row) for fit in document["fits"] for row in fit["holdout_rows"]]
    for row, (law, item) in zip(page.table("Runs that no fit has seen"), held_out, strict=True):
        assert row[:2] == [law, item["run_id"]]
        assert agrees(row[2], item["observed"])
        assert agrees(row[3], item["predicted"])
        assert agrees(row[4], item["low"], item["high"])
        assert agrees(row[5], item["error"])


def test_the_splits_of_the_page_are_those_of_the_document(shown: tuple[Shown, Any]) -> None:
    page, document = shown
    for fit in document["fits"]:
        rows = page.table(f"splits: {fit['law']}, {fit['group']['recipe']}")
        splits = [item for item in document["allocations"] if item["fit_id"] == fit["fit_id"]]
        for row, item in zip(rows, splits, strict=True):
            names = ("budget_flops", "decades_beyond", "params", None, "tokens")
            assert all(agrees(row[i], item[name]) for i, name in enumerate(names) if name)
            assert agrees(row[3], *ends(item, "params"))
            assert agrees(row[5], item["tokens_per_param"])
            assert agrees(row[6], item["loss"])
            assert agrees(row[7], *ends(item, "loss"))
    for budget in document["recipes"]["budgets"]:
        rows = page.table(f"At {power(budget['budget_flops'])} FLOPs")
        for row, item in zip(rows, budget["recipes"], strict=True):
            assert row[0] == item["recipe"]
            assert agrees(row[1], item["loss"])
            assert agrees(row[2], *ends(item, "loss"))
            assert agrees(row[3], item["compute_multiple"])
            assert agrees(row[4], *ends(item, "compute_multiple"))
            assert row[5][0] in "<>" or agrees(row[5], item["p_best"])
    for row, item in zip(
        page.table("recipes cross"), document["recipes"]["crossings"], strict=True
    ):
        assert row[:2] == [item["before"], item["after"]]
        assert agrees(row[2], item["flops"])
        assert agrees(row[3], *ends(item, "flops"))
        assert agrees(row[4], item["share"])


def test_the_runs_and_checks_of_the_page_are_those_of_the_document(
    shown: tuple[Shown, Any],
) -> None:
    page, document = shown
    runs = {item["name"]: item for item in document["runs"]}
    rows = [row for title, rows in page.rows.items() if title == "67 runs" for row in rows if row]
    assert {row[0] for row in rows} == set(runs)
    for row in rows:
        item = runs[row[0]]
        assert row[1:3] == [item["group"], item["status"]]
        names = ("steps", "done", "params", "tokens", "flops", "loss")
        assert all(agrees(cell, item[name]) for cell, name in zip(row[3:], names, strict=True))
    for rule, *counts in page.table(" checks: "):
        of_rule = [item["status"] for item in document["checks"] if item["rule"] == rule]
        assert list(map(int, counts)) == [of_rule.count(s) for s in ("pass", "fail", "skip")]


def test_the_first_paragraphs_give_answers_of_the_document(
    page: Path, shown: tuple[Shown, Any]
) -> None:
    text = page.read_text(encoding="utf-8").replace("\xa0", " ")
    for recipe in ("baseline", "rotary"):
        fit = next(f for f in shown[1]["fits"] if f["group"] == {"recipe": recipe})
        splits = [item for item in shown[1]["allocations"] if item["fit_id"] == fit["fit_id"]]
        told = next(item for item in splits if item["decades_beyond"] >= 1)
        (said,) = re.findall(rf"From the (.*?runs of {recipe}, .*?) tokens\.", text)
        assert agrees(
            said, fit["n_runs"], told["budget_flops"], told["loss"], told["level"],
            *ends(told, "loss"), told["params"], *ends(told, "params"), told["tokens"],
        )  # fmt: skip
        (times,) = re.findall(rf"of {recipe}, .*?That is ([\d.]+) times", text)
        assert agrees(times, 10 ** told["decades_beyond"])


def test_what_must_be_settled_stands_before_the_answer() -> None:
    """Runs at one ratio of tokens to params say nothing of how to split a budget."""
    params = np.geomspace(1e7, 1e9, 8)
    loss = 1.7 + 400 / params**0.34 + 400 / (20 * params) ** 0.28
    fit = scalefit.fit(
        "chinchilla", {"params": params, "tokens": 20 * params, "loss": loss}, bootstrap=50
    )
    asked, told = summary([fit], [scalefit.optimal(fit, 1e22)])
    assert asked.startswith("What loss will a larger training run reach")
    assert told.startswith("Do not rely on what follows before this is settled: Params and tokens")
    assert "no split of a budget can be given. " in told


def csv_of(page: Path, figure: str) -> list[list[str]]:
    elements = Elements(page.read_text(encoding="utf-8"))
    (href,) = (a["href"] for a in elements.named("a") if a["download"] == f"{figure}.csv")
    return list(csv.reader(b64decode((href or "").partition("base64,")[2]).decode().splitlines()))


def test_the_figures_hold_the_numbers_of_the_document(page: Path, shown: tuple[Shown, Any]) -> None:
    _, document = shown
    runs = {item["run_id"]: item for item in document["runs"]}
    rows = [row for row in csv_of(page, "loss-over-compute") if row[1] in runs]
    assert len(rows) == 2 * (27 + 2)
    for _, name, flops, loss, _, _ in rows:
        assert float(flops) == pytest.approx(runs[name]["flops"], rel=1e-9)
        assert float(loss) == pytest.approx(runs[name]["loss"], rel=1e-9)
    predicted = {
        (item["recipe"], budget["budget_flops"]): (item["loss"], *ends(item, "loss"))
        for budget in document["recipes"]["budgets"]
        for item in budget["recipes"]
    }
    found = {
        (name, float(flops)): tuple(map(float, values))
        for name, _, flops, *values in csv_of(page, "recipes")[1:]
        if name
    }
    assert found.keys() == predicted.keys()
    for key, values in found.items():
        assert values == pytest.approx(predicted[key], rel=1e-9)
    points = {item["step"]: item for item in document["forecasts"][0]["points"]}
    ahead = [row for row in csv_of(page, "forecast-1") if row[0].endswith("may come")]
    assert ahead
    for _, _, step, loss, low, high in ahead:
        point = points[int(float(step))]
        values = (point["loss"], point["low"], point["high"])
        assert tuple(map(float, (loss, low, high))) == pytest.approx(values, rel=1e-9)


def test_every_figure_has_words_data_and_a_place_for_keys(page: Path) -> None:
    elements = Elements(page.read_text(encoding="utf-8"))
    pictures = [about for about in elements.named("svg") if about.get("class") == "picture"]
    ids = {about.get("id") for _, about in elements.found}
    assert len(pictures) >= 10
    for about in pictures:
        assert about["tabindex"] == "0"
        assert {about["aria-labelledby"], about["aria-describedby"]} <= ids
    files = {about["download"]: about["href"] for about in elements.named("a")}
    assert len(files) == len(pictures)
    encoded = (files["loss-over-compute.csv"] or "").partition("base64,")[2]
    rows = b64decode(encoded).decode().splitlines()
    assert rows[0] == "series,name,training FLOPs,loss,low,high"
    assert sum(row.startswith("baseline,") for row in rows) == 27


def test_figures_are_written_into_a_folder(page: Path) -> None:
    pytest.importorskip("matplotlib", reason="a figure needs the extra plots")
    folder = page.parent / "figures"
    asked = ["--store", str(page.parent / "store"), "--figures", str(folder)]
    answer = CliRunner().invoke(app, ["report", *asked, "--figure-kind", "pdf"])
    assert answer.exit_code == 0, answer.output
    assert (folder / "loss-over-compute.pdf").read_bytes().startswith(b"%PDF")
    refused = CliRunner().invoke(app, ["report", *asked, "--figure-kind", "gif"])
    assert refused.exit_code == 2


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(BROWSERS)}")
def test_a_browser_shows_it_without_a_word(page: Path) -> None:
    """Its arrow keys and a pointer reach the data, and no part is wider than a phone of 400
    pixels: a frame of that width shows it too, as the narrowest window has 500."""
    probe = """<script>
    const picture = document.querySelector("svg.picture");
    const said = () => picture.parentElement.querySelector(".said").textContent;
    picture.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    const found = [said()], box = picture.querySelector(".datum.points").getBoundingClientRect();
    picture.dispatchEvent(new PointerEvent("pointerleave"));
    const at = { clientX: box.x + 1, clientY: box.y + 1, bubbles: true };
    picture.dispatchEvent(new PointerEvent("pointermove", at));
    found.push(said());
    const phone = document.createElement("iframe");
    phone.style.width = "400px";
    phone.onload = () => {
      found.push(phone.contentDocument.documentElement.scrollWidth);
      document.body.dataset.probe = JSON.stringify(found);
    };
    phone.srcdoc = document.documentElement.outerHTML.replace(/<script[^]*?<.script>/g, "");
    document.body.append(phone);
    </script></body>"""
    tried = page.parent / "tried.html"
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    tried.write_text(text.replace("</body>", probe), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,900"]
    logged = ["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"]
    answer = subprocess.run(
        [str(BROWSER), *options, *logged, tried.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in answer.stderr
    (probed,) = re.findall(r'data-probe="([^"]*)"', answer.stdout)
    by_key, by_pointer, width = json.loads(probed.replace("&quot;", '"'))
    assert "training FLOPs" in by_key
    assert "training FLOPs" in by_pointer
    assert width <= 400
