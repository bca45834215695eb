"""The whole surface: HttpClient, a real socket, the server, and what the engine was asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from portcall import errors
from portcall.model.api import ClaimRequest, StartRequest
from portcall.model.event import CallDone, CallLog, CallParked, CallProgress, CommandDeferred
from portcall.model.outcome import Evidence, Handle, outcome
from portcall.observe import tracing

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
COMMON = {"execution_id": "7", "at": AT, "call_id": "c1"}
EVENTS = [
    CommandDeferred(**COMMON, event_id="e1", reason="away", not_before=AT, claim=2),
    CallParked(
        **COMMON, event_id="e2", handle=Handle(runtime="process", name="n", uid="u"), timeout_seconds=2.5
    ),
    CallProgress(**COMMON, event_id="e3", phase="started", where="pid 42", since=AT),
    CallDone(
        **COMMON,
        event_id="e4",
        status="success",
        data={"a": [1, None, "\u00e9\u0000"]},
        outcome=outcome(
            "succeeded", evidence=Evidence(level="full"), exit_code=0, job=Handle(runtime="process")
        ),
    ),
    CallLog(**COMMON, event_id="e5", log_tail="last line"),
]


def test_every_method_arrives_with_its_arguments_and_comes_back_the_same(live: Any) -> None:
    async def main() -> None:
        server = live()
        engine = server.engine
        async with server.client() as client:
            claim = ClaimRequest(worker_id="w/1 \u00e9", slots=3, kinds=["python"])
            start = StartRequest(playbook="steps: []", workload={"x": {"y": 1}}, execution_id="7")
            cases = [
                (client.register("a: \u00e9", "dir/f&x.yaml"), ("register", ("a: \u00e9", "dir/f&x.yaml"))),
                (client.start(start), ("start", start)),
                (client.claim(claim), ("claim", claim)),
                (client.report(EVENTS, claim), ("report", (EVENTS, claim))),
                (client.report([]), None),
                (client.heartbeat("w/1 ?\u00e9", {"c1": 3}), ("heartbeat", ("w/1 ?\u00e9", {"c1": 3}))),
                (client.open_calls("process"), ("open_calls", "process")),
                (client.known_calls(["c1", "c2"]), ("known_calls", ["c1", "c2"])),
                (client.stops("process", 4, 0), ("stops", ("process", 4, 0.0))),
                (client.cancel("7", "enough"), ("cancel", ("7", "enough"))),
                (client.execution("7", after=3), ("execution", ("7", 3, 0.0))),
                (client.executions(5), ("executions", 5)),
                (client.events("7", after=2, limit=9), ("events", ("7", 2, 9, 0.0))),
            ]
            for call, asked in cases:
                engine.asked.clear()
                answer = await call
                assert engine.asked == ([asked] if asked else [])
                if asked:
                    name, arguments = asked
                    assert answer == await _directly(engine, name, arguments)

    asyncio.run(main())


async def _directly(engine: Any, name: Any, arguments: Any) -> Any:
    """The same question without HTTP. Reports differ: the second time all are duplicates."""
    match name, arguments:
        case "report", (events, claim):
            engine.seen.clear()
            return await engine.report(events, claim)
        case "execution", (execution_id, after, wait):
            return await engine.execution(execution_id, after=after, wait_seconds=wait)
        case "events", (execution_id, after, limit, wait):
            return await engine.events(execution_id, after=after, limit=limit, wait_seconds=wait)
        case _, tuple():
            return await getattr(engine, name)(*arguments)
        case _:
            return await getattr(engine, name)(arguments)


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("a"),
        errors.NotFoundError("b"),
        errors.ConflictError("c \u00e9"),
        errors.UnauthorizedError("d"),
        errors.TooLargeError("e"),
        errors.UnavailableError("f"),
        errors.ExpressionError("g"),
    ],
)
def test_an_error_of_the_engine_is_raised_again_by_the_client(live: Any, error: Any) -> None:
    async def main() -> None:
        server = live()
        server.engine.raises = error
        async with server.client() as client:
            with pytest.raises(type(error)) as raised:
                await client.executions()
            assert type(raised.value) is type(error)
            assert raised.value.message == error.message

    asyncio.run(main())


def test_the_problems_of_a_playbook_come_back_with_their_places(live: Any) -> None:
    problems = pytest.importorskip("portcall.playbook.problems")
    found = [
        problems.Problem(
            "error", "Unknown key.", path="workflow[1].tol", file="f.yaml", line=3, column=5, hint="tool"
        ),
        problems.Problem("note", "Left out.", line=9),
    ]

    async def main() -> None:
        server = live()
        server.engine.raises = problems.PlaybookError(found)
        async with server.client() as client:
            with pytest.raises(problems.PlaybookError) as raised:
                await client.register("x: 1")
            assert raised.value.problems == found
            assert raised.value.message == server.engine.raises.message

    asyncio.run(main())


def test_what_nobody_expected_is_a_sentence_for_the_caller_and_a_traceback_in_the_log(
    live: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = live()
        server.engine.raises = ZeroDivisionError("secret detail")
        async with server.client() as client:
            with pytest.raises(errors.UnavailableError) as raised:
                await client.executions()
            assert "secret detail" not in raised.value.message
            assert "log" in raised.value.message

    asyncio.run(main())
    assert any(record.exc_info and "secret detail" in str(record.exc_info[1]) for record in caplog.records)


def test_retry_after_reaches_the_client(live: Any) -> None:
    async def main() -> None:
        server = live()
        server.engine.raises = errors.UnavailableError("later")
        server.engine.raises.retry_after = 7.0
        async with server.client() as client:
            with pytest.raises(errors.UnavailableError) as raised:
                await client.executions()
            assert raised.value.retry_after == 7.0

    asyncio.run(main())


def test_the_trace_goes_on_across_the_hop(live: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            with tracing.span("outer") as outer:
                await client.executions()
            await client.executions()
            first, second = (tracing.parse(trace) for trace in server.engine.traces)
            above = tracing.parse(outer.traceparent)
            assert first.trace_id == above.trace_id
            assert first.span_id != above.span_id
            assert second.trace_id != above.trace_id

    asyncio.run(main())


def test_one_malformed_event_is_refused_and_the_others_go_on(live: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            good = msgspec.json.encode(EVENTS[4])
            bad = [
                b'{"type":"call.log","event_id":"x1","execution_id":"7","at":"2026-01-02T03:04:05Z","call_id":5}',
                b'{"type":"step.entered","event_id":"x2","execution_id":"7","at":"2026-01-02T03:04:05Z"}',
                b"17",
                good.replace(b'"event_id":"e5",', b""),
                b'{"type":"call.done","event_id":"x3","execution_id":"7","data":'
                + b"[" * 5000
                + b"]" * 5000
                + b"}",
            ]
            bodies = [bad[0], good, *bad[1:], good]
            report = await client._call(
                "/api/events", msgspec.Raw, body={"events": [msgspec.Raw(b) for b in bodies]}
            )
            answers = msgspec.json.decode(report)["answers"]
        verdicts = [(answer["event_id"], answer["verdict"]) for answer in answers]
        assert verdicts == [
            ("x1", "refused"),
            ("e5", "accepted"),
            ("x2", "refused"),
            ("", "refused"),
            ("", "refused"),
            verdicts[5],
            ("e5", "duplicate"),
        ]
        assert verdicts[5][1] == "refused"
        assert "call_id" in answers[0]["message"]
        assert "event_id" in answers[4]["message"]

    asyncio.run(main())


def test_a_report_never_waits_for_commands(live: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            report = await client.report([], ClaimRequest(worker_id="w", slots=10**6, wait_seconds=50))
            assert len(report.commands) == 1
        [(_, (_, claim))] = server.engine.asked
        assert claim.wait_seconds == 0
        assert claim.slots == server.settings.max_batch

    asyncio.run(main())
