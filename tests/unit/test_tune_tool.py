"""`lumir-tune` on a stand-in for the driver: what is tuned, what is kept, what is passed over."""

import gc
import io
import json
from concurrent.futures import Future

import numpy as np
import pytest

pytest.importorskip("cuda.bindings.driver")

from fake_cuda import FakeDriver, floats
from nvidia_helpers import contraction_cases, harness
from rich.console import Console

from lumir.diagnostics import UserError
from lumir.measure import Bench
from lumir.measure.dispatches import DispatchText
from lumir.measure.tune import current_keys, plan
from lumir.runtime import cuda_driver
from lumir.schedule.tuning import Database
from lumir.tools import tune_run

ARCH = "sm_90a"
SHAPES = {"first": (40, 6), "second": (24, 6), "again": (40, 6)}


def add_text(rows: int, columns: int) -> str:
    with harness.kernel_context():
        return contraction_cases.cases.op("add", ((rows, columns), "float32"), ((columns,), "float32"))


TEXTS = [DispatchText(name, add_text(*shape), 1) for name, shape in SHAPES.items()]


class Inline:
    """Workers that do what they are asked when they are asked."""

    count = 2

    def __init__(self, count=None):
        self.asked = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def call(self, function, *arguments):
        self.asked.append(function)
        done = Future()
        done.set_result(function(*arguments))
        return done

    def compile(self, text, arch, choice):
        from lumir.measure.kernel import compile_dispatch

        return self.call(compile_dispatch, text, arch, choice.family, choice.schedule)


@pytest.fixture
def tune(monkeypatch, tmp_path):
    """Run the tool on `TEXTS`; returns what it printed."""

    def kernel(x, b, y):
        rows = rows_of[0]
        floats(y, rows, 6)[:] = floats(x, rows, 6) + floats(b, 6)

    rows_of = [40]
    fake = FakeDriver({"dispatch": kernel})
    monkeypatch.setattr(cuda_driver, "api", lambda: fake)
    monkeypatch.setattr(tune_run, "nominal_rate", lambda gpu: 1e15)
    monkeypatch.setattr(Bench, "copy_rate", lambda self: 1e12)
    monkeypatch.setattr(tune_run, "Workers", Inline)
    monkeypatch.setattr(tune_run, "dispatches_of", lambda *arguments: TEXTS)
    flags = {"precision": None, "only": (), "tuning_db": tmp_path, "workers": None, "choices": 3, "again": False}

    def run(rows: int = 40, **changed) -> str:
        rows_of[0], out = rows, io.StringIO()
        try:
            tune_run.tune_model(tmp_path, {}, ARCH, Console(file=out, width=200), flags | {"json_path": None} | changed)
        finally:
            run.out = out.getvalue()
        return run.out

    yield run
    gc.collect()


def test_each_different_dispatch_is_tuned_once_and_not_again(tune, tmp_path):
    out = tune(only=("first", "again"), json_path=tmp_path / "m.json")
    assert "1 dispatch(es)" in out and "first: 3.00 us" in out and "% of the roof, " in out
    measured = json.loads((tmp_path / "m.json").read_text())
    assert list(measured) == ["first"] and len(measured["first"]["measured"]) == 3
    assert "0 dispatch(es)" in tune(only=("first", "again"))
    assert "1 dispatch(es)" in tune(only=("first", "again"), again=True)


def test_a_dispatch_without_a_right_kernel_does_not_end_the_run(tune, tmp_path):
    """The stand-in computes 24 rows, and leaves the others of the first unwritten."""
    with pytest.raises(UserError) as raised:
        tune(rows=24, only=("first", "second"))
    assert raised.value.code == "no-right-kernel" and list(raised.value.values) == ["first"]
    assert "first: no schedule computes" in tune.out and "1 dispatch(es)" in tune.out
    assert len(Database.read(tmp_path / f"{ARCH}.json").entries) == 1


def test_an_interrupted_run_keeps_what_it_has(tune, tmp_path, monkeypatch):
    tuning, names = tune_run._tune_one, []

    def interrupted(case, name, *rest):
        names.append(name)
        if len(names) == 2:
            raise KeyboardInterrupt
        return tuning(case, name, *rest)

    monkeypatch.setattr(tune_run, "_tune_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(json_path=tmp_path / "m.json")
    assert names == ["first", "second"] and "interrupted; the same command goes on" in tune.out
    assert len(Database.read(tmp_path / f"{ARCH}.json").entries) == 1
    assert list(json.loads((tmp_path / "m.json").read_text())) == ["first"]


def test_an_entry_of_an_older_family_is_tuned_anew(tune, tmp_path):
    tune(only=("first",))
    path = tmp_path / f"{ARCH}.json"
    data = json.loads(path.read_text())
    assert current_keys(Database.read(path).entries, ARCH) == set(data)
    for entry in data.values():
        entry["version"] -= 1
    path.write_text(json.dumps(data))
    assert not current_keys(Database.read(path).entries, ARCH)
    assert "1 dispatch(es)" in tune(only=("first",))


def test_a_plan_has_what_is_expected():
    todo = plan(TEXTS[0].text, ARCH, 2)
    assert todo and len(todo.choices) in (2, 3) and todo.model in todo.choices
    assert todo.expected[0].shape == (40, 6) and todo.expected[0].dtype == np.float64
    assert plan(TEXTS[0].text, ARCH, 2, {todo.key}) is None
