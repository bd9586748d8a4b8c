"""The code in the README and in the guide is run somewhere, and links between the documents are not broken.

Each block of C++ or Python is marked with the file that it is a part of.
"""

import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARKED = re.compile(r"^<!-- from (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


BLOCKS = [(name(page), path, code) for page in (README, *GUIDE) for path, code in MARKED.findall(page.read_text())]


def prose(document: Path) -> str:
    """A document's text outside its code blocks."""
    return FENCED.sub("", document.read_text())


def links(document: Path) -> list[str]:
    """The targets of its links to files and headings of this project, except in `code`."""
    targets = LINK.findall(re.sub(r"`[^`\n]*`", "", prose(document)))
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to the headings of a document."""
    found: Counter[str] = Counter()
    names = set()
    for heading in HEADING.findall(prose(document)):
        text = LINK.sub(lambda link: link[0][1 : link[0].index("](")], heading).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        names.add(f"{anchor}-{found[anchor]}" if found[anchor] else anchor)
        found[anchor] += 1
    return names


def broken(document: Path) -> list[str]:
    """A document's broken links."""
    wrong = []
    for target in links(document):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        there = file.exists() and file.is_relative_to(ROOT)
        if not there or (anchor and (file.suffix != ".md" or anchor not in anchors(file))):
            wrong.append(target)
    return wrong


def test_there_are_marked_blocks() -> None:
    assert len(BLOCKS) >= 2
    assert any(page == "README.md" for page, _, _ in BLOCKS)
    assert any(page.startswith("docs/guide/") for page, _, _ in BLOCKS)


@pytest.mark.parametrize(("page", "path", "code"), BLOCKS, ids=[f"{page}-{path}" for page, path, _ in BLOCKS])
def test_block_is_part_of_its_file(page: str, path: str, code: str) -> None:
    def lines(text: str) -> str:
        return "\n".join(line.strip() for line in text.strip().splitlines())

    assert lines(code) in lines((ROOT / path).read_text())


@pytest.mark.parametrize("page", [README, *GUIDE], ids=name)
def test_blocks_of_code_are_marked(page: Path) -> None:
    code = [text for language, text in FENCED.findall(page.read_text()) if language in ("cpp", "python")]
    assert code == [text for _, text in MARKED.findall(page.read_text())]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_outside_of_blocks_lead_somewhere(document: Path) -> None:
    assert not broken(document)


def test_links_outside_of_blocks_reach_each_page_of_the_guide() -> None:
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in links(README)}
    assert {*GUIDE} <= linked


@pytest.mark.skipif(find_spec("aoti._C") is None, reason="the compiled part of the package was not built")
def test_the_example_in_python_runs() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "14_python.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "wrong input shape" in done.stdout
