"""The smallest budget for a loss is the inverse of the best loss of a budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.laws import get_published
from scaling_cli.planning.budget import Constraints
from scaling_cli.planning.splits import allocate_published
from scaling_cli.planning.target import budget_for_published

EPOCH = get_published("epoch2024")


@pytest.mark.parametrize("asked", [Constraints(), Constraints(max_params=3e9)])
@pytest.mark.parametrize("budget", [1e20, 3.3e23])
def test_a_loss_leads_back_to_its_budget(budget: float, asked: Constraints) -> None:
    split = allocate_published(*EPOCH, budget, asked)
    assert split.loss is not None
    found = budget_for_published(*EPOCH, split.loss, asked)
    assert found.budget_flops == pytest.approx(budget, rel=1e-6)
    assert found.params == pytest.approx(split.params, rel=1e-3)


def test_a_limit_on_the_size_makes_a_loss_dearer() -> None:
    free = budget_for_published(*EPOCH, 2.05)
    small = budget_for_published(*EPOCH, 2.05, Constraints(max_params=8e9))
    assert small.budget_flops > 1.05 * free.budget_flops


def test_a_loss_below_the_floor_is_refused() -> None:
    law, entry = EPOCH
    floor = entry.values["E"]
    with pytest.raises(InputError, match="reaches no loss"):
        budget_for_published(law, entry, 0.99 * floor)
    lower = replace(entry, values={**entry.values, "E": 0.5 * floor})
    assert np.isfinite(budget_for_published(law, lower, 0.99 * floor).budget_flops)
