"""The named queries of `queries.sql`."""

from __future__ import annotations

from pathlib import Path


def load(text: str) -> dict[str, str]:
    """Query text by name: a line `-- name` of one word opens a query."""
    queries: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        head = line.removeprefix("-- ")
        if head != line and head.isidentifier():
            current = queries.setdefault(head, [])
        elif current is not None and line.strip():
            current.append(line)
    return {name: "\n".join(lines) for name, lines in queries.items() if lines}


QUERIES = load(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))
