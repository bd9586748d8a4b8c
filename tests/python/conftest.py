"""Fixtures that tests share."""

import os
import zipfile

# Of the tests' time, most goes into compiling the C++ around models' kernels; without optimisation it takes less.
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
