"""Draws the pictures of the documentation from the shipped runs: `python -m tools.pictures`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from scaling_cli.cli.demo import HOLDOUT, LADDER, sample_runs
from scaling_cli.drawing.plots import figure_bytes
from scaling_cli.fitting.result import FailedFit
from scaling_cli.planning.budget import FREE
from scaling_cli.planning.target import splits_by_fits
from scaling_cli.project import budget_ladder, open_project
from scaling_cli.report.document import figures_of

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
SHOWN = ("loss-over-compute", "isoflop-rotary", "params-and-tokens-rotary")


def main() -> None:
    """Writes one .svg for each of SHOWN."""
    with TemporaryDirectory() as folder:
        project = open_project(folder, sample_runs() / "scalefit.toml")
        project.ingest([str(sample_runs())])
        fits = [
            fit
            for fit in project.fit(["auto"], ["recipe"], LADDER, HOLDOUT)
            if not isinstance(fit, FailedFit)
        ]
        made = figures_of(
            project.runs(), fits, splits_by_fits(fits, budget_ladder(fits), None, FREE)
        )
    FOLDER.mkdir(exist_ok=True)
    for figure in made:
        if figure.name in SHOWN:
            (FOLDER / f"{figure.name}.svg").write_bytes(figure_bytes(figure, ".svg"))


if __name__ == "__main__":
    main()
