"""Write the published JSON Schemas to docs/schemas, or with `--check` say whether they are current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from portcall.cli.schema import playbook_schema
from portcall.cli.text import pretty
from portcall.model.schema import event_schema, outcome_schema

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """Each schema by its file name."""
    return {
        "event.json": event_schema(),
        "outcome.json": outcome_schema(),
        "playbook.json": playbook_schema(),
    }


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.stderr.write("usage: schemas.py [--check]\n")
        return 2
    stale = []
    for name, schema in schemas().items():
        path = FOLDER / name
        text = f"{pretty(schema)}\n"
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if check and stale:
        sys.stderr.write(f"docs/schemas is not current: {', '.join(stale)}; run: python scripts/schemas.py\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
