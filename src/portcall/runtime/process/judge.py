"""From what a job's folder says to its outcome. Pure: facts in, an outcome out."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from portcall.model.outcome import Evidence, Handle, Image, Outcome, State, Timings, outcome
from portcall.runtime.port import JobSpec
from portcall.runtime.process.facts import Exit, Failure, Record

MESSAGE_BYTES = 4096
"""The bound of a result file: that of a termination message on Kubernetes."""
LINE_BYTES = 262_144
"""The bound of a result on the last line of the output."""

_KILLED = 128 + signal.SIGKILL
_TERMINATED = 128 + signal.SIGTERM


class Printed(NamedTuple):
    """What the container left to read: its result file (None: absent) and the end of its output."""

    message: bytes | None = None
    output: bytes = b""


class Verdict(NamedTuple):
    state: State
    reason: str
    message: str = ""
    warnings: tuple[str, ...] = ()
    result: Any = None


def judge(record: Record, printed: Printed, handle: Handle, node: str, now: datetime) -> Outcome:
    """The outcome of a job with an exit. `now` is when it was observed."""
    end = record.exit
    if end is None:
        raise ValueError(f"the job {handle.name!r} has not ended")
    spec = record.job.spec
    verdict = _verdict(spec, end, printed)
    return outcome(
        verdict.state,
        started=end.started,
        exit_code=end.code if end.signal is None else 128 + end.signal,
        signal=None if end.signal is None else _signal_name(end.signal),
        reason=verdict.reason,
        message=verdict.message,
        warnings=[*verdict.warnings, *_warnings(spec, end)],
        evidence=_evidence(spec, end),
        image=Image(requested=spec.image) if spec.image else None,
        node=node,
        attempt=spec.attempt,
        timings=_timings(record, end, now),
        result=verdict.result,
        job=handle,
        log_tail=printed.output[-MESSAGE_BYTES:].decode("utf-8", "replace") or None,
    )


def _verdict(spec: JobSpec, end: Exit, printed: Printed) -> Verdict:
    if end.lost:
        return _lost(end)
    if end.error is not None:
        return _not_started(spec, end.error)
    if not end.started:
        return _stopped(spec, end, "before it had started")
    return _oom(spec) if _out_of_memory(end) else _ended(spec, end, printed)


def _ended(spec: JobSpec, end: Exit, printed: Printed) -> Verdict:
    if end.ended_by:
        return _stopped(spec, end, "while it ran")
    if end.signal is not None:
        return _signalled(end.signal)
    if end.code:
        message = f"The container ended with exit code {end.code}; its output says why."
        return Verdict("failed", "Error", message)
    return _succeeded(spec, end, printed)


def _lost(end: Exit) -> Verdict:
    if end.lost == "reboot":
        why = "The machine was restarted while the container ran"
    else:
        why = "The process that watched over the container was killed, and the container with it"
    message = f"{why}, so how it ended is not known; run the step again if that does no harm."
    return Verdict("lost", "Rebooted" if end.lost == "reboot" else "SupervisorKilled", message)


def _not_started(spec: JobSpec, error: Failure) -> Verdict:
    if error.what == "empty":
        message = "The process runtime has no image to take a command from; give the step a `command`."
        return Verdict("failed_config", "NoCommand", message)
    why = os.strerror(error.errno)
    if error.what == "workdir":
        message = f"The container could not start in {spec.workdir!r}: {why}; make it or name another."
        return Verdict("failed_config", "WorkdirError", message)
    command = [*spec.command, *spec.args][0]
    message = (
        f"The command {command!r} could not be started: {why}; the process runtime takes commands from this "
        "machine's PATH, not from the image, so install it here or correct `command`."
    )
    return Verdict("failed_config", "StartError", message)


def _out_of_memory(end: Exit) -> bool:
    """By the kernel's count or the sampled size, never by exit code 137; an end on SIGTERM is not memory's."""
    if end.ended_by == "memory":
        return True
    code = end.code if end.signal is None else 128 + end.signal
    return end.oom_kills > 0 and code not in (0, _TERMINATED) and (not end.ended_by or code == _KILLED)


def _oom(spec: JobSpec) -> Verdict:
    limit = size(spec.memory_limit or 0)
    message = (
        f"The container was killed for using more than its {limit} memory limit; raise resources.limits.memory."
    )
    return Verdict("failed_oom", "OOMKilled", message)


def _stopped(spec: JobSpec, end: Exit, when: str) -> Verdict:
    match end.ended_by:
        case "timeout":
            limit = f"{spec.timeout_seconds:g} s"
            message = f"The container was stopped at its deadline of {limit}; raise timeout_seconds."
            return Verdict("failed_timeout", "DeadlineExceeded", message)
        case "deadline":
            message = f"The container was stopped {when}, since its deadline had passed; raise timeout_seconds."
            return Verdict("failed_timeout", "DeadlineExceeded", message)
        case "deleted":
            message = f"Somebody other than portcall ended the container {when}; run the step again if need be."
            return Verdict("failed_deleted", "Deleted", message)
        case _:
            return Verdict("cancelled", "Cancelled", f"The container was stopped {when}, as asked.")


def _signalled(number: int) -> Verdict:
    name = _signal_name(number)
    why = ", without a sign that it was for memory" if number == signal.SIGKILL else ""
    message = f"The container was ended by {name}{why}; its output, or whoever sent the signal, says why."
    return Verdict("failed", "Signalled", message)


def _succeeded(spec: JobSpec, end: Exit, printed: Printed) -> Verdict:
    warnings: tuple[str, ...] = ()
    if end.oom_kills:
        limit = size(spec.memory_limit or 0)
        warnings = (f"A process of the container was killed for memory (limit {limit}), though it ended well.",)
    if spec.result == "none":
        return Verdict("succeeded", "Completed", warnings=warnings)
    read = _message(printed.message) if spec.result == "message" else _last_line(printed.output)
    if isinstance(read, Verdict):
        return read._replace(warnings=warnings)
    return Verdict("succeeded", "Completed", warnings=warnings, result=read[0])


def _message(body: bytes | None) -> Verdict | tuple[Any]:
    if not body:
        return (None,)
    if len(body) > MESSAGE_BYTES:
        message = f"The result in PORTCALL_RESULT is larger than {MESSAGE_BYTES} bytes; write less there."
        return Verdict("failed_result", "ResultTooLarge", message)
    return _json(body, "The result in PORTCALL_RESULT")


def _last_line(output: bytes) -> Verdict | tuple[Any]:
    lines = output.rstrip().splitlines()
    if not lines:
        message = "The step promised a result as the last line of its output, but printed nothing; print JSON."
        return Verdict("failed_result", "ResultMissing", message)
    if len(lines[-1]) >= LINE_BYTES:
        message = f"The last line of the output is larger than {LINE_BYTES} bytes; print less there."
        return Verdict("failed_result", "ResultTooLarge", message)
    return _json(lines[-1], "The last line of the output")


def _json(body: bytes, what: str) -> Verdict | tuple[Any]:
    try:
        return (msgspec.json.decode(body),)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = f"{what} is not JSON, or was cut off; write one whole JSON value."
        return Verdict("failed_result", "ResultUnreadable", message)


def _warnings(spec: JobSpec, end: Exit) -> list[str]:
    warnings = []
    if end.started and not end.lost and spec.cpu_limit is not None and "cpu" not in end.enforced:
        warnings.append("The CPU limit was not enforced: portcall may not make control groups on this machine.")
    if end.output_lost:
        warnings.append(f"{end.output_lost} bytes of the output could not be written, so the log is not whole.")
    return warnings


def _evidence(spec: JobSpec, end: Exit) -> Evidence:
    if end.lost:
        return Evidence(level="partial", read=["start record"])
    read = ["exit record"]
    if "memory" in end.enforced:
        read.append("cgroup")
    sampled = spec.memory_limit is not None and "memory" not in end.enforced and end.started
    if sampled:
        read.append("sampled memory")
    unsure = sampled and (end.ended_by == "memory" or end.signal == signal.SIGKILL)
    return Evidence(level="partial" if unsure else "full", read=read)


def _timings(record: Record, end: Exit, now: datetime) -> Timings:
    started = record.start.started if record.start is not None and end.started else None
    return Timings(
        created=at(record.job.created),
        started=None if started is None else at(started),
        finished=None if end.lost else at(end.finished),
        observed=now,
    )


def at(seconds: float) -> datetime:
    """Seconds since 1970 as a date."""
    return datetime.fromtimestamp(seconds, UTC)


def size(count: int) -> str:
    """Bytes as Kubernetes writes them: `64Mi`."""
    for unit, factor in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if count >= factor and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
