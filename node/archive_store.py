"""Where an archive lies: a folder, or whatever fsspec can reach by a URL.  Files appear whole, or not at all."""

import os
import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem  # pyright: ignore
from fsspec.registry import known_implementations  # pyright: ignore

from ledger.archive.collection import Archive
from ledger.archive.segment import FrameCache, Segment

SEGMENTS_MAX = 65_536
_NAME = re.compile(r"epochs-\d{8,20}-\d{8,20}\.segment")
PARTIAL = ".partial"

# The library has no types of its own; these are the parts of it that we use.
_open_url: Callable[..., tuple[Any, str]] = fsspec.core.url_to_fs  # pyright: ignore
_known: dict[str, dict[str, str]] = known_implementations


class ArchiveUnreachable(RuntimeError):
    """The place of an archive can't be read or written; the message says what to do."""


def name_segment(first_epoch: int, last_epoch: int) -> str:
    """Return the file name of a segment; names sort as epochs do."""
    return f"epochs-{first_epoch:08d}-{last_epoch:08d}.segment"


class ArchiveStore:
    """The place of one archive.  Every method may raise ArchiveUnreachable."""

    def __init__(self, url: str) -> None:
        self.url = url
        protocol = url.partition("://")[0] if "://" in url else "file"
        if "::" in url:
            raise ArchiveUnreachable(f"{url}: expected one folder or URL, without '::'")
        try:
            self._files, self._root = _open_url(url)
        except ImportError as error:
            remedy = "pip install s3fs" if protocol == "s3" else _known.get(protocol, {}).get("err", str(error))
            raise ArchiveUnreachable(f"{url}: the driver for {protocol}:// is not installed: {remedy}") from error
        except (ValueError, OSError) as error:
            raise ArchiveUnreachable(f"{url}: {error}; expected a folder, file:///… or s3://bucket/…") from error
        self._is_folder = _is_local(self._files)

    def list_names(self) -> list[str]:
        """Return the names of all segments, in order; none when the place does not exist yet."""
        names = [name for name in self._list() if _NAME.fullmatch(name)]
        if len(names) > SEGMENTS_MAX:
            raise ArchiveUnreachable(f"{self.url}: expected at most {SEGMENTS_MAX} segments, found {len(names)}")
        return sorted(names)

    def list_states(self) -> list[tuple[str, str]]:
        """Return name and state of each segment, in order: another state, and the file was written anew."""
        with self._reaching():
            try:
                found: list[dict[str, Any]] = self._files.ls(self._root, detail=True)
            except FileNotFoundError:
                return []
        rows = [(str(each["name"]).rstrip("/").rpartition("/")[2], each) for each in found]
        return sorted(
            (name, repr([each.get(part) for part in ("size", "mtime", "ETag", "LastModified", "created")]))
            for name, each in rows
            if _NAME.fullmatch(name)
        )

    def open_segment(self, name: str, cache: FrameCache | None = None) -> Segment:
        """Return one segment.  Raises SegmentDamaged."""
        path = self._path(name)
        with self._reaching():
            size = int(self._files.size(path))
        return Segment(name, size, lambda offset, count: self._read(path, offset, count), cache)

    def open_archive(self) -> Archive:
        """Return all segments as one ledger.  Raises SegmentDamaged and ArchiveIncomplete."""
        cache = FrameCache()
        return Archive(self.url, [self.open_segment(name, cache) for name in self.list_names()])

    def write(self, name: str, chunks: Iterable[bytes]) -> int:
        """Write a file under another name first, then give it its own; return its size.  An older one is replaced."""
        path, partial = self._path(name), self._path(name + PARTIAL)
        size = 0
        with self._reaching():
            self._files.makedirs(self._root, exist_ok=True)
            with self._files.open(partial, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    size += len(chunk)
                file.flush()
                with suppress(OSError):  # only a file of the system's own can be synced; others are durable once closed
                    os.fsync(file.fileno())
            self._files.mv(partial, path)
            if self._is_folder:
                _sync_folder(self._root)
            self._files.invalidate_cache()
        return size

    def remove_partials(self) -> list[str]:
        """Remove what a killed writer has left; return the names."""
        left = [name for name in self._list() if name.endswith(PARTIAL) and _NAME.fullmatch(name[: -len(PARTIAL)])]
        with self._reaching():
            for name in left:
                self._files.rm_file(self._path(name))
            self._files.invalidate_cache()
        return left

    def _list(self) -> list[str]:
        with self._reaching():
            try:
                paths: list[str] = self._files.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _read(self, path: str, offset: int, count: int) -> bytes:
        with self._reaching():
            data: bytes = self._files.cat_file(path, start=offset, end=offset + count)
        return data

    @contextmanager
    def _reaching(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise ArchiveUnreachable(f"{self.url}: {error}; check the place, its free space and your rights") from error


def _is_local(files: object) -> bool:
    return isinstance(files, LocalFileSystem)


def _sync_folder(path: str) -> None:
    """Make the names in a folder durable: after a power cut, an erased text may not be back."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
