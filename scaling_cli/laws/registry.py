"""Every law by its id. A law that stands in a module's `LAWS` is known to every command.

Third parties add theirs under the entry point group "scalefit.laws": a Law, a sequence of them, or
a module with `LAWS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from scaling_cli.errors import InputError
from scaling_cli.laws import (
    additive,
    allocation,
    capacity,
    curve,
    data,
    downstream,
    experts,
    farseer,
    hyperparameters,
    kaplan,
    mixtures,
    power,
    precision,
    recent,
    recurrence,
    reinforcement,
    training,
)
from scaling_cli.laws.base import Law, Published
from scaling_cli.laws.formula import MARK, formula_law
from scaling_cli.spelling import did_you_mean

ENTRY_POINTS = "scalefit.laws"
_MODULES = (
    additive,
    farseer,
    kaplan,
    power,
    data,
    recurrence,
    experts,
    precision,
    mixtures,
    capacity,
    training,
    downstream,
    reinforcement,
    allocation,
    curve,
    recent,
    hyperparameters,
)

LAWS: dict[str, Law] = {law.id: law for module in _MODULES for law in module.LAWS}


@cache
def laws() -> dict[str, Law]:
    """Every law by its id, with those of other packages."""
    from importlib.metadata import entry_points

    known = dict(LAWS)
    for point in entry_points(group=ENTRY_POINTS):
        for law in _laws_of(point.load()):
            if law.id in known:
                raise InputError(
                    f"the entry point {point.name} ({point.value}) adds a law '{law.id}', which is"
                    " there already",
                    "Rename it there, or remove that package.",
                )
            known[law.id] = law
    return known


def _laws_of(declared: Any) -> tuple[Law, ...]:
    declared = getattr(declared, "LAWS", declared)
    return (declared,) if isinstance(declared, Law) else tuple(declared)


def get_law(law_id: str) -> Law:
    """The law with this id or alias, of the domain after a dot, or that a formula after `=` says;
    InputError names the nearest ones."""
    if law_id in LAWS:
        return LAWS[law_id]
    if law_id.startswith(MARK):
        return formula_law(law_id.removeprefix(MARK))
    known = laws()
    by_name = {alias: law for law in known.values() for alias in law.aliases} | known
    if law_id in by_name:
        return by_name[law_id]
    base, _, domain = law_id.partition(".")
    about_one = {law.id.partition(".")[0]: law for law in known.values() if law.of_domain}
    if base in about_one:
        about = about_one[base]
        assert about.of_domain
        if domain:
            return about.of_domain(domain)
        raise InputError(f"'{base}' is about one domain", f"Name it, as in {about.id}.")
    hint = did_you_mean(law_id, by_name)
    raise InputError(f"there is no law '{law_id}'", f"{hint}`scalefit laws` lists them.")


def get_published(name: str) -> tuple[Law, Published]:
    """The published coefficients of this name, with the law that they belong to."""
    own = _published_of(LAWS)
    if name in own:  # looking for other packages takes a fifth of the time of such an answer
        return own[name]
    known = _published_of(laws())
    if name in known:
        return known[name]
    for law in laws().values():
        for item in law.unverified:
            if item.name == name:
                raise InputError(
                    f"the coefficients '{name}' of {law.id} are not verified ({item.evidence})",
                    "Check them against the paper, and fit your own runs.",
                )
    hint = did_you_mean(name, known)
    raise InputError(
        f"there are no published coefficients named '{name}'", f"{hint}`scalefit laws` lists them."
    )


def _published_of(laws: Mapping[str, Law]) -> dict[str, tuple[Law, Published]]:
    return {item.name: (law, item) for law in laws.values() for item in law.published}


def published_rules(name: str | None = None) -> list[tuple[Law, Published]]:
    """Published rules for hyperparameters: all of them, or those of one set's paper."""
    rules = [
        (law, item)
        for law in laws().values()
        if law.target in hyperparameters.ASKED
        for item in law.published
    ]
    if name is None:
        return rules
    law, entry = get_published(name)
    if law.target not in hyperparameters.ASKED:
        known = ", ".join(item.name for _, item in rules)
        raise InputError(
            f"'{name}' is a set of {law.id}, no rule for hyperparameters", f"Choose one of {known}."
        )
    return [(law, item) for law, item in rules if item.source == entry.source]
