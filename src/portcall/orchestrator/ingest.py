"""One transaction: take a fact in, decide, write what follows.

States are cached between transactions and checked against the log's length in each, so that other
processes may write too. After any failure the cache is dropped: the log is the truth.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import msgspec

from portcall import ids
from portcall.clock import Clock
from portcall.errors import NotFoundError, PortcallError
from portcall.model import event as e
from portcall.model.api import Answer, Verdict
from portcall.model.state import ExecutionState, fold
from portcall.orchestrator import witness
from portcall.orchestrator.decide import decide
from portcall.orchestrator.project import Projection
from portcall.playbook.model import Playbook
from portcall.store.port import Transaction

log = logging.getLogger("portcall.engine")
CACHED_STATES = 1_000
CACHED_PLAYBOOKS = 100
READ_AT_ONCE = 5_000
DEFECTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
"""What a fault of ours raises. Errors of the database are not among them: they end the transaction."""


class Effects:
    """What a transaction has changed, for those who wait in this process. Told after the commit."""

    def __init__(self) -> None:
        self.commands = 0
        self.stops = 0
        self.timers = 0
        self.ended = 0
        self.executions: set[str] = set()
        self.seen: list[witness.Seen] | None = [] if witness.listens() else None


class Ingest:
    """The transaction functions over executions, with their cache. Runs in the store's thread."""

    def __init__(self, load: Callable[[str, str], Playbook], clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._states: OrderedDict[str, ExecutionState] = OrderedDict()
        self._playbooks: OrderedDict[str, Playbook] = OrderedDict()

    def drop(self) -> None:
        """Forget every cached state."""
        self._states.clear()

    # -- reading ----------------------------------------------------------------------------

    def state(self, tx: Transaction, execution_id: str) -> ExecutionState:
        """The present state. Raises NotFoundError."""
        key = number(execution_id)
        row = tx.one("last_seq", id=key) if key is not None else None
        if row is None or row[0] == 0:
            raise NotFoundError(f"There is no execution {execution_id}; portcall ps lists them.")
        state = self._states.get(execution_id)
        if state is None or state.seq > row[0]:
            state = self._read_on(tx, key, None)
        elif state.seq < row[0]:
            state = self._read_on(tx, key, state)
        self._states[execution_id] = state
        self._states.move_to_end(execution_id)
        while len(self._states) > CACHED_STATES:
            self._states.popitem(last=False)
        return state

    def _read_on(self, tx: Transaction, key: int | None, state: ExecutionState | None) -> ExecutionState:
        if state is not None:
            state.untouched = None
        while True:
            after = state.seq if state else 0
            rows = tx.all("events_after", execution=key, after=after, limit=READ_AT_ONCE)
            for (body,) in rows:
                state = fold(state, e.decode(body))
            if len(rows) < READ_AT_ONCE:
                assert state is not None, "the log has facts"  # noqa: S101 - for the type checker
                return state

    def playbook(self, tx: Transaction, digest: str) -> Playbook:
        """By its digest. It was checked when it was put there."""
        found = self._playbooks.get(digest)
        if found is None:
            row = tx.one("get_playbook", digest=digest)
            if row is None:
                raise NotFoundError(f"there is no playbook {digest}")
            found = self.remember(self._load(row[0], row[1]))
        self._playbooks.move_to_end(digest)
        return found

    def remember(self, playbook: Playbook) -> Playbook:
        self._playbooks[playbook.digest] = playbook
        while len(self._playbooks) > CACHED_PLAYBOOKS:
            self._playbooks.popitem(last=False)
        return playbook

    # -- writing ----------------------------------------------------------------------------

    def attempt(self, tx: Transaction, execution_id: str, work: Callable[[], None]) -> bool:
        """Run a part of a transaction, whole or not at all; False, and logged, when it cannot be done."""
        try:
            with tx.savepoint():
                work()
        except (PortcallError, *DEFECTS) as error:
            defect = None if isinstance(error, PortcallError) else error
            log.log(logging.ERROR, "execution %s cannot go on: %s", execution_id, error, exc_info=defect)
            self._states.pop(execution_id, None)
            return False
        return True

    def begin(self, tx: Transaction, started: e.ExecutionStarted, owner: str, effects: Effects) -> None:
        """The first fact of an execution. Beginning it again does nothing."""
        key = int(started.execution_id)
        if tx.one("get_execution", id=key) is not None:
            return
        tx.run(
            "put_execution",
            id=key,
            path=started.path,
            playbook=started.playbook,
            started=started.at.timestamp(),
            owner=owner,
        )
        self._take(tx, None, self.playbook(tx, started.playbook), started, effects)

    def answer(self, tx: Transaction, event: e.External, effects: Effects) -> Answer:
        """Take in one fact of a batch; a bad one never blocks the others."""
        try:
            with tx.savepoint():
                verdict, message = self._judge(tx, event, effects)
        except PortcallError as error:
            verdict, message = "refused", error.message
            self._states.pop(event.execution_id, None)
        except DEFECTS:
            # A defect of ours: the fact stays with its sender, which asks again and raises an alarm.
            log.exception("cannot take in %s", e.type_of(event), extra={"execution_id": event.execution_id})
            verdict, message = (
                "refused",
                f"the engine could not take in {e.type_of(event)}: see the server's log",
            )
            self._states.pop(event.execution_id, None)
        return Answer(event_id=event.event_id, verdict=verdict, message=message)

    def take(self, tx: Transaction, event: e.External, effects: Effects) -> None:
        """Take in a fact that is known to be new."""
        self._record(tx, self.state(tx, event.execution_id), event, effects)

    def _record(self, tx: Transaction, state: ExecutionState, event: e.External, effects: Effects) -> None:
        event.at = self._clock.now()
        self._take(tx, state, self.playbook(tx, state.playbook), event, effects)

    def _judge(self, tx: Transaction, event: e.External, effects: Effects) -> tuple[Verdict, str]:
        try:
            state = self.state(tx, event.execution_id)
        except NotFoundError as error:
            return "unknown", error.message
        call_id = getattr(event, "call_id", "")
        call = state.calls.get(call_id)
        if call is None:
            return self._late(tx, event, call_id, effects)
        new = isinstance(event, e.CallDone) or (isinstance(event, e.CallParked) and call.handle is None)
        if not new and event.event_id and tx.one("has_event", event_id=event.event_id):
            if isinstance(event, e.CallParked):
                tx.run("drop_command", call_id=call_id)
            return "duplicate", ""
        if not self._fenced(tx, event):
            return self._stale(tx, event, call_id, effects)
        self._record(tx, state, event, effects)
        return "accepted", ""

    def _fenced(self, tx: Transaction, event: e.External) -> bool:
        """Whether a worker's report is of the claim that holds the command now. A watcher needs none."""
        match event:
            case e.CallDone(worker_id=""):
                tx.run("drop_command", call_id=event.call_id)
            case e.CallDone():
                return tx.run("finish_command", call_id=event.call_id, claim=event.claim) > 0
            case e.CommandDeferred():
                not_before = event.not_before.timestamp()
                rows = tx.run("defer_command", call_id=event.call_id, claim=event.claim, not_before=not_before)
                return rows > 0
        return True

    def _late(self, tx: Transaction, event: e.External, call_id: str, effects: Effects) -> tuple[Verdict, str]:
        """For a call that is not open: repeated, in another order, stale, or of a call nobody knows."""
        row = tx.one("get_call", call_id=call_id)
        if row is None or str(row[0]) != event.execution_id:
            return "unknown", f"there is no call {call_id}"
        if event.event_id and tx.one("has_event", event_id=event.event_id):
            return "duplicate", ""
        if isinstance(event, e.CallParked | e.CallLog):
            self.take(tx, event, effects)
            return "accepted", ""
        return self._stale(tx, event, call_id, effects)

    def _stale(self, tx: Transaction, event: e.External, call_id: str, effects: Effects) -> tuple[Verdict, str]:
        kind = e.type_of(event)
        kept = ids.event_id(call_id, f"call.stale/{event.event_id}/{getattr(event, 'claim', 0)}")
        if isinstance(event, e.CallDone) and not tx.one("has_event", event_id=kept):
            stale = e.CallStale(
                execution_id=event.execution_id,
                at=event.at,
                event_id=kept,
                call_id=call_id,
                stale_type=kind,
                stale=msgspec.to_builtins(event),
            )
            self.take(tx, stale, effects)
        return "stale", "the call has ended, or was given to another worker"

    def _take(
        self,
        tx: Transaction,
        state: ExecutionState | None,
        playbook: Playbook,
        event: e.External,
        effects: Effects,
    ) -> None:
        now = self._clock.now()
        todo: list[e.External] = [event]
        seen: list[witness.Seen] = []
        try:
            while todo:
                fact = todo.pop(0)
                kind = "" if effects.seen is None else _kind(state, fact)
                state, events, commands = decide(playbook, state, fact, now)
                projection = Projection(tx, state, now)
                projection.write(events, commands)
                todo += projection.follow
                effects.commands += projection.commands
                effects.stops += projection.stops
                effects.timers += projection.timers
                if effects.seen is not None:
                    seen.append(witness.Seen(events, kind, state.traceparent, projection.bytes))
        except Exception:
            self._states.pop(event.execution_id, None)  # it was folded in part, and is not written
            raise
        assert state is not None, "a fact came in"  # noqa: S101 - for the type checker
        self._states[state.execution_id] = state
        effects.executions.add(state.execution_id)
        if effects.seen is not None:
            effects.seen += seen
        effects.ended += state.ended is not None


def _kind(state: ExecutionState | None, fact: e.External) -> str:
    """The kind of the open call that a fact is about."""
    call = state.calls.get(getattr(fact, "call_id", "")) if state is not None else None
    return "" if call is None else call.kind


def number(execution_id: str) -> int | None:
    """The id as the database holds it; None when it cannot be one."""
    plain = execution_id.isascii() and execution_id.isdigit() and len(execution_id) <= len(str(2**63))
    value = int(execution_id) if plain else 0
    return value if 0 < value < 2**63 else None


def seconds_until(due: float | None, now: datetime) -> float | None:
    return None if due is None else max(0.0, due - now.timestamp())
