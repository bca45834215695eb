from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portcall.expression import redact


def test_secrets_are_masked_and_short_ones_are_left() -> None:
    assert redact("token=abcd1234 a ab", ["abcd1234", "a", "ab", ""]) == "token=*** a ab"


def test_the_longest_secret_goes_first() -> None:
    assert redact("passwords", ["pass", "password", "passwords"]) == "***"


@given(st.text(alphabet="abc*", max_size=40), st.lists(st.text(alphabet="abc", max_size=6), max_size=4))
def test_no_secret_of_four_characters_is_left(text: str, secrets: list[str]) -> None:
    redacted = redact(text, secrets)
    assert not any(secret in redacted for secret in secrets if len(secret) >= 4)
