"""What the tests share."""

import os
from pathlib import Path

import torch

# The packages that tests/models/compile_models.py made.
MODELS = Path(os.environ.get("AOTI_TEST_MODELS_DIR", Path(__file__).resolve().parents[2] / "build" / "models"))
TORCH = tuple(map(int, torch.__version__.split(".")[:2]))


def package(name):
    return MODELS / f"{name}.pt2"
