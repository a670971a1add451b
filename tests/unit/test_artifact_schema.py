"""Plans as JSON: what is accepted, and what is refused with which words."""

import json
from typing import Any

import pytest
from runtime_helpers import KERNELS, mlp_plan

from lumir.artifact.check_plan import check_plan
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.manifest import KernelEntry, Manifest
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import BufferRef, TensorSpec
from lumir.diagnostics import UserError

BRIEF = {
    "symbols": {"seq": 128},
    "inputs": [{"name": "x", "dtype": "float32", "shape": [2, 8]}],
    "outputs": [{"name": "y", "dtype": "bfloat16", "shape": [16]}],
    "arena_bytes": 1024,
    "launches": [
        {
            "kernel": "k3",
            "grid": [4, 1, 1],
            "args": [
                {"space": "input", "index": 0},
                {"space": "weight", "name": "w"},
                {"space": "arena", "offset": 0},
            ],
            "scalars": [-5],
            "nodes": ["/a"],
        },
        {"copy": 32, "args": [{"space": "arena", "offset": 992}, {"space": "output", "index": 0}], "nodes": []},
    ],
}


def changed(path: list[Any], value: Any) -> dict:
    data = json.loads(json.dumps(BRIEF))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


def test_json_form_is_kept_exactly():
    plan = Plan.from_json(BRIEF)
    assert plan.to_json() == BRIEF
    assert plan.launches[0] == Launch(
        "k3", (4, 1, 1), (BufferRef.input(0), BufferRef.weight("w"), BufferRef.arena(0)), (-5,), ("/a",)
    )
    assert plan.launches[1] == Copy(32, (BufferRef.arena(992), BufferRef.output(0)))


def test_results_and_offsets_come_back():
    plan = mlp_plan(2, 3, 4)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    ref = BufferRef("weight", name="w", offset=64)
    assert BufferRef.from_json(ref.to_json(), "launch 0") == ref
    assert ref.to_json() == {"space": "weight", "name": "w", "offset": 64}


def test_counters_come_back_and_are_as_many_as_the_plan_says():
    launch = Launch("k", (1, 1, 1), (BufferRef.counters(),))
    plan = Plan((), (), (launch,), counter_bytes=64)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    data = plan.to_json() | {"counter_bytes": -4}
    with pytest.raises(UserError, match='"counter_bytes" of the plan'):
        Plan.from_json(data)
    data = plan.to_json()
    data["launches"][0]["args"][0]["offset"] = 65
    with pytest.raises(UserError, match="launch 0 of the plan reaches past its counters"):
        Plan.from_json(data)


ARG = ["launches", 0, "args", 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the plan is not a JSON object"),
        (changed(ARG, {"space": "stack", "index": 0}), "an argument of launch 0 of the plan is in an unknown space"),
        (changed(ARG, {"space": "input", "index": 1}), "launch 0 of the plan names input 1 of 1"),
        (changed(ARG, {"space": "input", "index": -1}), '"index" of an argument of launch 0 of the plan is not'),
        (changed(ARG, {"space": "arena", "offset": -64}), '"offset" of an argument of launch 0 of the plan is not'),
        (changed(ARG, {"space": "arena", "offset": 1025}), "launch 0 of the plan reaches past its arena"),
        (changed(ARG, {"space": "arena"}), '"offset" of an argument'),
        (changed(ARG, {"space": "weight"}), 'has no string "name"'),
        (changed(ARG, "input"), "an argument of launch 0 of the plan is not a JSON object"),
        (changed(["launches", 1, "copy"], 33), "launch 1 of the plan reaches past its arena"),
        (changed(["launches", 1, "args", 0, "offset"], 1000), "launch 1 of the plan reaches past its arena"),
        (changed(["launches", 1, "args"], []), "a copy without a source and a destination"),
        (changed(["launches", 0, "grid"], [1, 1]), "does not have three sizes"),
        (changed(["launches", 0, "grid"], [1, 70000, 1]), "the grid of launch 0 of the plan is not an integer in"),
        (changed(["launches", 0, "grid"], [1.5, 1, 1]), "the grid of launch 0 of the plan is not an integer in"),
        (changed(["launches", 0, "scalars"], [2**63]), "a scalar of launch 0 of the plan is not an integer"),
        (changed(["launches", 0, "scalars"], [True]), "a scalar of launch 0 of the plan is not an integer"),
        (
            changed(["launches", 0, "results"], [{"arg": 3, "name": "t", "dtype": "int8", "shape": []}]),
            "argument 3 of 3",
        ),
        (changed(["launches", 0, "kernel"], 3), 'has no string "kernel"'),
        (changed(["inputs", 0, "dtype"], "float33"), "has an unknown element type"),
        (changed(["inputs", 0, "shape"], [2, -1]), "a dimension of an input of the plan (x) is not an integer"),
        (changed(["inputs", 0, "shape"], ["seq +"]), "a dimension of an input of the plan (x) is no size"),
        (
            changed(["inputs", 0, "shape"], ["past"]),
            "a dimension of an input of the plan (x) names a symbol that is not",
        ),
        (changed(["launches", 0, "grid"], ["1", "seq*9999", 1]), "the grid of launch 0 of the plan is not in 0..65535"),
        (changed(["inputs"], BRIEF["inputs"] * 2), "two inputs of the plan share a name"),
        (changed(["arena_bytes"], -1), '"arena_bytes" of the plan is not an integer'),
        (changed(["symbols"], {"seq": "many"}), "a symbol of the plan is not an integer or a range"),
        (changed(["launches"], None), 'the plan has no list "launches"'),
    ],
)
def test_malformed_plans(data, message):
    with pytest.raises(UserError) as caught:
        Plan.from_json(data)
    assert caught.value.code == "bad-artifact"
    assert message in caught.value.message


def test_plan_against_kernels_and_weights():
    plan = Plan.from_json(BRIEF)
    kernels = {"k3": KernelEntry("kernels/host.bin", "k3")}
    check_plan(plan, kernels, {"w": 4}, "plan-0.json")
    with pytest.raises(UserError, match=r"launch 0 of plan-0\.json names a kernel that is missing"):
        check_plan(plan, KERNELS, {"w": 4}, "plan-0.json")
    with pytest.raises(UserError, match=r"launch 0 of plan-0\.json names a weight that is missing"):
        check_plan(plan, kernels, {}, "plan-0.json")
    far = Plan((), (), (Copy(8, (BufferRef("weight", name="w", offset=8), BufferRef.arena(0))),), arena_bytes=8)
    check_plan(far, {}, {"w": 16}, "p")
    with pytest.raises(UserError, match="launch 0 of p reaches past weight 'w'"):
        check_plan(far, {}, {"w": 15}, "p")


def test_sizes_in_bytes():
    assert TensorSpec("x", "float32", (2, 3)).nbytes == 24
    assert TensorSpec("x", "bfloat16", ()).nbytes == 2
    assert TensorSpec("x", "int4", (3, 3)).nbytes == 5
    assert TensorSpec("x", "bool", (0, 3)).nbytes == 0


def test_manifest_defaults():
    entry = KernelEntry.from_json({"file": "kernels/k.ptx", "symbol": "k"}, "kernel")
    assert entry == KernelEntry("kernels/k.ptx", "k", 1, 0, "", None)
    with pytest.raises(UserError, match="the target is neither a CPU nor a GPU"):
        Manifest.from_json({"target": {"kind": "tpu"}})
