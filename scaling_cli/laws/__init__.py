"""The registry of laws. A law that stands in a module's `LAWS` is known to every command."""

from __future__ import annotations

from scaling_cli.errors import InputError
from scaling_cli.laws import additive, allocation, curve, farseer, power
from scaling_cli.laws.base import Law, Parameter, Published, Source

__all__ = ["LAWS", "Law", "Parameter", "Published", "Source", "get_law", "get_published"]

LAWS: dict[str, Law] = {
    law.id: law for module in (additive, farseer, power, allocation, curve) for law in module.LAWS
}


def get_law(law_id: str) -> Law:
    """The law with this id; InputError names the nearest ones."""
    if law_id in LAWS:
        return LAWS[law_id]
    import difflib

    near = difflib.get_close_matches(law_id, LAWS, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known laws: {', '.join(LAWS)}."
    raise InputError(f"there is no law '{law_id}'", f"{hint} `scalefit laws` lists them.")


def get_published(name: str) -> tuple[Law, Published]:
    """The published coefficients of this name, with the law that they belong to."""
    known = {item.name: (law, item) for law in LAWS.values() for item in law.published}
    if name in known:
        return known[name]
    raise InputError(
        f"there are no published coefficients named '{name}'",
        f"Known: {', '.join(known)}.",
    )
