"""`portcall`, which does something to itself at one exact point.

usage: die.py WHERE:WHEN:WHAT ARGUMENTS ...

WHERE  one of the functions below
WHEN   `before` or `after` its work
WHAT   `kill`: SIGKILL; `stop`: SIGSTOP, once, until it is told to go on; `say`: go on, each time.
Each says `at WHERE` on standard error first.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from portcall.cli.main import main

Async = Callable[..., Awaitable[Any]]
done = False


def act(where: str, what: str) -> None:
    global done  # noqa: PLW0603 - a process of its own
    if done and what != "say":
        return
    done = True
    sys.stderr.write(f"at {where}\n")
    sys.stderr.flush()
    if what != "say":
        os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGSTOP)


def patch(owner: type, name: str, point: str, concerns: Callable[..., bool] = lambda *_: True) -> None:
    where, when, what = point.split(":")
    real: Any = getattr(owner, name)

    @functools.wraps(real)
    async def patched(self: Any, *args: Any, **named: Any) -> Any:
        mine = concerns(*args)
        if mine and when == "before":
            act(where, what)
        result = await real(self, *args, **named)
        if mine and when == "after":
            act(where, what)
        return result

    setattr(owner, name, patched)


def an_end_from_the_watcher(events: list[Any], *_: Any) -> bool:
    return any(type(event).__name__ == "CallDone" and not event.worker_id for event in events)


def an_end_from_the_worker(events: list[Any], *_: Any) -> bool:
    return any(type(event).__name__ == "CallDone" and event.worker_id for event in events)


def at_dispatch(point: str) -> None:
    from portcall.runtime.process.runtime import ProcessRuntime

    patch(ProcessRuntime, "dispatch", point)


def at_release(point: str) -> None:
    from portcall.runtime.process.runtime import ProcessRuntime

    patch(ProcessRuntime, "release", point)


def at_lease(point: str) -> None:
    from portcall.worker.lease import Leases

    patch(Leases, "still_mine", point)


def at_comparison(point: str) -> None:
    from portcall.watcher.comparing import Comparer

    patch(Comparer, "once", point)


def at_commit(point: str) -> None:
    """In the server: a report that brings the end of a container."""
    from portcall.orchestrator.engine import Engine

    patch(Engine, "report", point, an_end_from_the_watcher)


def at_report(point: str) -> None:
    """In the worker: a report that brings the end of a short tool."""
    from portcall.client.http import HttpClient

    patch(HttpClient, "report", point, an_end_from_the_worker)


def at_post(point: str) -> None:
    """In the watcher: the report that brings the end of a container."""
    from portcall.client.http import HttpClient

    patch(HttpClient, "report", point, an_end_from_the_watcher)


POINTS = {
    "dispatch": at_dispatch,
    "release": at_release,
    "lease": at_lease,
    "comparison": at_comparison,
    "commit": at_commit,
    "report": at_report,
    "post": at_post,
}

if __name__ == "__main__":
    POINTS[sys.argv[1].partition(":")[0]](sys.argv[1])
    main(sys.argv[2:])
