"""Exports a small network with a dynamic batch to a package: export_mlp.py FILE.pt2"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import torch

import aoti

network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
batch = torch.export.Dim("batch", min=1, max=1024)
aoti.export(sys.argv[1], aoti.Model(network, (torch.randn(4, 64),), dynamic_shapes={"input": {0: batch}}))
