"""Bilinear upsampling, which is compiled as two passes."""

import pytest
import torch
import torch.nn.functional as F
from torch._decomp.decompositions import _upsample_linear_vec
from torch.export import Dim

import aoti
from aoti import Model
from aoti._upsampling import upsample, upsample_in_two_passes

SHAPES = [((1, 3, 7, 5), (14, 20)), ((2, 5, 4, 4), (9, 3)), ((1, 1, 1, 1), (5, 7)), ((3, 21, 6, 8), (48, 64))]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_it_is_that_of_torch(shape, size, layout, align_corners):
    torch.manual_seed(0)
    x = torch.randn(shape).to(memory_format=layout)
    found = upsample(x, size, align_corners, None)
    # Inductor compiles this, which computes the same sums.
    expected = _upsample_linear_vec(x, size, align_corners, None)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found.stride() == expected.stride()
    torch.testing.assert_close(found, F.interpolate(x, size, mode="bilinear", align_corners=align_corners))


def test_scales_are_used():
    x = torch.randn(1, 2, 5, 7)
    expected = F.interpolate(x, scale_factor=(2.5, 3.3), mode="bilinear")
    torch.testing.assert_close(upsample(x, tuple(expected.shape[2:]), False, (2.5, 3.3)), expected)


def test_what_is_no_number_stays_where_it_is():
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 4, 4] = torch.inf
    y = upsample(x, (32, 32), False, None)
    assert y[..., :12, :].isfinite().all() and y[..., :12].isfinite().all() and not y.isfinite().all()


class Upsampling(torch.nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, x):
        return F.interpolate(x * 2, mode="bilinear", **self.options)


def replaced(module, x, **dynamic):
    program = torch.export.export(module, (x,), **dynamic).module()
    before = [node.target for node in program.graph.nodes]
    upsample_in_two_passes(program)
    torch.testing.assert_close(program(x), module(x))
    return [node.target for node in program.graph.nodes] != before


def test_only_what_gets_faster_is_replaced():
    x = torch.randn(2, 3, 8, 8)
    assert replaced(Upsampling(size=(16, 16)), x)
    assert replaced(Upsampling(scale_factor=2), x)
    assert replaced(Upsampling(scale_factor=2), x, dynamic_shapes={"x": {0: Dim("batch", min=1, max=9)}})
    assert not replaced(Upsampling(size=(12, 32)), x)
    assert not replaced(Upsampling(size=(16, 16)), x.double())
    assert not replaced(Upsampling(scale_factor=2), x, dynamic_shapes={"x": {2: Dim("height", min=2, max=9)}})


@pytest.mark.parametrize("updatable", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_package_gives_the_results_of_the_module(tmp_path, updatable, layout):
    torch.manual_seed(0)
    # Frozen, it computes on channels-last tensors within.
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), Upsampling(scale_factor=4), torch.nn.ReLU()).eval()
    example = torch.randn(2, 3, 9, 7).to(memory_format=layout)
    shapes = {"input": {0: Dim("batch", min=1, max=8)}}
    model = Model(module, (example,), dynamic_shapes=shapes)
    model = aoti.load(aoti.export(tmp_path / "model.pt2", model, updatable=updatable))
    for batch in (1, 3):
        x = torch.randn(batch, 3, 9, 7).to(memory_format=layout)
        torch.testing.assert_close(model(x), module(x))
