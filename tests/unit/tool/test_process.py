from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from portcall.tool import process


def test_what_is_in_the_pipe_at_the_end_is_read() -> None:
    async def end_at_once() -> bytes:
        got: list[bytes] = []
        with process._pipe() as pipe:
            with process._reading(pipe, got.append):
                os.write(pipe.writer, b"last words")
            return b"".join(got)

    assert asyncio.run(end_at_once()) == b"last words"


def test_standard_error_may_share_the_output_in_order() -> None:
    got: list[bytes] = []
    program = process.Program(["sh", "-c", "echo a; echo b >&2; echo c"], "/", process.clean_environment())
    ended = asyncio.run(process.run(program, None, got.append))
    assert (ended.code, ended.timed_out, b"".join(got)) == (0, False, b"a\nb\nc\n")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open() -> None:
    async def twice() -> tuple[int, int]:
        program = process.Program(["true"], "/", {})
        await process.run(program, 5, bytes)
        before = descriptors()
        await process.run(program, 5, bytes)
        return before, descriptors()

    before, after = asyncio.run(twice())
    assert before == after


@given(st.text(), st.integers(1, 7))
def test_lines_come_whole_however_they_are_cut(text: str, size: int) -> None:
    said: list[str] = []
    lines = process.Lines(said.append)
    data = text.encode()
    for at in range(0, len(data), size):
        lines.feed(data[at : at + size])
    lines.close()
    whole = "".join(said)
    assert whole == text + ("\n" if text and not text.endswith("\n") else "")
    assert all(line.endswith("\n") for line in said)


def test_a_line_without_end_is_broken() -> None:
    said: list[str] = []
    process.Lines(said.append).feed(b"x" * 10_000)
    assert said == ["x" * 10_000 + "\n"]


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_a_tail_keeps_the_end(chunks: list[bytes], limit: int) -> None:
    tail = process.Tail(limit)
    for chunk in chunks:
        tail.feed(chunk)
    whole = b"".join(chunks)
    assert tail.text() == whole[-limit:].decode("utf-8", "replace")
    assert tail.cut == (len(whole) > limit)
