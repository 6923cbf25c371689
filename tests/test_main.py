"""Where the command begins."""

from __future__ import annotations

import os
import subprocess
import sys

from scaling_cli.workers import THREADS


def test_linear_algebra_has_one_thread_unless_the_environment_says_another() -> None:
    code = (
        "import os, sys; sys.argv = ['scalefit', '--version']\n"
        "from scaling_cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    plain = {name: value for name, value in os.environ.items() if name not in THREADS}
    for given, found in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        command = [sys.executable, "-c", code]
        out = subprocess.run(command, env=plain | given, capture_output=True, text=True, check=True)
        assert out.stdout.splitlines()[-1] == found
