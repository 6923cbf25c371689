"""What ladders of language models have in common, as `python -m tools.prior` learns it.

`prior.json` beside this file is its result, with the tables that it comes from and what is learnt
where one of their sources is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaling_cli.records import Floats

FILE = Path(__file__).with_name("prior.json")
AT = 3e20  # FLOPs, where the floor's share is told
TOLD = 0.70  # share of the lowest loss at which a deviation of ln E is told


@dataclass(frozen=True)
class Known:
    """What is expected of a ladder before its runs have spoken: medians of alpha, beta and k, the
    `share` of E in the lowest loss at AT FLOPs, and the `slope` of its logit in ln FLOPs: while the
    loss falls towards E, what is left over E falls as a power of the compute."""

    alpha: float
    beta: float
    k: float
    share: float
    slope: float

    @property
    def centre(self) -> Floats:
        """The logs of alpha, beta and k [3]."""
        return np.log([self.alpha, self.beta, self.k])

    def share_at(self, compute: float) -> float:
        """E over the lowest loss of a ladder whose largest run took so many FLOPs."""
        odds = self.share / (1 - self.share) * (compute / AT) ** self.slope
        return float(odds / (1 + odds))

    def floor_spread(self, compute: float) -> float:
        """What the deviation of ln E is multiplied by at so many FLOPs: ladders scatter alike in
        the logit of the share, so that ln E of a share near none is known least."""
        return (1 - self.share_at(compute)) / (1 - TOLD)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Known:
        return cls(**{name: float(document[name]) for name in cls.__dataclass_fields__})


def learnt(without: str | None = None) -> Known:
    """What all public tables say, or those of every source but one."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    return Known.of(document["sources"][without]["without"] if without else document["known"])


LEARNT = learnt()
