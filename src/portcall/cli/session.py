"""Run the asynchronous part of a command, so that an interrupt leaves nothing half done.

The first SIGINT, SIGTERM or SIGHUP cancels the work, whose contexts then close in order; the
second ends the process at once. Neither cancels an execution: it stays in the store.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from portcall.cli.main import INTERRUPTED

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(SystemExit):
    """A signal asked the command to stop. Not an error: a command with no more to say ends with its code."""

    def __init__(self) -> None:
        super().__init__(INTERRUPTED)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises: Interrupted."""
    # Without any handler, Python would write warnings to stderr by itself, amid what the command shows.
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(_guarded(work))


async def _guarded(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    seen: list[bool] = []

    def interrupt() -> None:
        if seen:
            _leave_now()
        seen.append(True)
        task.cancel()

    # `nohup` sets SIGHUP to be ignored, and means it.
    caught = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in caught:
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if seen:
            raise Interrupted from None
        raise
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _leave_now() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")
        sys.stderr.flush()
    os._exit(INTERRUPTED)
