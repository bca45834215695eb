"""What workers ask: commands to start, and leases to extend."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from portcall.client.wire import Commands, HeartbeatBody
from portcall.errors import UsageError
from portcall.model.api import ClaimRequest, Command, Heartbeat
from portcall.server.endpoint import Endpoint, Server, check_batch, read_json

_claim_body = msgspec.json.Decoder(ClaimRequest)
_heartbeat_body = msgspec.json.Decoder(HeartbeatBody)


def checked_claim(server: Server, claim: ClaimRequest) -> ClaimRequest:
    """With no more slots than one answer may hold commands."""
    if claim.slots < 0 or not claim.worker_id:
        raise UsageError("A claim names its worker_id, and has 0 or more slots.")
    return msgspec.structs.replace(claim, slots=min(claim.slots, server.settings.max_batch))


async def _claim(server: Server, request: Request, _query: Any) -> Commands:
    claim = checked_claim(server, await read_json(server, request, _claim_body))

    async def ask(wait: float) -> list[Command]:
        return await server.client.claim(msgspec.structs.replace(claim, wait_seconds=wait))

    none: list[Command] = []
    commands = await server.polls.run(ask, claim.wait_seconds, request.receive, otherwise=none)
    return Commands(commands=commands)


async def _heartbeat(server: Server, request: Request, _query: Any) -> Heartbeat:
    body = await read_json(server, request, _heartbeat_body)
    check_batch(server, len(body.calls), "calls")
    return await server.client.heartbeat(request.path_params["worker_id"], body.calls)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/commands/claim",
        "Take commands to start, waiting for the first.",
        _claim,
        Commands,
        body=ClaimRequest,
        polls=True,
    ),
    Endpoint(
        "POST",
        "/api/workers/{worker_id:path}/heartbeat",
        "Extend the leases of a worker's calls.",
        _heartbeat,
        Heartbeat,
        body=HeartbeatBody,
    ),
)
