"""Sums up what tests reported: reports.py REPORT.xml … names those that failed, and exits with 1 if there are any.

A report is JUnit's XML, by ctest or pytest. To ctest a program is one test; its cases are in the report that GoogleTest
wrote, for the test folder/name of NAME.xml in NAME/folder_name_test.xml. Where there is none, or none of its cases failed
though the program did, the program counts as one test.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Case:
    name: str
    outcome: str  # passed, failed or skipped
    reason: str = ""  # for a skip


def read_cases(report: Path) -> Iterator[Case]:
    for test in read_report(report):
        program = report.with_suffix("") / f"{test.name.replace('/', '_')}_test.xml"
        cases = list(read_report(program)) if program.exists() else []
        for case in cases:
            case.name = f"{test.name}/{case.name}"
        if not cases or test.outcome == "failed" and all(case.outcome != "failed" for case in cases):
            cases.append(test)
        yield from cases


def read_report(path: Path) -> Iterator[Case]:
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag: child for child in case}
        name = ".".join(dict.fromkeys(filter(None, (case.get("classname"), case.get("name")))))
        message = kinds["skipped"].get("message", "") if "skipped" in kinds else ""
        unbuilt = message == "Unable to find executable"  # which ctest calls skipped
        if "failure" in kinds or "error" in kinds or unbuilt:
            yield Case(name, "failed")
        elif "skipped" in kinds or case.get("status") in ("disabled", "notrun"):
            # GoogleTest says first where it was.
            yield Case(name, "skipped", message.split("\n", 1)[-1])
        else:
            yield Case(name, "passed")


def main() -> int:
    counts: Counter[str] = Counter()
    for path in map(Path, sys.argv[1:]):
        for case in read_cases(path):
            counts[case.outcome] += 1
            if case.outcome == "failed":
                print("failed:", path.stem, case.name)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
