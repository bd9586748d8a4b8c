"""Compiles the test models that run without libtorch as models/compile_models.py does, but for 64-bit ARM:
compile_models.py OUT_DIR

Inductor is told that it is on such a machine, with only the features that all of them have, and uses Debian's cross
compiler. The libtorch here is for another machine, so the models do not name it.
"""

import os
import platform
import runpy
import shlex
import sys
from pathlib import Path

import torch  # noqa: F401, before the machine is changed, since it looks for its libraries
from torch._inductor import config, cpu_vec_isa

NAMES = (
    "add",
    "add_arrayref",
    "checked",
    "checked_plain",
    "custom",
    "derived",
    "exported",
    "mlp",
    "mlp_arrayref",
    "mlp_small",
    "mlp_tuned",
    "mutating",
    "nested",
    "pair",
    "repeated",
    "state",
    "state_embedded",
    "transposed",
    "types",
    "writing",
)

platform.machine = lambda: "aarch64"
MODELS = Path(__file__).parents[1] / "models"
# All of them in less time: see light/g++.
config.cpp.cxx = (shlex.quote(str(MODELS / "light" / "aarch64-linux-gnu-g++")),)
config.aot_inductor.compile_wrapper_opt_level = "O0"
os.environ["CPLUS_INCLUDE_PATH"] = str(MODELS / "light")
config.cpp.march = "armv8-a"
config.cpp.vec_isa_ok = True  # instead of compiling and loading a library to find out
cpu_vec_isa.VecNEON._macro = ["CPU_CAPABILITY_NEON"]  # without Sleef, whose header is for another machine, too
config.aot_inductor.link_libtorch = False

stamps = Path(sys.argv[1]) / "stamps.json"
if stamps.exists() and stamps.stat().st_mtime < Path(__file__).stat().st_mtime:
    stamps.unlink()  # which do not depend on this script

sys.argv += ["--only", *NAMES]
runpy.run_path(str(MODELS / "compile_models.py"), run_name="__main__")
