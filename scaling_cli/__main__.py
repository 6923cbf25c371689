"""Where the `scalefit` command begins. An interrupt (Ctrl-C) of its imports ends it without a word;
from then on the command line answers it."""

import os
from _signal import SIG_IGN, SIGINT, signal  # type: ignore[import-not-found]  # without its enums

INTERRUPTED = 130


def main() -> None:
    """The `scalefit` command."""
    signal(SIGINT, lambda *_: os._exit(INTERRUPTED))
    from scaling_cli.workers import THREADS

    for name in THREADS:  # matrices of a few columns: more threads took four times the CPU time
        os.environ.setdefault(name, "1")
    from scaling_cli.cli.common import interrupt
    from scaling_cli.cli.entry import main

    signal(SIGINT, interrupt)
    try:
        main()
    finally:
        signal(SIGINT, SIG_IGN)  # the answer is out, and what is left takes milliseconds


if __name__ == "__main__":
    main()
