"""aoti.export(…, tune=True)."""

import copy
import json

import pytest
import torch
from common import TORCH

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
    ways = [name for name, way in _tune.CANDIDATES.items() if way.rewrite is None]  # no convolutions to rewrite
    assert sorted(row["name"] for row in tuned["tried"]) == sorted(ways)
    measured = [row["microseconds"] for row in tuned["tried"] if "microseconds" in row]
    assert len(measured) >= 2 and measured == sorted(measured) and measured[0] > 0
    assert "tuned" in str(aoti.inspect(path)) and tuned["tried"][0]["name"] in str(aoti.inspect(path))


def test_what_fails_or_differs_is_left_out(tmp_path, monkeypatch, capfd):
    wrong = {"defaults": _tune.Way({}), "no such option": _tune.Way({"no_such_option": True})}
    monkeypatch.setattr(_tune, "CANDIDATES", wrong)
    path = aoti.export(tmp_path / "tuned.pt2", aoti.Model(torch.nn.ReLU(), (torch.randn(8),)), tune=True)
    tried = json.loads(aoti.load(path).metadata["aoti.tuned"])["tried"]
    assert [row["name"] for row in tried] == list(wrong)
    assert "failed" in tried[1] and "left out" in capfd.readouterr().err


class Writing(torch.nn.Module):
    """Writes to its buffers and to its argument."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(8)
        self.register_buffer("runs", torch.zeros(8))

    def forward(self, x):
        self.runs.add_(1)
        x.add_(1)
        return self.norm(x) + self.runs


@pytest.mark.skipif(TORCH < (2, 9), reason="this torch cannot compile a program that writes to a number")
def test_state_and_arguments_stay_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(_tune, "CANDIDATES", {name: _tune.CANDIDATES[name] for name in ("defaults", "freezing")})
    monkeypatch.setattr(_tune, "_SECONDS", 0.01)
    module, x = Writing().train(), torch.randn(4, 8) + 5
    state, argument = copy.deepcopy(module.state_dict()), x.clone()
    path = aoti.export(tmp_path / "tuned.pt2", aoti.Model(module, (x,)), tune=True)
    torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)
    torch.testing.assert_close(x, argument, rtol=0, atol=0)

    model = aoti.load(path, threads=torch.get_num_threads())
    assert "microseconds" in json.loads(model.metadata["aoti.tuned"])["tried"][0]
    packed = {name: tensor for name, tensor in model.weights().items() if name in dict(module.named_buffers())}
    assert "runs" in packed
    torch.testing.assert_close(packed, {name: state[name] for name in packed}, rtol=0, atol=0)
    for _ in range(2):
        ours, theirs = x.clone(), x.clone()
        torch.testing.assert_close(model(ours), module(theirs), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours, theirs)


class Counting(torch.nn.Module):
    """Its writes show from its second call on."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 64)
        self.register_buffer("count", torch.zeros(64))

    def forward(self, x):
        y = self.linear(x) + self.count
        self.count.add_(1)
        return y


def test_models_that_write_to_their_weights_are_not_frozen(tmp_path, monkeypatch):
    monkeypatch.setattr(_tune, "_SECONDS", 0.01)
    module, x = Counting().eval(), torch.randn(4, 64)
    model = aoti.load(aoti.export(tmp_path / "model.pt2", aoti.Model(module, (x,)), threads=1, tune=True), threads=1)
    tried = json.loads(model.metadata["aoti.tuned"])["tried"]
    assert sorted(row["name"] for row in tried) == ["C++ products", "defaults"]
    for _ in range(3):
        torch.testing.assert_close(model(x), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", ["package_constants_in_so", "package_cpp_only"])
def test_what_cannot_be_run_cannot_be_tuned(tmp_path, key, capfd):
    options = {f"aot_inductor.{key}": key == "package_cpp_only"}
    with pytest.raises(ValueError, match="tune: .*model"):
        aoti.export(tmp_path / "model.pt2", aoti.Model(Writing(), (torch.randn(4, 8),), options=options), tune=True)
    assert "compiling" not in capfd.readouterr().err


def test_options_of_the_model_hold_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(_tune, "_SECONDS", 0.01)
    model = aoti.Model(torch.nn.Linear(64, 64), (torch.randn(4, 64),), options={"freezing": False})
    loaded = aoti.load(aoti.export(tmp_path / "model.pt2", model, threads=1, tune=True), threads=1)
    tried = json.loads(loaded.metadata["aoti.tuned"])["tried"]
    assert sorted(row["name"] for row in tried) == ["C++ products", "defaults"]
    assert not any(row["options"]["freezing"] for row in tried)


def test_a_model_that_writes_to_its_weights_is_not_frozen_on_demand(tmp_path):
    model = aoti.Model(Counting(), (torch.randn(4, 64),), options={"freezing": True})
    with pytest.raises(ValueError, match="freezing.* lose what model writes to count"):
        aoti.export(tmp_path / "model.pt2", model, tune=True)


def test_random_models_cannot_be_tuned(tmp_path):
    model = aoti.Model(torch.nn.Dropout(), (torch.ones(64),))
    model.module.train()
    with pytest.raises(ValueError, match="random"):
        aoti.export(tmp_path / "model.pt2", model, tune=True)
    assert list(tmp_path.iterdir()) == []


def test_outputs_may_be_infinite_or_no_numbers_where_the_modules_are():
    inf, nan = float("inf"), float("nan")
    wanted = torch.tensor([1.0, inf, -inf, nan])
    _tune.expect_alike(wanted + 1e-5, wanted)
    for found in ([1, inf, inf, nan], [1, 1, -inf, nan], [nan, inf, -inf, nan], [1, inf, -inf, 1], [2, inf, -inf, nan]):
        with pytest.raises(ValueError, match="output"):
            _tune.expect_alike(torch.tensor(found), wanted)


def test_outputs_that_differ_are_told():
    a = torch.ones(3)
    _tune.expect_alike((a, None), (a + 1e-5, None))
    for found in (a + 0.01, a.double(), torch.ones(4), torch.full((3,), float("nan"))):
        with pytest.raises(ValueError, match="output"):
            _tune.expect_alike(found, a)
    with pytest.raises(ValueError, match="output"):
        _tune.expect_alike(torch.tensor([1]), torch.tensor([2]))
    z = torch.tensor([1 + 2j, 3 - 4j])
    _tune.expect_alike((z + 1e-6j).conj(), z.conj())
    with pytest.raises(ValueError, match="strides"):
        _tune.expect_alike(torch.ones(2, 3).t().clone(), torch.ones(3, 2))
    with pytest.raises(ValueError, match="output"):
        _tune.expect_alike(z.conj(), z)


def test_arguments_are_checked(tmp_path):
    model = aoti.Model(torch.nn.ReLU(), (torch.randn(8),))
    for bad, error in ((0, ValueError), (-1, ValueError), ("two", TypeError), (1.5, TypeError)):
        with pytest.raises(error, match="threads"):
            aoti.export(tmp_path / "model.pt2", model, threads=bad)
