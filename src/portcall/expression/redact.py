"""Taking secrets out of text that people will read."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
SHORTEST = 4
"""Shorter secrets are left: masking every "a" of a log would hide the log and point at the secret."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` with each secret of at least four characters replaced by `***`.

    The longest secrets go first, so that one which contains another leaves no tail behind.
    """
    for secret in sorted(
        {each for each in secrets if len(each) >= SHORTEST}, key=lambda each: (-len(each), each)
    ):
        text = text.replace(secret, MASK)
    return text
