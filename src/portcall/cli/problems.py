"""Show what is wrong with a playbook: each problem with its line and a caret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from portcall.cli.terminal import err
from portcall.errors import UsageError


@contextmanager
def shown(text: str) -> Iterator[None]:
    """A PlaybookError in the body becomes its problems on stderr, and exit code 2."""
    try:
        yield
    except UsageError as error:
        from portcall.playbook.problems import PlaybookError, show

        if not isinstance(error, PlaybookError):
            raise
        terminal = err()
        terminal.line(show(error.problems, text, color=terminal.color).rstrip())
        terminal.line(f"portcall: {error.message}")
        raise SystemExit(error.exit_code) from error
