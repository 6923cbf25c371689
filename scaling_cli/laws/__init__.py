"""The laws: `base` says what a law is, `registry` finds them, the others declare a family each."""

from scaling_cli.laws.base import Choice, Choices, Evidence, Law, Parameter, Published, Source
from scaling_cli.laws.registry import LAWS, get_law, get_published, laws, published_rules

__all__ = [
    "LAWS",
    "Choice",
    "Choices",
    "Evidence",
    "Law",
    "Parameter",
    "Published",
    "Source",
    "get_law",
    "get_published",
    "laws",
    "published_rules",
]
