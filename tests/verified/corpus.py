"""The kernels that are pinned: dispatches of every kind, each with a few schedules of every family that takes it.

A case is a dispatch, an architecture, a family and a schedule. Which schedules are taken depends on their text alone:
a change of a cost model, or schedules that are added, leave most cases as they are.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import attention_cases
import contraction_cases
import convolution_cases
import decode_cases
import harness
import map_cases
import prefill_cases
import row_cases
import row_parts_cases
import scan_cases
import skinny_cases
import top_k_cases
import transpose_cases
import wgmma_cases

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.families import families, takes
from lumir.linalg.lower import LowerToLinalg, dispatches
from lumir.mlir import ir
from lumir.module import symbols_in
from lumir.size_text import declare
from lumir.target import NVIDIA_ARCHS, target_named

MAIN = "sm_90a"
"""The architecture with the most cases: the one that can be verified on a Hopper GPU, with its own instructions."""
SCHEDULES = 2
"""Of each family for each dispatch on `MAIN`; one elsewhere."""
ELSEWHERE = 1
"""Other architectures that each dispatch is compiled for, by turns."""
RUNNABLE = ("sm_80", "sm_86", "sm_89", "sm_90a")
"""Architectures whose PTX a GPU of compute capability 9.0 runs."""

TRAITS = {"rows": ("cluster", "ahead"), "wgmma": ("parts",)}
"""Fields of which few schedules of a family make use: on `MAIN`, one more that does is taken for each."""

_NAMES = {
    "contraction": (
        contraction_cases.CASES,
        "mk,kn->mn-float16-ragged mk,nk->mn-float16-aligned km,kn->mn-float16-aligned km,nk->mn-float16-ragged "
        "bmk,bkn->bmn-float16-aligned mbk,bnk->mbn-float16-ragged mk,nk->mn-float32-ragged bfloat16-ragged "
        "float64-aligned int8-ragged float16-to-float32 row column long large linear-float16 linear-bfloat16 "
        "linear-float32 heads-float16 transposed-float16 computed-float16 conv-float16 conv-strided conv-depthwise "
        "conv-pointwise conv-stem channels-last-float16",
    ),
    "wgmma": (
        wgmma_cases.CASES,
        "mk,kn->mn-bfloat16 mk,nk->mn-float16 km,kn->mn-float16 km,nk->mn-bfloat16 bmk,bkn->bmn-float16 "
        "mk,nk->mn-small row odd-result long large float8_e4m3fn int8 scaled-float8 linear-float16 heads unheads "
        "gated-float16 three-bands uint8-int8 requantised float8_e4m3fn-float8_e5m2 tf32 tf32-linear transposed sliced "
        "few-tiles few-tiles-linear gelu-float16 gelu-odd",
    ),
    "convolution": (
        convolution_cases.CASES,
        "3x3 3x3-residual 3x3-strided 3x3-dilated 3x3-padded-unevenly 3x3-ragged-channels 5x5 1x1-strided "
        "grouped runs-of-four runs-of-eight runs-by-two runs-in-many-turns one-dimensional three-dimensional "
        "one-filter float8_e4m3fn",
    ),
    "attention": (
        attention_cases.CASES,
        "plain-float16 aligned-bfloat16 causal-long-bfloat16 causal-offset-float16 grouped-causal-float16 "
        "bool-mask-float16 float-mask-bfloat16 key-mask-float32 softcap-float16 everything-float16 window-float16 "
        "band-bfloat16 depth-96-float16 depth-128-bfloat16 depth-256-float16 depth-odd-float32 one-query-float16 "
        "one-key-float16 lengths-float16 lengths-causal-bfloat16 lengths-causal-float32",
    ),
    "prefill": (
        prefill_cases.CASES,
        "plain-float16 aligned-bfloat16 batches-float16 causal-bfloat16 causal-aligned-float16 causal-offset-bfloat16 "
        "bool-mask-float16 float32-mask-bfloat16 softcap-float16 packed-bfloat16 everything-float16 depth-64-float16 "
        "window-long-bfloat16 window-offset-float16 band-float16 first-keys-dropped-bfloat16 window-masked-float16 "
        "depth-96-bfloat16 depth-256-float16 lengths-bfloat16 lengths-causal-float16 lengths-window-bfloat16 "
        "lengths-capped-float16",
    ),
    "decode": (
        decode_cases.CASES,
        "grouped-float16 aligned-bfloat16 long-float16 sixteen-rows-bfloat16 twenty-rows-float16 few-keys-float16 "
        "causal-bfloat16 bool-mask-float16 float-mask-bfloat16 everything-float16 depth-64-float16 depth-256-bfloat16 "
        "window-long-float16 band-bfloat16 first-keys-dropped-float16 unwritten-bfloat16 paged-float16 "
        "paged-heads-first-bfloat16 paged-masked-bfloat16 paged-written-float16 paged-wide-float16 paged-part-bfloat16 "
        "lengths-float16 lengths-unwritten-bfloat16 lengths-causal-float16 lengths-window-bfloat16 "
        "lengths-first-dropped-float16 paged-lengths-bfloat16",
    ),
    "skinny": (
        skinny_cases.CASES,
        "float16 float64 int8 swapped batched-float16 small gated-float16 linear-float16 computed-bfloat16 "
        "uint4-float16 uint4-float16-blocks-of-32 uint4-bfloat16 uint4-padded int8-bfloat16 uint8-float16 "
        "per-channel-float16 uint4-padded-bfloat16 uint4-float16-16x300x2304 int8-bfloat16-12x200x1152 "
        "uint4-float16-20x300x2304 int8-bfloat16-61x200x1152 "
        "bfloat16-9x512x4104 bfloat16-40x1000x1032 gated-float16-40x200x1032",
    ),
    "transpose": (
        transpose_cases.CASES,
        "float16-256x320 float32-77x130 int8-33x5 bool-4x1000 to-channels-last to-channels-first inner rotated "
        "fused-float16 fused-float32 two-turned heads flattened",
    ),
    "rows": (
        row_cases.CASES,
        "softmax-float16 softmax-ragged-float32 layer-norm-bfloat16 layer-norm-long mean-of-squares-float16 "
        "max-bfloat16 sum-int32 arg-max-float32 arg-min-int64-last one-row-of-floats outer-and-inner softmax-long "
        "softmax-across log-softmax one-column layer-norm-many norm-quantised-int8 norm-quantised-float8_e4m3fn "
        "arg-max-long softmax-beyond-registers",
    ),
    "row_parts": (
        row_parts_cases.CASES,
        "leading-float32 leading-bfloat16 leading-int8 all-float16 all-int64 middle outer-and-inner arg-max "
        "arg-min-last long",
    ),
    "scan": (
        scan_cases.CASES,
        "sum-float32 sum-bfloat16 sum-int64 reverse-float16 exclusive-float32 exclusive-int8 max-float64 max-uint8 "
        "prod-int32 leading both long",
    ),
    "top_k": (
        top_k_cases.CASES,
        "largest-float32 largest-bfloat16 smallest-float64 smallest-int64 largest-uint8 experts one-row long many",
    ),
    "map": (
        map_cases.CASES,
        "add-float16 ragged-int8 less-bfloat16 scalar-float32 gelu-float32 gelu-wide-float16 bool mixed-ragged "
        "whole-gelu-float16 transpose heads concat-ragged slice gather matmul-half max-pool depthwise scan top-k",
    ),
}


def _texts() -> dict[str, Callable[[], str]]:
    found = {}
    for kind, (cases, names) in _NAMES.items():
        found |= {f"{kind}/{name}": cases[name] for name in names.split()}
    return found


OPEN = {
    f"open/{name}": wgmma_cases.OPEN[name]
    for name in ["mk,nk->mn-float16", "bmk,bkn->bmn-float16", "linear", "gated", "heads", "scores", "sums-of-eight"]
}
"""Dispatches whose sizes are known when they run."""
TEXTS = _texts() | {name: lambda name=name: wgmma_cases.open_text(name.removeprefix("open/")) for name in OPEN}


def runs_of(name: str) -> list[tuple[Mapping[str, int], str]]:
    """Values of a dispatch's symbols to run it with, and its text with those; once where all sizes are fixed."""
    with harness.kernel_context():
        if name in OPEN:
            return [(binding, OPEN[name](binding)) for binding in wgmma_cases.BINDINGS]
        return [({}, TEXTS[name]())]


@dataclass(frozen=True)
class Case:
    """One kernel.

    Args:
        name: of the dispatch, in `TEXTS`.
        text: the dispatch in lumir ops.
    """

    name: str
    text: str
    arch: str
    family: str
    schedule: dict[str, Any]

    @property
    def key(self) -> str:
        return f"{self.name} {self.arch} {self.family} {schedule_key(self.schedule)}"


def schedule_key(schedule: dict[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in schedule.items())


def cases_of(name: str) -> list[Case]:
    """The cases of one dispatch: for a few architectures, of every family that matches."""
    found = []
    with harness.kernel_context():
        text = TEXTS[name]()
        module = ir.Module.parse(text)
        with declare(symbols_in(module)):
            LowerToLinalg().run(module)
            dispatch = Dispatch(dispatches(module)[0])
            for arch in _archs(name):
                target = target_named(arch)
                for family in families(target):
                    if (family.name == "map" and not name.startswith("map/")) or not takes(family, dispatch, target):
                        continue
                    legal = [s for s in family.space(dispatch, target) if not family.legal(dispatch, s, target)]
                    taken = _taken(name, arch, family.name, [asdict(schedule) for schedule in legal])
                    found += [Case(name, text, arch, family.name, schedule) for schedule in taken]
    return found


def _taken(name: str, arch: str, family: str, schedules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of a dispatch that are pinned."""
    ranked = sorted(schedules, key=lambda schedule: _digest(name, schedule))
    if arch != MAIN:
        return ranked[:1]
    taken = ranked[:SCHEDULES]
    for trait in TRAITS.get(family, ()):
        using = [schedule for schedule in ranked if schedule[trait] > 1]
        taken += [schedule for schedule in using[:1] if schedule not in taken]
    return taken


def _archs(name: str) -> list[str]:
    others = sorted((a for a in NVIDIA_ARCHS if a != MAIN), key=lambda arch: _digest(name, {"arch": arch}))
    return [MAIN, *others[:ELSEWHERE]]


def _digest(name: str, schedule: dict[str, Any]) -> str:
    return hashlib.sha256(f"{name} {schedule_key(schedule)}".encode()).hexdigest()
