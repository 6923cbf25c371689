"""Rules on runs, for CI: `base` says what a rule is, `registry` finds them and reads a mapping's
tables, and `judging` applies them. A file with a `RULE` at its end declares one."""

from scaling_cli.checks.judging import Result, judge, run_checks
from scaling_cli.checks.registry import Check, read_checks, rules

__all__ = ["Check", "Result", "judge", "read_checks", "rules", "run_checks"]
