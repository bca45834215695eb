"""Values that must never be shown: once added, they are blanked in every log record."""

from __future__ import annotations

import json
import re
import threading
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4
"""Characters. Blanking shorter values would blank words, and tell what they are."""
MOST = 2000
"""Secrets remembered; beyond it the oldest are forgotten, so that a long-lived process stays small."""


class _Secrets:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        with self._lock:
            self._known.pop(value, None)
            self._known[value] = None
            while len(self._known) > MOST:
                self._known.pop(next(iter(self._known)))
            forms = {form for secret in self._known for form in _forms(secret)}
            longest_first = sorted(forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
            self._pattern = None

    def redact(self, text: str) -> str:
        pattern = self._pattern
        return text if pattern is None else pattern.sub(MASK, text)


def _forms(secret: str) -> set[str]:
    """As it is, inside a JSON string or a Python repr, and inside a URL."""
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
    }


_secrets = _Secrets()


def add_secret(value: str) -> None:
    """Blank `value` from now on. Each line of a value with several is a secret by itself too."""
    for part in {value, value.strip(), *value.splitlines()}:
        if len(part) >= SHORTEST:
            _secrets.add(part)


def forget_secrets() -> None:
    """Forget all, for tests."""
    _secrets.clear()


def redact(text: str) -> str:
    """`text` with every known secret blanked."""
    return _secrets.redact(text)
