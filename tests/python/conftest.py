"""Fixtures that tests share."""

import os
import zipfile
from pathlib import Path

# Of the tests' time, most goes into compiling the C++ around models' kernels. Without optimisation, and without the
# standard library's regular expressions, it takes half.
os.environ.setdefault("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")
os.environ["CPLUS_INCLUDE_PATH"] = str(Path(__file__).parents[1] / "models" / "light")

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
