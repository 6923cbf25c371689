"""The documentation as a site that needs no network: `make site`.

What docs/ holds, the gallery as the notebook shows it, and pages that declarations make: commands
with their options, the functions and types of Python. mkdocs fails on a link that leads nowhere.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

import scaling_cli
from scaling_cli.cli import app
from tools import notebook

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "site" / "pages"
HTML = ROOT / "build" / "site" / "html"
SHIM = ROOT / "tools" / "iframe_worker" / "shim.js"  # a worker for pages that are opened as files
ELSEWHERE = "https://unpkg.com/iframe-worker/shim"
AT_HOME = "assets/javascripts/iframe-worker.js"
TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "sample_runs/README.md": "sample-runs.md",
}  # pages outside docs/


def write_pages() -> None:
    """Every page of the site, in place of those of before."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.ipynb"))
    made = {name: (ROOT / path).read_text(encoding="utf-8") for path, name in TOP.items()}
    made |= {page.name: page.read_text(encoding="utf-8") for page in PAGES.glob("*.md")}
    made["changes.md"] = "---\nsearch:\n  exclude: true\n---\n" + made["changes.md"]
    made |= {"commands.md": commands_page(), "api.md": python_page(), "gallery.md": gallery()}
    for name, text in made.items():
        (PAGES / name).write_text(linked(text), encoding="utf-8")


def linked(text: str) -> str:
    """A page with its links as they are on the site; to what is no page of it, the text alone."""
    for path, name in TOP.items():
        text = re.sub(rf"\]\((\.\./)*{re.escape(path)}([)#])", rf"]({name}\2", text)
    text = re.sub(r"\]\(docs/", "](", text).replace("](notebook.ipynb", "](gallery.md")
    return re.sub(r"(?<!!)\[([^\]\n]+)\]\((?!https?:)([^)#\s]*)(#[^)]*)?\)", _kept, text)


def _kept(link: re.Match[str]) -> str:
    known = {*TOP.values(), "commands.md", "api.md", "gallery.md", "", *_of_docs()}
    return link[0] if link[2] in known else link[1]


def _of_docs() -> list[str]:
    return [str(path.relative_to(PAGES)) for path in PAGES.rglob("*") if path.is_file()]


def gallery() -> str:
    """The notebook with its cards, run in a folder of its own."""
    os.environ.setdefault("MPLBACKEND", "agg")
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("sample_runs").symlink_to(ROOT / "sample_runs")
            return notebook.page()
        finally:
            os.chdir(before)


def commands_page() -> str:
    """Every command: what it does, its arguments and options, examples."""
    parts = ["# Commands\n", "Options that every command takes: `scalefit --help`.\n"]
    root = typer.main.get_command(app)
    for name, command in _commands(root, ""):
        parts.append(f"## {name}\n\n```text\n{_help(command, name)}\n```\n")
    return "\n".join(parts)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if name:
        yield name, command
    for key in below or {}:
        yield from _commands(below[key], f"{name} {key}".strip())


def _help(command: Any, name: str) -> str:
    context = command.make_context(f"scalefit {name}", ["--help"], resilient_parsing=True)
    return str(command.get_help(context)).strip()


def python_page() -> str:
    """Every public name of the package with its signature and docstring."""
    parts = ["# Functions and types of Python\n", "See [In Python](python.md) for how they go.\n"]
    for name in scaling_cli.__all__:
        value = getattr(scaling_cli, name)
        if not callable(value):
            continue
        parts.append(f"## {name}\n\n```python\n{name}{inspect.signature(value)}\n```\n")
        parts.append(f"{inspect.getdoc(value) or ''}\n")
        parts += _methods(value) if inspect.isclass(value) else []
    return "\n".join(parts)


def _methods(kind: type) -> Iterator[str]:
    for name, value in inspect.getmembers(kind):
        if name.startswith("_") or not inspect.getdoc(value) or name not in vars(kind):
            continue
        called = str(inspect.signature(value)) if callable(value) else ""
        text = " ".join((inspect.getdoc(value) or "").split())
        yield f"- `{name}{called}`: {text}"
    yield ""


def build() -> int:
    """mkdocs' exit code: 0 where it built the site without a warning."""
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    code = subprocess.run(line, cwd=ROOT, env=quiet, check=False).returncode
    if not code:
        keep_at_home()
    return code


def keep_at_home() -> None:
    """Take from beside the pages what the theme would take from elsewhere."""
    shutil.copy(SHIM, HTML / "assets" / "javascripts" / "iframe-worker.js")
    for page in HTML.rglob("*.html"):
        text = page.read_text(encoding="utf-8").replace(ELSEWHERE, AT_HOME)
        if outside := re.findall(r'src="https?:[^"]*"', text):
            raise SystemExit(f"{page} takes {outside[0]} from elsewhere")
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pages()
    sys.exit(build())
