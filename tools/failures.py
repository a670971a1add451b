"""How a tool ends: the exit status, and what is printed about an error."""

import os
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import click

from lumir import __version__
from lumir.diagnostics import InternalError, LumirError, LumirWarning, UserError

WIDE = 230
"""Columns of a table that goes to a file."""
OK, FAILED, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 70, 130
"""As in BSD's sysexits.h: 70 is a defect of the program itself."""


def run_tool(command: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Run a tool; the exit status. Errors go to stderr without a traceback, warnings as one line each."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", LumirWarning)
        warnings.showwarning = _show_warning
        try:
            return command.main(args=list(arguments), prog_name=name, standalone_mode=False) or OK
        except click.ClickException as error:
            error.show()
            return USAGE
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except InternalError as error:
            _print(error, str(error))
            return INTERNAL
        except LumirError as error:
            click.echo(str(error), err=True)
            return FAILED
        except MemoryError as error:
            shown = UserError(
                f"this machine has not the memory that this takes: {error}",
                code="out-of-memory",
                hint="give smaller sizes or narrower ranges with --dim",
            )
            click.echo(str(shown), err=True)
            return FAILED
        except Exception as error:
            _print(error, f"internal error[crash]: {type(error).__name__}: {error}")
            click.echo(f"  traceback: {_keep_traceback(error, name, arguments)}", err=True)
            return INTERNAL


def check_output(path: Path, option: str, replaces: bool = False) -> None:
    """Fail before the work, not after it.

    Args:
        replaces: the file is put in the place of what is there, rather than written into it.

    Raises:
        UserError: `unwritable`: the file that `option` names cannot be written, or is none.
    """
    folder = path.resolve().parent
    if path.is_dir():
        why = "it is a folder"
    elif replaces and path.exists() and not path.is_file():
        why = "it is no regular file, and would be replaced by one"
    elif path.exists() and not replaces:
        why = "" if os.access(path, os.W_OK) else "it may not be written to"
    elif not folder.is_dir():
        why = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK):
        why = f"the folder {folder} cannot be written to"
    else:
        why = ""
    if why:
        hint = f"choose another file with {option}"
        raise UserError(f"{path} cannot be written: {why}", code="unwritable", hint=hint)


def reproducer_folder(asked: Path | None = None) -> Path:
    """Where reproducers go unless the user says: the cache folder, or a temporary one where that cannot be written."""
    if asked:
        return asked
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(home) / "lumir" / "reproducers"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / "lumir-reproducers"
    return folder


def _print(error: Exception, text: str) -> None:
    """The text and the notes that say where it happened."""
    click.echo("\n".join([text, *(f"  {note}" for note in getattr(error, "__notes__", []))]), err=True)


def _keep_traceback(error: Exception, name: str, arguments: Sequence[str]) -> Path:
    folder = reproducer_folder()
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="crash-", suffix=".txt", dir=folder)
    with os.fdopen(handle, "w") as file:
        file.write(f"{name} {shlex.join(arguments)}\nlumir {__version__}, Python {sys.version}\n\n")
        file.writelines(traceback.format_exception(error))
    return Path(path)


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    label = "warning" if issubclass(category, LumirWarning) else f"warning[{category.__name__}]"
    click.echo(f"{label}: {message}", err=True)
