"""What `lumir-compile` does once its command line is read."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from lumir.artifact.archive import replace_file
from lumir.artifact.plan import Plan
from lumir.artifact.read import Artifact
from lumir.compile import Compiled, Request, compile_to, write
from lumir.diagnostics import InternalError, UserError
from lumir.instrument import Session
from lumir.options import from_environment
from lumir.pipelines.steps import Tuning
from lumir.step_files import portable_text, weights_in_memory
from lumir.target import Target, target_named
from lumir.tools.compile_report import StepBar, print_summary
from lumir.tools.compile_watch import Watch
from lumir.tools.failures import check_output, reproducer_folder


def write_model(model: Path, progress: Console, report: Console, flags: Mapping[str, Any]) -> None:
    """Compile to an artifact, verify it if that is asked for, and print a summary.

    An existing artifact is replaced when everything went well, and left alone otherwise.
    """
    named = model if model.name.strip(".") else model.resolve()
    output = flags["output"] or Path(f"{named.stem}.lumir")
    check_output(output, "-o", replaces=True)
    if flags["verify"]:
        _check_verify(model, flags["target"])
    watch, start = Watch(flags["dump"], len(flags["profiles"])), time.perf_counter()
    with _session() as session, replace_output(output) as temporary:
        with StepBar(progress, len(flags["profiles"])) as bar:
            compiled = compile_to(_request(model, flags, bar, watch))
            bar.start("artifact")
            plans = _write(compiled, temporary)
        seconds = time.perf_counter() - start
        artifact = Artifact.open(temporary, verify=False)
        verified = _verify(artifact, model, flags["precision"]) if flags["verify"] else None
    steps = {name: entry.seconds for name, entry in session.timing.root.children.items()}
    print_summary(report, output, artifact, plans, compiled.target, watch.flops, seconds, steps, verified)


def write_step(model: Path, progress: Console, flags: Mapping[str, Any]) -> None:
    """Write the text of one step to the output, or to standard output.

    With an output, weights that are in no file go to `<output>.weights.bin`, so that the text stands alone.
    """
    output: Path = flags["output"] or Path("-")
    to_file, last = str(output) != "-", flags["last"]
    if len(flags["profiles"]) > 1:
        raise click.UsageError("--to takes one --profile")
    if flags["verify"]:
        raise click.UsageError("--verify needs an artifact; leave --to out")
    if to_file:
        check_output(output, "-o", replaces=True)
    watch = Watch(flags["dump"], 1)
    with _session(), StepBar(progress, 1, last) as bar:
        compiled = compile_to(_request(model, flags, bar, watch), last)
    (item,) = compiled.specialisations
    with compiled.context:
        if not to_file:
            click.echo(portable_text(item.module, item.store, Path()))
            _say_what_is_missing(weights_in_memory(item.module))
            return
        with replace_output(output) as temporary:
            if weights_in_memory(item.module):
                item.store.spill(item.module, output.resolve().with_name(f"{output.name}.weights.bin"))
            temporary.write_text(portable_text(item.module, item.store, output.parent))


def _request(model: Path, flags: Mapping[str, Any], bar: StepBar, watch: Watch) -> Request:
    return Request(
        model,
        flags["target"],
        flags["profiles"],
        flags["precision"],
        flags["override"],
        flags["weights"],
        Tuning(str(flags["tuning_db"] or from_environment().tuning_db or ""), str(flags["schedules"] or "")),
        progress=bar.start,
        observe=watch.after,
    )


def _session() -> Session:
    options = from_environment()
    session = Session.from_options(options)
    session.locations = True
    session.reproducer = reproducer_folder(options.reproducer_dir)
    return session


def _write(compiled: Compiled, path: Path) -> list[Plan]:
    """Write the artifact; a defect in that leaves the last step's text, from which it can be written again."""
    try:
        return write(compiled, path)
    except UserError:
        raise
    except Exception as error:
        folder = reproducer_folder(from_environment().reproducer_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with compiled.context:
            for number, item in enumerate(compiled.specialisations):
                kept = folder / f"artifact-{os.getpid()}-{number}.plan.mlir"
                if weights_in_memory(item.module):
                    item.store.spill(item.module, kept.resolve().with_suffix(".weights.bin"))
                kept.write_text(portable_text(item.module, item.store, folder))
                error.add_note(f"reproducer: lumir-compile {kept}")
        raise


@contextmanager
def replace_output(path: Path) -> Iterator[Path]:
    """A temporary file that becomes `path` when the block ends well."""
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(replace_file(path))
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror or error}",
                code="unwritable",
                hint="choose another file with -o",
            ) from error
        yield temporary


def _check_verify(model: Path, target: str | None) -> None:
    if model.suffix == ".mlir":
        raise UserError(
            "--verify needs the model, not a step's file", code="bad-option", hint="use lumir-run --verify MODEL.onnx"
        )
    if target not in (None, "cpu"):
        _needs_gpu(target_named(target))


def _needs_gpu(target: Target) -> None:
    from lumir.runtime.cuda import device_capability

    if target.kind == "nvidia":
        device_capability()


def _verify(artifact: Artifact, model: Path, precision: str | None) -> str:
    """Hold every plan against onnxruntime; a sentence about the result.

    Raises:
        InternalError: `verify`, when an output differs.
    """
    from lumir.tools.compile_verify import verify_plans

    comparisons = verify_plans(artifact, model, precision)
    wrong = [item for item in comparisons if not item.ok]
    if wrong:
        raise InternalError(
            f"{len(wrong)} of {len(comparisons)} outputs differ from onnxruntime's; nothing was written",
            code="verify",
            values={item.name: f"max abs {item.max_abs:.3g}, max rel {item.max_rel:.3g} {item.note}" for item in wrong},
            hint="compile without --verify, then find the dispatch: lumir-run --verify MODEL --every-dispatch",
        )
    worst = max((item.max_abs for item in comparisons), default=0.0)
    outputs = "1 output agrees" if len(comparisons) == 1 else f"{len(comparisons)} outputs agree"
    return f"{outputs} with onnxruntime, max abs error {worst:.2g}"


def _say_what_is_missing(names: list[str]) -> None:
    if names:
        click.echo(
            f"note: the bytes of {len(names)} weight(s) are not in this text; with -o FILE they are written beside it",
            err=True,
        )
