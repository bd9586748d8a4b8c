"""The structure of include/aoti: what a header may include, its length and form, and which test covers it.

docs/architecture.md says the same in words.
"""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include" / "aoti"
HEADERS = sorted(path.relative_to(INCLUDE).as_posix() for path in INCLUDE.rglob("*.hpp"))

# From the bottom up: a header may include headers of its own row and of rows before it.
FOUNDATION = ("error.hpp", "result.hpp", "atomic.hpp", "version.hpp")
LAYERS = ("foundation", "abi", "device", "file", "image", "package", "runtime", "model", "load", "run", "weights", "open", "front", "python")
# Folders of runtime/ that its other folders may include; headers directly in runtime/ may include all of them.
SHARED_RUNTIMES = ("", "native")
# The start of includes of torch's headers.
TORCH = re.compile(r"<(torch|ATen|c10|caffe2)/")

# Headers without a test of their name, and the tests that cover them.
TESTED_BY = {
    "aoti.hpp": "every program of examples/",
    "version.hpp": "tests/consumers: numbers only",
    "atomic.hpp": "tests/threads_test.cpp: what the compiler has",
    "abi/row.hpp": "tests/abi/exports_test.cpp: a list of members",
    "abi/handles.hpp": "tests/abi/conformance_test.cpp, against torch's",
    "device/cuda.hpp": "tests/device/shim_test.cpp, with the other devices of torch's C interface",
    "device/mps.hpp": "tests/device/shim_test.cpp",
    "device/xpu.hpp": "tests/device/shim_test.cpp",
    "device/device.hpp": "tests/device/battery.hpp, on each policy",
    "file/temporary.hpp": "tests/image/library_test.cpp",
    "file/foreign.hpp": "tests/package/package_test.cpp, by what users see",
    "drop_in.hpp": "tests/libtorch/drop_in_test.cpp, against torch's classes",
    "drop_in_runner.hpp": "tests/libtorch/drop_in_test.cpp",
    "package/source.hpp": "tests/open/open_test.cpp",
    "package/device_key.hpp": "tests/libtorch/drop_in_test.cpp",
    "image/elf.hpp": "tests/image/image_test.cpp: layouts",
    "image/contents.hpp": "tests/image/image_test.cpp",
    "image/check.hpp": "tests/image/damaged_image_test.cpp",
    "image/check_symbols.hpp": "tests/image/damaged_image_test.cpp",
    "image/foreign.hpp": "tests/image/image_test.cpp, by what users see",
    "image/file.hpp": "tests/image/library_test.cpp",
    "image/demands.hpp": "tests/load/preflight_test.cpp",
    "image/processor.hpp": "tests/load/preflight_test.cpp",
    "image/operator_libraries.hpp": "tests/libtorch/operators_test.cpp, with real ones",
    "package/constants.hpp": "tests/package/spec_test.cpp",
    "package/constant_source.hpp": "tests/runtime/weights_battery.hpp, on real packages",
    "package/guard_compiler.hpp": "tests/package/guard_test.cpp",
    "load/kernels.hpp": "tests/open/open_test.cpp",
    "load/container.hpp": "tests/open/open_test.cpp",
    "load/options.hpp": "tests/open/open_test.cpp",
    "load/native_needs.hpp": "tests/load/preflight_test.cpp",
    "run/gate.hpp": "tests/threads_test.cpp",
    "run/handles.hpp": "tests/runner_test.cpp",
    "run/loaded_model.hpp": "tests/runner_test.cpp",
    "run/signature.hpp": "tests/open/open_test.cpp",
    "run/erased_runner.hpp": "tests/any_runner_test.cpp",
    "changeable_runner.hpp": "tests/libtorch/drop_in_test.cpp, and tests/python/test_weights.py",
    "runtime/native/forms.hpp": "tests/runtime/onednn_operators_test.cpp, by packed weights",
    "runtime/refinements.hpp": "tests/compile_fail, and each of them with what it is good for",
    "weights/access.hpp": "tests/weights_test.cpp",
    "weights/copies.hpp": "tests/weights_test.cpp",
    "weights/fit.hpp": "tests/weights_test.cpp",
    "weights/names.hpp": "tests/weights_test.cpp",
    "weights/load.hpp": "tests/runtime/weights_battery.hpp",
    "runtime/serialized.hpp": "tests/libtorch/operators_test.cpp: numbers",
    "runtime/libtorch.hpp": "tests/libtorch/runtime_test.cpp and the batteries",
    "runtime/libtorch_operators.hpp": "tests/libtorch/operators_test.cpp",
    "runtime/onednn.hpp": "tests/libtorch/onednn_*_test.cpp, against torch",
    "runtime/fftw.hpp": "tests/libtorch/fftw_transforms_test.cpp, against torch",
    "runtime/lapack.hpp": "tests/libtorch/lapack_operators_test.cpp, against torch",
    "runtime/libtorch/": "tests/libtorch/operators_test.cpp",
    "runtime/native/": "tests/runtime/native_test.cpp, tensor_test.cpp, pool_test.cpp",
    "runtime/plain/": "tests/libtorch/native_operators_test.cpp, against torch; tests/runtime/plain_operators_test.cpp",
    "runtime/onednn/": "tests/libtorch/onednn_*_test.cpp, against torch",
    "runtime/lapack/": "tests/libtorch/lapack_operators_test.cpp, against torch",
    "file/archive_writer.hpp": "tests/package/writer_test.cpp",
    "file/json_writer.hpp": "tests/package/writer_test.cpp, read again",
    "abi/array_ref.hpp": "tests/array_ref_test.cpp: a layout",
    "export_model.hpp": "tests/libtorch/written_models_test.cpp, by what it makes",
    "linked_model.hpp": "tests/model/linked_model_test.cpp",
    "model/": "tests/model/exported_test.cpp, by what hosts see",
    "python/": "tests/python, from Python",
}


def includes(header: str, pattern: str = r'"aoti/(\S+\.hpp)"') -> list[str]:
    return re.findall(rf"^#include {pattern}", (INCLUDE / header).read_text(), re.MULTILINE)


def layer(header: str) -> int:
    folder = header.split("/")[0] if "/" in header else "foundation" if header in FOUNDATION else "front"
    return LAYERS.index(folder)


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_includes_nothing_above_it(header: str) -> None:
    above = [other for other in includes(header) if layer(other) > layer(header)]
    assert not above
    if header.startswith("runtime/"):
        own = header.split("/")[1:-1]
        for other in includes(header):
            folder = other.split("/")[1] if other.count("/") == 2 else ""
            assert not other.startswith("runtime/") or not own or folder in (*SHARED_RUNTIMES, *own), other


@pytest.mark.parametrize("header", HEADERS)
def test_only_what_is_on_libtorch_includes_torch(header: str) -> None:
    assert header.startswith(("runtime/libtorch", "python/", "drop_in")) or not includes(header, rf"({TORCH.pattern}\S+>)")


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_says_what_it_is_for(header: str) -> None:
    lines = (INCLUDE / header).read_text().splitlines()
    assert lines[0] == "// SPDX-License-Identifier: BSD-3-Clause"
    assert re.match(r"// \S", lines[1])
    assert len(lines) <= 400


def test_headers_are_short() -> None:
    assert median(len((INCLUDE / header).read_text().splitlines()) for header in HEADERS) <= 180


def test_each_folder_is_in_the_architecture() -> None:
    told = set(re.findall(r"^\| `([\w/]+)/` \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE))
    folders = {Path(header).parent.as_posix() for header in HEADERS} - {"."}
    assert told == folders


@pytest.mark.parametrize(("section", "most"), [("Opening", 12), ("A run", 7)])
def test_the_way_to_read_is_short_and_leads_on(section: str, most: int) -> None:
    """Each of its files is included, directly or not, by those before it."""
    text = (ROOT / "docs" / "architecture.md").read_text().split(f"## {section}")[1].split("\n## ")[0]
    way = re.findall(r"\(\.\./include/aoti/([\w/]+\.hpp)\)", text[text.index("To follow it, read") :].split("\n\n")[0])
    assert 1 < len(way) == len(set(way)) <= most
    known, reached = [way[0]], {way[0]}
    while known:
        for header in includes(known.pop()):
            if header not in reached:
                reached.add(header)
                known.append(header)
    assert set(way) - reached <= {"device/cpu.hpp", "runtime/libtorch.hpp"}  # which a program chooses


def test_each_header_has_its_test() -> None:
    def is_tested(header: str) -> bool:
        return (ROOT / "tests" / header.replace(".hpp", "_test.cpp")).is_file()

    def is_listed(header: str) -> bool:
        return header in TESTED_BY or any(header.startswith(key) for key in TESTED_BY if key.endswith("/"))

    assert not [header for header in HEADERS if not is_tested(header) and not is_listed(header)]
    assert not [key for key in TESTED_BY if is_tested(key) or not any(header.startswith(key) for header in HEADERS)]


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="there is no clang-format")
def test_sources_are_formatted() -> None:
    sources = [path for folder in ("include", "tests", "bench", "examples", "python", "cmake") for path in (ROOT / folder).rglob("*.[ch]pp")]
    with ThreadPoolExecutor() as threads:
        formatted = threads.map(lambda path: subprocess.run(["clang-format", path], capture_output=True, check=True).stdout, sources)
        assert not [path for path, text in zip(sources, formatted) if text != path.read_bytes()]
