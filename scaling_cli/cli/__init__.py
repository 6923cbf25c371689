"""The command line: one file a command. Each parses, calls the library and renders."""

from scaling_cli.cli.entry import COMMANDS, app, main

__all__ = ["COMMANDS", "app", "main"]
