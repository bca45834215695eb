"""`POST /api/events`: what workers and watchers report. Each event is answered by itself, in order."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from portcall.client.wire import EventsBody, refused
from portcall.model.api import Answer, ClaimRequest, Report
from portcall.model.event import Reported
from portcall.observe import metrics
from portcall.server.batch import events_of
from portcall.server.endpoint import Endpoint, NestingError, Server, check_batch, decode_json, read_body, why
from portcall.server.routes.commands import checked_claim


class _Id(msgspec.Struct):
    event_id: str = ""


_body = msgspec.json.Decoder(EventsBody)
_event: msgspec.json.Decoder[Reported] = msgspec.json.Decoder(Reported)
_id = msgspec.json.Decoder(_Id)


async def _post(server: Server, request: Request, _query: Any) -> Report:
    body = _split(await read_body(server, request))
    check_batch(server, len(body.events), "events")
    decoded = [_decode(raw) for raw in body.events]
    events = [one for one in decoded if not isinstance(one, Answer)]
    claim = _without_wait(server, body.claim)
    report = await server.client.report(events, claim) if events or claim else Report()
    given = iter(report.answers)
    answers = [one if isinstance(one, Answer) else next(given) for one in decoded]
    for answer in answers:
        metrics.count("events_received", verdict=answer.verdict)
    return Report(answers=answers, commands=report.commands)


def _split(body: bytes) -> EventsBody:
    """A claim that came with a body nested too deeply is left for the next request."""
    try:
        return decode_json(body, _body)
    except NestingError:
        pieces = events_of(body)
        if not pieces:
            raise
        return EventsBody(events=[msgspec.Raw(piece) for piece in pieces])


def _without_wait(server: Server, claim: ClaimRequest | None) -> ClaimRequest | None:
    """Answers to events never wait for commands."""
    return claim and msgspec.structs.replace(checked_claim(server, claim), wait_seconds=0.0)


def _decode(raw: msgspec.Raw) -> Reported | Answer:
    try:
        event = _event.decode(raw)
    except (ValueError, RecursionError) as error:
        return refused(_id_of(raw), f"The event is malformed: {why(error)}.")
    if not event.event_id:
        return refused("", "The event has no event_id, by which a repetition is known.")
    return event


def _id_of(raw: msgspec.Raw) -> str:
    try:
        return _id.decode(raw).event_id
    except (ValueError, RecursionError):
        return ""


ENDPOINTS = (
    Endpoint(
        "POST", "/api/events", "Report facts about calls; claim along with it.", _post, Report, body=EventsBody
    ),
)
