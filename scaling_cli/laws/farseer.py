"""Farseer: a floor, a data amplitude and a data exponent that each bend with model size.

The paper's nine coefficients are not identified by the data (their Jacobian's condition number is
about 1e7), so the law is held by its three curves at a reference size: the value, local slope and
bend of each, with phi(k, x) = (exp(k x) - 1) / k and x = ln(params / params_0):

    ln floor(N)    = ln floor + floor_slope phi(floor_bend, x)
    ln exponent(N) = ln exponent + exponent_slope phi(exponent_bend, x)
    ln data(N)     = the log of the data term at tokens = 1, a curve of the same shape,
                     held by its value and slope at tokens_0 instead

It is the same family of surfaces; `farseer_raw` and `farseer_centred` convert both ways.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scaling_cli.laws import piecewise
from scaling_cli.laws.base import Array, Curves, Law, PaperFit, Parameter, Published, Source, Values

FARSEER = Source("Li et al.", 2025, "2506.10972", "eq. 15")
OTHER_BENDS = (-6.0, -2.0, 2.0, 6.0)  # the published are within 0.2; of optima elsewhere, -9 to 11
SMALL_BEND = 1e-6  # below it, phi and its derivative are taken from their series


def _phi(k: Array, x: Array) -> tuple[Array, Array]:
    """phi(k, x) = (exp(k x) - 1) / k and its derivative by k."""
    small = np.abs(k) < SMALL_BEND
    safe = np.where(small, 1.0, k)
    grown = np.exp(k * x)
    phi = (grown - 1) / safe
    by_k = (x * grown - phi) / safe
    if np.any(small):
        phi = np.where(small, x + 0.5 * k * x**2, phi)
        by_k = np.where(small, 0.5 * x**2 + k * x**3 / 3, by_k)
    return phi, by_k


def _phi_kk(k: Array, x: Array, by_k: Array) -> Array:
    """The second derivative of phi by k, from the first."""
    small = np.abs(k) < SMALL_BEND
    by_kk: Array = (x**2 * np.exp(k * x) - 2 * by_k) / np.where(small, 1.0, k)
    return np.where(small, x**3 / 3 + k * x**4 / 4, by_kk) if np.any(small) else by_kk


def _curves(**at: Array) -> tuple[Array, Array, Array]:
    """Floor, log of the data term at tokens = 1, and exponent of tokens."""
    x, y_0 = np.log(at["params"] / at["params_0"]), np.log(at["tokens_0"])

    def phi(name: str) -> Array:
        k = at[name]
        small = np.abs(k) < SMALL_BEND
        curve: Array = np.expm1(k * x) / np.where(small, 1.0, k)
        return np.where(small, x + 0.5 * k * x**2, curve) if np.any(small) else curve

    slope = at["data_slope"] + at["exponent"] * at["exponent_slope"] * y_0
    floor = at["floor"] * np.exp(at["floor_slope"] * phi("floor_bend"))
    log_data = np.log(at["data"]) + slope * phi("data_bend") + at["exponent"] * y_0
    exponent = at["exponent"] * np.exp(at["exponent_slope"] * phi("exponent_bend"))
    return floor, log_data, exponent


def _derivatives(
    **at: Array,
) -> tuple[dict[tuple[str, str], Array], Callable[[], dict[tuple[str, str, str], Array]]]:
    x, y_0 = np.log(at["params"] / at["params_0"]), np.log(at["tokens_0"])
    phi_f, phi_f_k = _phi(at["floor_bend"], x)
    phi_d, phi_d_k = _phi(at["data_bend"], x)
    phi_e, phi_e_k = _phi(at["exponent_bend"], x)
    f_1, e, e_1 = at["floor_slope"], at["exponent"], at["exponent_slope"]
    slope = at["data_slope"] + e * e_1 * y_0
    floor_at, growth = np.exp(f_1 * phi_f), np.exp(e_1 * phi_e)
    floor, exponent = at["floor"] * floor_at, e * growth
    slopes = {
        ("floor", "floor"): floor_at,
        ("floor", "floor_slope"): floor * phi_f,
        ("floor", "floor_bend"): floor * f_1 * phi_f_k,
        ("log_data", "data"): 1 / at["data"],
        ("log_data", "data_slope"): phi_d,
        ("log_data", "data_bend"): slope * phi_d_k,
        ("log_data", "exponent"): y_0 * (1 + e_1 * phi_d),
        ("log_data", "exponent_slope"): y_0 * e * phi_d,
        ("exponent", "exponent"): growth,
        ("exponent", "exponent_slope"): exponent * phi_e,
        ("exponent", "exponent_bend"): exponent * e_1 * phi_e_k,
    }

    def bends() -> dict[tuple[str, str, str], Array]:
        phi_f_kk = _phi_kk(at["floor_bend"], x, phi_f_k)
        phi_d_kk = _phi_kk(at["data_bend"], x, phi_d_k)
        phi_e_kk = _phi_kk(at["exponent_bend"], x, phi_e_k)
        return {
            ("floor", "floor", "floor_slope"): floor_at * phi_f,
            ("floor", "floor", "floor_bend"): floor_at * f_1 * phi_f_k,
            ("floor", "floor_slope", "floor_slope"): floor * phi_f**2,
            ("floor", "floor_slope", "floor_bend"): floor * phi_f_k * (1 + f_1 * phi_f),
            ("floor", "floor_bend", "floor_bend"): floor * f_1 * (phi_f_kk + f_1 * phi_f_k**2),
            ("log_data", "data", "data"): -1 / at["data"] ** 2,
            ("log_data", "data_slope", "data_bend"): phi_d_k,
            ("log_data", "data_bend", "data_bend"): slope * phi_d_kk,
            ("log_data", "data_bend", "exponent"): y_0 * e_1 * phi_d_k,
            ("log_data", "data_bend", "exponent_slope"): y_0 * e * phi_d_k,
            ("log_data", "exponent", "exponent_slope"): y_0 * phi_d,
            ("exponent", "exponent", "exponent_slope"): growth * phi_e,
            ("exponent", "exponent", "exponent_bend"): growth * e_1 * phi_e_k,
            ("exponent", "exponent_slope", "exponent_slope"): exponent * phi_e**2,
            ("exponent", "exponent_slope", "exponent_bend"): exponent * phi_e_k * (1 + e_1 * phi_e),
            ("exponent", "exponent_bend", "exponent_bend"): exponent
            * e_1
            * (phi_e_kk + e_1 * phi_e_k**2),
        }

    return slopes, bends


def _other_bends(values: Values, params: Array) -> dict[str, Array]:
    """The surface with one curve bent at the smallest or largest size alone, where it has the value
    that it had; parameters [starts]."""
    x = np.log([np.min(params), np.max(params)]) - np.log(values["params_0"])
    bends = []
    for name in ("floor", "data", "exponent"):
        for bend in OTHER_BENDS:
            end = x[int(bend > 0)]
            reached, _ = _phi(np.array(values[f"{name}_bend"]), end)
            slope = values[f"{name}_slope"] * reached * bend / np.expm1(bend * end)
            bends.append({**values, f"{name}_slope": slope, f"{name}_bend": bend})
    return {name: np.array([float(item[name]) for item in bends]) for name in values}


def farseer_raw(values: Values) -> dict[str, float]:
    """The paper's coefficients (eq. 15) of a surface held by its curves."""
    n_0, y_0 = values["params_0"], np.log(values["tokens_0"])
    slope = values["data_slope"] + values["exponent"] * values["exponent_slope"] * y_0
    log_data = np.log(values["data"]) + values["exponent"] * y_0
    raw = {}
    for number, power, level, steep, bend in (
        (3, "gamma", np.log(values["floor"]), values["floor_slope"], values["floor_bend"]),
        (2, "beta", log_data, slope, values["data_bend"]),
        (1, "alpha", np.log(values["exponent"]), values["exponent_slope"], values["exponent_bend"]),
    ):
        raw[f"a{number}"] = float(steep * n_0**-bend / bend)
        raw[power] = float(bend)
        raw[f"b{number}"] = float(level - steep / bend)
    return raw


def farseer_centred(
    a1: float, alpha: float, b1: float, a2: float, beta: float, b2: float,
    a3: float, gamma: float, b3: float, params_0: float, tokens_0: float,
) -> dict[str, float]:  # fmt: skip
    """The curves at (params_0, tokens_0) of a surface given by the paper's coefficients."""
    y_0 = np.log(tokens_0)

    def curve(a: float, k: float, b: float) -> tuple[float, float]:
        return a * params_0**k + b, a * k * params_0**k

    log_floor, floor_slope = curve(a3, gamma, b3)
    log_data, slope = curve(a2, beta, b2)
    log_exponent, exponent_slope = curve(a1, alpha, b1)
    exponent = np.exp(log_exponent)
    return {
        "floor": float(np.exp(log_floor)),
        "floor_slope": floor_slope,
        "floor_bend": gamma,
        "data": float(np.exp(log_data - exponent * y_0)),
        "data_slope": float(slope - exponent * exponent_slope * y_0),
        "data_bend": beta,
        "exponent": float(exponent),
        "exponent_slope": exponent_slope,
        "exponent_bend": alpha,
        "params_0": params_0,
        "tokens_0": tokens_0,
    }


CURVES = Curves("params", "tokens", _curves, _derivatives)
LAW = Law(
    id="farseer",
    title="Farseer: floor, data amplitude and data exponent bend with model size",
    formula="exp(a3 params**gamma + b3)"
    " + exp(a2 params**beta + b2) * tokens**(-exp(a1 params**alpha + b1))",
    variables=("params", "tokens"),
    parameters=(
        Parameter(
            "floor", "floor at params_0", 0.3, 0.98, of_target=True, linear=True
        ),
        Parameter("floor_slope", "d ln floor / d ln params", -0.3, 0.0, "identity"),
        Parameter(
            "floor_bend", "bend of the floor's curve; gamma", -0.3, 0.3, "identity", start=0.0
        ),
        Parameter(
            "data", "data term at (params_0, tokens_0)", 0.02, 0.7, of_target=True, linear=True
        ),
        Parameter("data_slope", "d ln data term / d ln params", -0.3, 0.2, "identity"),
        Parameter(
            "data_bend", "bend of the data term's curve; beta", -0.3, 0.3, "identity", start=0.0
        ),
        Parameter("exponent", "exponent of tokens at params_0", 0.1, 0.9),
        Parameter("exponent_slope", "d ln exponent / d ln params", -0.2, 0.2, "identity"),
        Parameter(
            "exponent_bend", "bend of the exponent's curve; alpha", -0.3, 0.3, "identity", start=0.0
        ),
    ),
    references={"params_0": "params", "tokens_0": "tokens"},
    summands=("floor", "data"),
    predict=CURVES.predict,
    gradient=CURVES.gradient,
    curves=CURVES,
    again=_other_bends,
    derived=farseer_raw,
    source=FARSEER,
    paper=PaperFit("huber_log", "differential piecewise procedure", piecewise.fit),
    published=(
        Published(
            "farseer2025",
            farseer_centred(
                a1=-0.124, alpha=0.123, b1=0.424, a2=88.01, beta=-0.1, b2=-6.287,
                a3=-0.021, gamma=0.169, b3=-0.091, params_0=1e9, tokens_0=2e10,
            ),
            "English validation text, models of 0.1B to 6.4B, as the paper prints them, rounded",
            FARSEER,
            target="bits per character",
            params="non-embedding",
        ),
    ),
    caveats=(
        "It has no irreducible term: its floor falls to zero with size, and with the published"
        " rounded coefficients no compute-optimal split exists from about 1e23 FLOPs on.",
        "Its nine raw coefficients are not identified by the data; predictions and curves are.",
    ),
)  # fmt: skip

LAWS = (LAW,)
