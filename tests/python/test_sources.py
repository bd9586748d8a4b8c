"""Packages of sources: compiled when opened, or by the command."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch
from common import TORCH

import aoti
import aoti.drop_in


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((40,), 3.0))

    def forward(self, x):
        return x * self.scale


X = torch.ones(40)
EXPECTED = torch.full((40,), 3.0)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    path = tmp_path_factory.mktemp("sources") / "sources.pt2"
    with torch.no_grad():
        torch._inductor.aoti_compile_and_package(
            torch.export.export(Scaled(), (X,)),
            package_path=str(path),
            inductor_configs={"aot_inductor.package_cpp_only": True},
        )
    return path


def compile_(*arguments):
    command = [sys.executable, "-m", "aoti", "compile", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def images(path):
    with zipfile.ZipFile(path) as package:
        return {name: package.read(name) for name in package.namelist() if name.endswith(".so")}


@pytest.fixture(scope="module")
def compiled(sources, tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "compiled.pt2"
    done = compile_(sources, "-o", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not images(sources)
    return path


def test_the_command_compiles(compiled, tmp_path):
    assert len(images(compiled)) == 1
    for load in (aoti.load, aoti.drop_in.load_package, torch._inductor.aoti_load_package):
        torch.testing.assert_close(load(compiled)(X), EXPECTED)
    assert aoti.inspect(compiled)[0].refused is None
    model = aoti.load(compiled)
    with model.update() as weights:
        weights["scale"] = 2 * EXPECTED
    torch.testing.assert_close(model(X), 2 * EXPECTED)
    before = compiled.read_bytes()  # which has its image
    assert compile_(compiled).returncode == 0 and compiled.read_bytes() == before
    failed = compile_(tmp_path / "absent.pt2")
    assert failed.returncode == 1 and "absent.pt2" in failed.stderr and "Traceback" not in failed.stderr


@pytest.fixture
def quick(sources, compiled, tmp_path):
    """The package with another compiler: a script that writes what the real one made, and a list of its calls."""
    (image,) = images(compiled).values()
    (tmp_path / "image").write_bytes(image)
    (tmp_path / "stub").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        f'while [ $# -gt 0 ]; do [ "$1" = -o ] && exec cp {tmp_path}/image "$2"; shift; done\n'
    )
    (tmp_path / "stub").chmod(0o755)
    return with_compiler(sources, tmp_path / "quick.pt2", str(tmp_path / "stub"))


def with_compiler(sources, path, compiler):
    with zipfile.ZipFile(sources) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name.endswith("_flags.json"):
                content = json.dumps({**json.loads(content), "compiler": compiler}).encode()
            after.writestr(name, content)
    return path


def test_opening_compiles_where_it_is_asked_to(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(quick) as package:
        package.extractall(unpacked)
    before = quick.read_bytes()
    for source in (quick, before, unpacked):
        with pytest.raises(aoti.LoadError, match="sources only; compile it first by `python -m aoti compile FILE`"):
            aoti.load(source)
        torch.testing.assert_close(aoti.load(source, compile=True)(X), EXPECTED)
    loader = aoti.drop_in.AOTIModelPackageLoader(str(quick))
    torch.testing.assert_close(loader.run([X])[0], EXPECTED)
    torch.testing.assert_close(aoti.drop_in.aoti_load_package(quick)(X), EXPECTED)
    assert quick.read_bytes() == before and not os.listdir(tmp_path / "scratch")

    compiling, linking = (tmp_path / "calls").read_text().splitlines()[:2]
    assert " -c " in compiling and "-O3" in compiling and "-std=c++" in compiling and "wrapper.cpp" in compiling
    assert (".weights.o" if TORCH >= (2, 13) else ".wrapper.o") in linking and "-shared" in linking and "-ltorch_cpu" in linking and "noexecstack" in linking

    assert compile_(unpacked).returncode == 0  # adds the image to the directory
    torch.testing.assert_close(aoti.load(unpacked)(X), EXPECTED)
    assert compile_(quick).returncode == 0
    torch.testing.assert_close(aoti.load(quick)(X), EXPECTED)
    with pytest.raises(TypeError, match="compile"):
        aoti.load(quick, compile=1)


def test_what_does_not_compile_is_told(sources, tmp_path):
    absent = with_compiler(sources, tmp_path / "absent.pt2", "/no/such/compiler")
    failing = with_compiler(sources, tmp_path / "failing.pt2", "sh -c 'echo x.cpp:1: error: bad >&2; exit 1' sh")
    damaged = shutil.copy(sources, tmp_path / "damaged.pt2")
    with zipfile.ZipFile(sources) as before, zipfile.ZipFile(damaged, "w") as after:
        for name in before.namelist():
            after.writestr(name, b"{}" if name.endswith("_flags.json") else before.read(name))
    for path, error, text in (
        (absent, aoti.LoadError, "need the compiler /no/such/compiler"),
        (failing, aoti.LoadError, "do not compile with torch .*: x.cpp:1: error: bad"),
        (damaged, aoti.PackageError, "_compile_flags.json: damaged package"),
    ):
        for load in (lambda path: aoti.load(path, compile=True), aoti.drop_in.load_package):
            with pytest.raises(error, match=text):
                load(path)
        done = compile_(path)
        assert done.returncode == 1 and "Traceback" not in done.stderr and done.stderr
