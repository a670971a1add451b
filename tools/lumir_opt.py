"""`lumir-opt`: run passes on a file of MLIR, as `mlir-opt` does, with lumir's passes and dialects beside MLIR's."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lumir import __version__
from lumir.diagnostics import LumirError, UserError
from lumir.instrument import DumpDirectory, PrintIR, Session
from lumir.options import from_environment
from lumir.passes import Nest, parse_pipeline, step_names, to_text
from lumir.tools.opt_flags import normalize, pipeline_of_flags, read_rest


def _flag(*names: str, help: str) -> Any:
    return click.option(*names, is_flag=True, default=False, help=help)


@click.command(
    context_settings={"ignore_unknown_options": True, "max_content_width": 120, "help_option_names": ["--help", "-h"]},
    epilog="Each pass is also a flag: --canonicalize, --lumir-check-dialects='allowed=func,arith'. Status: 0 or 1.",
)
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[--PASS[=OPTIONS]]... [FILE]")
@click.option("-o", "output", metavar="FILE", default="-", help="Write the result here instead of standard output.")
@click.option("--pass-pipeline", metavar="TEXT", help="Passes to run: builtin.module(cse,func.func(canonicalize)).")
@_flag("--list-passes", help="Print the passes of lumir, of extensions and of MLIR.")
@click.option("--pass-help", metavar="PASS", help="Print what a pass of lumir does, and its options.")
@_flag("--show-dialects", help="Print the dialects that are available.")
@_flag("--dump-pass-pipeline", help="Print the pipeline to standard error before it runs.")
@click.option("--print-ir-before", "--mlir-print-ir-before", metavar="PASS,...", multiple=True, help="Print IR.")
@click.option("--print-ir-after", "--mlir-print-ir-after", metavar="PASS,...", multiple=True, help="Print IR.")
@_flag("--print-ir-before-all", "--mlir-print-ir-before-all", help="Print IR before each pass.")
@_flag("--print-ir-after-all", "--mlir-print-ir-after-all", help="Print IR after each pass.")
@_flag("--print-ir-after-change", "--mlir-print-ir-after-change", help="... if the pass changed it.")
@_flag("--print-ir-after-failure", "--mlir-print-ir-after-failure", help="... if the pass failed.")
@click.option("--print-ir-tree-dir", "--mlir-print-ir-tree-dir", metavar="DIR", help="Write IR after each pass here.")
@click.option("--reproducer", "--mlir-pass-pipeline-crash-reproducer", metavar="FILE", help="Write one on failure.")
@_flag("--run-reproducer", help="Run the command that the input file, a reproducer, starts with.")
@click.option("--split-input-file", metavar="[MARKER]", help="Treat each part of the input on its own.")
@click.option("--output-split-marker", default="// -----", show_default=True, help="Put this between the results.")
@click.option(
    "--verify-diagnostics",
    type=click.Choice(["all", "only-expected"]),
    help="Hold diagnostics against // expected-error@+1 {{text}}.",
)
@click.option("--verify-each", type=bool, default=None, help="Verify the IR after each pass.  [default: true]")
@_flag("--allow-unregistered-dialect", help="Accept ops of dialects that are not known.")
@click.option("--emit-bytecode", type=bool, default=False, help="Write bytecode instead of text.")
@_flag("--timing", "--mlir-timing", help="Print the time of each pass to standard error.")
@_flag("--mlir-disable-threading", help="Run on one thread.")
@_flag("--mlir-print-debuginfo", help="Print locations.")
@_flag("--mlir-print-op-generic", help="Print ops in the generic form.")
@_flag("--mlir-print-local-scope", help="Print without aliases.")
@click.option("--mlir-elide-elementsattrs-if-larger", type=int, metavar="N", help="Print larger constants as '...'.")
@click.version_option(__version__, prog_name="lumir-opt")
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> int:
    """Run passes on FILE (standard input if it is missing or -) and print the result."""
    rest = read_rest(flags["rest"])
    if flags["list_passes"] or flags["show_dialects"] or flags["pass_help"]:
        from lumir.tools import opt_listing

        return opt_listing.show(flags["list_passes"], flags["show_dialects"], flags["pass_help"])
    path = Path(rest.file) if rest.file not in (None, "-") else None
    if flags["run_reproducer"]:
        return _run_reproducer(path, context.obj)
    pipeline = _pipeline(flags["pass_pipeline"], rest.passes, [o for p in command.params for o in p.opts])
    if flags["dump_pass_pipeline"]:
        click.echo(f"Pass Manager with 1 nested pipeline:\n{to_text(pipeline)}", err=True)
    session = _session(flags)
    session.print_ir.check(step_names(pipeline))
    return _run(_read(path), _settings(path, pipeline, flags), session, flags["output"])


def _run(data: bytes, settings: Any, session: Session, output: str) -> int:
    from lumir.tools.opt_driver import process

    with session:
        text, good = process(data, settings, session)
    if output != "-":
        if good:
            _write(Path(output), text)
    else:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    return 0 if good else 1


def _run_reproducer(path: Path | None, arguments: Sequence[str]) -> int:
    from lumir.instrument.reproducer import read_command

    if path is None:
        raise UserError("--run-reproducer needs a file", code="usage")
    asked = read_command(_read(path).decode())
    return run([*asked, *(argument for argument in arguments if argument != "--run-reproducer")])


def _pipeline(text: str | None, passes: Sequence[tuple[str, str]], options: Sequence[str]) -> Nest:
    if text is None:
        return pipeline_of_flags(passes, options)
    if passes:
        raise UserError(
            "--pass-pipeline cannot be used with passes as flags",
            code="usage",
            values={"flags": " ".join(f"--{name}" for name, _ in passes)},
        )
    return parse_pipeline(text)


def _session(flags: dict[str, Any]) -> Session:
    """What the environment asks for, and on top of it what the command line asks for."""
    session = Session.from_options(from_environment())
    asked = session.print_ir
    session.print_ir = PrintIR(
        (*asked.before, *_names(flags["print_ir_before"])),
        (*asked.after, *_names(flags["print_ir_after"])),
        flags["print_ir_before_all"],
        flags["print_ir_after_all"],
        asked.after_change or flags["print_ir_after_change"],
        flags["print_ir_after_failure"],
    )
    if flags["print_ir_tree_dir"]:
        session.dump = DumpDirectory(Path(flags["print_ir_tree_dir"]))
    if flags["reproducer"]:
        session.reproducer = Path(flags["reproducer"])
    if flags["verify_each"] is not None:
        session.verify_each = flags["verify_each"]
    session.report_timing |= flags["timing"]
    session.locations = flags["mlir_print_debuginfo"]
    session.flags = ("--allow-unregistered-dialect",) if flags["allow_unregistered_dialect"] else ()
    return session


def _settings(path: Path | None, pipeline: Nest, flags: dict[str, Any]) -> Any:
    from lumir.tools.opt_driver import Settings

    return Settings(
        path=path,
        pipeline=pipeline,
        split=flags["split_input_file"],
        output_marker=flags["output_split_marker"],
        verify_diagnostics=flags["verify_diagnostics"],
        emit_bytecode=flags["emit_bytecode"],
        allow_unregistered=flags["allow_unregistered_dialect"],
        threads=not flags["mlir_disable_threading"],
        print_debuginfo=flags["mlir_print_debuginfo"],
        print_generic=flags["mlir_print_op_generic"],
        print_local_scope=flags["mlir_print_local_scope"],
        elide_larger=flags["mlir_elide_elementsattrs_if_larger"],
    )


def _names(values: Sequence[str]) -> list[str]:
    return [name for value in values for name in value.split(",")]


def _read(path: Path | None) -> bytes:
    try:
        return path.read_bytes() if path else sys.stdin.buffer.read()
    except OSError as error:
        raise UserError(f"cannot open input file '{path}': {error.strerror}", code="no-input") from None


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write output file '{path}': {error.strerror}", code="no-output") from None


def run(arguments: Sequence[str]) -> int:
    """The tool as a function: its exit status. Uses `sys.stdin`, `sys.stdout` and `sys.stderr` of the moment."""
    normalized = normalize(arguments)
    try:
        status = command.main(normalized, prog_name="lumir-opt", standalone_mode=False, obj=normalized)
        return status or 0
    except LumirError as error:
        click.echo(str(error), err=True)
    except click.ClickException as error:
        click.echo(f"error[usage]: {error.format_message()}", err=True)
    return 1


def main() -> None:
    sys.exit(run(sys.argv[1:]))
