"""Where the checkout keeps what tests read; the only place that counts folders upwards."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_runs"
DATA = ROOT / "tests" / "data"
