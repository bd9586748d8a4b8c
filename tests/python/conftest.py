"""Fixtures that tests share."""

import os
import shlex
import zipfile
from pathlib import Path

# Of the tests' time, most goes into compiling the C++ around models' kernels.
LIGHT = Path(__file__).parents[1] / "models" / "light"
if os.environ.get("CXX", "g++") == "g++":
    os.environ["CXX"] = shlex.quote(str(LIGHT / "g++"))
os.environ["CPLUS_INCLUDE_PATH"] = str(LIGHT)
os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"  # instead of compiling a library for each instruction set
os.environ.setdefault("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")

import pytest
from common import package


@pytest.fixture
def unpacked(tmp_path):
    """The path of a model's shared object, on its own."""

    def unpack(name):
        with zipfile.ZipFile(package(name)) as archive:
            (so,) = (entry for entry in archive.namelist() if entry.endswith(".so"))
            path = tmp_path / f"{name}.so"
            if not path.exists():  # it may be mapped
                path.write_bytes(archive.read(so))
        return str(path)

    return unpack
