from __future__ import annotations

import os
from pathlib import Path

import pytest

PUBLIC_DATA = "SCALEFIT_PUBLIC_DATA"


@pytest.fixture
def public_data() -> Path:
    """The folder of public tables: shared/data beside the checkout, or where the variable says."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(PUBLIC_DATA, beside))
    if not folder.is_dir():
        pytest.skip(f"the public tables are not at {folder} (set {PUBLIC_DATA})")
    return folder
