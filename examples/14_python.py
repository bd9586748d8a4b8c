"""Compiles a network and runs it from Python."""

import tempfile

import torch

import aoti

network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
x = torch.randn(4, 64)

with tempfile.TemporaryDirectory() as folder:
    package = aoti.export(f"{folder}/mlp.pt2", aoti.Model(network, (x,)))
    print(aoti.inspect(package))  # what it holds, takes and returns
    model = aoti.load(package)

torch.testing.assert_close(model(x), network(x))
torch.testing.assert_close(model(x.numpy()), network(x))  # arrays are used where they lie

try:
    model(torch.randn(4, 63))
except aoti.InputError as error:
    print(error)

with model.update() as weights:  # in use at the end of the block, all of them or none
    weights["0.bias"] = torch.zeros(32)
