"""Show what is wrong with a playbook: each problem with its line and a caret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from portcall.cli.terminal import err
from portcall.cli.text import plural
from portcall.errors import UsageError

if TYPE_CHECKING:
    from portcall.playbook.problems import PlaybookError


def count(error: PlaybookError) -> str:
    """`2 problems in train.yaml`, for those who have read them above."""
    errors = [problem for problem in error.problems if problem.severity == "error"]
    file = errors[0].file if errors else ""
    return f"{plural(len(errors), 'problem')} in {file or 'the playbook'}"


@contextmanager
def shown(text: str, done: str = "started") -> Iterator[None]:
    """A PlaybookError in the body becomes its problems on stderr, and exit code 2."""
    try:
        yield
    except UsageError as error:
        from portcall.playbook.problems import PlaybookError, show

        if not isinstance(error, PlaybookError):
            raise
        terminal = err()
        terminal.line(show(error.problems, text, color=terminal.color).rstrip())
        terminal.line(f"\nportcall: {count(error)}; nothing was {done}")
        raise SystemExit(error.exit_code) from error
