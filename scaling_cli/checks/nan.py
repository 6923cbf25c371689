"""A logged value that is no finite number."""

from __future__ import annotations

import numpy as np

from scaling_cli.checks.base import METRIC, Finding, Rule, Settings, Subject, judge_each


def judge(run: Subject, settings: Settings) -> Finding:
    def one(name: str) -> Finding:
        series = run.series(name)
        broken = np.flatnonzero(~np.isfinite(series.values))
        total = len(series.steps)
        if not len(broken):
            return Finding("pass", f"All {total} values of {name} are finite.", 0.0, 0.0)
        first = int(series.steps[broken[0]])
        return Finding(
            "fail",
            f"{len(broken)} of {total} values of {name} are not finite, the first at step {first}.",
            float(len(broken)),
            0.0,
            first,
            {"metric": name},
        )

    return judge_each(run, settings["metric"], one)


RULE = Rule("nan", "No value is NaN or infinite", judge, (METRIC,), always=True)
