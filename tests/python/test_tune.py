"""aoti.export(…, tune=True)."""

import json

import pytest
import torch

import aoti
from aoti import _tune


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)).eval()


def test_the_fastest_that_agrees_is_kept(tmp_path, capfd):
    module, x, before = network(), torch.randn(4, 64), torch.get_num_threads()
    path = aoti.export(tmp_path / "tuned.pt2", aoti.Model(module, (x,)), threads=1, tune=True)
    assert torch.get_num_threads() == before
    said = capfd.readouterr().err
    assert "1 of 4, defaults: compiling" in said and "µs" in said

    model = aoti.load(path, threads=1)
    torch.testing.assert_close(model(x), module(x), rtol=1e-4, atol=1e-5)
    tuned = json.loads(model.metadata["aoti.tuned"])
    assert tuned["threads"] == 1
    assert sorted(row["name"] for row in tuned["tried"]) == sorted(_tune.CANDIDATES)
    measured = [row["microseconds"] for row in tuned["tried"] if "microseconds" in row]
    assert len(measured) >= 2 and measured == sorted(measured) and measured[0] > 0
    assert "tuned" in str(aoti.inspect(path)) and tuned["tried"][0]["name"] in str(aoti.inspect(path))


def test_what_fails_or_differs_is_left_out(tmp_path, monkeypatch, capfd):
    wrong = {"defaults": {}, "no such option": {"no_such_option": True}}
    monkeypatch.setattr(_tune, "CANDIDATES", wrong)
    path = aoti.export(tmp_path / "tuned.pt2", aoti.Model(torch.nn.ReLU(), (torch.randn(8),)), tune=True)
    tried = json.loads(aoti.load(path).metadata["aoti.tuned"])["tried"]
    assert [row["name"] for row in tried] == list(wrong)
    assert "failed" in tried[1] and "left out" in capfd.readouterr().err


def test_outputs_that_differ_are_told():
    a = torch.ones(3)
    _tune._expect_alike((a, None), (a + 1e-5, None))
    for found in (a + 0.01, a.double(), torch.ones(4), torch.full((3,), float("nan"))):
        with pytest.raises(ValueError, match="output"):
            _tune._expect_alike(found, a)
    with pytest.raises(ValueError, match="output"):
        _tune._expect_alike(torch.tensor([1]), torch.tensor([2]))


def test_arguments_are_checked(tmp_path):
    model = aoti.Model(torch.nn.ReLU(), (torch.randn(8),))
    for bad in (0, -1, "two", 1.5):
        with pytest.raises(ValueError, match="threads"):
            aoti.export(tmp_path / "model.pt2", model, threads=bad)
