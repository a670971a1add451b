"""`lumir-bench` and `lumir-tune` as far as they go without a GPU, and the report of what was measured."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from device import gpu_is_there
from rich.console import Console

from lumir.measure.report import Ceiling, Row, geometric_mean
from lumir.measure.suite import benchmarks
from lumir.measure.suite.convolution import LAYERS
from lumir.tools import bench_kernels, lumir_bench, lumir_tune
from lumir.tools.bench_report import print_rows, write_json
from lumir.tools.failures import INTERRUPTED, check_output


def run(main, *arguments: str, capfd) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    out, err = capfd.readouterr()
    return int(exit.value.code or 0), out, err


def test_the_set_is_the_one_that_was_agreed():
    items = benchmarks()
    assert len({item.full_name for item in items}) == len(items) and len(LAYERS) == 20
    sizes = {group: sum(item.group == group for item in items) for group in ("gemm", "skinny", "prefill", "conv")}
    assert sizes == {"gemm": 14, "skinny": 12, "prefill": 8, "conv": 40}


def test_benchmarks_are_listed_with_what_is_chosen(capfd):
    status, out, _ = run(lumir_bench.main, "kernels", "map", "--list", capfd=capfd)
    assert status == 0 and out.count("map/") == 6 and "{'block'" in out


def test_an_unknown_group_and_dispatch_are_said(capfd):
    status, _, err = run(lumir_bench.main, "kernels", "gemms", "--list", capfd=capfd)
    assert status == 1 and err.startswith("error[unknown-group]") and "gemm, fp8" in err
    status, _, err = run(lumir_bench.main, "kernels", "--list", "--only", "gemms", capfd=capfd)
    assert status == 1 and err.startswith("error[unknown-benchmark]") and "gemms" in err
    status, _, err = run(lumir_bench.main, "model.onnx", "--list", capfd=capfd)
    assert status == 2 and "lumir-tune MODEL --list" in err
    status, _, err = run(lumir_tune.main, "kernels", "--list", "--only", "gemms", capfd=capfd)
    assert status == 1 and err.startswith("error[unknown-dispatch]")


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path, capfd):
    missing = str(tmp_path / "no" / "r.json")
    for main, option in ((lumir_bench.main, "--json"), (lumir_bench.main, "--plot"), (lumir_tune.main, "--json")):
        status, _, err = run(main, "kernels", option, missing, capfd=capfd)
        assert status == 1 and err.startswith(f"error[unwritable]: {missing} cannot be written: there is no folder")
        assert f"choose another file with {option}" in err
    check_output(Path("/dev/stdout"), "--json")
    status, _, err = run(lumir_bench.main, "m.onnx", "--plot", str(tmp_path / "p.png"), capfd=capfd)
    assert status == 2 and "--plot is of the benchmark set" in err


def test_an_interrupted_run_writes_what_it_has_and_says_so(tmp_path, monkeypatch, capfd):
    def measured(items, *rest):
        return [Row(items[0].group, items[0].name, 1.0, 1.0, "map", "", seconds=1e-6)], Ceiling(1.0)

    monkeypatch.setattr(bench_kernels, "Bench", lambda: SimpleNamespace(gpu=SimpleNamespace(name="a GPU")))
    monkeypatch.setattr(bench_kernels, "_measured", measured)
    status, out, _ = run(lumir_bench.main, "kernels", "map", "--json", str(tmp_path / "r.json"), capfd=capfd)
    assert status == INTERRUPTED and "map/" in out
    assert len(json.loads((tmp_path / "r.json").read_text())["rows"]) == 1


@pytest.mark.skipif(gpu_is_there(), reason="this machine has a GPU")
@pytest.mark.parametrize("main", [lumir_bench.main, lumir_tune.main])
def test_there_is_no_gpu_to_measure_on(main, capfd):
    status, _, err = run(main, "kernels", capfd=capfd)
    assert status == 1 and err.startswith(("error[no-gpu]: ", "error[no-cuda-bindings]: "))


def test_dispatches_of_a_model_are_listed(capfd):
    model = Path(__file__).parents[1] / "models" / "resnet.onnx"
    arguments = ("--list", "--precision", "fp16", "--dim", "batch=1", "--only", "dispatch_1")
    status, out, _ = run(lumir_tune.main, str(model), *arguments, capfd=capfd)
    assert status == 0 and "dispatch_1" in out and "dispatch_2" not in out


def test_the_report():
    """A roof of 100 bytes or 1000 operations a second; one kernel faster than its peer, one wrong."""
    roof = Ceiling(100.0, 1000.0)
    assert roof.share(flops=500, nbytes=10, seconds=1.0) == 0.5 and roof.share(flops=0, nbytes=50, seconds=1.0) == 0.5
    fast = Row(
        "g", "fast", 100, 50, "map", "lanes=1", 2e-6, 0.01, 0.25, peer="p", peer_seconds=3e-6, model_seconds=4e-6
    )
    assert fast.ratio == pytest.approx(1.5) and fast.model_ratio == pytest.approx(0.5)
    wrong = Row("g", "wrong", 100, 50, peer="p", peer_seconds=1e-6, note="error 3")
    assert wrong.ratio is None and wrong.to_json()["gb_per_s"] is None
    text = io.StringIO()
    print_rows(Console(file=text, width=200), "GPU", roof, [fast, wrong])
    assert "1.50" in text.getvalue() and "error 3" in text.getvalue() and "1 of 2" in text.getvalue()
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    print_rows(Console(file=(alone := io.StringIO()), width=200), "GPU", roof, [wrong])
    assert "0 of 1" in alone.getvalue() and "nan" not in alone.getvalue()


def test_numbers_go_into_a_file(tmp_path):
    row = Row("g", "n", 100, 50, seconds=1e-6, peer_seconds=2e-6)
    write_json(tmp_path / "r.json", {"rows": [row.to_json()]})
    (read,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert read["ratio"] == 2.0 and read["gb_per_s"] == pytest.approx(0.05)
