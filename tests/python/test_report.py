"""The page that bench/report.py makes from a benchmark run, except for its plots, which need matplotlib."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import ratios  # noqa: E402
import report  # noqa: E402

CONTEXT = {
    "date": "2001-02-03T04:05:06+00:00",
    "num_cpus": 3,
    "mhz_per_cpu": 1234,
    "caches": [{"type": "Unified", "level": 2, "size": 3 << 20, "num_sharing": 1}],
    "load_avg": [0.5, 0.25, 0.125],
    "library_build_type": "release",
}


@pytest.fixture
def results_of(tmp_path):
    """The CPU times read from benchmarks, in nanoseconds; wall-clock times are ten times as long."""

    def read(benchmarks: dict[str, list[float]]) -> ratios.Results:
        entries = [
            {"run_name": name, "run_type": "iteration", "cpu_time": time, "real_time": 10 * time, "time_unit": "ns"}
            for name, times in benchmarks.items()
            for time in times
        ]
        mean = {"run_name": "mean", "run_type": "aggregate"}
        failed = {"run_name": "bad", "run_type": "iteration", "error_occurred": True, "error_message": "wrong result"}
        path = tmp_path / "bench.json"
        path.write_text(json.dumps({"context": CONTEXT, "benchmarks": [*entries, mean, failed]}))
        return ratios.read(str(path))

    return read


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    lines = page.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]


def test_aims(results_of) -> None:
    times = {
        "run/add/torch_loader": [1000.0, 900.0, 5000.0],
        "run/add/aoti": [590.0, 610.0, 600.0],
        "run/add/aoti_native": [130.0],
        "run/add/aoti_into": [20.0],
        "run/add/aoti_any": [26.5],
    }
    page = report.page(results_of(times)).replace("\N{NO-BREAK SPACE}", " ")
    assert "1 of 3 hold." in page
    assert rows(page, "Aims") == [
        ["`run/add/aoti`", "600 ns", "`torch_loader`", "0.600", "0.6", "yes"],
        ["`run/add/aoti_any`", "26.5 ns", "`aoti_into`", "+6.5 ns", "5 ns", "**no**"],
        ["`run/add/aoti_native`", "130 ns", "`torch_loader`", "0.130", "0.12", "**no**"],
    ]
    assert rows(page, "All measurements")[-1] == ["`run/add/torch_loader`", "1,000 ns", "950", "3,000", "processor"]


def test_machine_and_failures(results_of) -> None:
    page = report.page(results_of({"load/add/aoti": [1.0, 2.0]}))
    for value in ("2001-02-03 04:05:06", "3, of 1234 MHz", "L2 unified: 3 MiB", "0.50, 0.25, 0.12", "release", "repetitions | 2"):
        assert value in page
    assert "- `bad`: wrong result" in page
    assert "`mean`" not in page
    assert "| 15.0\N{NO-BREAK SPACE}ns |" in page  # wall-clock time


def test_only_what_was_measured_is_plotted(results_of) -> None:
    def names(*benchmarks: str) -> list[str]:
        return [plot.name for plot in report.plots(results_of({name: [1.0] for name in benchmarks}).benchmarks)]

    assert names("check/product") == []
    assert names("run/add/aoti") == ["run_add"]
    assert names("load/vit/aoti", "run/vit/aoti_native") == ["opening"]
    assert names("run/lstm/aoti_native", "run/lstm/torch_loader") == ["models"]


def test_a_plot_tells_its_figures_in_words(results_of) -> None:
    benchmarks = results_of({"run/lstm/torch_loader": [8.0, 10.0, 12.0], "run/lstm/aoti_native": [9.0]}).benchmarks
    (plot,) = report.plots(benchmarks)
    assert [mark.quartiles for mark in plot.marks] == [[0.9, 1.0, 1.1], [0.9, 0.9, 0.9]]
    page = report.page(ratios.Results(CONTEXT, benchmarks, {})).replace("\N{NO-BREAK SPACE}", " ")
    alt = ":alt: Real models: LSTM (torch) 10.0 ns; LSTM (aoti without libtorch) 9.00 ns, 0.900\n"
    assert page.count(alt) == 2
    assert ":class: only-light" in page
    assert ":class: only-dark" in page


def test_each_subject_has_a_label() -> None:
    names = re.findall(r'Name\("run/add/(\w+)"\)', (ROOT / "bench" / "run_bench.cpp").read_text())
    assert {*names} == {*report.SUBJECTS}


def test_references_share_a_folder() -> None:
    """The page shows only the last part of their names."""
    pairs = [(name, reference) for name, found in ratios.LIMITS.items() for reference, _ in found]
    pairs += [(name, reference) for name, (reference, _) in ratios.DIFFERENCES.items()]
    assert all(name.rpartition("/")[0] == reference.rpartition("/")[0] for name, reference in pairs)


@pytest.mark.parametrize("text", [None, "", "{}", '{"context": {}, "benchmarks": []}'])
def test_nothing_measured(tmp_path, text: str | None) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit, match="`./dev bench"):
        report.main(str(path), str(tmp_path / "zoo.json"), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_zoo_is_compared_with_the_better_peer_turn_by_turn(results_of) -> None:
    times = {"torch": [8.0, 8.0, 8.0], "native": [2.0, 4.0, 6.0], "onnxruntime": [4.0, 4.0, 12.0]}
    benchmarks = {f"zoo/unet/{name}/1": taken for name, taken in times.items()}
    benchmarks["zoo/unet/openvino/1"] = [9.0, 9.0, 9.0]
    benchmarks |= {"zoo/gru/native/1": [3.0], "zoo/gru/openvino/1": [1.5], "zoo/gru/native/2": [3.0]}
    zoo = results_of(benchmarks)
    zoo.context.update(versions={"openvino": "1.2"}, processor="2 of some kind", load=0.5)
    zoo.failed["zoo/gru/onnxruntime/1"] = "it ended"
    page = report.page(None, zoo)
    found = {(row[0], row[1]): row[2:] for row in rows(page, "The zoo")}
    assert found["unet", "1"][-1] == "0.500"  # the median of 0.5, 1 and 0.5
    assert found["gru", "1"][:3] == ["–", "3.00\N{NO-BREAK SPACE}ns", "–"] and found["gru", "1"][-1] == "2.00"
    assert found["gru", "2"][-1] == "–"
    assert found["geometric mean", "1"][-1] == "1.00"
    assert ("geometric mean", "2") not in found
    assert "`zoo/gru/onnxruntime/1`: it ended" in page and "openvino 1.2" in page and "at most\n0.5" in page
    (one, two) = report.zoo_plots(report.read_zoo(zoo))
    assert [mark.row for mark in one.marks] == ["gru", "unet", "unet"] and not two.marks
