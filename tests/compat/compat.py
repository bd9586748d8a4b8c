"""Runs models that several torch releases compiled on the libtorch of each: compat.py FOLDER OUT.md VERSION ...

FOLDER has, for each version: models-VERSION, written by tests/models/compile_models.py with that torch; build-VERSION,
the tests built with its libtorch; and python-VERSION.xml, the report on the Python package's tests. `./dev compat`
makes them. Writes the findings to OUT.md. Exits with 1 if a test failed, or if a model of this library's did not work
for a reason other than those of skipped tests.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from reports import read_cases

LOADERS = {"aoti": "`aoti`", "torch": "torch's loader"}


@dataclass
class Counts:
    """The tests of one report."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)  # by reason

    def __str__(self) -> str:
        text = f"{self.passed} passed"
        if self.failed:
            text += f", **{len(self.failed)} failed**"
        if self.skipped:
            text += f", {sum(map(len, self.skipped.values()))} skipped"
        return text


def read_report(path: Path) -> Counts:
    counts = Counts()
    if not path.exists():
        counts.failed.append(f"{path.stem}: it did not end")
        return counts
    for case in read_cases(path):
        if case.outcome == "failed":
            counts.failed.append(case.name)
        elif case.outcome == "skipped":
            counts.skipped.setdefault(tidy(case.reason), []).append(case.name)
        else:
            counts.passed += 1
    return counts


def tidy(text: str) -> str:
    """One line that fits into a table, without parts that differ from run to run or from model to model."""
    text = text.strip().split("\n")[0]
    text = re.sub(r"(?:/[\w.+-]+)+/([\w.+-]+)", r"\1", text)
    text = re.sub(r"^\w+\.pt2 \(\w+\): |\w+\.wrapper\.so: |, line \d+$", "", text)
    text = re.sub(r"\w+\(.*\) API call failed", "API call failed", text)
    return text.replace("|", "\\|") or "no reason given"


def run_tests(folder: Path, models: str, libtorch: str, jobs: int) -> Counts:
    report = (folder / f"tests-{models}-{libtorch}.xml").resolve()
    report.unlink(missing_ok=True)
    cases = report.with_suffix("")
    shutil.rmtree(cases, ignore_errors=True)
    subprocess.run(
        ["ctest", "--test-dir", folder / f"build-{libtorch}", "-L", "libtorch", "-E", "^consumers/", "-j", str(jobs)]
        + ["--timeout", "600", "--output-junit", report],
        env={
            **os.environ,
            "AOTI_TEST_MODELS_DIR": str((folder / f"models-{models}").resolve()),
            "GTEST_OUTPUT": f"xml:{cases}/",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return read_report(report)


def probe(folder: Path, models: str, libtorch: str, loader: str, case: str, model: str) -> str:
    """The outcome for one model: "works", or why not."""
    reason = folder / f"models-{models}" / f"{model}.unavailable"
    if reason.exists():
        return "—"
    done = subprocess.run(
        [folder / f"build-{libtorch}" / "tests" / "compat_probe", loader, case],
        env={**os.environ, "AOTI_TEST_MODELS_DIR": str((folder / f"models-{models}").resolve())},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    said = tidy(done.stdout) if done.stdout.strip() else ""
    if done.returncode < 0:
        crash = f"crashes ({signal.Signals(-done.returncode).name})"
        return f"{said}, then {crash}" if said else crash
    return said or f"ends with {done.returncode}"


def list_cases(folder: Path, version: str) -> list[tuple[str, str]]:
    program = folder / f"build-{version}" / "tests" / "compat_probe"
    lines = subprocess.run([program, "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [(case, model) for case, model in (line.split("\t") for line in lines)]


def command_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("\n")[0]


def short(version: str) -> str:
    return version.removesuffix(".0")


def pair_name(pair: tuple[str, str]) -> str:
    return f"{short(pair[0])} on {short(pair[1])}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Notes:
    """Footnote numbers for reasons too long for a cell."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def cell(self, outcome: str) -> str:
        if outcome in ("works", "—"):
            return outcome
        number = self.numbers.setdefault(outcome, len(self.numbers) + 1)
        word = "crashes" if "crashes" in outcome else "wrong" if outcome == "a wrong result" else "refused"
        return f"{word} [{number}]"

    def __str__(self) -> str:
        return "\n".join(f"{number}. {text}" for text, number in self.numbers.items())


def skips(tests: dict[tuple[str, str], Counts]) -> str:
    """Each reason, with the pairs and tests that it applies to."""
    where: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for pair, counts in tests.items():
        for reason, names in counts.skipped.items():
            where.setdefault(reason, {}).setdefault(tuple(sorted(names)), []).append(pair_name(pair))
    rows = []
    for reason, groups in where.items():
        for names, pairs in groups.items():
            rows.append([", ".join(pairs), reason, ", ".join(f"`{name.split('/', 1)[-1]}`" for name in names)])
    return table(["models on libtorch", "reason", "tests"], sorted(rows)) if rows else "Nothing was skipped."


def document(
    versions: list[str],
    exact: list[str],
    tests: dict[tuple[str, str], Counts],
    outcomes: dict[str, dict[str, dict[tuple[str, str], str]]],
    python: dict[str, Counts],
    reasons: dict[str, dict[str, str]],
) -> str:
    pairs = list(tests)
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    parts = [
        "# Models and libtorch of different torch releases",
        f"Written by `./dev compat` on {datetime.date.today()}, with {command_line('g++', '--version')}, on {system} "
        f"({platform.machine()}), with torch {', '.join(exact)} from their wheels. Not to be edited.",
        "A model that one torch compiled runs in a program that was built with the libtorch of another: each of the "
        f"{len(pairs)} pairs, on the CPU. “2.8 on 2.15” is a model that torch 2.8 compiled, on libtorch 2.15.",
        "## This library's tests",
        "All tests that need libtorch, with the models of each torch.",
        table(
            ["models compiled by", *(f"on libtorch {short(version)}" for version in versions)],
            [[short(w), *(str(tests[w, v]) for v in versions)] for w in versions],
        ),
    ]
    failed = {pair: counts.failed for pair, counts in tests.items() if counts.failed}
    if failed:
        rows = [[pair_name(pair), ", ".join(f"`{name}`" for name in names)] for pair, names in failed.items()]
        parts += ["What failed:", table(["models on libtorch", "tests"], rows)]
    parts += ["What was skipped, and why:", skips(tests)]
    for loader, name in LOADERS.items():
        notes = Notes()
        rows = [[case, *(notes.cell(found[pair]) for pair in pairs)] for case, found in outcomes[loader].items()]
        works = [str(sum(found[pair] == "works" for found in outcomes[loader].values())) for pair in pairs]
        parts += [
            f"## Each model, with {name}",
            "Opened, run once, and compared with what eager PyTorch computes, each in a process of its own.",
            table(["model", *(pair_name(pair) for pair in pairs)], [*rows, ["**how many work**", *works]]),
            str(notes),
        ]
    parts.append("“—”: this torch could not compile the model.")
    rows = [[short(version), f"`{model}`", reason] for version in versions for model, reason in reasons[version].items()]
    if rows:
        parts.append(table(["torch", "model", "reason"], rows))
    parts += [
        "## The Python package",
        "Its tests, with a wheel built for each torch, and the models of this torch.",
        table(["torch", "tests"], [[short(version), str(python[version])] for version in versions]),
    ]
    rows = [
        [short(version), reason, ", ".join(f"`{name}`" for name in names)]
        for version in versions
        for reason, names in python[version].skipped.items()
    ]
    if rows:
        parts.append(table(["torch", "reason", "skipped tests"], rows))
    parts.append("What a run costs, and devices other than the CPU, were not looked at.")
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> int:
    folder, out, versions = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    jobs = int(os.environ.get("AOTI_JOBS", 0)) or os.cpu_count() or 1
    pairs = [(models, libtorch) for models in versions for libtorch in versions]
    tests = {}
    for models, libtorch in pairs:
        tests[models, libtorch] = counts = run_tests(folder, models, libtorch, jobs)
        print(f"models of {models} on libtorch {libtorch}: {counts}", *counts.failed, sep="\n  ", flush=True)

    cases = list_cases(folder, versions[-1])
    outcomes: dict[str, dict[str, dict[tuple[str, str], str]]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for loader in LOADERS:
            found = {
                case: {pair: pool.submit(probe, folder, *pair, loader, case, model) for pair in pairs}
                for case, model in cases
            }
            outcomes[loader] = {case: {pair: job.result() for pair, job in jobs_.items()} for case, jobs_ in found.items()}
            works = sum(outcome == "works" for by_pair in outcomes[loader].values() for outcome in by_pair.values())
            print(f"{LOADERS[loader]}: {works} of {len(cases) * len(pairs)} work", flush=True)

    python = {version: read_report(folder / f"python-{version}.xml") for version in versions}
    reasons = {
        version: {file.stem: file.read_text() for file in sorted((folder / f"models-{version}").glob("*.unavailable"))}
        for version in versions
    }
    exact = [exact_version(folder, version) for version in versions]
    out.write_text(document(versions, exact, tests, outcomes, python, reasons))
    print(f"written: {out}")
    return int(any(counts.failed for counts in [*tests.values(), *python.values()]))


def exact_version(folder: Path, version: str) -> str:
    """With the build's suffix, as in the models' stamps."""
    stamps = (folder / f"models-{version}" / "stamps.json").read_text()
    return re.search(r'": "(\S+)', stamps)[1]


if __name__ == "__main__":
    sys.exit(main())
