"""The command line: one file a command. Each parses, calls the library and renders."""

from typing import Any

from scaling_cli.cli.entry import COMMANDS, app_of, main

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    """`app`, all commands at once, is made when it is asked for: `main` reads one file of them."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = app_of(COMMANDS)
    return globals()["app"]
