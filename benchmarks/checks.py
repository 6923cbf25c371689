"""What the checks find in damaged real runs, and that they are silent on undamaged ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import DATA, ROOT
from scaling_cli.mapping import load_mapping
from scaling_cli.project import Project

title = "Checks: hits on damaged real runs, false alarms on undamaged ones"
SAMPLES = ROOT / "sample_runs"
CONFIG = ROOT / "configs" / "ci" / "scalefit.toml"
CURVES = DATA / "mpl_curves" / "mpl_curves.csv"
LOSSES = ("train/loss", "val/loss")
Rows = list[dict[str, Any]]


def scaled(rows: Rows, factors: Iterable[float]) -> Rows:
    """The rows with each loss times a factor."""
    return [
        row | {name: row[name] * factor for name in LOSSES if name in row}
        for row, factor in zip(rows, factors, strict=True)
    ]


def spike(rows: Rows) -> Rows:
    """Half as much again for 4 rows in the middle of the second half, two of them with val/loss."""
    at = np.arange(len(rows)) - int(0.75 * len(rows))
    return scaled(rows, np.where((at >= 0) & (at < 4), 1.5, 1.0))


def divergence(rows: Rows) -> Rows:
    """From 70 % on the loss rises in a straight line to twice what it was."""
    done = np.linspace(0.0, 1.0, len(rows))
    return scaled(rows, 1.0 + np.clip((done - 0.7) / 0.3, 0.0, 1.0))


def nan(rows: Rows) -> Rows:
    """From 90 % on every loss is NaN."""
    return scaled(rows, np.where(np.linspace(0, 1, len(rows)) > 0.9, np.nan, 1.0))


def stall(rows: Rows) -> Rows:
    """From half on the loss keeps its level there, with its own noise."""
    half = len(rows) // 2
    stalled = [dict(row) for row in rows]
    for name in LOSSES:
        at = np.array([i for i, row in enumerate(rows) if name in row])
        logs = np.log([rows[i][name] for i in at])
        width = 15
        padded = np.pad(logs, width // 2, mode="edge")
        trend = np.array([np.median(padded[i : i + width]) for i in range(len(logs))])
        level = trend[np.searchsorted(at, half)]
        for i, value in zip(at, np.exp(level + logs - trend), strict=True):
            if i >= half:
                stalled[i][name] = float(value)
    return stalled


def frozen(rows: Rows) -> Rows:
    """From half on the weights stand still: the validation loss repeats, training loss is noise."""
    half = len(rows) // 2
    last = next(row["val/loss"] for row in rows[half::-1] if "val/loss" in row)
    return [
        row | ({"val/loss": last} if i >= half and "val/loss" in row else {})
        for i, row in enumerate(stall(rows))
    ]


def truncated(rows: Rows) -> Rows:
    """Killed at 70 %."""
    return rows[: int(0.7 * len(rows))]


def duplicated(rows: Rows) -> Rows:
    """Restarted from a checkpoint: 50 to 60 % stand there twice."""
    start, end = int(0.5 * len(rows)), int(0.6 * len(rows))
    return rows[:end] + scaled(rows[start:], np.full(len(rows) - start, 1.001))


def half_rate(rows: Rows) -> Rows:
    """The learning rate is half of what it should be."""
    return [row | {"lr": row["lr"] / 2} for row in rows]


def no_warmup(rows: Rows) -> Rows:
    """The rate starts at its peak."""
    peak = max(row["lr"] for row in rows)
    top = next(i for i, row in enumerate(rows) if row["lr"] > 0.99 * peak)
    return [row | {"lr": peak if i < top else row["lr"]} for i, row in enumerate(rows)]


def stretched(rows: Rows) -> Rows:
    """The rate decays over twice the steps."""
    rates = [row["lr"] for row in rows]
    places = np.interp(np.arange(len(rows)) / 2, np.arange(len(rows)), rates)
    return [row | {"lr": float(rate)} for row, rate in zip(rows, places, strict=True)]


# damage -> what makes it, and the rule that is to find it
DAMAGES: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "spike": (spike, "spike"),
    "divergence": (divergence, "divergence"),
    "NaN": (nan, "nan"),
    "stall, weights frozen": (frozen, "stall"),
    "stall, noise goes on": (stall, "stall"),
    "learning rate halved": (half_rate, "schedule"),
    "warmup left out": (no_warmup, "schedule"),
    "decay over twice the steps": (stretched, "schedule"),
    "truncated": (truncated, "complete"),
    "duplicated steps": (duplicated, "monotone_steps"),
}


def damaged_logs(folder: Path, every: int) -> None:
    """Write every so manieth JSON lines sample run with each damage."""
    sources = sorted((SAMPLES / "jsonl").glob("*.jsonl"))[::every]
    for source in sources:
        head, *lines = map(json.loads, source.read_text(encoding="utf-8").splitlines())
        for damage, (make, _) in DAMAGES.items():
            run_id = f"{damage}/{head['run_id']}"
            log = [head | {"run_id": run_id}, *make(lines)]
            path = folder / f"{damage} {source.name}"
            path.write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")


def alarms(source: Path, store: Path, config: Path | None) -> list[tuple[str, str, str]]:
    """Run, rule and status of each check on the runs of a source."""
    project = Project(str(store), load_mapping(config))
    project.ingest([str(source)])
    return [(str(result.run), result.rule, result.finding.status) for result in project.check()]


def hits(folder: Path, every: int = 1) -> dict[str, tuple[int, int, int]]:
    """Damage -> runs in which its rule failed, passed and was skipped."""
    logs = folder / "logs"
    logs.mkdir()
    damaged_logs(logs, every)
    found = alarms(logs, folder / "damaged", CONFIG)
    return {
        damage: tuple(
            sum(
                run.startswith(f"{damage}/") and (rule, status) == (wanted, kind)
                for run, rule, status in found
            )
            for kind in ("fail", "pass", "skip")
        )
        for damage, (_, wanted) in DAMAGES.items()
    }


def run() -> str:
    lines = ["| damage | rule | found | missed | cannot tell |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for damage, (failed, passed, skipped) in hits(folder).items():
            rule = DAMAGES[damage][1]
            lines.append(f"| {damage} | `{rule}` | {failed} | {passed} | {skipped} |")
        lines += [
            "",
            "| undamaged | runs | checks | false alarms | skipped |",
            "|---|---|---|---|---|",
        ]
        sets = [("sample runs", SAMPLES, CONFIG)]
        if CURVES.is_file():
            sets.append(("multi-power-law curves", CURVES, None))
        for label, source, config in sets:
            found = alarms(source, folder / label, config)
            runs = len({run for run, _, _ in found})
            counts = [sum(status == kind for *_, status in found) for kind in ("fail", "skip")]
            lines.append(f"| {label} | {runs} | {len(found)} | {counts[0]} | {counts[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(run())
