"""Which options each way of fitting takes, and the one refusal of those that it does not.

Nothing that was asked for is ignored: an option that a procedure cannot heed is refused by name,
with a law that does take it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from scaling_cli.errors import InputError

if TYPE_CHECKING:
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.laws import Law

# Each option, and whether it was given.
OPTIONS: Mapping[str, Callable[[FitOptions], bool]] = {
    "objective": lambda options: options.objective is not None,
    "weights": lambda options: options.weights is not None,
    "fix": lambda options: bool(options.fixed),
    "bounds": lambda options: bool(options.bounds),
    "ranges": lambda options: bool(options.ranges),
    "tie": lambda options: bool(options.tied),
    "x": lambda options: options.x is not None,
    "y": lambda options: options.target is not None,
    "procedure=paper": lambda options: options.procedure == "paper",
}

# What each way of fitting takes.
TAKES: Mapping[str, frozenset[str]] = {
    "law": frozenset(OPTIONS),
    "paper": frozenset(OPTIONS) - {"objective"},
    "staged": frozenset({"x", "y", "procedure=paper"}),
    "auto": frozenset({"y"}),
    "optima": frozenset(),
    "best": frozenset({"objective", "fix", "bounds", "ranges"}),
    "link": frozenset(OPTIONS) - {"tie"},
}
ABOUT: Mapping[str, str] = {
    "law": "a law, by `robust`",
    "paper": "a law as its paper fitted it",
    "staged": "a paper's procedure of several stages",
    "auto": "`auto`",
    "optima": "`isoflop`, `isoflop_akima`, `envelope`",
    "best": "a rule for the learning rate or the batch",
    "link": "a law and its link, `law+link`",
}


def check(kind: str, name: str, options: FitOptions, own_target: str | None = None) -> None:
    """InputError where an option was given that this kind of procedure, called `name`, does not
    take; to name its `own_target` is no option."""
    given = [option for option, asked in OPTIONS.items() if asked(options)]
    if own_target is not None and options.target == own_target:
        given.remove("y")
    lacking = [option for option in given if option not in TAKES[kind]]
    if lacking:
        raise _refusal(name, lacking, kind)


def check_column(laws: Iterable[Law], options: FitOptions) -> None:
    """InputError where a column was named for laws of which none reads one that is to be named."""
    chosen = list(laws)
    if options.x is not None and not any("x" in law.variables for law in chosen):
        raise _refusal(", ".join(law.name for law in chosen), ["x"], "law")


def _refusal(name: str, lacking: list[str], kind: str) -> InputError:
    said = " and ".join(map(_written, lacking))
    other = "skaling" if kind == "auto" else "chinchilla"
    other = "power_offset" if "x" in lacking else other
    mend = f"Leave {said} out"
    if kind in ("paper", "staged"):
        mend += ", or `procedure=paper`"
    elif kind != "link":
        mend += f", or name a law that takes it, as `law={other}` does"
    return InputError(f"{name} does not take {said}", f"{mend}.")


def _written(option: str) -> str:
    """An option as messages name it: `x=`, and with its value where it has one."""
    return f"`{option}`" if "=" in option else f"`{option}=`"


def table() -> str:
    """What takes which option, in Markdown."""
    head = ["", *map(_written, OPTIONS)]
    rows = [
        [ABOUT[kind], *("yes" if option in takes else "-" for option in OPTIONS)]
        for kind, takes in TAKES.items()
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
