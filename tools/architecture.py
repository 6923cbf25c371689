"""The picture of the house in docs/architecture.md, drawn from the imports: `make docs`."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "scaling_cli"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- picture: begin -->", "<!-- picture: end -->"
# Small files that any room may import; arrows to them would hide the others.
EVERYWHERE = {
    "errors",
    "notes",
    "records",
    "columns",
    "quantities",
    "version",
    "progress",
    "glossary",
}
EVERYWHERE |= {"documents", "selection", "remote", "arrow", "workers", "__init__", "__main__"}
# `Table` is the cut-off: these rooms know arrays, and neither a store nor a mapping.
ARRAYS = {"table", "laws", "fitting", "planning", "compute"}


def room(path: Path) -> str:
    """The folder of the package that a file stands in, or the file's own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def arrows() -> dict[str, set[str]]:
    """Room -> the rooms that its files import."""
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if room(path) not in EVERYWHERE]
    rooms: dict[str, set[str]] = {room(path): set() for path in files}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scaling_cli"):
                below = [node.module or "", *(f"{node.module}.{item.name}" for item in node.names)]
                targets = {name.split(".")[1] for name in below if "." in name}
                rooms[room(path)] |= (targets & rooms.keys()) - {room(path)}
    return rooms


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows that a longer way already shows; CycleError if it turns."""
    reach: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        reach[name] = graph[name].union(*(reach[below] for below in graph[name]))
    return {
        name: {to for to in below if not any(to in reach[other] for other in below - {to})}
        for name, below in graph.items()
    }


def picture() -> str:
    """The rooms and their arrows as a Mermaid flow chart."""
    graph = arrows()
    lines = ["```mermaid", "flowchart TD"]
    for title, names in (
        ("runs", sorted(graph.keys() - ARRAYS)),
        ("arrays", sorted(graph.keys() & ARRAYS)),
    ):
        lines += [f"  subgraph {title}", *(f"    {name}" for name in names), "  end"]
    for name, below in sorted(reduced(graph).items()):
        lines += [f"  {name} --> {to}" for to in sorted(below)]
    return "\n".join([*lines, "```"])


def page() -> str:
    """The page with the picture as it must be today."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{picture()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
