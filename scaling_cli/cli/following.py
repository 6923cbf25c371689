"""The command that sensibly follows another: the last line of an answer in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

# By command: the line, with what was asked in it where that is known, and what it is for.
FOLLOWING: dict[str, tuple[str, str]] = {
    "init": ("ingest {sources}", "reads the runs by it"),
    "ingest": ("fit --law auto", "fits a law to the runs"),
    "runs": ("fit --law auto", "fits a law to the runs"),
    "show": ("curve --run {run}", "forecasts a run"),
    "laws": ("compare", "ranks laws on your runs"),
    "fit": ("compare", "says which law predicts larger runs best"),
    "fits": ("fits show FIT", "shows what one rests on"),
    "fits show": ("plan --scale 20x --fit {fit}", "plans by it"),
    "compare": ("plan --scale 20x", "plans a run of 20 times the largest"),
    "predict": ("plan --scale 20x", "plans a run of 20 times the largest"),
    "optimal": ("plan --budget {budget}", "says how sure that is, and what to train before"),
    "plan": ("report -o report.html", "puts it before others"),
    "design": ("simulate --design FILE", "says what such runs would tell"),
    "recipes": ("crossing A B", "says where two of them meet"),
    "crossing": ("equivalent {first} {second} --flops C", "says what one is worth in the other's"),
    "equivalent": ("recipes --budgets {flops}", "sets all recipes side by side"),
    "slope": ("crossing A B", "says where two recipes meet"),
    "hparams": ("schedule --steps N", "finds the schedule of the lowest loss"),
    "curve": ("check {run}", "checks the run by the rules"),
    "schedule": ("curve --run {run} --schedule SPEC", "forecasts a run with it"),
    "check": ("show RUN", "shows a run in full"),
    "report": ("report -o report.html", "makes a page with figures of it"),
    "demo": ("init SOURCE", "begins with your own logs"),
}


def following(name: str, asked: Mapping[str, Any], store: str) -> str:
    """What to type after the command of this name, and why; nothing where nothing follows.
    `store` is the default one: another is named again."""
    if name not in FOLLOWING:
        return ""
    line, why = FOLLOWING[name]
    elsewhere = [
        f" --{option} {quote(str(asked[option]))}"
        for option, usual in (("store", store), ("config", None))
        if asked.get(option) not in (None, usual)
    ]
    return f"Next: scalefit {line.format_map(_Asked(asked))}{''.join(elsewhere)} ({why})"


class _Asked(dict[str, str]):
    """What was asked, as it is typed; of several the first, and the name of what was not."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        given = {name: value[0] if value else None for name, value in asked.items()
                 if isinstance(value, list)}  # fmt: skip
        super().__init__(
            {name: quote(str(value)) for name, value in {**asked, **given}.items() if value}
        )

    def __missing__(self, name: str) -> str:
        return name.upper()
