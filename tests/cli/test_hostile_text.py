"""Text from outside stays text: every command x every output x names that are written as commands
of terminals, CI runners, pages and spreadsheets."""

from __future__ import annotations

import csv
import html.parser
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from scaling_cli.store import open_store
from scaling_cli.text import whole
from tests.schemas import complaints

TERMINAL = (
    "\x1b]52;c;cm0=\x07\x1b[2J\x1b]8;;http://e.test\x1b\\\x9b31m\x7f\r\u202e\u2066\u200b\u2028"
)
PAGE = "[a](http://e.test) ![i](//e.test) <script>a()</script> @team #1 www.e.test | `c` $x$ [red]m"
HOSTILE = (
    "::stop-commands::t",
    "x\n::error title=p::q\n##[add-mask]y",
    f"y{TERMINAL}",
    f"# {PAGE}",
    "=cmd|'/c calc'!A0",
    "@SUM(1)",
    "+1+cmd()",
    "- a\n- b \\input{x} %",
    "z\ud800\ufffe",
)
GROUPS = ("g\n::add-mask::x", f"=h{PAGE}{TERMINAL}")
FIGURE = re.compile(r"-|[-+][\d.,]*(e[-+]?\d+)?[KMBT]?(\.\.-?[\d.,e+-]*)?( ?%)?")
# A line a command. A new command fails the test below until it has one; what exits otherwise than 0
# is listed under REFUSED, as what it says is shown too.
LINES: dict[str, list[str]] = {
    "ingest": ["ingest", "{source}", "--store", "{store}"],
    "init": ["init", "{source}", "-o", "-"],
    "runs": ["runs"],
    "show": ["show", "{run}"],
    "runs forget": ["runs", "forget", "params > 0", "--store", "{folder}/spare"],
    "laws": ["laws", "chinchilla"],
    "fit": ["fit", "--law", "chinchilla", "--by", "recipe", "--bootstrap", "20"],
    "config check": ["config", "check"],
    "fits": ["fits"],
    "fits show": ["fits", "show", "{fit}"],
    "fits name": ["fits", "name", "{fit}", "again"],
    "fits forget": ["fits", "forget", "spare"],
    "compare": ["compare", "--laws", "chinchilla,kaplan_n", "--by", "recipe"],
    "predict": ["predict", "--params", "1e11", "--tokens", "1e13", "--quantiles", ".1,.5"],
    "optimal": ["optimal", "--budget", "1e20", "1e26"],
    "plan": ["plan", "--scale", "20x"],
    "design": [
        "design",
        "--spend",
        "1e21",
        "--target",
        "1e24",
        "--recipe",
        "{one}",
        "--trials",
        "0",
    ],
    "simulate": ["simulate", "--design", "{folder}/d.csv", "--fit", "{fit}"],
    "recipes": ["recipes", "--budgets", "1e22,1e24"],
    "crossing": ["crossing", "{one}", "{other}"],
    "equivalent": ["equivalent", "{one}", "{other}", "--flops", "1e24"],
    "items": ["items", "--flops", "1e22", "--bootstrap", "20"],
    "slope": ["slope", "{one}", "{other}"],
    "hparams": ["hparams", "--params", "1B", "--tokens", "20B"],
    "curve": ["curve", "--run", "{run}"],
    "schedule": ["schedule", "--steps", "400", "--run", "{run}"],
    "check": ["check", "--junit", "{folder}/j.xml"],
    "watch": ["watch", "{run}", "--poll", "0.05", "--idle", "0.1"],
    "report": ["report"],
    "explain": ["explain"],
    "schema": ["schema"],
    "demo": ["demo"],
    "store verify": ["store", "verify"],
    "store compact": ["store", "compact"],
    "store export": ["store", "export", "{folder}/all.csv", "--shape", "runs"],
}
SLOW = ("demo",)  # reads the shipped runs alone, and takes two seconds
REFUSED = [
    ["runs", "--where", "{bad}"],
    ["fit", "--law", "{bad}"],
    ["fit", "--formula", "{bad}"],
    ["predict", "--params", "{bad}"],
    ["predict", "--fit", "{bad}"],
    ["fit", "--law", "chinchilla", "--name", "{bad}"],
    ["fits", "show", "{bad}"],
    ["fits", "name", "{fit}", "{bad}"],
    ["fits", "forget", "{bad}"],
    ["optimal", "--published", "{bad}", "--budget", "1"],
    ["crossing", "{bad}", "{bad}"],
    ["recipes", "--budgets", "1e22", "--baseline", "{bad}"],
    ["design", "--spend", "1e21", "--target", "1e24", "--recipe", "{bad}"],
    ["simulate", "--design", "{bad}", "--published", "epoch2024", "--noise", "0.01"],
    ["plan", "--budget", "1e22", "--device", "{bad}"],
    ["plan", "--scale", "{bad}"],
    ["curve", "--run", "{bad}"],
    ["ingest", "{bad}"],
    ["ingest", "{source}", "--as", "{bad}"],
    ["report", "-o", "{bad}.xyz"],
    ["explain", "{bad}"],
    ["schema", "{bad}"],
    ["check", "{bad}"],
    ["{bad}"],
    ["runs", "{bad}"],
    ["fit", "--format", "{bad}"],
    ["store", "export", "{bad}.pdf"],
]
OUTPUTS = ("plain", "terminal", "--json", "csv", "tsv", "md", "latex")


def commands(command: Any, path: str = "") -> Iterator[str]:
    """The full name of every command of the app."""
    below = getattr(command, "commands", None)
    if below is None or command.invoke_without_command:
        yield path
    for name, item in (below or {}).items():
        yield from commands(item, f"{path} {name}".strip())


def test_every_command_stands_here() -> None:
    assert set(commands(typer.main.get_command(app))) == set(LINES)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A source whose every text is hostile, its store, and saved fits of its two groups."""
    folder = tmp_path_factory.mktemp("hostile")
    random = np.random.default_rng(0)
    lines = []
    for i in range(32):
        params = 10 ** random.uniform(7, 9)
        floor = 1.7 + 400 * params**-0.34
        batch = 10 ** random.uniform(5, 7)
        bad = HOSTILE[i % len(HOSTILE)]
        fixed = {
            "run_id": f"{bad}{i}", "name": f"{HOSTILE[-i % len(HOSTILE)]}{i}", "params": params,
            "recipe": GROUPS[i % 2], f"k{bad}": bad, "max_steps": 200, "batch_tokens": batch,
            "tags": [bad], "notes": {bad: [bad]},
            **{f"item.q{j}": (params / 1e9) ** 0.2 / 2 for j in range(10)},
        }  # fmt: skip
        for step in range(4, 201, 4):
            loss = floor + 1500 * (step * batch) ** -0.36 + 0.001 * random.normal()
            lr = 1e-3 * min(1, (210 - step) / 100)
            row = {"step": step, "loss": loss, "lr": lr, "tokens": step * batch, f"m{bad}": step}
            lines.append(json.dumps(fixed | row))
    lines.append(json.dumps({"run_id": f"broken{HOSTILE[2]}", "step": 1, "loss": float("nan")}))
    source = folder / "s\n::error::e\x1b[2J.jsonl"
    source.write_text("\n".join(lines))
    (folder / "scalefit.toml").write_text(
        "[[check]]\nrule = 'limit'\nmax = 0.1\nname = " + json.dumps(whole(HOSTILE[1])) + "\n"
        "[[check]]\nrule = 'spike'\nmetric = " + json.dumps("m" + HOSTILE[0]) + "\n"
    )
    (folder / "d.csv").write_text("params,tokens," + HOSTILE[4] + "\n1e8,2e9," + HOSTILE[5])
    made = {"source": str(source), "store": str(folder / "store"), "folder": str(folder)}
    run = CliRunner().invoke(app, ["ingest", made["source"], "--store", made["store"], "--json"])
    assert run.exit_code == 0, run.stderr
    listed = CliRunner().invoke(app, ["runs", "--json", "--store", made["store"]])
    made["run"] = json.loads(listed.stdout)["runs"][2]["run_id"]
    fit = CliRunner().invoke(app, [*LINES["fit"], "--store", made["store"], "--json"])
    assert fit.exit_code == 0, fit.stderr
    fits = json.loads(fit.stdout)["fits"]
    groups = [item["group"]["recipe"] for item in fits]
    return made | {"one": groups[0], "other": groups[1], "fit": fits[0]["fit_id"]}


@pytest.fixture
def hostile(places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    monkeypatch.chdir(places["folder"])
    monkeypatch.setenv("SCALEFIT_STORE", places["store"])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    page = Path(places["folder"]) / "summary.md"
    page.unlink(missing_ok=True)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    yield places
    if page.exists():
        assert_clean(page.read_text(encoding="utf-8"))


def invoke(line: list[str], output: str, places: dict[str, str], patch: Any) -> Result:
    arguments = [part.format_map(places) for part in line]
    if output == "--json":
        arguments += ["--json"]
    elif output == "terminal":
        patch.setattr("scaling_cli.cli.common.on_terminal", lambda: True)
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("COLUMNS", "80")
    elif output != "plain":
        arguments += ["--format", output]
    return CliRunner().invoke(app, arguments)


def assert_clean(text: str, commands_allowed: bool = False) -> None:
    """Nothing that a terminal or a CI runner obeys; colours are our own."""
    text = re.sub(r"\x1b\[[\d;]*m|\x1b\[\?25[lh]", "", text)
    odd = {c for c in text if c != "\n" and category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not odd, [hex(ord(c)) for c in odd]
    for line in text.splitlines():
        if not (commands_allowed and line.startswith("::error title=")):
            assert not line.lstrip().startswith("::"), line
        assert "##[" not in line


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("name", sorted(LINES.keys() - set(SLOW)))
def test_nothing_hostile_reaches_a_reader(
    name: str, output: str, hostile: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "fits forget":  # which spends what it names
        kept = open_store(hostile["store"]).fits
        kept.save(kept.load(kept.listed()[-1:]), "spare")
    elif name == "runs forget":
        ingest = ["ingest", hostile["source"], "--again", "--store", f"{hostile['folder']}/spare"]
        CliRunner().invoke(app, ingest)
    result = invoke(LINES[name], output, hostile, monkeypatch)
    expected = {"check": 1}.get(name, 0)
    assert result.exit_code == expected, (result.stdout, result.stderr)
    stdout = result.stdout.replace("\t", " ") if output == "tsv" else result.stdout
    if name == "watch":  # its screen is drawn anew, and a bell rings for a check that fails
        stdout = re.sub(r"\x1b\[(2K|1A)|[\r\x07]", "", stdout)
    assert_clean(stdout)
    assert_clean(result.stderr, commands_allowed=name == "check")
    if output == "--json":
        document = json.loads(result.stdout)
        whole_json(document)
        assert not complaints(name, document)
    elif name in ("init", "watch"):
        pass  # a file of TOML, and lines, whatever the format
    elif output == "md":
        assert_markdown(result.stdout)
    elif output in ("csv", "tsv"):
        assert_cells(result.stdout, "," if output == "csv" else "\t")
    elif output == "latex":
        assert_latex(result.stdout)


@pytest.mark.parametrize("bad", HOSTILE)
def test_errors_show_what_they_refuse(
    bad: str, hostile: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in REFUSED:
        for output in ("plain", "--json"):
            result = invoke(line, output, hostile | {"bad": bad}, monkeypatch)
            assert result.exit_code == 2, (line, result.stdout, result.stderr)
            assert "unexpectedly" not in result.stderr, (line, result.stderr)
            assert_clean(result.stdout)
            assert_clean(result.stderr)
            if output == "--json":
                error = json.loads(result.stdout)["error"]
                assert not complaints("error", {"error": error})
                whole_json(error)


@pytest.mark.parametrize("suffix", ["html", "md", "tex", "csv", "json"])
def test_reports_hold_text_alone(suffix: str, hostile: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / f"r.{suffix}"
    result = CliRunner().invoke(app, ["report", "-o", str(file)])
    assert result.exit_code == 0, result.stderr
    text = file.read_text(encoding="utf-8")
    assert_clean(text)
    checks: dict[str, Any] = {"html": assert_page, "md": assert_markdown, "tex": assert_latex}
    checks |= {"csv": assert_cells, "json": lambda text: whole_json(json.loads(text))}
    if suffix == "md":  # the images of our own figures, which lie beside it
        shown = re.compile(
            r"^!\[((?:\\.|[^\]\\\n])*)\]\(r-figures/([a-z0-9-]+)\.svg\)$", re.MULTILINE
        )
        drawn = {path.stem for path in (tmp_path / "r-figures").glob("*.svg")}
        assert drawn == {name for _, name in shown.findall(text)}
        text = shown.sub(r"- \1", text)
    checks[suffix](text)


def test_junit_and_exported_tables(hostile: dict[str, str], tmp_path: Path) -> None:
    from xml.etree import ElementTree

    assert CliRunner().invoke(app, ["check", "--junit", str(tmp_path / "j.xml")]).exit_code == 1
    for node in ElementTree.parse(tmp_path / "j.xml").iter():
        for text in (*node.attrib.values(), (node.text or "").strip()):
            assert_clean(text)


def whole_json(value: Any) -> None:
    """No text of a document holds half of a surrogate pair."""
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def assert_cells(text: str, mark: str = ",") -> None:
    for row in csv.reader(text.splitlines(), delimiter=mark):
        for cell in row:
            first = cell.lstrip()[:1]
            assert not first or first not in "=+-@" or FIGURE.fullmatch(cell), cell


def assert_markdown(text: str) -> None:
    """No mark of a link, an image, a tag, a mention, a reference or an address is left live."""
    live = re.sub(r"\\[!-/:-@\[-`{-~]", "", text)  # without what a backslash makes text
    for mark in ("](", "![", "<", "`", "://", "www.", "$"):
        assert mark not in live, mark
    assert not re.search(r"@\w|#\d", re.sub(r"&#\d+;", "\u200b", live))
    for line in text.splitlines():
        assert re.match(r"## \S|# \S|\| |- |$", line), line


def assert_latex(text: str) -> None:
    bare = re.sub(r"\\(text\w+\{\}|[{}$&#_%]|\\)", "", text)
    allowed = {"begin", "end", "centering", "caption", "par", "small", "usepackage"}
    allowed |= {"toprule", "midrule", "bottomrule"}
    assert set(re.findall(r"\\(\w+)", bare)) <= allowed
    for line in bare.splitlines()[1:]:
        assert not re.search(r"[%$#^~]", line), line


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(f"{tag}.{name}" for name, _ in attrs)}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def assert_page(text: str) -> None:
    page = Page()
    page.feed(text)
    assert not page.seen & {"img", "iframe", "link"}
    assert all(link.startswith("data:text/csv;base64,") for link in page.links)
    assert len(re.findall(r"(?i)<script", text)) <= 1  # our own
    attributes = {name.partition(".")[2] for name in page.seen} - {""}
    assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_a_report_that_cannot_be_made_leaves_the_old_one(
    hostile: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.md"
    file.write_text("a good report")
    before = os.listdir(tmp_path)
    monkeypatch.setattr("scaling_cli.report.render.to_markdown", lambda *_: 1 / 0)
    assert CliRunner().invoke(app, ["report", "-o", str(file)]).exit_code == 2
    assert (file.read_text(), os.listdir(tmp_path)) == ("a good report", before)
