"""Checks in loops that are divided among threads: the C++ that export changes."""

import subprocess
import sys

import pytest
from common import OUT_OF_BOUNDS, package

import aoti
from aoti._regions import guarded

# As Inductor generates loops, with a check in each; each function is called with every element right, and with one wrong.
KERNELS = r"""
#include <omp.h>
#include <cstdio>
#include <memory>
#include <stdexcept>
#define CHECK(ok, text) if (!(ok)) throw std::runtime_error(text)
constexpr int n = 64, bad = 37;
double in[n][n], out[n][n];

void flat(int wrong) {
    #pragma omp parallel num_threads(2)
    {
        int tid = omp_get_thread_num();
        {
            #pragma omp for
            for(int i = 0; i < n; i += 1)
            {
                {
                    CHECK(i != wrong, "} for { \" \\");  // a check {
                    out[0][i] = i;
                }
            }
        }
    }
}
void nested(int wrong) {
    #pragma omp parallel num_threads(2)
    {
        #pragma omp for collapse(2)
        for(int i = 0; i < n; i += 1)
        {
            for(int k = 0; k < n; k += 1)
            {
                CHECK(i + k != wrong, "'{'");
                out[i][k] = i;
            }
        }
    }
}
void several(int wrong) {
    std::unique_ptr<double[]> rows[n];
    #pragma omp parallel num_threads(2)
    {
        #pragma omp single
        {
            CHECK(-wrong != bad, "single");
        }
        #pragma omp for schedule(static, 1)
        for(int i = 0; i < n; i += 1)
        {
            for(int k = 0; k < n; k += 1)
            {
                CHECK(i != wrong, "several");
                rows[i] = std::make_unique<double[]>(n);
            }
        }
        #pragma omp for nowait
        for(int i = 0; i < n; i += 1)
        {
            rows[i][0] = 1;  // there only if the loop before was gone through
        }
    }
}
void whole(int wrong) {
    # pragma omp parallel num_threads(2)
    {
        CHECK(wrong < 0, "whole");
    }
}
void of_loop(int wrong) {
    #pragma omp parallel for num_threads(2)
    for (int i = 0; i < n; ++i) {
        #pragma omp simd
        for (int k = 0; k < n; ++k) {
            CHECK(i != wrong, "of_loop");
            out[i][k] = k;
        }
    }
    for (int i = 0; i < n; ++i) { out[i][0] = 0; }
}
double sum(int wrong) {
    double sums[2] = {};
    #pragma omp parallel num_threads(2)
    {
        double mine = 0;
        #pragma omp for
        for(int i = 0; i < n; i += 1)
        {
            CHECK(i != wrong, "sum");
            mine += i;
        }
        sums[omp_get_thread_num()] = mine;
    }
    return sums[0] + sums[1];
}

#define TELL(f, wrong) try { f(wrong); std::puts(#f); } catch (const std::exception& e) { std::printf(#f ": %s\n", e.what()); }
int main() {
    for (int turn = 0; turn < 2; ++turn) {
        TELL(flat, bad) TELL(nested, bad) TELL(several, bad) TELL(several, -bad) TELL(whole, bad) TELL(of_loop, bad) TELL(sum, bad)
        TELL(flat, -1) TELL(nested, -1) TELL(several, -1) TELL(whole, -1) TELL(of_loop, -1) TELL(sum, -1)
    }
    std::printf("%g\n", sum(-1));
}
"""
OUTCOMES = ['flat: } for { " \\', "nested: '{'", "several: several", "several: single", "whole: whole", "of_loop: of_loop"]
OUTCOMES += ["sum: sum", "flat", "nested", "several", "whole", "of_loop", "sum"]


def test_a_check_that_fails_in_any_loop_is_an_exception(tmp_path):
    (tmp_path / "kernels.cpp").write_text(guarded(KERNELS))
    command = ["g++", "-std=c++20", "-O1", "-fopenmp", "-o", "kernels", "kernels.cpp"]
    subprocess.run(command, cwd=tmp_path, check=True)
    found = subprocess.run([tmp_path / "kernels"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert found == [*OUTCOMES, *OUTCOMES, "2016"]


def test_code_without_checks_in_such_loops_stays():
    code = '#pragma omp parallel\n{\n#pragma omp for\nfor(;;)\n{\nx = 1;\n}\n}\nvoid f() { CHECK(1, "throw"); }\n'
    assert guarded(code) == code
    assert guarded("") == ""


@pytest.mark.parametrize("code", ["#pragma omp parallel\n{ throw 1;", "#pragma omp parallel for\nwhile (1) { throw 1; }\n"])
def test_unknown_code_is_told(code):
    with pytest.raises((ValueError, IndexError)):
        guarded(code)


def test_inspect_tells_whether_a_failed_check_is_an_error():
    (here,), (theirs,) = aoti.inspect(package("checked")), aoti.inspect(package("checked_plain"))
    assert here.reports_checks is True and theirs.reports_checks is False
    assert "checks" not in str(here) and "ends the process" in str(theirs)


@pytest.mark.parametrize("use", ["load", "drop_in", "torch"])
def test_a_failed_check_on_several_threads_is_an_error(use):
    """With torch's own loader too. Models print their failures."""
    script = f"""
import sys, torch, aoti, aoti.drop_in
path = sys.argv[1]
if "{use}" == "load":
    model = aoti.load(path, threads=2)
else:
    names = aoti.drop_in if "{use}" == "drop_in" else torch._C._aoti
    loader = names.AOTIModelPackageLoader(path, "model", False, 1, -1)
    model = lambda *inputs: loader.run(list(inputs))
x, ids = torch.arange(10.0), torch.arange(1 << 16) % 10
for place in (0, 40000):
    wrong = ids.clone()
    wrong[place] = 10
    try:
        model(x, wrong)
    except RuntimeError as error:
        assert "{OUT_OF_BOUNDS}" in str(error) or "{use}" == "torch", error
    else:
        raise AssertionError("no error")
    assert torch.equal(model(x, ids)[0], x[ids])
print("goes on")
"""
    run = subprocess.run([sys.executable, "-c", script, package("checked")], capture_output=True, text=True)
    assert run.stdout == "goes on\n", run.stderr
