"""Results of checks as tables, as JUnit XML, and as annotations of a GitHub workflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scaling_cli.quantities import counted, number
from scaling_cli.report.listing import Listing
from scaling_cli.text import annotation, visible

if TYPE_CHECKING:
    from scaling_cli.checks import Result

MOST_LISTED = 20  # results; of more, only those that failed are listed
STATUSES = ("pass", "fail", "skip")


def tables(results: Sequence[Result], everything: bool = False) -> list[Listing]:
    """What failed (or every result, where there are few), and how many of each rule passed."""
    few = everything or len(results) <= MOST_LISTED
    listed = [item for item in results if few or item.finding.status == "fail"]
    listings = []
    if listed:
        cells = tuple(
            (
                str(item.finding.status),
                item.run or "-",
                item.name,
                _cell(item.finding.observed),
                _cell(item.finding.expected),
            )
            for item in listed
        )
        lines = tuple(
            f"{item.finding.status} {item.run or '-'}, {item.name}: {item.finding.message}"
            for item in listed
            if item.finding.status != "pass"
        )
        title = "Checks" if few else "Checks that failed"
        headers = ("", "run", "check", "observed", "expected")
        listings.append(Listing(title, headers, cells, left=3, lines=lines))
    counts = {item.name: Counter[str]() for item in results}
    for item in results:
        counts[item.name][item.finding.status] += 1
    rows = tuple((name, *(str(by[status]) for status in STATUSES)) for name, by in counts.items())
    total = Counter[str](item.finding.status for item in results)
    said = ", ".join(f"{total[status]} {status}" for status in STATUSES)
    reasons = () if few else tuple(_skips(results))
    title = f"{counted(len(results), 'check')}: {said}"
    listings.append(Listing(title, ("check", *STATUSES), rows, lines=reasons))
    return listings


def _skips(results: Sequence[Result]) -> Iterator[str]:
    """Why checks were skipped, each reason with the number of runs and one of them."""
    kinds: dict[tuple[str, str], list[Result]] = {}
    for item in results:
        if item.finding.status == "skip":
            kinds.setdefault((item.name, item.finding.message.partition(":")[0]), []).append(item)
    for (name, _), items in kinds.items():
        more = f" (so too {len(items) - 1} more)" if len(items) > 1 else ""
        yield f"skip {items[0].run or '-'}, {name}: {items[0].finding.message}{more}"


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else "0" if value == 0 else number(value)


def junit(results: Sequence[Result]) -> str:
    """JUnit XML as Jenkins, GitLab and GitHub's test reporters read it (the schema junit-10.xsd of
    Jenkins' xUnit plugin): a suite for each run, a case for each check."""
    from xml.etree import ElementTree as xml

    suites: dict[str, list[Result]] = {}
    for item in results:
        suites.setdefault(item.run or "(no run)", []).append(item)
    root = xml.Element("testsuites", {"name": "scalefit check"} | _totals(results))
    for run, items in suites.items():
        skipped = str(sum(item.finding.status == "skip" for item in items))
        about = {"name": visible(run), "skipped": skipped} | _totals(items)
        suite = xml.SubElement(root, "testsuite", about)
        for item in items:
            case = xml.SubElement(
                suite, "testcase", name=visible(item.name), classname=visible(run)
            )
            message = visible(item.finding.message)
            if item.finding.status == "fail":
                failure = xml.SubElement(case, "failure", type=item.rule, message=message)
                failure.text = message
            elif item.finding.status == "skip":
                xml.SubElement(case, "skipped", message=message)
            else:
                xml.SubElement(case, "system-out").text = message
    xml.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + xml.tostring(root, encoding="unicode") + "\n"


def _totals(results: Sequence[Result]) -> dict[str, str]:
    failures = sum(item.finding.status == "fail" for item in results)
    return {"tests": str(len(results)), "failures": str(failures), "errors": "0"}


def github_commands(results: Sequence[Result]) -> list[str]:
    """A workflow command for each failed check, which GitHub shows beside the commit."""
    return [
        f"::error title={annotation(f'{item.name}: {item.run}', ':,')}::"
        f"{annotation(f'{item.run}: {item.finding.message}')}"
        for item in results
        if item.finding.status == "fail"
    ]
