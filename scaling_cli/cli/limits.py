"""What the commands that split a budget share: the options that hold a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from scaling_cli.cli.common import assignments, one_of, positive, ranges
from scaling_cli.errors import InputError

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.budget import Constraints
    from scaling_cli.planning.costs import Machine
    from scaling_cli.planning.sensitivity import Sensitivity
    from scaling_cli.planning.splits import Allocation

MaxParamsOption = Annotated[
    str | None, typer.Option(help="The largest model that can be served.", metavar="N")
]
MinParamsOption = Annotated[str | None, typer.Option(help="The smallest one.", metavar="N")]
MaxTokensOption = Annotated[
    str | None, typer.Option(help="The most tokens to train on.", metavar="D")
]
UniqueTokensOption = Annotated[
    str | None,
    typer.Option(help="Tokens of the corpus, for a law that knows repeats.", metavar="U"),
]
InferenceTokensOption = Annotated[
    str | None,
    typer.Option(help="Tokens to be served; the budget pays for them too.", metavar="D"),
]
ServedLengthOption = Annotated[
    str | None,
    typer.Option(help="Tokens that attention spans in serving.", metavar="L"),
]
SequenceOption = Annotated[
    str | None,
    typer.Option(help="Count FLOPs exactly, with attention over so many tokens.", metavar="S"),
]
AtOption = Annotated[
    list[str] | None,
    typer.Option("--at", help="Value of a law's further variable.", metavar="VAR=VALUE"),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option("--bound", help="Limits of what a law chooses.", metavar="VAR=LOW:HIGH"),
]
SensitivityOption = Annotated[
    bool, typer.Option("--sensitivity", help="Refit without each run, size, budget; other laws.")
]
GpuHoursOption = Annotated[
    str | None, typer.Option(help="The budget in hours of --device.", metavar="H")
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="A100, H100, H200, B200, GB200, MI300X, v5e, v5p or v6e.", metavar="NAME"),
]
MfuOption = Annotated[
    str | None,
    typer.Option(help="Share of its peak that training reaches; the runs'.", metavar="SHARE"),
]
DevicesOption = Annotated[
    str | None, typer.Option(help="How many; gives the days.", metavar="COUNT")
]
PriceOption = Annotated[
    str | None, typer.Option(help="Of one for an hour; gives the cost.", metavar="P")
]


def machine(
    location: str,
    config: str | None,
    published: str | None,
    device: str | None,
    mfu: str | None,
    devices: str | None,
    price: str | None,
    gpu_hours: str | None = None,
) -> Machine | None:
    """What the options of these names train on; None without a device. Without `mfu` it is that of
    the store's runs, and InputError where these do not say."""
    if device is None:
        for name, value in (
            ("mfu", mfu), ("devices", devices), ("price", price), ("gpu-hours", gpu_hours)
        ):  # fmt: skip
            if value is not None:
                raise InputError(f"--{name} is of no device", "Say which: --device H100.")
        return None
    from scaling_cli.planning.costs import Machine, Utilisation, device_called

    positive(gpu_hours, "--gpu-hours")

    chosen = device_called(device)
    share = positive(mfu, "--mfu")
    used = None if share is None else Utilisation(share, "as given")
    if used is None and published is None:
        from scaling_cli.project import open_project

        used = open_project(location, config).utilisation()
    if used is None:
        raise InputError(
            "no run says which share of its device's peak it reached", "Give it: --mfu 0.4."
        )
    return Machine(chosen, used, positive(devices, "--devices"), positive(price, "--price"))


def budget_of(machine: Machine | None, gpu_hours: str | None, served: str | None) -> float | None:
    """The FLOPs of so many hours of the device."""
    if gpu_hours is None or machine is None:
        return None
    if served is not None:
        raise InputError(
            "hours of training do not pay for serving, which reaches another share of the peak",
            "Give --budget C beside --inference-tokens.",
        )
    return machine.flops(positive(gpu_hours, "--gpu-hours") or 0.0)


def constraints(
    tokens_per_param: str | None = None,
    max_params: str | None = None,
    min_params: str | None = None,
    max_tokens: str | None = None,
    unique_tokens: str | None = None,
    inference_tokens: str | None = None,
    at: Sequence[str] | None = None,
    bound: Sequence[str] | None = None,
    sequence: str | None = None,
    served_length: str | None = None,
) -> Constraints:
    """What the options of these names hold; InputError where they contradict each other."""
    from scaling_cli.planning.budget import Constraints
    from scaling_cli.quantities import parse_positive

    one_of(tokens_per_param=tokens_per_param, max_params=max_params)
    one_of(tokens_per_param=tokens_per_param, min_params=min_params)
    one_of(tokens_per_param=tokens_per_param, max_tokens=max_tokens)
    further = assignments(at or [], "--at")
    if unique_tokens is not None:
        further["unique_tokens"] = parse_positive(unique_tokens, "--unique-tokens")
    return Constraints(
        min_params=positive(min_params, "--min-params"),
        max_params=positive(max_params, "--max-params"),
        max_tokens=positive(max_tokens, "--max-tokens"),
        tokens_per_param=positive(tokens_per_param, "--tokens-per-param"),
        inference_tokens=positive(inference_tokens, "--inference-tokens") or 0.0,
        at=further,
        limits=ranges(list(bound or []), "--bound"),
        sequence=positive(sequence, "--sequence"),
        served_length=positive(served_length, "--served-length"),
    )


def sensitivities(
    location: str, config: str | None, fits: Sequence[Fit], splits: Sequence[Allocation]
) -> list[Sensitivity | None]:
    """The refits behind each split by a fit of the store; None for one without a fit."""
    from scaling_cli.planning.sensitivity import sensitivity
    from scaling_cli.project import open_project
    from scaling_cli.report.figures import fitted_rows

    table = open_project(location, config).observations()
    by_id = {fit.fit_id: fit for fit in fits}
    return [
        sensitivity(fit, fitted_rows(table, fit), split, split.constraints) if fit else None
        for split in splits
        for fit in [by_id.get(split.fit_id or "")]
    ]
