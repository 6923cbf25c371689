"""`make wheel-check`: the source distribution, the wheel built from it, and the wheel at work.

Nothing of the checkout is on the path of what runs: the wheel is installed with the plain versions
of constraints.txt into a fresh environment, and the tests are those of the source distribution,
without its package. PYTHON names another interpreter than this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from scaling_cli.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
CARRIED = ("py.typed", "report/page.css", "report/page.js", "sample_runs/scalefit.toml")
TEST_NEEDS = ("pytest", "hypothesis", "fsspec[http]")


def run(*command: object, cwd: Path, **environment: str) -> None:
    print("$", " ".join(map(str, command)), flush=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    clean.pop("VIRTUAL_ENV", None)
    subprocess.run(list(map(str, command)), cwd=cwd, check=True, env=clean | environment)


def environment_in(folder: Path, *packages: object, python: str = sys.executable) -> Path:
    """A fresh environment with these packages: its folder of programs."""
    run(python, "-m", "venv", folder, cwd=folder.parent)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    install(programs, *packages)
    return programs


def install(programs: Path, *packages: object) -> None:
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt")
    run(*pip, *packages, cwd=programs.parent)


def check_contents(wheel: Path) -> None:
    """The wheel has every module and file of the package and the sample runs, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    package = ROOT / "scaling_cli"
    modules = {p.relative_to(ROOT).as_posix() for p in package.rglob("*.py")}
    wanted = modules | {f"scaling_cli/{name}" for name in CARRIED}
    missing = sorted(wanted - names)
    own = ("scaling_cli/", f"scaling_cli-{VERSION}.dist-info/")
    foreign = sorted(name for name in names if not name.startswith(own))
    if missing or foreign:
        sys.exit(f"{wheel.name} lacks {missing} and has {foreign}")
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    python = os.environ.get("PYTHON", sys.executable)
    with tempfile.TemporaryDirectory(prefix="scalefit-wheel-") as place:
        folder = Path(place)
        builder = environment_in(folder / "builder", "build")
        run(builder / "python", "-m", "build", "--outdir", folder / "dist", ROOT, cwd=folder)
        (wheel,) = folder.glob("dist/*.whl")
        (source,) = folder.glob("dist/*.tar.gz")
        check_contents(wheel)
        programs = environment_in(folder / "clean", wheel, python=python)
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        tests = folder / source.name.removesuffix(".tar.gz")
        shutil.rmtree(tests / "scaling_cli")
        empty = folder / "empty"
        empty.mkdir()
        run(programs / "scalefit", "demo", cwd=empty)
        install(programs, *TEST_NEEDS)
        options = ("-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib")
        run(programs / "python", "-m", "pytest", *options, "tests/cli", cwd=tests)
        shutil.rmtree(ROOT / "dist", ignore_errors=True)
        shutil.copytree(folder / "dist", ROOT / "dist")
    print(f"dist/ holds scalefit {VERSION}, which runs by itself")


if __name__ == "__main__":
    main()
