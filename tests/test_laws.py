"""Every registered law: its derivatives, its scaling, its published numbers, its own data."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_cli.columns import COLUMNS
from scaling_cli.curves.history import curve_columns
from scaling_cli.curves.schedule import parse_schedule
from scaling_cli.errors import InputError
from scaling_cli.laws import LAWS, Law, get_law, get_published
from scaling_cli.laws.farseer import farseer_centred

RANGES = {
    "params": (1e7, 1e10),
    "tokens": (1e9, 1e12),
    "flops": (1e18, 1e22),
    "x": (1e2, 1e6),
    "rate_sum": (0.3, 7.0),
    "annealing": (1e-3, 0.3),
}


def columns_of(law: Law, rows: int = 40, seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    if "rate_drops" in law.variables:  # those of a schedule, seen from random steps
        rates = parse_schedule("wsd:peak=1e-3,warmup=100,total=9000,min=1e-4").rates
        steps = np.sort(random.integers(500, 9000, rows))
        return curve_columns(law, rates, steps)
    return {name: np.exp(random.uniform(*np.log(RANGES[name]), rows)) for name in law.variables}


def values_of(law: Law, columns: dict[str, np.ndarray], seed: int = 2) -> dict[str, float]:
    """Parameters in the middle half of their ranges, for columns in base units."""
    random = np.random.default_rng(seed)
    scales = {name: float(np.exp(np.mean(np.log(columns[name])))) for name in law.scaled_columns}
    values = {}
    for item in law.parameters:
        u = random.uniform(0.25, 0.75)
        if item.transform == "log":
            values[item.name] = item.low * (item.high / item.low) ** u
        else:
            values[item.name] = item.low + (item.high - item.low) * u
    raw = {name: float(value) for name, value in law.to_raw(values, scales).items()}
    constants = {
        name: float(np.exp(np.mean(np.log(columns[column]))))
        for name, column in law.references.items()
    }
    return raw | constants


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_gradient_agrees_with_differences(law: Law) -> None:
    columns = columns_of(law)
    values = values_of(law, columns)
    batch = {name: np.array([[value]]) for name, value in values.items()}
    prediction, gradient = law.value_and_gradient(batch, columns)
    assert np.allclose(prediction, law.predict(**values, **columns), rtol=1e-13)
    for name in law.parameter_names:
        step = 1e-5 * max(abs(values[name]), 1e-2)
        up, down = (
            law.predict(**(values | {name: values[name] + sign * step}), **columns)
            for sign in (1, -1)
        )
        numeric = (up - down) / (2 * step)
        assert np.allclose(gradient[name][0], numeric, rtol=1e-5, atol=1e-7 * np.abs(numeric).max())


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_scaling_a_column_is_undone_by_its_amplitudes(law: Law) -> None:
    columns = columns_of(law)
    values = values_of(law, columns)
    scales = dict.fromkeys(law.scaled_columns, 7.5)
    scaled = {n: value / scales[n] if n in scales else value for n, value in columns.items()}
    constants = {name: values[name] for name in law.references}
    parameters = {name: values[name] for name in law.parameter_names}
    again = law.predict(**law.to_scaled(parameters, scales), **constants, **scaled)
    assert np.allclose(again, law.predict(**values, **columns), rtol=1e-12)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_declaration_names_known_things(law: Law) -> None:
    assert all(name in COLUMNS or name == "x" for name in law.variables)
    for item in law.published:
        assert set(item.values) == set(law.parameter_names) | set(law.references)
    for parameter in law.parameters:
        assert parameter.low < parameter.high
        assert set(parameter.centre) <= set(law.variables)
        assert set(parameter.exponents.values()) <= set(law.parameter_names)


@pytest.mark.parametrize(
    ("name", "params", "tokens", "loss"),
    [
        ("hoffmann2022", 70e9, 1.4e12, 1.936645),
        ("hoffmann2022_tex", 70e9, 1.4e12, 1.920846),
        ("epoch2024", 70e9, 1.4e12, 1.973882),
        ("farseer2025", 1e9, 2e10, 0.52722413),
        ("farseer2025", 6.4e9, 1.28e11, 0.44169),
        ("farseer2025", 25.1e9, 5e11, 0.39065),
    ],
)
def test_published_coefficients_give_the_known_losses(
    name: str, params: float, tokens: float, loss: float
) -> None:
    law, entry = get_published(name)
    found = law.predict(**entry.values, params=np.array([params]), tokens=np.array([tokens]))
    digits = len(str(loss).partition(".")[2])
    assert round(float(found[0]), digits) == loss


@pytest.mark.parametrize(("params_0", "tokens_0"), [(1e8, 1e9), (1e10, 1e12)])
def test_farseer_is_the_same_surface_about_any_reference(params_0: float, tokens_0: float) -> None:
    law, entry = get_published("farseer2025")
    assert law.derived is not None
    raw = law.derived(entry.values)
    moved = farseer_centred(**raw, params_0=params_0, tokens_0=tokens_0)
    columns = columns_of(law)
    expected = law.predict(**entry.values, **columns)
    assert np.allclose(law.predict(**moved, **columns), expected, rtol=1e-11)
    by_hand = np.exp(-0.021 * columns["params"] ** 0.169 - 0.091) + np.exp(
        88.01 * columns["params"] ** -0.1 - 6.287
    ) * columns["tokens"] ** -np.exp(-0.124 * columns["params"] ** 0.123 + 0.424)
    assert np.allclose(expected, by_hand, rtol=1e-11)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="chinchilla"):
        get_law("chinchila")
    with pytest.raises(InputError, match="epoch2024"):
        get_published("epoch")
