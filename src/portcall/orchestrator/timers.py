"""What time brings: timers that are due, and leases that have ended. Transaction functions.

One execution that cannot take its fact in does not keep the others from theirs: it is put off.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Literal

from portcall import ids
from portcall.clock import Clock
from portcall.model import event as e
from portcall.orchestrator.ingest import Effects, Ingest, seconds_until
from portcall.store.port import Transaction

AT_ONCE = 500
POSTPONED_SECONDS = 60.0
"""Before a timer or lease is tried again that could not be taken in."""


class Timers:
    def __init__(self, ingest: Ingest, clock: Clock) -> None:
        self._ingest = ingest
        self._clock = clock

    def tick(self, tx: Transaction, effects: Effects) -> float | None:
        """Fire what is due now; seconds until the next is, None when there is none."""
        now = self._clock.now()
        again = now.timestamp() + POSTPONED_SECONDS
        for row in tx.all("due_timers", now=now.timestamp(), limit=AT_ONCE):
            call, kind, execution = row
            if not self._ingest.attempt(tx, str(execution), partial(self._fire, tx, row, now, effects)):
                tx.run("put_timer", call_id=call, kind=kind, execution=execution, due_at=again)
        for row in tx.all("expired_commands", now=now.timestamp(), limit=AT_ONCE):
            call, execution, worker, claim = row
            if not self._ingest.attempt(tx, str(execution), partial(self.expire, tx, row, effects)):
                tx.run("extend_lease", call_id=call, claim=claim, worker=worker, lease=again)
        due = [
            tx.one("next_timer")[0],
            tx.one("next_command_due", now=now.timestamp())[0],
            tx.one("next_lease_end")[0],
        ]
        return seconds_until(min((d for d in due if d is not None), default=None), now)

    def _fire(self, tx: Transaction, row: tuple[str, str, int], now: datetime, effects: Effects) -> None:
        call, kind, execution = row[0], row[1], str(row[2])
        tx.run("drop_timer", call_id=call, kind=kind)
        if call not in self._ingest.state(tx, execution).calls:
            return
        fact: e.External
        if kind == "overdue":
            overdue = ids.event_id(call, "call.overdue")
            fact = e.CallOverdue(execution_id=execution, at=now, event_id=overdue, call_id=call)
        else:
            fact = e.CallDone(
                execution_id=execution,
                at=now,
                event_id=ids.event_id(call, "call.done"),
                call_id=call,
                status="success",
                data={"resumed_at": now.isoformat()},
            )
        self._ingest.take(tx, fact, effects)

    def expire(
        self,
        tx: Transaction,
        row: Any,
        effects: Effects,
        reason: Literal["lease", "resumed"] = "lease",
    ) -> None:
        """The worker of a claimed command (its row of `expired_commands`) is gone."""
        call, execution, worker, claim = row
        expired = e.CommandExpired(
            execution_id=str(execution),
            at=self._clock.now(),
            event_id=ids.event_id(call, f"command.expired/{claim}"),
            call_id=call,
            worker_id=worker,
            claim=claim,
            reason=reason,
        )
        self._ingest.take(tx, expired, effects)
