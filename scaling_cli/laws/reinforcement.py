"""Reinforcement learning."""

from __future__ import annotations

import numpy as np

from scaling_cli.laws.base import Law, Parameter, Published, Source
from scaling_cli.laws.parts import coefficients, repository, scale_of

SCALERL = Source("Khatri et al.", 2025, "2510.13786", "eq. 1")
TAN = Source("Tan et al.", 2025, "2509.25300")
LAST_CODE = repository(
    "tanzelin430/Mathematical-Reasoning-RL-Scaling-Law, analysis/src/fit/models/postopenai.py"
)
LAST_FIT = (  # of 2025-11-08: size, params, B0 and C0 of the authors' table
    ("1.5b", 1.5e9, 134654.508026071, 412176.1256608177),
    ("3b", 3e9, 41373.28418771254, 142838.36717500907),
    ("7b", 7e9, 4782.961559629775, 27170.316357617237),
    ("14b", 14e9, 1634.6561178246986, 19153.495070661633),
    ("32b", 32e9, 337.99171441658245, 4333.039254146346),
    ("72b", 72e9, 341.3312527027573, 4928.635278833221),
)


def _of_size(size: str, params: float, level: float, worth: float) -> Published:
    return coefficients(
        f"tan2025_{size}", TAN,
        f"Qwen2.5 instruct of {params / 1e9:g}B alone; failure rate on held-out mathematics",
        repository(
            "tanzelin430/Mathematical-Reasoning-RL-Scaling-Law,"
            " analysis/scripts/outputs/fits_exp1_postopenai.json"
        ),
        target="failure rate", N_0=499999998.90794224, b=1.0891723742071988, B=level, p=0.0,
        C=worth, q=0.0, a=0.19811442083807074,
    )  # fmt: skip


LAWS = (
    Law(
        id="rl_sigmoid",
        title="Reward against compute: a sigmoid in its log (ScaleRL)",
        formula="R_0 + (A - R_0) / (1 + (x_mid / x)**B)",
        variables=("x",),
        parameters=(
            Parameter("R_0", "reward before training; pin it by `fix=`", 0.02, 0.5, "logit"),
            Parameter("A", "asymptote", 0.3, 0.95, "logit"),
            scale_of("x_mid", "x", 0.05, 20.0, "compute at half of the gain, in units of x"),
            Parameter("B", "efficiency", 0.4, 4.0),
        ),
        predict=lambda R_0, A, x_mid, B, x: R_0 + (A - R_0) / (1 + (x_mid / x) ** B),
        source=SCALERL,
        target="reward",
        objective="squared",
        caveats=(
            "The paper fixes R_0 to the initial reward, drops the first epoch (some 1.5k GPU-hours)"
            " and takes .02 as the error of A when recipes are compared.",
            "A, x_mid and B are not apart until the runs have passed x_mid.",
            "`x=gpu_hours`, or flops.",
            "R_0 and A lie between 0 and 1 unless a reward does not; then they lie anywhere.",
        ),
        levels=("R_0", "A"),
        family="reinforcement learning",
    ),
    Law(
        id="rl_math",
        title="Failure rate against size and data or compute (mathematical reasoning)",
        formula="K / (params**e x**k(params)), k = k_max / (1 + N_0 / params)",
        variables=("params", "samples"),
        parameters=(
            Parameter(
                "K", "level", 0.1, 10.0, of_target=True, linear=True,
                centre={"params": "e"},
            ),
            Parameter("e", "exponent of params in the level", 0.02, 1.0),
            Parameter("k_max", "exponent of samples for endless params", 0.02, 1.0),
            scale_of("N_0", "params", 0.05, 20.0, "params of half that exponent"),
        ),
        predict=lambda K, e, k_max, N_0, params, samples: K
        * params**-e
        * samples ** (-k_max / (1 + N_0 / params)),
        source=TAN,
        target="error",
        caveats=(
            "The paper looks the level up for each size; here it is a power of the size. Fit power"
            " with `by=params` for levels of their own.",
            "samples may be mapped to compute.",
        ),
        family="reinforcement learning",
        domain={"samples": (1.0, 1e3)},
        evidence=repository("tanzelin430/Mathematical-Reasoning-RL-Scaling-Law"),
    ),
    Law(
        id="rl_math_closed",
        title="Failure rate against size and compute: the closed form (mathematical reasoning)",
        formula="(C_0 params**r / flops)**k(params), k = k_max / (1 + N_0 / params)",
        variables=("params", "flops"),
        parameters=(
            Parameter(
                "C_0", "compute, over params**r, from which the failure rate falls below one",
                1e-6, 1.0, centre={"params": "-r", "flops": 1.0},
            ),
            Parameter("r", "shift of that compute with params", 0.2, 3.0),
            Parameter("k_max", "exponent of compute for endless params", 0.02, 1.0),
            scale_of("N_0", "params", 0.05, 20.0, "params of half that exponent"),
        ),
        predict=lambda C_0, r, k_max, N_0, params, flops: np.exp(
            k_max / (1 + N_0 / params) * (np.log(C_0) + r * np.log(params) - np.log(flops))
        ),
        source=TAN,
        target="error",
        caveats=(
            "flops are those of the post-training; or `formula=` with another column.",
            "All levels follow from four numbers: compare it with rl_math, whose level is a power"
            " of the size, before it is trusted beyond the largest size.",
        ),
        family="reinforcement learning",
        domain={"params": (5e8, 7e10), "flops": (1e18, 1e22)},
        evidence=repository(
            "tanzelin430/Mathematical-Reasoning-RL-Scaling-Law, analysis/src/fit/models"
        ),
        aliases=("powlawmul",),
    ),
    Law(
        id="rl_math_joint",
        title="Failure rate with a floor by size: the authors' last form (mathematical reasoning)",
        formula="((N_0 / params)**b + B params**-p / (samples + C params**-q))**a",
        variables=("params", "samples"),
        parameters=(
            scale_of("N_0", "params", 0.002, 0.5, "params at which the floor is one"),
            Parameter("b", "exponent of params in the floor", 0.5, 2.0),
            Parameter("B", "samples that the rest of the failures takes", 0.001, 0.5,
                      centre={"params": "p", "samples": 1.0}),
            Parameter("p", "exponent of params in it", 0.3, 2.5, "identity"),
            Parameter("C", "samples that the model before training is worth", 0.02, 2.0,
                      centre={"params": "q", "samples": 1.0}),
            Parameter("q", "exponent of params in it", 0.3, 2.5, "identity"),
            Parameter("a", "outer power", 0.1, 0.6),
        ),
        predict=lambda N_0, b, B, p, C, q, a, params, samples: (
            (N_0 / params) ** b + B * params**-p / (samples + C * params**-q)
        )
        ** a,
        source=TAN,
        published=tuple(
            _of_size(size, params, levels, worth) for size, params, levels, worth in LAST_FIT
        ),
        target="error",
        caveats=(
            "The authors look B and C up for each size, and have a second form with powers and"
            " offsets; the published sets are of one size each, with p = q = 0.",
            "samples are steps times the batch in prompts.",
        ),
        family="reinforcement learning",
        domain={"params": (5e8, 7e10), "samples": (1e3, 1e5)},
        evidence=LAST_CODE,
        aliases=("postopenai",),
    ),
)  # fmt: skip
