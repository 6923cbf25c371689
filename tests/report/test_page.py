"""The page of a report: stands alone, says in words what it shows, holds the report's numbers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.cli.demo import HOLDOUT, LADDER
from scaling_cli.project import Project
from scaling_cli.quantities import power
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
        assert f"At {power(budget['budget_flops'])} FLOPs {budget['verdict']}" in text
    failed = sum(item["status"] == "fail" for item in document["checks"])
    assert f"{len(document['checks'])} checks: " in text
    assert f" pass, {failed} fail, " in text


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
