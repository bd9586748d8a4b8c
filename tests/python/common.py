"""The packages that tests/models/compile_models.py made."""

import os
from pathlib import Path

MODELS = Path(os.environ.get("AOTI_TEST_MODELS_DIR", Path(__file__).resolve().parents[2] / "build" / "models"))


def package(name):
    return MODELS / f"{name}.pt2"
