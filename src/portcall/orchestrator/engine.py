"""The engine: the server's functions over one store, as any client sees them.

Nothing is resident for an execution between its facts: no task, thread or connection. Those who
wait (long polls) are told after the commit; a poll is only the safety net.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec

from portcall import ids
from portcall.clock import Clock, SystemClock
from portcall.errors import ConflictError, NotFoundError, TooLargeError, UsageError
from portcall.model import event as e
from portcall.model.api import (
    ClaimRequest,
    Command,
    ExecutionSummary,
    ExecutionView,
    Heartbeat,
    OpenCall,
    Report,
    StartRequest,
    StopRequest,
    Stops,
)
from portcall.model.outcome import Handle
from portcall.observe import tracing
from portcall.orchestrator import gauges, witness
from portcall.orchestrator.bell import Bell
from portcall.orchestrator.ingest import CACHED_PLAYBOOKS, Effects, Ingest, number
from portcall.orchestrator.replay import Kept, ReplayReport, replay
from portcall.orchestrator.timers import Timers
from portcall.orchestrator.view import view
from portcall.playbook.model import Playbook
from portcall.store.port import Store, Transaction

T = TypeVar("T")
CLAIM_LIMIT = 1_000
EVENTS_LIMIT = 10_000
BATCH_LIMIT = 1_000
TICK_SECONDS = 5.0
"""The safety net under the bells, for timers and leases."""

_handle = msgspec.json.Decoder(Handle).decode
_command = msgspec.json.Decoder(Command).decode


class Engine:
    """Implements `client.port.Client`. `owner` is the embedded process that drives, '' for a server."""

    def __init__(
        self,
        store: Store,
        load: Callable[[str, str], Playbook],
        *,
        owner: str = "",
        lease_seconds: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        # The same text is often started again: it is read once.
        load = functools.lru_cache(maxsize=CACHED_PLAYBOOKS)(load)
        self._load = load
        self._owner = owner
        self._lease = lease_seconds
        self._clock = clock or SystemClock()
        self._ingest = Ingest(load, self._clock)
        self._due = Timers(self._ingest, self._clock)
        self._commands = Bell()
        self._stops = Bell()
        self._timers = Bell()
        self._ended = Bell()
        self._facts: dict[str, Bell] = {}

    def drop_cache(self) -> None:
        """After a commit that failed: what is cached may never have been written."""
        self._ingest.drop()

    # -- executions -------------------------------------------------------------------------

    async def register(self, text: str, file: str = "") -> str:
        playbook = self._load(text, file)
        if not playbook.path:
            raise UsageError(
                "the playbook has no metadata.path, which is its name in the catalog: "
                "add one, such as `path: team/name`"
            )
        at = self._clock.now().timestamp()

        def work(tx: Transaction) -> None:
            self._put_playbook(tx, playbook)
            tx.run("put_catalog", path=playbook.path, digest=playbook.digest, at=at)

        await self._store.write(work)
        return playbook.path

    async def start(self, request: StartRequest) -> str:
        playbook = await self._playbook_of(request)
        execution_id = request.execution_id or ids.new_execution_id()
        if number(execution_id) is None:
            raise UsageError(f"execution_id {execution_id[:40]!r} is not a decimal number of 64 bits")
        started = e.ExecutionStarted(
            execution_id=execution_id,
            at=self._clock.now(),
            event_id=f"{execution_id}-start",
            playbook=playbook.digest,
            path=playbook.path or playbook.name,
            workload=_merge(dict(playbook.workload), request.workload),
            traceparent=_trace_of(request),
        )
        effects = Effects()

        def work(tx: Transaction) -> None:
            self._put_playbook(tx, playbook)
            self._ingest.remember(playbook)
            self._ingest.begin(tx, started, self._owner, effects)

        with tracing.span("engine.start", started.traceparent, execution_id=execution_id):
            await self._store.write(work)
        self._tell(effects)
        return execution_id

    async def _playbook_of(self, request: StartRequest) -> Playbook:
        if request.playbook:
            return self._load(request.playbook, request.file)

        def work(tx: Transaction) -> Playbook:
            row = tx.one("get_catalog", path=request.path)
            if row is None:
                known = [path for (path,) in tx.all("catalog_paths")]
                hint = f"; registered: {', '.join(known[:10])}" if known else "; nothing is registered"
                raise NotFoundError(f"there is no playbook {request.path!r} in the catalog{hint}")
            return self._ingest.playbook(tx, row[0])

        return await self._store.write(work)

    def _put_playbook(self, tx: Transaction, playbook: Playbook) -> None:
        tx.run("put_playbook", digest=playbook.digest, text=playbook.source, file=playbook.file)

    async def cancel(self, execution_id: str, reason: str = "") -> None:
        effects = Effects()

        def work(tx: Transaction) -> None:
            state = self._ingest.state(tx, execution_id)
            if state.ended is not None:
                raise ConflictError(f"execution {execution_id} has already ended as {state.status}")
            if state.status == "running":
                at = self._clock.now()
                request = e.ExecutionCancelRequested(
                    execution_id=execution_id, at=at, event_id=f"{execution_id}-cancel", reason=reason
                )
                self._ingest.take(tx, request, effects)

        with tracing.span("engine.cancel", execution_id=execution_id):
            await self._store.write(work)
        self._tell(effects)

    async def execution(self, execution_id: str, *, after: int = 0, wait_seconds: float = 0) -> ExecutionView:
        def now(tx: Transaction) -> ExecutionView:
            state = self._ingest.state(tx, execution_id)
            return view(self._ingest.playbook(tx, state.playbook), state, self._clock.now())

        def newer(tx: Transaction) -> ExecutionView | None:
            return now(tx) if self._ingest.state(tx, execution_id).seq > after else None

        found = await self._await_fact(execution_id, wait_seconds, newer)
        return found if found is not None else await self._store.write(now)

    async def executions(self, limit: int = 100) -> list[ExecutionSummary]:
        rows = await self._store.write(lambda tx: tx.all("list_executions", limit=min(limit, EVENTS_LIMIT)))
        return [
            ExecutionSummary(
                execution_id=str(key),
                path=path,
                status=status,
                started=datetime.fromtimestamp(started, UTC),
                ended=datetime.fromtimestamp(ended, UTC) if ended else None,
                parked=parked,
            )
            for key, path, status, started, ended, _, parked in rows
        ]

    async def events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0
    ) -> list[e.Event]:
        def work(tx: Transaction) -> list[e.Event] | None:
            if self._ingest.state(tx, execution_id).seq <= after:
                return None
            return self._events(tx, execution_id, after, min(limit, EVENTS_LIMIT))

        return await self._await_fact(execution_id, wait_seconds, work) or []

    def _events(self, tx: Transaction, execution_id: str, after: int, limit: int) -> list[e.Event]:
        rows = tx.all("events_after", execution=int(execution_id), after=after, limit=limit)
        return [e.decode(body) for (body,) in rows]

    async def replay(self, execution_id: str) -> ReplayReport:
        """Fold the log and decide again upon it; what differs from what is kept."""

        def work(tx: Transaction) -> ReplayReport:
            state = self._ingest.state(tx, execution_id)
            row = tx.one("get_execution", id=int(execution_id))
            calls = dict(tx.all("unclosed_calls", execution=int(execution_id)))
            kept = Kept(state=state, status=row[3], seq=row[6], calls=calls)
            log = self._events(tx, execution_id, 0, state.seq)
            return replay(self._ingest.playbook(tx, state.playbook), log, kept)

        return await self._store.write(work)

    # -- workers ----------------------------------------------------------------------------

    async def report(self, events: list[e.Reported], claim: ClaimRequest | None = None) -> Report:
        if len(events) > BATCH_LIMIT:
            raise TooLargeError(f"a batch has at most {BATCH_LIMIT} events; this one has {len(events)}")
        effects = Effects()

        def work(tx: Transaction) -> Report:
            answers = [self._ingest.answer(tx, event, effects) for event in events]
            return Report(answers=answers, commands=self._claim(tx, claim) if claim else [])

        with tracing.span("engine.report", events=len(events)) as span:
            report = await self._store.write(work)
            span.attributes["commands"] = len(report.commands)
        effects.commands -= len(report.commands)
        self._tell(effects)
        return report

    async def claim(self, request: ClaimRequest) -> list[Command]:
        deadline = time.monotonic() + request.wait_seconds
        while True:
            seen = self._commands.rung
            commands = await self._store.write(lambda tx: self._claim(tx, request))
            left = deadline - time.monotonic()
            if commands or left <= 0:
                return commands
            await self._commands.wait(seen, min(left, TICK_SECONDS))

    def _claim(self, tx: Transaction, request: ClaimRequest) -> list[Command]:
        now = self._clock.now().timestamp()
        limit = min(request.slots, CLAIM_LIMIT)
        if limit <= 0:
            return []
        rows = tx.all("claimable_commands", now=now, owner=self._owner, limit=limit)
        commands = []
        for key, token, body, stop in rows:
            tx.run("claim_command", id=key, worker=request.worker_id, claim=token, lease=now + self._lease)
            command = _command(body)
            command.claim, command.stop = token, bool(stop)
            commands.append(command)
        return commands

    async def heartbeat(self, worker_id: str, calls: dict[str, int]) -> Heartbeat:
        lease = self._clock.now().timestamp() + self._lease

        def work(tx: Transaction) -> Heartbeat:
            held = {call: (claim, stop) for call, claim, stop in tx.all("held_commands", worker=worker_id)}
            mine = {call: claim for call, claim in calls.items() if held.get(call, (None,))[0] == claim}
            for call, claim in mine.items():
                tx.run("extend_lease", call_id=call, claim=claim, worker=worker_id, lease=lease)
            return Heartbeat(
                stop=[call for call in mine if held[call][1]], lost=[c for c in calls if c not in mine]
            )

        return await self._store.write(work)

    async def spare_leases(self) -> None:
        """When a server starts: its own absence says nothing of the workers. Each has a lease to be heard."""
        lease = self._clock.now().timestamp() + self._lease
        await self._store.write(lambda tx: tx.run("spare_leases", lease=lease))

    # -- watchers ---------------------------------------------------------------------------

    async def open_calls(self, runtime: str) -> list[OpenCall]:
        rows = await self._store.write(lambda tx: tx.all("open_calls", runtime=runtime, owner=self._owner))
        return [
            OpenCall(
                call_id=call,
                execution_id=str(execution),
                step=step,
                handle=_handle(handle) if handle else None,
                parked_at=datetime.fromtimestamp(parked, UTC) if parked else None,
                stop=stop,
                overdue=bool(overdue),
            )
            for call, execution, step, handle, parked, stop, overdue in rows
        ]

    async def known_calls(self, call_ids: list[str]) -> dict[str, Literal["open", "closed", "unknown"]]:
        def work(tx: Transaction) -> dict[str, Literal["open", "closed", "unknown"]]:
            found: dict[str, Literal["open", "closed", "unknown"]] = {}
            for call in call_ids:
                row = tx.one("get_call", call_id=call)
                found[call] = "unknown" if row is None else "closed" if row[2] == "closed" else "open"
            return found

        return await self._store.write(work)

    async def stops(self, runtime: str, after: int, wait_seconds: float) -> Stops:
        deadline = time.monotonic() + wait_seconds
        while True:
            seen = self._stops.rung
            rows = await self._store.write(
                lambda tx: tx.all("stops", runtime=runtime, after=after, owner=self._owner)
            )
            left = deadline - time.monotonic()
            if rows or left <= 0:
                break
            await self._stops.wait(seen, min(left, TICK_SECONDS))
        requests = [
            StopRequest(
                call_id=call, execution_id=str(execution), step=step, handle=_handle(handle), reason=reason
            )
            for call, execution, handle, reason, _, step in rows
        ]
        return Stops(requests=requests, cursor=rows[-1][4] if rows else after)

    # -- time -------------------------------------------------------------------------------

    async def run_timers(self, stop: asyncio.Event) -> None:
        """Fire what is due, until `stop`. Raises UnavailableError when the store is away."""
        while not stop.is_set():
            seen = self._timers.rung
            wait = await self.tick()
            ring = asyncio.ensure_future(self._timers.wait(seen, min(wait, TICK_SECONDS, self._lease)))
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({ring, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (ring, stopping):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def tick(self) -> float:
        """Fire what is due now; seconds until the next is."""
        effects = Effects()
        wait = await self._store.write(lambda tx: self._due.tick(tx, effects))
        self._tell(effects)
        self._commands.ring()
        return TICK_SECONDS if wait is None else wait + 0.001

    # -- the embedded mode ------------------------------------------------------------------

    async def adopt(self, execution_id: str, was: str | None = None) -> None:
        """Drive an execution whose process is gone: what that one had claimed has expired.

        `was`: the owner that was seen to be gone. Raises ConflictError when another has come since.
        """
        effects = Effects()

        def work(tx: Transaction) -> None:
            if was is not None and tx.one("get_execution", id=int(execution_id))[7] != was:
                raise ConflictError(f"execution {execution_id} was just taken over by another process")
            rows = tx.all("claimed_of_execution", execution=int(execution_id))
            tx.run("own_execution", id=int(execution_id), owner=self._owner)
            for row in rows:
                self._due.expire(tx, row, effects, "resumed")

        await self._store.write(work)
        self._tell(effects)

    async def ended(self, execution_id: str) -> None:
        """Return when the execution has ended."""
        while True:
            seen = self._ended.rung
            state = await self._store.write(lambda tx: self._ingest.state(tx, execution_id).ended)
            if state is not None:
                return
            await self._ended.wait(seen, TICK_SECONDS)

    async def have_ended(self, execution_ids: Iterable[str]) -> set[str]:
        """Those of them that have ended; one that is not in this database has not."""

        def work(tx: Transaction) -> set[str]:
            rows = {each: tx.one("get_execution", id=number(each)) for each in execution_ids}
            return {each for each, row in rows.items() if row is not None and row[5] is not None}

        return await self._store.write(work)

    async def may_use(self, execution_ids: Iterable[str], kind: str) -> bool:
        """Whether a playbook of these executions has a tool of this kind."""

        def work(tx: Transaction) -> bool:
            for each in execution_ids:
                playbook = self._ingest.playbook(tx, self._ingest.state(tx, each).playbook)
                if any(tool.kind == kind for step in playbook.steps.values() for tool in step.tools):
                    return True
            return False

        return await self._store.write(work)

    async def owner_of(self, execution_id: str) -> str:
        row = await self._store.write(lambda tx: tx.one("get_execution", id=int(execution_id)))
        return str(row[7]) if row else ""

    async def look(self) -> int:
        """A number that changes when another process has written; then rings every bell."""
        return await self._store.write(lambda tx: tx.version())

    def ring(self) -> None:
        """Something may have changed: let every waiter look."""
        for bell in (self._commands, self._stops, self._timers, self._ended, *self._facts.values()):
            bell.ring()

    # -- telling ----------------------------------------------------------------------------

    async def _await_fact(
        self, execution_id: str, wait_seconds: float, work: Callable[[Transaction], T | None]
    ) -> T | None:
        """What `work` finds, looking again after each fact of the execution."""
        deadline = time.monotonic() + wait_seconds
        bell = self._facts.setdefault(execution_id, Bell())
        bell.users += 1
        try:
            while True:
                seen = bell.rung
                found = await self._store.write(work)
                left = deadline - time.monotonic()
                if found is not None or left <= 0:
                    return found
                await bell.wait(seen, min(left, TICK_SECONDS))
        finally:
            bell.users -= 1
            if not bell.users:
                self._facts.pop(execution_id, None)

    def _tell(self, effects: Effects) -> None:
        if effects.seen:
            witness.tell(effects.seen)
        if effects.commands > 0:
            self._commands.ring()
        if effects.stops:
            self._stops.ring()
        if effects.timers:
            self._timers.ring()
        if effects.ended:
            self._ended.ring()
        for execution in effects.executions:
            if bell := self._facts.get(execution):
                bell.ring()

    async def ready(self) -> bool:
        """Whether the store answers."""
        await self._store.write(lambda tx: tx.one("queued_count"))
        return True

    async def gauges(self) -> gauges.Gauges:
        """How the store stands now."""
        return await self._store.write(lambda tx: gauges.read(tx, self._clock.now().timestamp()))

    async def measure(self) -> None:
        """Bring the gauges of the metrics up to date. Raises UnavailableError."""
        gauges.show(await self.gauges())

    async def close(self) -> None:
        await self._store.close()


def _trace_of(request: StartRequest) -> str:
    """The caller's own trace, else that of the request, else a new one: every execution has one."""
    given = request.traceparent if tracing.parse(request.traceparent) else tracing.current()
    return given or tracing.new_traceparent()


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` merged over `under`, deeply."""
    for key, value in over.items():
        inner = under.get(key)
        under[key] = (
            _merge(dict(inner), value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return under
