"""Schedules as they are written, as they are logged, and what the curve laws read of them."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import curves
from scaling_cli.errors import InputError
from scaling_cli.laws import get_law, get_published
from scaling_cli.training.history import annealing, curve_columns, stacked
from scaling_cli.training.schedule import drops, logged_schedule, parse_schedule, roundest

PEAK, LEAST, WARMUP = 3e-4, 3e-5, 2160
# The schedules of the multi-power law's published curves, as a user writes them.
SPECS = {
    "constant_24000": "constant:peak=3e-4,warmup=2160,total=24000",
    "constant_72000": "constant:peak=3e-4,warmup=2160,total=72000",
    "cosine_24000": "cosine:peak=3e-4,warmup=2160,total=24000,min=3e-5",
    "cosine_72000": "cosine:peak=3e-4,warmup=2160,total=72000,min=3e-5",
    "wsd_20000_24000": (
        "wsd:peak=3e-4,warmup=2160,total=24000,min=3e-5,decay=4000,shape=exponential"
    ),
    "wsdld_20000_24000": "wsd:peak=3e-4,warmup=2160,total=24000,min=3e-5,decay=4000",
    "wsdcon_3": "piecewise:peak=3e-4,warmup=2160,total=16000,8000=3e-5",
    "wsdcon_9": "piecewise:peak=3e-4,warmup=2160,total=16000,8000=9e-5",
    "wsdcon_18": "piecewise:peak=3e-4,warmup=2160,total=16000,8000=18e-5",
}


def formula(name: str) -> np.ndarray:
    """The rates as the study's code makes them, by the formulas that stand beside its table."""
    total = 16000 if name.startswith("wsdcon") else int(name.rpartition("_")[2])
    step = np.arange(total + 1)
    rates = np.full(total + 1, PEAK)
    if name.startswith("cosine"):
        rates = LEAST + (PEAK - LEAST) / 2 * (
            1 + np.cos(np.pi * (step - WARMUP) / (total - WARMUP))
        )
    elif name.startswith("wsdcon"):
        rates[8000:] = int(name.partition("_")[2]) * 1e-5
    elif name.startswith("wsd"):
        done = np.clip((step - 20000) / 4000, 0, 1)
        rates = (
            PEAK * (1 - done) + LEAST * done
            if name.startswith("wsdld")
            else PEAK ** (1 - done) * LEAST**done
        )
    rates[:WARMUP] = np.linspace(0, PEAK, WARMUP)
    return rates


@pytest.mark.parametrize("name", SPECS)
def test_specification_gives_the_formula(name: str) -> None:
    made, expected = parse_schedule(SPECS[name]), formula(name)
    assert made.warmup == WARMUP
    assert np.allclose(made.rates[WARMUP:], expected[WARMUP:], rtol=1e-12)
    # The study's warmup reaches the peak one step early.
    assert np.allclose(made.rates[:WARMUP], expected[:WARMUP] * (WARMUP - 1) / WARMUP, rtol=1e-12)


def test_inverse_square_root_and_file(tmp_path: Path) -> None:
    made = parse_schedule("inv_sqrt:peak=1e-3,warmup=100,total=1000")
    assert np.isclose(made.rates[400], 1e-3 * np.sqrt(100 / 400))
    path = tmp_path / "rates.csv"
    path.write_text("step,learning_rate\n0,0\n100,1e-3\n1000,1e-4\n", encoding="utf-8")
    read = parse_schedule(str(path))
    assert (read.total, read.warmup) == (1000, 100)
    assert np.isclose(read.rates[550], 5.5e-4)
    longer = parse_schedule("cosine:peak=1e-3,total=100", total=200)
    assert longer.total == 200


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cosin:peak=1", "cosine"),
        ("cosine:peak=1", "does not say total"),
        ("cosine:peak=1,total=10,warmup=10", "warmup"),
        ("cosine:peak=0,total=10", "above zero"),
        ("cosine:peak=1,total=10,decay=3", "no setting 'decay'"),
        ("cosine:peak=1,total=1e12", "are more than"),
        ("cosine:peak", "no key=value"),
        ("wsd:peak=1,total=10,shape=square", "no shape"),
        ("wsd:peak=1,total=10,shape=exponential", "min="),
        ("there/is/no.csv", "no such schedule file"),
    ],
)
def test_what_is_wrong_is_said(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_schedule(spec)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_sparse_log_from_after_the_warmup_gives_the_schedule_back(name: str, share: float) -> None:
    rates = formula(name)
    steps = np.arange(2176, len(rates), 128)
    seen = steps[: int(share * len(steps))]
    found = logged_schedule(seen, rates[seen], len(rates) - 1)
    codes = {note.code for note in found.notes}
    assert "warmup_assumed" in codes
    if share == 1.0 or name.startswith("co"):
        sums, expected = np.cumsum(found.rates), np.cumsum(rates)
        assert np.allclose(sums[steps], expected[steps], rtol=0.01)
    if share < 1.0 and not name.startswith("cosine"):
        assert codes & {"schedule_assumed", "schedule_unknown"}


@pytest.mark.parametrize("name", SPECS)
def test_the_family_and_its_breaks_are_recognised_in_a_log(name: str) -> None:
    """Every 128th rate of a run that has ended, its end not planned anywhere."""
    rates = formula(name)
    steps = np.arange(2176, len(rates), 128)
    found = logged_schedule(steps, rates[steps], int(steps[-1]))
    logged, _, spec = found.name.partition(", ")
    asked = SPECS[name].partition(":")[0]
    assert (logged, spec.partition(":")[0]) == ("logged", asked)
    # Not beside a break was the rate ever another than the run's own.
    after = slice(2176, steps[-1])
    assert np.allclose(found.rates[after], rates[after], atol=0.03 * PEAK)
    if asked == "piecewise":
        assert np.array_equal(found.rates[after], rates[after])
        assert "rate_drop" in {note.code for note in found.notes}
    again = parse_schedule(spec)
    assert np.allclose(again.rates[after], rates[after], atol=0.005 * PEAK)


def test_a_decay_that_has_begun_goes_on_to_its_end() -> None:
    for name in ("wsd_20000_24000", "wsdld_20000_24000"):
        rates = formula(name)
        steps = np.arange(2176, 22000, 128)
        found = logged_schedule(steps, rates[steps], 24000)
        assert np.allclose(found.rates[2176:], rates[2176:], atol=0.03 * PEAK)
        assert found.rates[-1] == pytest.approx(LEAST, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high", "round_one"),
    [(7937, 8064, 8000), (19073, 19200, 19200), (1, 9, 5), (101, 101, 101), (350, 470, 400)],
)
def test_a_break_is_where_people_write_one(low: int, high: int, round_one: int) -> None:
    assert roundest(low, high) == round_one


def test_a_smooth_schedule_has_no_breaks_however_it_is_logged() -> None:
    for spec in SPECS.values():
        if not spec.startswith("piecewise"):
            rates = parse_schedule(spec).rates
            for every in (1, 10, 128, 500):
                steps = np.arange(every, len(rates), every)
                assert drops(steps, rates[steps], WARMUP) == []


def test_config_names_the_warmup_before_the_log() -> None:
    rates = parse_schedule("cosine:peak=1e-3,warmup=50,total=1000,min=1e-4").rates
    steps = np.arange(100, 1001, 100)
    rates[steps[0]] = 1e-3  # logged as the peak
    found = logged_schedule(steps, rates[steps], 1000, {"warmup_steps": 50})
    assert found.warmup == 50
    assert np.allclose(found.rates[:51], 1e-3 * np.arange(51) / 50)


def test_config_names_a_schedule_that_has_not_shown_yet() -> None:
    rates = parse_schedule("wsd:peak=1e-3,warmup=50,total=1000,min=1e-4").rates
    steps = np.arange(5, 500, 5)
    config = {"lr_scheduler": "WSD", "warmup_steps": 50}
    found = logged_schedule(steps, rates[steps], 1000, config)
    assert np.allclose(found.rates, rates, atol=1e-6)


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_annealing_is_its_recursion(decay: float) -> None:
    rates = parse_schedule("wsd:peak=1e-3,warmup=30,total=500,min=1e-4").rates
    momentum, total, expected = 0.0, 0.0, [0.0]
    for before, rate in pairwise(rates):
        momentum = decay * momentum + (before - rate)
        total += momentum
        expected.append(total)
    assert np.allclose(annealing(rates, decay), expected, rtol=1e-10, atol=1e-15)
    assert np.all(annealing(rates, decay, start=30)[:400] == 0.0)


@pytest.mark.parametrize(
    "name", ["cosine_24000", "wsd_20000_24000", "wsdcon_9", "constant_24000", "to zero"]
)
def test_stretches_of_changes_stand_for_all_of_them(name: str) -> None:
    """Two points a stretch against the sum over every step, as the paper writes the law."""
    law, published = get_published("luo2025_25m")
    spec = "linear:peak=3e-4,warmup=512,total=9216"
    rates = parse_schedule(spec).rates if name == "to zero" else formula(name)
    v = published.values
    steps = np.arange(2176, len(rates), 640)
    found = law.predict(**v, **curve_columns(law, rates, steps))
    sums, falls = np.cumsum(rates), -np.diff(rates, prepend=0.0)
    for step, value in zip(steps, found, strict=True):
        k = np.arange(1, step + 1)
        k = k[rates[k] > 0.0]
        left = sums[step] - sums[k - 1]
        gain = 1 - (1 + v["C"] * rates[k] ** -v["gamma"] * left) ** -v["beta"]
        exact = v["L0"] + v["A"] * sums[step] ** -v["alpha"] - v["B"] * np.sum(falls[k] * gain)
        assert abs(value - exact) < 1e-5  # a hundredth of what the curves' noise is


def test_columns_of_runs_stack() -> None:
    law = get_law("mpl")
    values = get_published("luo2025_100m")[1].values
    parts = [curve_columns(law, formula(name), np.arange(3000, 16000, 999)) for name in SPECS]
    together = law.predict(**values, **stacked(parts))
    assert np.allclose(together, np.concatenate([law.predict(**values, **part) for part in parts]))


@pytest.mark.parametrize(
    ("size", "error"), [("25M", 0.00376), ("100M", 0.00435), ("400M", 0.00484)]
)
def test_published_multi_power_law_has_its_test_error(
    public_data: Path, size: str, error: float
) -> None:
    law, published = get_published(f"luo2025_{size.lower()}")
    with (public_data / "mpl_curves" / "mpl_curves.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == size]
    errors = []
    for name in dict.fromkeys(row["schedule"] for row in rows if row["split"] == "test"):
        curve = [row for row in rows if row["schedule"] == name]
        steps = np.array([int(row["step"]) for row in curve])
        loss = np.array([float(row["loss"]) for row in curve])
        found = law.predict(**published.values, **curve_columns(law, formula(name), steps))
        errors.append(np.mean(np.abs(found - loss)))
    assert len(errors) == 6
    assert round(float(np.mean(errors)), 5) == error


@pytest.mark.parametrize(
    ("size", "error"), [("25M", 0.00356), ("100M", 0.00315), ("400M", 0.00441)]
)
def test_logged_rates_give_by_the_command_what_formulas_give(
    public_data: Path, size: str, error: float
) -> None:
    assert curves.by_the_command(size, "mpl").error <= error
