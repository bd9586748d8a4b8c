"""The site that `./dev docs` builds, from the pages of docs/, the headers and the Python package."""

from __future__ import annotations

import importlib.util
import re
import sys
import xml.etree.ElementTree as ElementTree
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from docutils import nodes
from sphinx.ext.autodoc.mock import mock
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
DOXYGEN = ROOT / "build" / "docs" / "doxygen" / "xml"
VERSION = ".".join(re.findall(r"define AOTI_VERSION_\w+ (\d+)", (ROOT / "include/aoti/version.hpp").read_text()))

project = "aoti"
author = "the authors of aoti"
version = release = VERSION
extensions = ["myst_parser", "breathe", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinxcontrib.mermaid"]
exclude_patterns = ["README.md"]  # a part of index.rst
default_role = "py:obj"
smartquotes = False

html_theme = "furo"
html_title = f"aoti {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

breathe_projects = {"aoti": str(DOXYGEN)}
breathe_default_project = "aoti"
breathe_default_members = ("members", "undoc-members")

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Source": "Source"}
python_maximum_signature_line_length = 100


def import_package() -> None:
    """Imports the Python package without torch, and without what is compiled: its stub stands for that."""
    built = ModuleType("aoti._built")
    built.TORCH, built.VERSION = "0.0", VERSION
    sys.modules[built.__name__] = built
    stub = SourceFileLoader("aoti._C", str(ROOT / "python" / "aoti" / "_C.pyi"))
    spec = importlib.util.spec_from_loader(stub.name, stub)
    sys.path.insert(0, str(ROOT / "python"))
    with mock(["torch", "sympy"]):
        import torch

        torch.__version__ = built.TORCH
        sys.modules[stub.name] = importlib.util.module_from_spec(spec)
        stub.exec_module(sys.modules[stub.name])
        import aoti.drop_in  # noqa: F401


import_package()


def add_figures(app, docname, source) -> None:
    """Lists the page of `./dev report`, if there is one."""
    if docname == "index" and "report/figures" in app.env.found_docs:
        source[0] = source[0].replace("guide/performance\n", "guide/performance\n   report/figures\n")


def lead_links(app, doctree) -> None:
    """Leads the links of Markdown, which are to files of the repository: to the page of one, or to its text."""
    env = app.env
    pages = {Path(env.doc2path(name)).resolve(): name for name in env.found_docs} | {ROOT / "README.md": "index"}
    here = ROOT if env.docname == "index" else Path(env.doc2path(env.docname)).resolve().parent
    for node in list(doctree.findall(nodes.Element)):
        if node.get("reftype") != "myst" or node["reftarget"].startswith("#"):
            continue
        if node["refdomain"] == "doc":  # of a file that MyST has found, without its ending
            path, anchor = f"{node['reftarget']}.md", node["reftargetid"]
        else:
            path, _, anchor = node["reftarget"].partition("#")
        target = (here / path).resolve()
        if target in pages:
            node.attributes.update(refdomain="doc", reftarget=pages[target], reftargetid=anchor)
        elif target.is_file() and target.is_relative_to(ROOT):
            file = target.relative_to(ROOT).as_posix()
            app.shown_files.add(file)
            uri = app.builder.get_relative_uri(env.docname, f"files/{file}")
            node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))
        elif target.is_dir():
            node.replace_self(node.children)


def show_files(app):
    """A page for each file that links lead to."""
    languages = {".hpp": "cpp", ".cpp": "cpp", ".inc": "cpp", ".py": "python", ".md": "markdown"}
    for file in sorted(app.shown_files):
        language = languages.get(Path(file).suffix, "text")
        code = app.builder.highlighter.highlight_block((ROOT / file).read_text(), language)
        yield f"files/{file}", {"title": file, "body": f"<h1>{Path(file).name}</h1><p>{file}</p>{code}"}, "page.html"


def as_text(line: str) -> str:
    """A line of prose, where nothing but `code` has a meaning."""
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(part if i % 2 else re.sub(r"([\\*_|])", r"\\\1", part) for i, part in enumerate(parts))


def docstring(app, what, name, obj, options, lines) -> None:
    """Makes lists of `name: what it is`, and blocks of indented code, into those of reStructuredText."""
    found, item, code = [], False, False
    for line in lines:
        entry = re.match(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)", line)
        if entry:
            found += ["", ", ".join(f"``{word}``" for word in entry[1].split(", ")), f"    {as_text(entry[2])}"]
            item, code = True, False
        elif line.startswith("    ") and item:
            found.append(f"    {as_text(line.strip())}")
        elif line.startswith("    "):
            found += [line] if code else ["", "::", "", line]
            code = True
        elif not line:
            found.append(line)
            item = False
        else:
            found += [*([""] if item or code else []), as_text(line)]
            item = code = False
    lines[:] = found


def signature(app, what, name, *_):
    """Leaves out how objects are made that other functions make."""
    return ("", None) if name in ("aoti.CompiledModel", "aoti.WeightsUpdate") else None


def expect_all_public(app, env) -> None:
    """Warns of what is public in C++ and stands on no page."""
    shown = {name for name, *_ in env.domains["cpp"].get_objects()}
    for compound in ElementTree.parse(DOXYGEN / "index.xml").getroot():
        name = compound.findtext("name")
        kind = compound.get("kind")
        if not re.fullmatch(r"aoti(::drop_in|::dlpack)?(::\w+)?", name) or kind in ("file", "dir"):
            continue
        members = [member.findtext("name") for member in compound.iterfind("member") if member.get("kind") != "enumvalue"]
        for entity in [f"{name}::{member}" for member in members] if kind == "namespace" else [name]:
            if entity not in shown and not re.search(r"::(abi|detail)\b", entity):
                logging.getLogger(__name__).warning("%s is on no page of docs/site/cpp", entity)


def setup(app) -> None:
    app.shown_files = set()
    app.connect("source-read", add_figures)
    app.connect("doctree-read", lead_links, priority=400)
    app.connect("html-collect-pages", show_files)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("env-check-consistency", expect_all_public)
