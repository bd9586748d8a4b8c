"""Compiles the test models as models/compile_models.py does, but for 64-bit ARM: compile_models.py OUT_DIR [--only NAME ...]

Inductor is told that it is on such a machine, which has no more than every one of them has, and uses Debian's cross
compiler. The libtorch here is for another machine, so the models do not name it.
"""

import platform
import runpy
from pathlib import Path

import torch  # before the machine is changed, since it looks for libraries of its own
from torch._inductor import config, cpu_vec_isa

platform.machine = lambda: "aarch64"
config.cpp.cxx = ("aarch64-linux-gnu-g++",)
config.cpp.march = "armv8-a"
config.cpp.vec_isa_ok = True  # it would compile a library and load it
cpu_vec_isa.VecNEON._macro = ["CPU_CAPABILITY_NEON"]  # without Sleef, whose header is for another machine too
config.aot_inductor.link_libtorch = False

runpy.run_path(str(Path(__file__).parents[1] / "models" / "compile_models.py"), run_name="__main__")
