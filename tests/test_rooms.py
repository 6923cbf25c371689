"""The rooms of the house: what each may import, and what no start-up may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scaling_cli
from scaling_cli.store import open_store
from tools import architecture

PACKAGE = Path(scaling_cli.__file__).parent
SHARED = {
    "errors",
    "documents",
    "notes",
    "glossary",
    "text",
    "records",
    "architecture",
    "compute",
    "columns",
    "version",
    "quantities",
    "progress",
    "remote",
    "sources",
    "shown",
    "counts",
    "losses",
    "manifest",
    "spelling",
    "steps",
}
# room -> the rooms that it may import besides itself
ALLOWED = {
    "arrow": set(),
    "architecture": {"errors", "spelling"},
    "compute": {"records"},
    "errors": set(),
    "documents": {"errors", "text"},
    "version": set(),
    "notes": set(),
    "glossary": set(),
    "text": set(),
    "quantities": {"errors"},
    "columns": set(),
    "progress": set(),
    "remote": {"errors"},
    "sources": set(),
    "manifest": {"documents", "version"},
    "workers": {"errors", "version"},
    "records": {"notes"},
    "counts": {"quantities", "spelling"},
    "losses": {"spelling"},
    "steps": {"columns", "notes", "records", "spelling"},
    "expressions": {"errors", "quantities"},
    "spelling": set(),
    "shown": {"drawing", "errors", "quantities", "text"},
    "mapping": SHARED | {"expressions"},
    "names": SHARED | {"expressions"},
    "ending": SHARED,
    "resolve": SHARED | {"ending", "expressions", "mapping", "names"},
    "adapters": SHARED | {"arrow", "expressions", "mapping", "workers"},
    "store": SHARED | {"arrow", "mapping", "resolve"},
    "table": SHARED | {"arrow", "expressions"},
    "copies": SHARED | {"table"},
    "observe": SHARED | {"ending", "expressions", "mapping", "names", "resolve", "store", "table"},
    "laws": {"errors", "columns", "expressions", "spelling"},
    "fitting": SHARED | {"copies", "laws", "table"},
    "planning": SHARED | {"laws", "fitting", "table"},
    "training": SHARED
    | {"ending", "laws", "fitting", "mapping", "observe", "table", "resolve", "store"},
    "configuration": SHARED | {"checks", "expressions", "mapping", "saved", "store", "workers"},
    "outcome": {"notes"},
    "memory": SHARED | {"adapters", "mapping", "outcome", "store"},
    "ingest": SHARED
    | {"copies", "memory", "outcome", "table"}
    | {"ending", "adapters", "mapping", "resolve", "store"},
    "in_full": SHARED | {"ending", "mapping", "observe", "resolve", "store"},
    "suggest": SHARED | {"adapters", "ending", "expressions", "mapping", "resolve"},
    "checks": SHARED
    | {"ending", "training", "expressions", "fitting", "mapping", "observe", "table"}
    | {"resolve", "store"},
    "project": SHARED
    | {"copies", "in_full"}
    | {"adapters", "grouped", "checks", "expressions", "training", "fitting", "ingest", "laws"}
    | {"mapping", "memory", "observe", "outcome", "saved", "table", "planning", "resolve"}
    | {"store", "workers"},
    "grouped": SHARED | {"expressions", "fitting", "table", "workers"},
    "frames": SHARED | {"arrow", "compute", "expressions", "table"},
    "api": SHARED
    | {"drawing", "fitting", "frames", "grouped", "laws", "planning", "plotting", "project"}
    | {"table", "training", "workers"},
    "plotting": {
        "drawing",
        "errors",
        "fitting",
        "planning",
        "report",
        "shown",
        "table",
        "training",
    },
    "saved": SHARED | {"fitting", "mapping", "store", "table"},
    "watching": SHARED | {"checks", "project"},
    "drawing": {"errors", "quantities", "records", "text"},
    "publishing": SHARED | {"drawing", "report"},
    "schema": {"checks", "columns", "errors", "mapping", "spelling"},
    "surroundings": {"checks", "ending", "errors", "fitting", "planning", "project", "training"},
    "report": SHARED
    | {"surroundings"}
    | {"configuration"}
    | {"drawing"}
    | {"ending", "in_full", "checks", "training", "fitting", "ingest", "laws", "mapping"}
    | {"observe", "outcome", "schema", "table", "planning", "project", "store", "watching"},
    "cli": SHARED
    | {"workers"}
    | {"configuration"}
    | {"drawing", "suggest", "checks", "fitting", "laws", "planning", "project", "report"}
    | {"publishing", "schema", "surroundings", "watching"},
    "__main__": {"cli", "workers"},
    "__init__": {
        "api",
        "architecture",
        "errors",
        "fitting",
        "laws",
        "planning",
        "project",
        "shown",
        "store",
    }
    | {"table", "version"},
}
HEAVY = {
    "pandas",
    "scipy",
    "matplotlib",
    "wandb",
    "tensorboard",
    "torch",
    "pyarrow",
    "fsspec",
    "mlflow",
    "distributed",
    "dask_jobqueue",
    "ray",
}
# The only rooms that may import a heavy package
NEEDED_BY = {
    "pandas": {"shown"},
    "pyarrow": {"adapters", "arrow", "store"},
    "fsspec": {"remote"},
    "mlflow": {"adapters", "publishing"},
    "matplotlib": {"drawing"},
    "wandb": {"adapters", "publishing"},
    "distributed": {"workers"},
    "dask_jobqueue": {"workers"},
    "ray": {"workers"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_stay_within_the_rooms_plan(path: Path) -> None:
    here = room(path)
    known = {room(other) for other in PACKAGE.rglob("*.py")}
    used = {name.split(".")[1] for name in imports(path) if name.startswith("scaling_cli.")} & known
    assert used <= ALLOWED[here] | {here}
    heavy = {name.partition(".")[0] for name in imports(path)} & HEAVY
    assert all(here in NEEDED_BY.get(name, set()) for name in heavy)


def test_the_picture_of_the_house_is_of_today() -> None:
    """Drawing it fails where arrows turn in a circle."""
    assert architecture.PAGE.read_text(encoding="utf-8") == architecture.page(), "run `make docs`"


BELOW = ("table", "copies", "laws", "fitting", "planning")  # rooms of arrays
ABOVE = {"store", "mapping", "names", "resolve", "observe", "adapters", "ingest", "project", "cli"}


@pytest.mark.parametrize("here", BELOW)
def test_rooms_of_arrays_reach_no_room_of_runs(here: str) -> None:
    """Whatever way round: a fit must be possible where there is no store."""
    reached, ahead = set(), {here}
    while ahead:
        reached |= ahead
        ahead = set().union(*(ALLOWED[room] for room in ahead)) - reached
    assert not reached & ABOVE


def loaded_by(*arguments: str) -> set[str]:
    """The heavy modules that a command loads."""
    code = (
        "import sys\n"
        f"sys.argv = ['scalefit', *{list(arguments)!r}]\n"
        "from scaling_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return set(shown.rpartition("LOADED")[2].split()) & (HEAVY | {"numpy", "rich"})


def test_help_loads_neither_numpy_nor_rich() -> None:
    assert loaded_by("--help") == set()


def test_ingest_and_fit_of_a_table_load_no_pandas(tmp_path: Path) -> None:
    """pyarrow would, at its first conversion, wherever pandas is installed: see arrow.py."""
    table, store = tmp_path / "runs.csv", str(tmp_path / "store")
    sizes = range(10**6, 10**7, 10**6)
    rows = [f"run {size},web,{size},{20 * size},{2 + size**-0.3}," for size in sizes]
    table.write_text("run_id,corpus,params,tokens,loss,lr\n" + "\n".join(rows) + "3e-4")
    pytest.importorskip("pandas")
    ingest = ("ingest", str(table), "--store", store)
    fit = ("fit", "--law", "chinchilla", "--bootstrap", "100", "--json", "--store", store)
    for command in (ingest, fit):
        assert loaded_by(*command) - {"rich"} == {"numpy", "pyarrow"}
    assert len(open_store(store).fits.listed()) == 1


def test_ingest_of_every_shipped_format_loads_no_pandas(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    samples = str(PACKAGE.parent / "sample_runs")
    loaded = loaded_by("ingest", samples, "--store", str(tmp_path / "store"))
    assert "pyarrow" in loaded
    assert "pandas" not in loaded


def test_published_split_loads_numpy_alone() -> None:
    assert loaded_by("optimal", "--budget", "1e24", "--published", "epoch2024", "--json") == {
        "numpy"
    }


@pytest.mark.parametrize(
    ("written", "home"),
    [
        ("difflib", "spelling.py"),
        ("1.4826", "fitting/objective.py"),
        ("6 * params", "compute.py"),
        ('"m": 1e6', "quantities.py"),
    ],
)
def test_what_has_one_place_is_written_in_one_file(written: str, home: str) -> None:
    """Near names, the scale of a median deviation, the compute of a run, units."""
    files = [path for path in PACKAGE.rglob("*.py") if written in path.read_text(encoding="utf-8")]
    assert [path.relative_to(PACKAGE).as_posix() for path in files] == [home]
