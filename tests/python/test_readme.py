"""The README's code is code that is run: each block marked with a file is a part of that file."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"<!-- from (\S+) -->\n```\w+\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_there_are_marked_blocks() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize(("path", "code"), BLOCKS, ids=[path for path, _ in BLOCKS])
def test_block_is_part_of_its_file(path: str, code: str) -> None:
    def lines(text: str) -> str:
        return "\n".join(line.strip() for line in text.strip().splitlines())

    assert lines(code) in lines((ROOT / path).read_text())


@pytest.mark.skipif(find_spec("aoti._C") is None, reason="the compiled part of the package was not built")
def test_the_example_in_python_runs() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "14_python.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "wrong input shape" in done.stdout
