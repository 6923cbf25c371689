"""Laws in one variable, over whichever column the user names with `x=`."""

from __future__ import annotations

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Law, Parameter, PowerSum, Source
from scaling_cli.laws.parts import (
    amplitude,
    coefficients,
    exponent,
    floor,
    repository,
    scale_of,
    secondary,
    softplus,
)

HESTNESS = Source("Hestness et al.", 2017, "1712.00409", "section 3")
CABALLERO = Source("Caballero et al.", 2022, "2210.14891", "eq. 1")
ALABDULMOHSIN = Source("Alabdulmohsin et al.", 2022, "2209.06640", "table 1")
LAION = Source("Nezhurina et al.", 2025, "2506.04598")
SORSCHER = Source("Sorscher et al.", 2022, "2206.14486")
BAHRI = Source("Bahri et al.", 2021, "2102.06701")
MCKENZIE = Source("McKenzie et al.", 2023, "2306.09479")
ALABDULMOHSIN_CODE = repository("google-research/google-research, revisiting_neural_scaling_laws")
BNSL_CODE = repository("ethancaballero/broken_neural_scaling_laws")

FAMILY = "one variable"
NEWTON_STEPS = 30  # the start is exact at both ends of the curve; most take 5
SOLVED = 1e-12  # of the log of a side

_A = amplitude("A", "x", "alpha", "amplitude")
_ALPHA = exponent("alpha", "x", 0.02, 2.0)
_E = floor(meaning="irreducible part")


def _m4_gradient(
    e_inf: Array, e_0: Array, beta: Array, c: Array, alpha: Array, x: Array
) -> tuple[Array, dict[str, Array]]:
    """y of (y - e_inf) / (e_0 - y)**alpha = beta x**-c, and its derivatives.

    With y = e_inf + (e_0 - e_inf) s(u), s the sigmoid, the logs of both sides differ by a function
    of u whose slope runs monotonically from 1 to alpha: Newton's method cannot miss.
    """
    span = e_0 - e_inf
    log_x, log_span = np.log(x), np.log(span)
    wanted = np.log(beta) - c * log_x - (1 - alpha) * log_span
    u = wanted / np.where(wanted > 0, alpha, 1.0)
    for _ in range(NEWTON_STEPS):
        above = softplus(u)
        share = np.exp(u - above)
        missed = u - above + alpha * above - wanted
        u = u - missed / (1 - share + alpha * share)
        if not np.any(np.abs(missed) > SOLVED):  # also where no number is to be had
            break
    above = softplus(u)
    share = np.exp(u - above)
    by_wanted = span * share * (1 - share) / (1 - share + alpha * share)
    by_span = -(1 - alpha) / span * by_wanted
    gradient = {
        "e_inf": 1 - share - by_span,
        "e_0": share + by_span,
        "beta": by_wanted / beta,
        "c": -by_wanted * log_x,
        "alpha": by_wanted * (log_span - above),
    }
    return e_inf + span * share, gradient


def _bnsl(breaks: int) -> Law:
    """The broken power law with this many breaks."""

    def predict(**at: Array) -> Array:
        log_x = np.log(at["x"])
        log_term = np.log(at["b"]) - at["c0"] * log_x
        for i in range(1, breaks + 1):
            sharpness = at[f"f{i}"]
            bend = softplus((log_x - np.log(at[f"d{i}"])) / sharpness)
            log_term = log_term - at[f"c{i}"] * sharpness * bend
        y: Array = at["a"] + np.exp(log_term)
        return y

    parameters = [
        floor("a", "limit of the first segment"),
        amplitude("b", "x", "c0", "amplitude"),
        Parameter("c0", "exponent before the first break", 0.0, 1.0, "identity"),
    ]
    factors = ""
    for i in range(1, breaks + 1):
        parameters += [
            Parameter(f"c{i}", f"what break {i} adds to the exponent", -0.5, 2.0, "identity"),
            scale_of(f"d{i}", "x", 0.1, 10.0, f"place of break {i}, in units of x"),
            Parameter(f"f{i}", f"width of break {i} in ln x; small is sharp", 0.05, 1.0),
        ]
        factors += f" * (1 + (x/d{i})**(1/f{i}))**(-c{i} f{i})"
    published = (
        coefficients(
            "caballero2022_addition", CABALLERO,
            "the noiseless curve that the authors' script draws its example from", BNSL_CODE,
            target="cross-entropy, nats",
            a=0.41388453, b=2.27727229, c0=0.05507735, c1=5.66290382, d1=612.58361729,
            f1=0.05919304,
        ),
    )  # fmt: skip
    return Law(
        id="bnsl" if breaks == 1 else f"bnsl{breaks}",
        title=f"Broken neural scaling law, {breaks} break{'s' if breaks > 1 else ''}",
        formula="a + b x**-c0" + factors,
        variables=("x",),
        parameters=tuple(parameters),
        predict=predict,
        source=CABALLERO,
        published=published if breaks == 1 else (),
        caveats=(
            f"{3 * breaks + 3} parameters: choose the number of breaks by `scalefit compare`, never"
            " by the fit itself.",
            "A negative c makes it rise again: it can follow double descent and U-shapes.",
        ),
        family=FAMILY,
        domain={"x": (1e2, 1e5)},
        evidence=BNSL_CODE,
        monotone=False,
    )


LAWS = (
    Law(
        id="power",
        title="Power law without a floor",
        formula="A / x**alpha",
        variables=("x",),
        parameters=(_A, _ALPHA),
        predict=lambda A, alpha, x: A * x**-alpha,
        form=PowerSum(),
        source=HESTNESS,
        caveats=(
            "It falls to zero: far extrapolations are too optimistic wherever a floor exists.",
            "Alabdulmohsin et al. call it M1 (beta x**c with c below zero).",
        ),
        family=FAMILY,
        aliases=("m1",),
    ),
    Law(
        id="power_offset",
        title="Power law with an irreducible term",
        formula="E + A / x**alpha",
        variables=("x",),
        parameters=(_E, _A, _ALPHA),
        predict=lambda E, A, alpha, x: E + A * x**-alpha,
        form=PowerSum(floor="E"),
        source=HESTNESS,
        caveats=(
            "Also Henighan et al. 2020 (2010.14701), E + (x0/x)**alpha with A = x0**alpha; M2 of"
            " Alabdulmohsin et al.; and the law of a translation model's cross-entropy over"
            " pretraining tokens of Isik et al. 2024 (2402.04177).",
            "A slope without the floor is biased: the local one is alpha (1 - E / y), 30 to 56 % of"
            " alpha at the losses of language models.",
        ),
        family=FAMILY,
        aliases=("m2", "transfer_ce"),
    ),
    Law(
        id="shifted_power",
        title="Power law in a shifted variable (LAION's comparison of models)",
        formula="E + A / (x + x_0)**alpha",
        variables=("x",),
        parameters=(_E, _A, _ALPHA, scale_of("x_0", "x", 1e-3, 1.0, "shift, in units of x")),
        predict=lambda E, A, alpha, x_0, x: E + A * (x + x_0) ** -alpha,
        source=LAION,
        target="error",
        objective="squared",
        caveats=(
            "The shift is not identified without very small runs.",
            "Points chosen as a frontier after their errors were seen are biased downwards.",
        ),
        family=FAMILY,
        evidence=repository("LAION-AI/scaling-laws-for-comparison"),
        aliases=("laion",),
    ),
    Law(
        id="m3",
        title="Power law that saturates (M3)",
        formula="beta * (1/x + gamma)**c",
        variables=("x",),
        parameters=(
            Parameter(
                "beta", "amplitude", 0.1, 2.0, centre={"x": "c"}, of_target=True, linear=True
            ),
            Parameter("gamma", "1/x at which it has saturated", 1e-3, 1.0, centre={"x": -1.0}),
            exponent("c", "1/x", 0.02, 2.0),
        ),
        predict=lambda beta, gamma, c, x: beta * (1 / x + gamma) ** c,
        source=ALABDULMOHSIN,
        caveats=("The authors' code has no further floor: it ends at beta gamma**c.",),
        family=FAMILY,
        evidence=ALABDULMOHSIN_CODE,
    ),
    Law(
        id="m4",
        title="Sigmoid between a guess and a floor (M4)",
        formula="y where (y - e_inf) / (e_0 - y)**alpha = beta / x**c",
        variables=("x",),
        parameters=(
            Parameter("e_inf", "error with endless data", 0.05, 0.95, of_target=True),
            Parameter("e_0", "error of a guess", 1.2, 4.0, of_target=True),
            Parameter("beta", "amplitude", 0.05, 2.0, centre={"x": "c"}),
            exponent("c", "x", 0.05, 1.5),
            Parameter("alpha", "how the curve leaves the guess", 0.2, 2.0),
        ),
        predict=lambda **at: _m4_gradient(**at)[0],
        gradient=_m4_gradient,
        source=ALABDULMOHSIN,
        caveats=(
            "e_0 is known for most tasks: `fix=e_0=1` for an error rate, ln of the vocabulary for a"
            " loss.",
        ),
        family=FAMILY,
        evidence=ALABDULMOHSIN_CODE,
    ),
    Law(
        id="exp_offset",
        title="Exponential fall to a floor",
        formula="E + A * exp(-x / x_0)",
        variables=("x",),
        parameters=(
            _E,
            Parameter("A", "height above the floor", 0.02, 2.0, of_target=True, linear=True),
            scale_of("x_0", "x", 0.1, 10.0, "scale of the fall, in units of x"),
        ),
        predict=lambda E, A, x_0, x: E + A * np.exp(-x / x_0),
        source=SORSCHER,
        target="error",
        caveats=(
            "Sorscher et al. say that pruned data can beat a power law, up to an exponential, and"
            " print no single closed form: compare this law with power_offset by held-out error,"
            " over the samples kept and along the envelope of the fractions pruned.",
        ),
        family=FAMILY,
        domain={"x": (1e2, 1e4)},
        evidence=Evidence("derived", "from the paper's claim"),
        aliases=("prune",),
    ),
    Law(
        id="bahri",
        title="Variance-limited scaling: exponent one",
        formula="E + A / x",
        variables=("x",),
        parameters=(
            _E,
            Parameter(
                "A", "amplitude", 0.02, 2.0, centre={"x": 1.0}, of_target=True, linear=True
            ),
        ),
        predict=lambda E, A, x: E + A / x,
        source=BAHRI,
        caveats=(
            "A diagnostic: where power_offset does not beat it, the exponent is one and scaling is"
            " limited by variance. Resolution-limited exponents lie near 4/d, d the dimension of"
            " the data.",
        ),
        family=FAMILY,
        evidence=secondary("of the exponents of the four regimes"),
    ),
    _bnsl(1),
    _bnsl(2),
    Law(
        id="u_shape",
        title="Parabola in ln x: a diagnostic of U-shaped scaling",
        formula="y_0 + slope ln(x / x_ref) + bend ln(x / x_ref)**2",
        variables=("x",),
        parameters=(
            Parameter("y_0", "value at x_ref", 0.2, 2.0, "identity", of_target=True),
            Parameter("slope", "slope at x_ref, by ln x", -0.5, 0.5, "identity", of_target=True),
            Parameter("bend", "half the curvature", -0.2, 0.2, "identity", of_target=True),
        ),
        references={"x_ref": "x"},
        monotone=False,
        predict=lambda y_0, slope, bend, x_ref, x: y_0
        + slope * np.log(x / x_ref)
        + bend * np.log(x / x_ref) ** 2,
        source=MCKENZIE,
        objective="squared",
        caveats=(
            "Not a law of scaling and not to be extrapolated: if the interval of bend excludes zero"
            " and the turning point lies inside the data, no monotone law should be fitted.",
        ),
        family="diagnostic",
        evidence=Evidence("derived", "second-order polynomial"),
    ),
)  # fmt: skip
