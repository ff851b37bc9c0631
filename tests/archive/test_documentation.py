"""docs/archive.md says what the code does: its reader reads our segments, and its numbers are ours."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.archive import layout
from ledger.archive.layout import Frame, Index, Summary
from tests.archive.chains import SECRET, ArchivedWorld, open_segment

TEXT = (Path(__file__).parent.parent.parent / "docs" / "archive.md").read_text(encoding="utf-8")

Read = Callable[[bytes], Iterator[tuple[bytes, bytes, list[tuple[bytes, dict[str, Any] | None, bytes | None]]]]]


@pytest.fixture
def read_segment() -> Read:
    """The reader that the page gives to strangers."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/archive.md", "exec"), names)  # noqa: S102
    reader: Read = names["read_segment"]
    return reader


def test_the_reader_of_the_page_reads_every_segment(
    chain: ArchivedWorld, files: list[bytes], read_segment: Read
) -> None:
    texts = b""
    for data in files:
        blocks = list(read_segment(data))
        own = list(open_segment(data).iterate_blocks())
        assert [(header, certificate) for header, certificate, _ in blocks] == [
            (block.header, block.certificate) for block in own
        ]
        assert [[receipt for receipt, _, _ in rows] for _, _, rows in blocks] == [list(block.receipts) for block in own]
        texts += b"".join(payload or b"" for _, _, rows in blocks for _, _, payload in rows)
    assert SECRET.encode() in texts


def test_the_reader_of_the_page_finds_a_changed_byte(files: list[bytes], read_segment: Read) -> None:
    data = files[0][:500] + bytes([files[0][500] ^ 1]) + files[0][501:]

    with pytest.raises(AssertionError):
        list(read_segment(data))


@pytest.mark.parametrize("kind", [Summary, Index, Frame])
def test_the_page_names_every_field(kind: type[Any]) -> None:
    assert [name for name in kind.__slots__ if f"`{name}`" not in TEXT] == []


def test_the_bounds_of_the_page_are_ours() -> None:
    units = {"": 1, "MiB": 1024 * 1024}

    stated = {
        name: int(number.replace(",", "")) * units[unit.strip()]
        for number, unit, name in re.findall(r"\| ([\d,]+)( MiB)? \| `(\w+_MAX)` \|", TEXT)
    }

    assert stated == {name: getattr(layout, name) for name in stated}
    assert len(stated) == 7
