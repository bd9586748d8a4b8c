"""A C++ extension with its own device policy, beside this package."""

from pathlib import Path

import pytest
import torch
from common import package
from torch.utils.cpp_extension import load

import aoti

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    return load(
        "own_device",
        [str(ROOT / "tests" / "python" / "own_device" / "module.cpp")],
        extra_include_paths=[str(ROOT / "include")],
        extra_cflags=["-std=c++20", "-O0"],
        build_directory=str(tmp_path_factory.mktemp("own_device")),
    )


def test_its_class_runs_models_on_its_policy(extension, unpacked, tmp_path):
    runner = extension.AOTIModelContainerRunnerCounting(unpacked("add"), 1)
    before, a = extension.calls(), torch.ones(8)
    torch.testing.assert_close(runner.run([a, a]), [2 * a])
    assert extension.calls() > before
    torch.testing.assert_close(aoti.load(package("add"))(a, a), 2 * a)
    with pytest.raises(aoti.InputError):
        runner.run([a])
    with pytest.raises(aoti.PackageError):
        extension.AOTIModelContainerRunnerCounting(str(tmp_path / "absent.so"), 1)
