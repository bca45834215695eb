"""The worker: claims commands for its free slots, starts them, reports what came of them.

One pump does the talking: what is finished goes out with the next claim in the same request, so that a
chain of short steps costs one round trip a step; while a request is under way further facts gather.
Only an idle worker holds a long poll. A slot is taken by a call that runs here, by nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from portcall.backoff import Backoff, pause
from portcall.client.port import Client
from portcall.clock import Clock
from portcall.errors import PortcallError, TooLargeError, UsageError
from portcall.model.api import ClaimRequest, Command
from portcall.model.event import CallDone, CallParked, CommandDeferred, Error, Reported
from portcall.observe import metrics, tracing
from portcall.observe.secrets import add_secret
from portcall.runtime.port import Runtime
from portcall.tool.port import Services, ToolKind
from portcall.worker.execute import Executor, Fact, where
from portcall.worker.lease import Held, Leases, awake_seconds, leased
from portcall.worker.log_tail import LogTail
from portcall.worker.outbox import Outbox

STOP_GRACE_SECONDS = 2.0
_REFUSALS = (TooLargeError, UsageError, TypeError, ValueError, OverflowError, msgspec.MsgspecError)
"""A request that fails so would fail again: something in it is wrong."""

_SHOWN = frozenset({"host", "port", "user", "username", "database", "dbname", "schema", "type", "region"})
"""Fields of a credential that are no secrets: blanking them would make messages useless."""

log = logging.getLogger("portcall.worker")


class Worker:
    """`slots`: how many commands run here at a time. Times in seconds."""

    def __init__(  # noqa: PLR0913 - each is one setting of the process
        self,
        client: Client,
        kinds: Mapping[str, ToolKind],
        runtime: Runtime | None,
        *,
        worker_id: str,
        slots: int,
        clock: Clock,
        workdir: str,
        credential: Callable[[str], Mapping[str, Any]] | None = None,
        lease_seconds: float = 30,
        claim_wait: float = 20,
        drain_seconds: float = 10,
        outbox_limit: int = 10_000,
        time: Callable[[], float] = awake_seconds,
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._worker_id = worker_id
        self._slots = slots
        self._workdir = workdir
        self._credential = credential
        self._lease_seconds = lease_seconds
        self._claim_wait = claim_wait
        self._drain_seconds = drain_seconds
        self._executor = Executor(kinds, worker_id, clock)
        self._leases = Leases(client, worker_id, lease_seconds, time)
        self._outbox = Outbox(outbox_limit)
        self._running: set[Held] = set()
        self._asked = 0  # slots that a long poll now under way may fill
        self._poll: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._stops: set[asyncio.Task[None]] = set()
        self._backoff = Backoff()
        self._claims = Backoff()
        self._failing: set[str] = set()

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def busy(self) -> int:
        """Slots in use."""
        return len(self._running)

    @property
    def in_flight(self) -> list[Command]:
        """The commands that run here now."""
        return [held.command for held in self._running]

    async def ready(self) -> bool:
        """Whether the server has answered what it was asked last."""
        return not self._failing

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain: no claims, wait for what runs, report it, and end."""
        pump, beat = asyncio.create_task(self._pump()), asyncio.create_task(self._beat())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({pump, beat, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not (pump.done() or beat.done()):
                await self._drain(pump)
        finally:
            await _end({pump, beat, stopped, *self._stops, *self._left()})
        for task in (pump, beat):
            if task.done() and not task.cancelled():
                task.result()

    # -- talking to the server ----------------------------------------------------------------

    async def _pump(self) -> None:
        while True:
            self._wake.clear()
            if self._outbox:
                await self._post()
                continue
            if self._stopping.is_set() and not self._running:
                self._idle.set()
            elif self._poll is None and (free := self._free()) > 0:
                self._asked += free
                self._poll = asyncio.create_task(self._long_poll(free))
            await self._wake.wait()

    def _free(self) -> int:
        if self._stopping.is_set() or self._outbox.full:
            return 0
        return self._slots - len(self._running) - self._asked

    async def _post(self) -> None:
        """One request: the oldest facts out, commands for the free slots in."""
        events, free, sent = self._outbox.batch(), max(0, self._free()), self._leases.now()
        claim = ClaimRequest(worker_id=self._worker_id, slots=free) if free else None
        self._asked += free
        try:
            with self._span(events):
                report = await self._client.report(events, claim)
            self._failing.discard("report")
        except _REFUSALS as error:
            self._over(self._outbox.refuse(len(events), _said(error)))
            return
        except Exception as error:  # noqa: BLE001 - whatever fails, the facts are kept and posted again
            await self._wait_for_server(self._backoff, "report", error)
            return
        finally:
            self._asked -= free
        self._over(self._outbox.settle(len(events), report.answers))
        if len(report.answers) < len(events):
            await pause(self._backoff.next(), self._stopping)
        else:
            self._backoff.reset()
        if report.commands:
            self._take(report.commands, sent)
            await asyncio.sleep(0)  # what needs no waiting ends now, and goes out with the next request

    async def _long_poll(self, free: int) -> None:
        """Wait for commands for the free slots, once. On failure the pump tries again after a pause."""
        sent = self._leases.now()
        request = ClaimRequest(worker_id=self._worker_id, slots=free, wait_seconds=self._claim_wait)
        try:
            commands = await self._client.claim(request)
            self._failing.discard("claim")
            if commands or self._leases.now() - sent >= min(1.0, self._claim_wait / 2):
                self._claims.reset()
            else:  # an answer at once without commands: the server does not wait, so this side does
                await pause(self._claims.next(), self._stopping)
        except Exception as error:  # noqa: BLE001 - whatever fails, the facts are kept and posted again
            commands = []
            await self._wait_for_server(self._claims, "claim", error)
        finally:
            self._asked -= free
            self._poll = None
            self._wake.set()
        self._take(commands, sent)

    def _span(self, events: list[Reported]) -> tracing.span:
        """A request with one fact belongs to the trace of its execution."""
        held = self._leases.held.get(events[0].call_id) if len(events) == 1 else None
        if held is None:
            return tracing.span("report", events=len(events))
        return tracing.span("report", held.command.traceparent, **where(held.command))

    async def _wait_for_server(self, backoff: Backoff, what: str, error: Exception) -> None:
        self._failing.add(what)
        level = logging.WARNING if backoff.fresh else logging.DEBUG
        log.log(level, "The %s failed and is tried again until it succeeds: %s", what, _said(error))
        metrics.count("worker_server_errors", request=what)
        if self._stopping.is_set():
            await asyncio.sleep(min(backoff.next(), 0.5))
        elif await pause(backoff.next(), self._stopping):
            backoff.reset()

    def _over(self, events: list[Reported]) -> None:
        for event in events:
            if isinstance(event, CallDone | CallParked | CommandDeferred):
                self._leases.release(event.call_id, event.claim)
        metrics.gauge("worker_outbox", len(self._outbox))

    # -- running commands ---------------------------------------------------------------------

    def _take(self, commands: list[Command], sent: float) -> None:
        if commands:
            metrics.count("worker_claims", len(commands))
        for command in commands:
            if self._stopping.is_set():
                back = self._executor.deferred(command, "The worker is stopping.", 0.0)
                self._put(self._executor.weigh(command, back))
            else:
                self._start(command, sent)

    def _start(self, command: Command, sent: float) -> None:
        before = self._leases.held.get(command.call_id)
        if before is not None:
            before.end("lost")
        held = self._leases.grant(command, sent)
        if command.stop:
            held.cancelled.set()
        self._running.add(held)
        held.task = asyncio.create_task(self._run(held, before))

    async def _run(self, held: Held, before: Held | None) -> None:
        command, output, fact = held.command, LogTail(), None
        try:
            if before is not None and before.task is not None:
                await asyncio.wait({before.task})
            with tracing.span(f"call {command.kind}", command.traceparent, **where(command)):
                fact = await self._executor.run(command, self._services(held, output), output)
        except asyncio.CancelledError:
            if held.ended in {None, "stop"}:
                fact = self._interrupted(held, output)
        finally:
            self._running.discard(held)
        if fact is None or held.lost:
            self._leases.release(command.call_id, command.claim)
            log.info("The call was given up: %s", held.ended, extra=where(command))
            self._wake.set()
        else:
            self._put(fact)

    def _services(self, held: Held, output: LogTail) -> Services:
        return Services(
            log=output.add,
            cancelled=held.cancelled,
            still_mine=lambda: self._leases.still_mine(held),
            runtime=leased(self._runtime, self._leases, held),
            credential=None if self._credential is None else self._secret,
            workdir=self._workdir,
        )

    def _secret(self, name: str) -> Mapping[str, Any]:
        """A credential, whose values are blanked in logs and messages from now on."""
        assert self._credential is not None  # noqa: S101 - for the type checker; see `_services`
        found = self._credential(name)
        _hide(found)
        return found

    def _interrupted(self, held: Held, output: LogTail) -> Fact:
        command = held.command
        if held.ended == "stop":
            error = Error(kind="cancelled", message="The call was stopped on request.", step=command.step)
            event = self._executor.failed(command, error, None, output.text(), "cancelled")
        else:
            message = f"The {command.kind} tool of step {command.step} ended itself without a result."
            error = Error(kind="exception", message=message, step=command.step)
            event = self._executor.failed(command, error, None, output.text())
        return self._executor.weigh(command, event)

    def _put(self, fact: Fact) -> None:
        held = self._leases.held.get(fact.event.call_id)
        self._outbox.add(fact.event, fact.size, held.command.step if held else "")
        self._wake.set()
        match fact.event:
            case CallDone(status=status):
                metrics.count("worker_calls", status=status)
            case CallParked():
                metrics.count("worker_parked")
            case CommandDeferred():
                metrics.count("worker_deferred")

    # -- leases and the end -------------------------------------------------------------------

    async def _beat(self) -> None:
        """Renew every lease each third of its time, whether its call runs or waits in the outbox."""
        failing = False
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            calls = list(self._leases.held.values())
            if not calls:
                continue
            try:
                stop = await self._leases.renew(calls)
                failing = False
            except Exception as error:  # noqa: BLE001 - the next beat is the repetition
                level = logging.DEBUG if failing else logging.WARNING
                log.log(level, "The heartbeat failed; leases may run out: %s", _said(error))
                failing = True
                continue
            for held in stop:
                self._ask_to_stop(held)

    def _ask_to_stop(self, held: Held) -> None:
        if held in self._running and held.ended is None:
            held.cancelled.set()
            if held.command.kind == "container":
                return  # only its dispatch can tell whether there is a Job, and that ends before the lease
            held.ended = "stop"
            task = asyncio.create_task(self._stop_after_grace(held))
            self._stops.add(task)
            task.add_done_callback(self._stops.discard)

    async def _stop_after_grace(self, held: Held) -> None:
        if held.task is not None:
            await asyncio.wait({held.task}, timeout=STOP_GRACE_SECONDS)
        if held in self._running:
            held.end("stop")

    def _left(self) -> set[asyncio.Task[None]]:
        """The tasks of calls that still run, which are to end and to report nothing."""
        for held in self._running:
            held.ended = "lost" if held.lost else "drain"
            held.cancelled.set()
        left = {held.task for held in self._running if held.task is not None}
        return left if self._poll is None else left | {self._poll}

    async def _drain(self, pump: asyncio.Task[None]) -> None:
        self._stopping.set()
        if self._poll is not None:
            self._poll.cancel()
        self._wake.set()
        idle = asyncio.create_task(self._idle.wait())
        await asyncio.wait({idle, pump}, timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        await _end({idle})
        if self._running or self._outbox:
            log.warning(
                "Stopped with %d calls running and %d facts not reported; their leases end, and other workers "
                "take over",
                len(self._running), len(self._outbox),
            )  # fmt: skip


def _hide(value: Any) -> None:
    """Blank the text in a credential, at any depth."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _SHOWN:
                _hide(inner)
    elif isinstance(value, list):
        for inner in value:
            _hide(inner)
    elif isinstance(value, str):
        add_secret(value)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel these and wait for them, but not without end for a tool that resists."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=5.0)


def _said(error: Exception) -> str:
    if isinstance(error, PortcallError):
        return error.message
    return f"{type(error).__name__}: {error}"
