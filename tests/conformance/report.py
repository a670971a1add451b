"""What a run says: totals by group and by opset, the defects, the refusals by reason, and docs/coverage.md."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.conformance.cases import GROUPS, Facts, all_cases
from tests.conformance.outcome import DEFECTS, VERDICTS, Outcome

_DETAIL = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\b\d+\b")

INTRODUCTION = """# Operator coverage

What becomes of ONNX's own back-end tests, of the package onnx {version}, on target `{target}`. This page is written by
`python -m tests.conformance.run --target {target} --write-coverage`.

A case passes when every output has the expected type and shape and lies within the case's own tolerances. A refused
case gets an error before anything runs, which names the node and the reason; it is not a pass. {fixed} of the passes
are of models that take, as an input, a value that fixes a shape (the shape of a Reshape, the axes of a sum): that value
is given at compile time. {constant} of them have no other input, so that the compiler computes the result itself.
"""


def totals(outcomes: Sequence[Outcome], facts: dict[str, Facts]) -> str:
    """Verdicts by group and by opset, as text."""
    opsets = [(f"opset {name}", members) for name, members in _by_opset(outcomes, facts)]
    rows = [*_by_group(outcomes)[:-1], *opsets, ("all", list(outcomes))]
    lines = ["".join(f"{head:>10}" for head in ("cases", *VERDICTS)).rjust(80)]
    for name, members in rows:
        counts = Counter(o.verdict for o in members)
        lines.append(f"{name:20}" + "".join(f"{n:>10}" for n in (len(members), *(counts[v] for v in VERDICTS))))
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line: passed of all cases there are, whether they were run or not."""
    counts = Counter(o.verdict for o in outcomes)
    fixed, constant = _specialised(outcomes)
    rest = ", ".join(f"{counts[v]} {v}" for v in VERDICTS[1:])
    ran = "" if len(outcomes) == len(all_cases()) else f" (only {len(outcomes)} were run)"
    passed = f"passed {counts['passed']} / {len(all_cases()):,}{ran}, {fixed} of them with inputs fixed at compile time"
    passed += f" ({constant} with all of them)"
    return f"{passed}; {rest}"


def defects(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """What neither passed nor was refused, the wrong ones first."""
    return sorted((o for o in outcomes if o.is_defect), key=lambda o: (DEFECTS.index(o.verdict), o.name))


def refusals(outcomes: Iterable[Outcome]) -> list[tuple[str, int]]:
    """Each first reason with its number of cases, the most frequent first; names, shapes and numbers are left out."""
    found = Counter(_DETAIL.sub("…", o.reasons[0]) for o in outcomes if o.verdict == "refused")
    return found.most_common()


def write_coverage(outcomes: Sequence[Outcome], facts: dict[str, Facts], target: str, path: Path) -> None:
    """One row for each operator, from a run of all cases."""
    import onnx

    fixed, constant = _specialised(outcomes)
    lines = [INTRODUCTION.format(version=onnx.__version__, target=target, fixed=fixed, constant=constant)]
    for what, rows in (("group", _by_group(outcomes)), ("opset", _by_opset(outcomes, facts))):
        lines += [f"| {what} | cases | passed | refused | failed |", "|---|---|---|---|---|"]
        lines += [*(f"| {name} | {_counts(members)} |" for name, members in rows), ""]
    lines += [
        "## By operator",
        "",
        "Cases of the group `node`, those with a function's body in its place included.",
        "",
    ]
    lines += ["| operator | cases | passed | refused | failed | why |", "|---|---|---|---|---|---|"]
    by_op: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.name.startswith("node/"):
            for op in facts[outcome.name].ops:
                by_op[op].append(outcome)
    for op in sorted(by_op, key=str.lower):
        lines.append(f"| {op} | {_counts(by_op[op])} | {_reasons(by_op[op])} |")
    path.write_text("\n".join(lines) + "\n")


def _by_group(outcomes: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    """The outcomes of each group, then all."""
    groups = {group: [o for o in outcomes if o.name.startswith(f"{group}/")] for group in GROUPS}
    return [*((name, members) for name, members in groups.items() if members), ("all", list(outcomes))]


def _by_opset(outcomes: Sequence[Outcome], facts: dict[str, Facts]) -> list[tuple[str, list[Outcome]]]:
    """The outcomes of each opset of ai.onnx, the oldest first; `none` are models of other domains alone."""
    opsets: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        opsets[facts[outcome.name].opset].append(outcome)
    return [(str(opset or "none"), opsets[opset]) for opset in sorted(opsets)]


def _specialised(outcomes: Iterable[Outcome]) -> tuple[int, int]:
    """How many passes had some of their inputs fixed at compile time, and how many all of them."""
    passed = [o for o in outcomes if o.verdict == "passed"]
    return sum(1 for o in passed if o.fixed), sum(1 for o in passed if o.is_constant)


def _counts(members: Sequence[Outcome]) -> str:
    verdicts = Counter(o.verdict for o in members)
    failed = sum(verdicts[v] for v in DEFECTS)
    return f"{len(members)} | {verdicts['passed']} | {verdicts['refused']} | {failed}"


def _reasons(members: Sequence[Outcome]) -> str:
    """The distinct reasons of what did not pass, for a table's cell."""
    found = Counter(reason for o in members if o.verdict != "passed" for reason in o.reasons[:1])
    return "; ".join(f"{reason}{f' ({n})' if n > 1 else ''}" for reason, n in found.most_common(3)).replace("|", "\\|")
