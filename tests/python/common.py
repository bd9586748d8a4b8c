"""What the tests share."""

import os
from pathlib import Path

import pytest
import torch

# The packages that tests/models/compile_models.py made.
MODELS = Path(os.environ.get("AOTI_TEST_MODELS_DIR", Path(__file__).resolve().parents[2] / "build" / "models"))
TORCH = tuple(map(int, torch.__version__.split(".")[:2]))
# A model's error for an index that is too large.
OUT_OF_BOUNDS = "index out of bounds" if TORCH >= (2, 13) else "before torch 2.13 models only print the reason"


def package(name):
    why = MODELS / f"{name}.unavailable"
    if why.exists():
        pytest.skip(why.read_text())
    return MODELS / f"{name}.pt2"
