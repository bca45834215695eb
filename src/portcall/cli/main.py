"""The entry of `portcall`: every way in which a command can end becomes an exit code and a sentence.

0    done; for an execution: completed
1    the execution failed or was cancelled
2    the playbook or the arguments are wrong
3    portcall itself could not go on
130  interrupted
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence

import click

from portcall import __version__
from portcall.cli.commands import LazyGroup, UnreadError
from portcall.errors import PortcallError

INTERRUPTED = 130
UNREAD = 141


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nStart with:\n  portcall run FILE        and look at it again with: portcall show last\n"
    "  portcall COMMAND --help  has every option, and an example",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error. [PORTCALL_DEBUG]")
@click.version_option(__version__, prog_name="portcall", message="%(prog)s %(version)s")
def cli(*, debug: bool) -> None:
    """Run durable playbooks whose steps hold no worker slot while they wait for containers."""
    if debug:
        os.environ["PORTCALL_DEBUG"] = "1"


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and end the process."""
    # Start-up makes many objects that stay: looking through them for garbage costs a tenth of it.
    gc.set_threshold(50_000, 20, 20)
    # pydantic would read the metadata of every installed package, for plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - one for each way to end
    """The exit code of the command line `args` (None: that of the process)."""
    try:
        code = cli.main(args=args, prog_name="portcall", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        return _usage(error)
    except PortcallError as error:
        return _failed(error, f"portcall: {error.message}", error.exit_code)
    except KeyboardInterrupt:
        click.echo("portcall: interrupted", err=True)
        return INTERRUPTED
    except (BrokenPipeError, UnreadError):
        return _pipe_closed()
    except OSError as error:
        return _failed(error, f"portcall: could not go on: {_reason(error)}", PortcallError.exit_code)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception as error:  # noqa: BLE001 - no traceback may reach a user
        text = f"portcall: could not go on: {type(error).__name__}: {_first_line(error)}"
        return _failed(error, f"{text} (--debug shows where)", PortcallError.exit_code)
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    click.echo(f"portcall: {error.format_message()}", err=True)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        click.echo(f"Try: {context.command_path} --help", err=True)
    return 2


def _failed(error: Exception, text: str, code: int) -> int:
    click.echo(text, err=True)
    if os.environ.get("PORTCALL_DEBUG", "") not in ("", "0"):
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
    return code


def _reason(error: OSError) -> str:
    """`no space left on device: x.txt`."""
    reason = (error.strerror or _first_line(error)).lower()
    return f"{reason}: {error.filename}" if error.filename else reason


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:300] if lines else "no message"


def _pipe_closed() -> int:
    # The reader of a pipe is gone (`portcall ps | head`): nothing can be said, and exit must not try to flush.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    return UNREAD
