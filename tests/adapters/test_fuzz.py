"""A short part of `make fuzz`: damaged files of every format harm neither the process nor a run
beside them."""

from __future__ import annotations

from tests.adapters import fuzz_sources


def test_damaged_files_are_read_or_refused_and_keep_no_other_run_out() -> None:
    outcomes, findings, slowest, peak = fuzz_sources.campaign(first=380, count=60, seed=0)
    assert findings == []
    assert sum(outcomes.values()) == 60
    assert set(outcomes) <= {"read", "refused", "left out"}
    assert min(outcomes["read"], outcomes["refused"]) > 15  # both ways out are taken
    assert slowest < fuzz_sources.SECONDS
    assert peak < 1024
    how, _, content = fuzz_sources.case(499, 0)
    assert (how, len(content) < 1 << 20) == ("bomb", True)
