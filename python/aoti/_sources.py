"""Compiles packages of sources, which torch writes with the option aot_inductor.package_cpp_only."""

from __future__ import annotations

import functools
import io
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from .errors import LoadError, PackageError

FOLDER = "data/aotinductor/"
ALIGNMENT = 16384  # of the weights that follow the code


def compile_package(path: Path, output: Path | None = None) -> None:
    """Compiles the models without an image in a package (a file or a directory), and adds their images to it.

    output: where to write the package instead.
    """
    if path.is_dir() and output is None:
        for model, image in _compile(_in_directory(path)).items():
            (path / model).write_bytes(image)
        return
    target = (output or path).resolve()
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as beside:
        compiled = _compiled(os.fsencode(path), False, None, beside)
        if compiled is not None:
            shutil.copymode(target if target.is_file() else beside if path.is_dir() else path, compiled)
            os.chmod(compiled, os.stat(compiled).st_mode & 0o666)
            os.replace(compiled, target)
        elif path.is_dir():
            raise PackageError(f"{path}: all of its models are compiled", "invalid argument")
        elif target != path.resolve():
            shutil.copyfile(path, target)


def compiled_package(source: bytes, in_memory: bool, model: str) -> bytes | None:
    """The path of a copy of the package that has the model's image; the caller deletes it. None if it already has one.

    source: a path, or a package's bytes.
    model: its name; empty for the only one.
    """
    path = _compiled(source, in_memory, model, None)
    return None if path is None else os.fsencode(path)


def _compiled(source: bytes, in_memory: bool, model: str | None, folder: str | None) -> str | None:
    path = None if in_memory else Path(os.fsdecode(source))
    if path is not None and path.is_dir():
        files = _in_directory(path)
        images = _compile(files, model)
    else:
        try:
            with zipfile.ZipFile(io.BytesIO(source) if path is None else path) as archive:
                contents = {name: functools.partial(archive.read, name) for name in archive.namelist()}
                images = _compile(contents, model)
        except (OSError, zipfile.BadZipFile):
            return None  # opening it reports the error
    if not images:
        return None
    descriptor, target = tempfile.mkstemp(suffix=".pt2", prefix="aoti-", dir=folder)
    os.close(descriptor)
    try:
        if path is None:
            Path(target).write_bytes(source)
        elif path.is_file():
            shutil.copyfile(path, target)
        with zipfile.ZipFile(target, "a") as archive:
            if path is not None and path.is_dir():
                for name, content in files.items():
                    archive.writestr(name, content())
            for name, image in images.items():
                archive.writestr(name, image)
    except BaseException:
        os.unlink(target)
        raise
    return target


def _in_directory(path: Path) -> dict[str, Any]:
    return {file.relative_to(path).as_posix(): file.read_bytes for file in path.rglob("*") if file.is_file()}


def _compile(files: Mapping[str, Any], model: str | None = None) -> dict[str, bytes]:
    """Compiles images for models without one, by their names in the package: for all models, or the one named."""
    folders: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        at = name.find(FOLDER)
        if at >= 0 and not name.endswith("/"):
            folder, _, file = name.rpartition("/")
            folders.setdefault(folder, {})[file] = content
    names = {folder: folder[folder.find(FOLDER) + len(FOLDER) :] for folder in folders}
    if model is not None:
        folders = {f: c for f, c in folders.items() if names[f] == model or (not model and len(folders) == 1)}
    return {
        f"{folder}/{name}": image
        for folder, contents in folders.items()
        if not any(file.endswith(".so") for file in contents)
        for name, image in [_image(names[folder], contents)]
    }


def _image(model: str, files: Mapping[str, Any]) -> tuple[str, bytes]:
    """The name of a model's image, and the image."""
    sources = [file for file in files if file.endswith(".cpp")]
    linked = [file for file in files if file.endswith("_linker_flags.json")]
    if not sources or len(linked) != 1:
        raise PackageError(f"model '{model}': it has neither an image nor sources with flags", "damaged package")
    stem = linked[0].removesuffix("_linker_flags.json")
    weights = files.get(f"{stem}_serialized_weights.bin")
    if weights is not None and not any(file.endswith(".o") for file in files):
        raise PackageError(
            f"model '{model}': its sources do not link, since torch leaves out part of them if both "
            "package_cpp_only and force_mmap_weights are set: drop one of them",
            "unsupported",
        )
    with tempfile.TemporaryDirectory(prefix="aoti-compile-") as folder:
        for file, content in files.items():
            if PurePosixPath(file).name != file:
                raise PackageError(f"model '{model}': '{file}' is not a file's name", "damaged package")
            Path(folder, file).write_bytes(content())
        objects = [file for file in files if file.endswith(".o")]
        for source in sources:
            name = source.removesuffix(".cpp")
            flags = f"{name}_compile_flags.json"
            flags = flags if flags in files else f"{stem}_compile_flags.json"
            _run(model, folder, flags, [source], ["-c"], f"{name}.o")
            objects.append(f"{name}.o")
        _run(model, folder, linked[0], objects, [], f"{stem}.so")
        image = Path(folder, f"{stem}.so").read_bytes()
    if weights is not None:
        image += b" " * (ALIGNMENT - len(image) % ALIGNMENT) + weights()
    return f"{stem}.so", image


def _run(model: str, folder: str, flags: str, inputs: list[str], more: list[str], output: str) -> None:
    """Calls the compiler in the folder, with the flags in a file there."""
    try:
        options = json.loads(Path(folder, flags).read_bytes())
        # First the folders named in the package, then this torch's.
        home = Path(torch.__file__).parent
        includes = [*options["include_dirs"], home / "include", home / "include/torch/csrc/api/include"]
        libraries = [*options["libraries_dirs"], home / "lib"]
        command = [
            *shlex.split(options["compiler"]),
            *inputs,
            *(f"-D{definition.strip()}" for definition in options["definitions"]),
            *(part for flag in options["cflags"] for part in shlex.split(f"-{flag}")),
            *(f"-I{include}" for include in includes),
            *(part for argument in options["passthrough_args"] for part in shlex.split(argument)),
            *more,
            *("-o", output),
        ]
        if not options["compile_only"]:
            command += [part for flag in options["ldflags"] for part in shlex.split(f"-{flag}")]
            command += [f"-l{library}" for library in options["libraries"]]
            command += [f"-L{library}" for library in libraries]
            command += ["-Wl,-z,noexecstack"]  # which the assembler file of weights does not say
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise PackageError(f"model '{model}': {flags}: damaged package: {error!r}", "damaged package") from error
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        text = f"model '{model}': its sources need the compiler {command[0]}: {error}"
        raise LoadError(text, "unsupported") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-3:]
        text = f"model '{model}': its sources do not compile with torch {torch.__version__}: " + "; ".join(lines[:3])
        raise LoadError(text, "library load failed")
