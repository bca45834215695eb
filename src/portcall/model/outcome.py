"""How a container ended: the versioned contract that `call.done` carries.

Every runtime gives the same structure. Missing evidence is its own answer: it is never turned
into success, nor into a plain failure.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

State = Literal[
    "succeeded",
    "failed",
    "failed_oom",
    "failed_timeout",
    "failed_result",
    "failed_image_pull",
    "failed_image_policy",
    "failed_config",
    "failed_rejected",
    "failed_quota",
    "failed_unschedulable",
    "failed_evicted",
    "failed_preempted",
    "failed_node_lost",
    "failed_deleted",
    "cancelled",
    "lost",
]
FailureClass = Literal["ok", "user", "infrastructure", "policy", "cancelled"]

CLASS_OF: dict[State, FailureClass] = {
    "succeeded": "ok",
    "failed": "user",
    "failed_oom": "user",
    "failed_timeout": "user",
    "failed_result": "user",
    "failed_image_pull": "user",
    "failed_image_policy": "policy",
    "failed_config": "user",
    "failed_rejected": "policy",
    "failed_quota": "infrastructure",
    "failed_unschedulable": "infrastructure",
    "failed_evicted": "infrastructure",
    "failed_preempted": "infrastructure",
    "failed_node_lost": "infrastructure",
    "failed_deleted": "cancelled",
    "cancelled": "cancelled",
    "lost": "infrastructure",
}


class Evidence(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the outcome was judged by."""

    level: Literal["full", "partial", "none"]
    read: list[str] = []


class Image(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The image asked for, the digest it resolved to, and the one that ran."""

    requested: str
    resolved: str | None = None
    ran: str | None = None


class Timings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A clock for each phase. Absent: not known."""

    created: datetime | None = None
    suspended: datetime | None = None
    scheduled: datetime | None = None
    pulled: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    observed: datetime | None = None


class Handle(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """Where a call runs outside: enough for any watcher to find it again."""

    runtime: Annotated[str, Meta(description="kubernetes, docker or process; tool kinds may add theirs.")]
    cluster: Annotated[str, Meta(description="The identity of the control plane, or of the boot.")] = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The structured end of a container call."""

    version: Literal[1] = 1
    state: State
    failure_class: FailureClass = msgspec.field(name="class")
    started: Annotated[
        bool, Meta(description="Whether the container is known to have run; unproven means true.")
    ] = True
    exit_code: int | None = None
    signal: str | None = None
    reason: Annotated[str, Meta(description="One word of the runtime's, such as OOMKilled.")] = ""
    message: Annotated[str, Meta(description="One plain sentence that says what to do.")] = ""
    warnings: list[str] = []
    evidence: Evidence
    image: Image | None = None
    node: str | None = None
    attempt: int = 1
    timings: Timings = msgspec.field(default_factory=Timings)
    result: Any = None
    job: Handle | None = None
    log_tail: str | None = None


def outcome(state: State, **fields: Any) -> Outcome:
    """An outcome with its class filled in from the state."""
    fields.setdefault("failure_class", CLASS_OF[state])
    return Outcome(state=state, **fields)


def data_of(outcome: Outcome) -> dict[str, Any]:
    """What playbooks read as the data of a container step: `{{ train.result }}`, `{{ train.exit_code }}`."""
    job = outcome.job or Handle(runtime="")
    finished = outcome.timings.finished
    data = {
        "terminal_state": outcome.state,
        "exit_code": outcome.exit_code,
        "reason": outcome.reason,
        "message": outcome.message,
        "job_name": job.name,
        "job_uid": job.uid,
        "completed_at": finished.isoformat().replace("+00:00", "Z") if finished else None,
        "result": outcome.result,
    }
    if outcome.warnings:
        data["warnings"] = list(outcome.warnings)
    return data
