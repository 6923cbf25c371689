"""FLOPs as hours of devices, days and money, and hours as FLOPs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.quantities import count, number, percent, power
from scaling_cli.spelling import near

if TYPE_CHECKING:
    from scaling_cli.table import Table

HOUR = 3600.0
# Names under which trainers log model FLOPs utilisation: mfu, train/mfu, mfu(%), mfu_pct.
LOGGED = r"(?:.*[/.\s])?mfu(?P<percent>\s*\(?%\)?|_pct|_percent)?"
MOST = 1.0  # of a share; what is logged above is per cent
REACHED = 0.75  # by no training of a language model: such a number may be .8 %, or is wrong


@dataclass(frozen=True)
class Device:
    """A chip by its peak, in dense bf16 FLOPs a second: vendors also print twice that, for sparse
    matrices, which no training reaches."""

    name: str
    peak: float
    source: str


TITAN = "as read by pytorch/torchtitan"  # its tools/utils.py names the vendor's page of each

DEVICES: Mapping[str, Device] = {
    item.name.lower().removeprefix("tpu "): item
    for item in (
        Device("A100", 312e12, f"nvidia.com/en-us/data-center/a100, {TITAN}"),
        Device("H100", 989e12, f"nvidia.com/en-us/data-center/h100, SXM, {TITAN}"),
        Device("H200", 989e12, f"nvidia.com/en-us/data-center/h200, SXM, {TITAN}"),
        # One chip at two powers, so that accounts differ: 2250e12 on a board of eight (1000 W),
        # 2500e12 beside a Grace processor (1200 W).
        Device("B200", 2250e12, f"NVIDIA's blackwell-datasheet-3384703, {TITAN}; at 1000 W"),
        Device("GB200", 2500e12, "NVIDIA, by glennklockwood.com/garden/processors/B200; at 1200 W"),
        Device("MI300X", 1307e12, "AMD, without sparsity, by secondary accounts"),
        Device("TPU v5e", 197e12, "cloud.google.com/tpu/docs/v5e"),
        Device("TPU v5p", 459e12, "cloud.google.com/tpu/docs/v5p"),
        Device("TPU v6e", 918e12, "cloud.google.com/tpu/docs/v6e"),
    )
}


def device_called(name: str) -> Device:
    """`H100`, `tpu-v5e`; InputError where there is none of the name."""
    key = re.sub(r"^(tpu|nvidia|amd)[\s_-]*", "", name.strip().lower())
    if key not in DEVICES:
        known = ", ".join(item.name for item in DEVICES.values())
        there = near(key, set(DEVICES))
        raise InputError(f"no peak of a device '{name}' is known", there or f"There are {known}.")
    return DEVICES[key]


@dataclass(frozen=True)
class Utilisation:
    """The share of the peak that training reaches, and where that is known from."""

    share: float
    source: str

    def __post_init__(self) -> None:
        if not 0 < self.share <= MOST:
            raise InputError(
                f"mfu {self.share:g} is no share of a device's peak", "Give it as 0.4 for 40 %."
            )


def logged_utilisation(rows: Table) -> Utilisation | None:
    """The median over runs of the utilisation that they logged last; None where none did."""
    for name in [*rows.columns, *rows.labels.known()]:
        match = re.fullmatch(LOGGED, name.lower())
        if match is None:
            continue
        values = rows.numbers(name)
        values = values[np.isfinite(values) & (values > 0)]
        if not len(values):
            continue
        middle = float(np.median(values))
        shares = middle / 100 if match["percent"] or middle > MOST else middle
        if shares <= REACHED:
            return Utilisation(shares, f"median of {len(values)} runs' {name}")
    return None


@dataclass(frozen=True)
class Machine:
    """`devices` of a kind, if their number is known, and the `price` of one for an hour."""

    device: Device
    utilisation: Utilisation
    devices: float | None = None
    price: float | None = None

    @classmethod
    def called(
        cls,
        device: str,
        mfu: float,
        devices: float | None = None,
        price: float | None = None,
    ) -> Machine:
        """By the name of its device and the share of its peak that training reaches."""
        return cls(device_called(device), Utilisation(mfu, "as given"), devices, price)

    @property
    def per_hour(self) -> float:
        """FLOPs of one device in an hour of training."""
        return self.device.peak * self.utilisation.share * HOUR

    def flops(self, device_hours: float) -> float:
        return device_hours * self.per_hour

    def cost(self, flops: float | None) -> Cost | None:
        """What training of these FLOPs takes; None where they are not known."""
        return None if flops is None else Cost(self, flops, flops / self.per_hour)


@dataclass(frozen=True)
class Cost:
    """What training of `flops` takes."""

    machine: Machine
    flops: float
    device_hours: float

    @property
    def days(self) -> float | None:
        """Without a number of devices there is none."""
        if self.machine.devices is None:
            return None
        return self.device_hours / self.machine.devices / 24

    @property
    def money(self) -> float | None:
        return None if self.machine.price is None else self.device_hours * self.machine.price

    @property
    def sentence(self) -> str:
        machine, used = self.machine, self.machine.utilisation
        said = f"{count(self.device_hours)} {machine.device.name} hours"
        if self.days is not None:
            said += f", {number(self.days, 3)} days on {machine.devices:,.6g}"
        if self.money is not None:
            said += f", a cost of {count(self.money)} at {machine.price:g} an hour"
        return (
            f"{power(self.flops)} FLOPs of training are {said}: at {percent(used.share, 1)} of"
            f" {power(machine.device.peak)} FLOP/s ({used.source}), without restarts, evaluation or"
            " failed runs."
        )

    def to_json(self) -> dict[str, Any]:
        machine = self.machine
        return {
            "device": machine.device.name,
            "peak_flops": machine.device.peak,
            "peak_source": machine.device.source,
            "mfu": machine.utilisation.share,
            "mfu_source": machine.utilisation.source,
            "training_flops": self.flops,
            "gpu_hours": self.device_hours,
            "devices": machine.devices,
            "days": self.days,
            "price": machine.price,
            "cost": self.money,
        }
