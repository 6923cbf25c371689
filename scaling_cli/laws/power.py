"""Power laws in one variable, over whichever column the user names."""

from __future__ import annotations

from scaling_cli.laws.base import Law, Parameter, PowerSum, Source

HESTNESS = Source("Hestness et al.", 2017, "1712.00409", "section 3")

_A = Parameter("A", "amplitude", 0.02, 2.0, centre={"x": "alpha"}, of_target=True, linear=True)
_ALPHA = Parameter("alpha", "exponent of x", 0.02, 2.0)

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
        ),
        family="one variable",
    ),
    Law(
        id="power_offset",
        title="Power law with an irreducible term",
        formula="E + A / x**alpha",
        variables=("x",),
        parameters=(
            Parameter("E", "irreducible part", 0.05, 0.99, of_target=True, linear=True),
            _A,
            _ALPHA,
        ),
        predict=lambda E, A, alpha, x: E + A * x**-alpha,
        form=PowerSum(floor="E"),
        source=HESTNESS,
        family="one variable",
    ),
)
