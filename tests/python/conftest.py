"""Fixtures that tests share."""

import zipfile

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
