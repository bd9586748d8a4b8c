"""A runner without an observer has no instruction and no byte for it.

Compiles no_observer.cpp twice, with the headers and with a copy of them without the calls of the observer and its place
in the runner, and compares the instructions of all functions. Only their order and the names of
instances may differ.

usage: no_observer.py INCLUDE_DIR COMPILER [FLAG...]
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".cpp")
FORMS = 3  # run_array and run_list, which the other forms call, and run_handles


def take_out(text: str, pattern: str, count: int, instead: str = "") -> str:
    text, found = re.subn(pattern, instead, text)
    assert found == count, f"{found} of {pattern}"
    return text


def runner_without_observer(text: str) -> str:
    text = take_out(text, r"\n *detail::Watch watch\{model_\.observer, Event::run\};", FORMS)
    text = take_out(text, r"\n *watch\.ended\(done\);", FORMS)
    text = take_out(text, r"(?s)watch\.failed\(\s*(detail::described\(.*?\}\))\);", 2, r"\1;")
    return text


def model_without_observer(text: str) -> str:
    text = take_out(text, r"\n *Watch watch\{observer, Event::fold\};", 1)
    text = take_out(text, r"\n *watch\.(?:about\(count, inactive|ended\(done)\);", 2)
    text = take_out(text, r"\[\[no_unique_address\]\] Observer observer;", 1)
    return take_out(text, r"observer\{(?:other\.observer|watching)\},", 2)


WITHOUT_OBSERVER = {"runner.hpp": runner_without_observer, "run/loaded_model.hpp": model_without_observer}


def functions(compiler: list[str], include: Path, folder: Path) -> Counter[str]:
    """The text of each function, in which other functions of runners are named by their contents."""
    result = folder / "no_observer.o"
    flags = ["-std=c++20", "-O2", f"-I{include}", f"-I{SOURCE.parents[1]}"]
    subprocess.run([*compiler, *flags, "-c", str(SOURCE), "-o", str(result)], check=True)
    objdump = subprocess.run([compiler[0], "-print-prog-name=objdump"], check=True, capture_output=True, text=True)
    dump = [objdump.stdout.strip(), "-dr", "--no-show-raw-insn", "--no-addresses", str(result)]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    parts = re.split(r"^<(\S+)>:$", re.sub(r"\n*Disassembly of section.*\n*", "\n", text), flags=re.MULTILINE)
    bodies = dict(zip(parts[1::2], parts[2::2]))

    # A lambda's position is part of its name, and of the names of everything made from it.
    def renamed(body: str, name_of: Callable[[str, dict[str, str]], str]) -> str:
        seen: dict[str, str] = {}
        return re.sub(r"_Z\w*Runner[\w.]*", lambda name: name_of(name[0], seen), body)

    def by_place(name: str, seen: dict[str, str]) -> str:
        return seen.setdefault(name, f"runner_{len(seen)}")

    content = {name: sha256(renamed(body, by_place).encode()).hexdigest() for name, body in bodies.items()}
    def by_content(name: str, seen: dict[str, str]) -> str:
        return content.get(name) or by_place(name, seen)

    return Counter(renamed(body, by_content) for body in bodies.values())


def main() -> int:
    include, compiler = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        as_it_is = functions(compiler, include, folder)
        copy = folder / "include"
        shutil.copytree(include, copy)
        for file, without_observer in WITHOUT_OBSERVER.items():
            header = copy / "aoti" / file
            header.write_text(without_observer(header.read_text()))
        taken_out = functions(compiler, copy, folder)
    only_here, only_there = as_it_is - taken_out, taken_out - as_it_is
    for kind, some in ("with", only_here), ("without", only_there):
        for body in list(some)[:2]:
            print(f"only {kind} the observer's place:", *body.splitlines()[:40], sep="\n")
    lines = sum(body.count("\n") * count for body, count in as_it_is.items())
    print(f"{as_it_is.total()} functions, {lines} lines; {only_here.total() + only_there.total()} functions differ")
    assert lines > 1000, "there is next to nothing to compare"
    return 1 if only_here or only_there or any("clock_gettime" in body for body in as_it_is) else 0


if __name__ == "__main__":
    sys.exit(main())
