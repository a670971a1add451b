"""Tuning databases, schedules by hand, and the search's choices: no GPU needed."""

import json
from dataclasses import replace

import pytest
import wgmma_cases
from nvidia_helpers import contraction_cases, harness

from lumir.diagnostics import LumirWarning, UserError
from lumir.measure.kernel import Choice, compile_dispatch, key_of_text, model_choice, schedules_of
from lumir.measure.search import pruned
from lumir.schedule.choose import ChooseSchedules
from lumir.schedule.tuning import Database, Entry
from lumir.size_text import declare

ARCH = "sm_90a"


@pytest.fixture(scope="module")
def text() -> str:
    with harness.kernel_context():
        return contraction_cases.linear(40, 24, 16, "float16")


@pytest.fixture
def entry(text) -> Entry:
    """Not the schedule that the cost model would choose."""
    choice = schedules_of(text, ARCH)[7]
    return Entry("linear", choice.family, 1, choice.schedule, 12.5)


def test_a_measured_schedule_comes_before_the_cost_model(text, entry, tmp_path):
    path = tmp_path / "db.json"
    Database({key_of_text(text): entry}).write(path)
    kernel = compile_dispatch(text, ARCH, tuning_db=path)
    assert kernel.schedule == entry.schedule != model_choice(text, ARCH).schedule
    assert compile_dispatch(text, ARCH).schedule == model_choice(text, ARCH).schedule
    folder = tmp_path / "folder"
    Database({key_of_text(text): entry}).write(folder / f"{ARCH}.json")
    assert compile_dispatch(text, ARCH, tuning_db=folder).schedule == entry.schedule


def test_the_key_is_of_what_is_computed(text):
    renamed = text.replace("@dispatch", "@another")
    with harness.kernel_context():
        other = contraction_cases.linear(40, 24, 32, "float16")
    assert key_of_text(text) == key_of_text(renamed) != key_of_text(other)


def test_an_entry_of_another_version_of_the_family_does_not_count(text, entry, tmp_path):
    Database({key_of_text(text): replace(entry, version=99)}).write(tmp_path / "db.json")
    assert compile_dispatch(text, ARCH, tuning_db=tmp_path / "db.json").schedule == model_choice(text, ARCH).schedule


def test_an_entry_that_is_not_legal_is_said_and_not_used(text, entry, tmp_path):
    for schedule in ({**entry.schedule, "warps_m": 3}, {"no": 1}):
        Database({key_of_text(text): replace(entry, schedule=schedule)}).write(tmp_path / "db.json")
        with pytest.warns(LumirWarning, match="is not used"):
            kernel = compile_dispatch(text, ARCH, tuning_db=tmp_path / "db.json")
        assert kernel.schedule == model_choice(text, ARCH).schedule


def test_an_entry_of_a_family_that_there_is_not_is_said(text, entry, tmp_path):
    Database({key_of_text(text): replace(entry, family="other")}).write(tmp_path / "db.json")
    with pytest.warns(LumirWarning, match="there is no family 'other'"):
        kernel = compile_dispatch(text, ARCH, tuning_db=tmp_path / "db.json")
    assert kernel.schedule == model_choice(text, ARCH).schedule


@pytest.mark.parametrize(
    "data",
    [
        "{",
        "[]",
        '{"k": 1}',
        '{"k": {"family": "map"}}',
        '{"k": {"family": "m", "odd": 1}}',
        '{"k": {"family": [], "version": 1, "schedule": {}}}',
    ],
)
def test_a_broken_database_is_refused(text, data, tmp_path):
    (tmp_path / "db.json").write_text(data)
    with pytest.raises(UserError) as error:
        compile_dispatch(text, ARCH, tuning_db=tmp_path / "db.json")
    assert error.value.code == "bad-database"


def test_a_database_is_the_same_bytes_each_time(entry, tmp_path):
    for first, second in ("ab", "ba"):
        Database({first: entry, second: entry}).write(tmp_path / f"{first}.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert Database.read(tmp_path / "a.json").entries["a"] == entry
    added = Database.read(tmp_path / "a.json").with_entries({"c": entry})
    assert sorted(added.entries) == ["a", "b", "c"]


def _model(tmp_path, schedules):
    """A model of one matrix product, compiled for sm_90a with schedules by hand."""
    from onnx import TensorProto, helper

    from lumir.compile import Request, compile_to
    from lumir.pipelines.steps import Tuning
    from lumir.plan.launches import kernel_entries

    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [64, 64]) for name in "xw"]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT16, None)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], "g", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    (tmp_path / "s.json").write_text(json.dumps(schedules))
    compiled = compile_to(Request(model, ARCH, tuning=Tuning(schedules=str(tmp_path / "s.json"))))
    with compiled.context:
        return kernel_entries(compiled.specialisations[0].module)


def test_schedules_can_be_given_by_hand(tmp_path):
    usual = _model(tmp_path, {})["dispatch_0"]
    given = {**usual.schedule, "group": usual.schedule.get("group", 8) + 3} if "group" in usual.schedule else None
    assert given
    made = _model(tmp_path, {"dispatch_0": {"family": usual.family, "schedule": given}})["dispatch_0"]
    assert made.schedule == given


@pytest.mark.parametrize(
    ("schedules", "code"),
    [
        ({"dispatch_9": {"family": "map", "schedule": {}}}, "unknown-dispatch"),
        ({"dispatch_0": {"family": "no-such", "schedule": {}}}, "illegal-schedule"),
        ({"dispatch_0": {"family": "attention", "schedule": {}}}, "illegal-schedule"),
        ({"dispatch_0": {"family": "map", "schedule": {"odd": 1}}}, "illegal-schedule"),
        ({"dispatch_0": {"family": "map", "schedule": {"lanes": 0}}}, "illegal-schedule"),
        ({"dispatch_0": {"family": "map", "schedule": {"lanes": "x"}}}, "illegal-schedule"),
        ({"dispatch_0": {"family": "map", "schedule": {"block": True}}}, "illegal-schedule"),
        ({"dispatch_0": {"family": "contraction", "schedule": {"instruction": "other"}}}, "illegal-schedule"),
        ({"dispatch_0": {"schedule": {}}}, "bad-schedules"),
        ({"dispatch_0": {"family": ["map"], "schedule": {}}}, "bad-schedules"),
        ({"dispatch_0": {"family": "map", "schedule": [1]}}, "bad-schedules"),
        ([], "bad-schedules"),
    ],
)
def test_wrong_schedules_by_hand_are_refused(tmp_path, schedules, code):
    with pytest.raises(UserError) as error:
        _model(tmp_path, schedules)
    assert error.value.code == code


def test_pruning_shares_between_families():
    costs = (("a", 1.0), ("b", 1.3), ("far", 9.0))
    choices = [Choice(family, {"n": n}, cost * n) for family, cost in costs for n in range(1, 90)]
    kept = pruned(choices, 10)
    assert len(kept) == 9 and [c.schedule["n"] for c in kept if c.family == "b"] == [1, 2, 3, 4]
    assert [c.schedule["n"] for c in kept if c.family == "far"] == [1]
    few = [Choice("a", {}, 1.0), *(Choice("b", {"n": n}, 1.0) for n in range(50))]
    assert len(pruned(few, 10)) == 10


def test_what_ships_is_sound_and_used():
    """Every entry is of a family as it is; those of the benchmark set are chosen, without a warning."""
    import warnings

    from lumir.kernels.families import families
    from lumir.measure.suite import benchmarks
    from lumir.schedule.tuning import SHIPPED, version_of
    from lumir.target import target_named

    for path in SHIPPED.glob("*.json"):
        known = {family.name: family for family in families(target_named(path.stem))}
        entries = Database.read(path).entries
        for entry in entries.values():
            assert version_of(known[entry.family]) == entry.version and entry.device and entry.error < 0.05
            assert known[entry.family].schedule(**entry.schedule)
    shipped = Database.read(SHIPPED / "sm_90a.json").entries
    measured = [
        item.text() for item in benchmarks() if item.full_name in ("gemm/1024x1024x1024-float16", "skinny/4x4096x4096")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", LumirWarning)
        for each in measured:
            assert compile_dispatch(each, ARCH).schedule == shipped[key_of_text(each)].schedule


def test_a_family_of_fixed_sizes_is_not_given_others_by_hand(tmp_path):
    """Where the schedule file names one that does not know symbols, the error says which ones do."""
    schedules = tmp_path / "schedules.json"
    schedules.write_text(json.dumps({"dispatch": {"family": "skinny", "schedule": {}}}))
    with harness.kernel_context(), declare(wgmma_cases.SYMBOLS):
        module, _ = harness.lowered(wgmma_cases.open_text("linear"))
        with pytest.raises(UserError, match="skinny") as error:
            ChooseSchedules(ARCH, schedules=str(schedules)).run(module)
    assert error.value.code == "illegal-schedule" and "wgmma" in str(error.value)
