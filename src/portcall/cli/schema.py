"""`portcall schema`: the published JSON Schemas."""

from __future__ import annotations

from typing import Any

import click

from portcall.cli.text import pretty


@click.command("schema")
@click.argument("what", type=click.Choice(["playbook", "event", "outcome"]), default="playbook")
def command(*, what: str) -> int:
    """Print the JSON Schema of playbooks, of events or of the outcome of a container.

    An editor completes and checks playbooks with it: portcall schema > playbook.schema.json
    """
    click.echo(pretty(_schema(what)))
    return 0


def _schema(what: str) -> dict[str, Any]:
    from portcall.model.schema import event_schema, outcome_schema

    if what == "event":
        return event_schema()
    return outcome_schema() if what == "outcome" else playbook_schema()


def playbook_schema() -> dict[str, Any]:
    """The language's, with the tool kinds that are installed."""
    from portcall.playbook import json_schema
    from portcall.tool import registry

    return json_schema(registry.kinds())
