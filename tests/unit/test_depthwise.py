"""Depthwise convolutions on NVIDIA GPUs, without one: filters that lie along the channels, and wide accesses."""

import re

import numpy as np
import pytest
from import_helpers import model, node
from nvidia_helpers import harness, map_cases

from lumir.compile import Request, compile_to
from lumir.kernels.nvidia.map import MapFamily, MapSchedule


def kernel_of(groups: int, channels_of_a_group: int) -> str:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((64, channels_of_a_group, 3, 3)).astype(np.float16)}
    nodes = [node("Conv", "x w", group=groups, pads=[1, 1, 1, 1])]
    proto = model(nodes, {"x": np.zeros((2, groups * channels_of_a_group, 14, 14), np.float16)}, ["y"], weights)
    texts: list[str] = []

    def keep(step, number, module, store) -> None:
        texts.append(str(module))

    compile_to(Request(proto, target="sm_90a", observe=keep), last="kernel")
    return texts[-1]


def test_filters_of_single_channels_lie_along_the_channels():
    text = kernel_of(64, 1)
    assert re.search(r"w\S*\.turned.*tensor<3x3x1x64xf16>", text)


@pytest.mark.parametrize(("groups", "channels"), [(1, 64), (8, 8)])
def test_other_filters_stay(groups, channels):
    assert "turned" not in kernel_of(groups, channels)


def test_a_thread_reads_eight_channels_at_once():
    with harness.kernel_context():
        ptx = harness.build(map_cases.CASES["depthwise"](), MapFamily(), schedule=MapSchedule(8, 1, 128)).ptx
    assert "ld.global.v4" in ptx and len(re.findall(r"ld\.global\S*\.b16", ptx)) == 1  # what the sum is held against
