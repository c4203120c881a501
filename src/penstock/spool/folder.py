"""The `Spool` contract on a folder: a file per worker and broker, there only while it holds something.

Who has a file locked owns it, so a file that nobody has locked was left behind by a worker that died.
A file becomes visible under its name only when it is locked, and every write is on the disk before
`FolderSpool.keep` returns.
"""

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from penstock.core.lifecycle import Settlement
from penstock.spool.records import fitting, pack, unpack
from penstock.worker_ports import Leftover

_UNSAFE = re.compile(r"[^A-Za-z0-9.\-]")


class SpoolFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `survey` sees: ``owned`` while a living worker has it."""

    path: Path
    outcomes: int
    owned: bool


class FolderSpool:
    """The file of one worker in ``folder``, and what dead ones left there for the same broker.

    ``broker`` is a short name without separators: a token must never be shown to another broker. The
    file holds at most ``limit`` bytes. Everything here blocks for the disk; any thread may call it.
    """

    def __init__(self, folder: Path, broker: str, worker: str, limit: int) -> None:
        self._folder = folder
        self._broker = broker
        self._path = folder / f"{broker}_{_UNSAFE.sub('-', worker)}.spool"
        self._limit = limit
        self._file: int | None = None
        self._busy = threading.Lock()

    def keep(self, settlements: Sequence[Settlement]) -> int:
        """See `Spool.keep`."""
        with self._busy:
            if self._file is None:
                self._file = self._create()
            size = os.fstat(self._file).st_size
            lines = list(fitting([pack(each) for each in settlements], self._limit - size))
            try:
                _write_all(self._file, b"".join(lines))
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, size)  # half a line would spoil the next one
                raise
            return len(lines)

    def clear(self) -> None:
        """See `Spool.clear`."""
        with self._busy:
            if self._file is not None:
                self._path.unlink(missing_ok=True)
                os.close(self._file)
                self._file = None

    def close(self) -> None:
        """See `Spool.close`."""
        with self._busy:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def leftovers(self) -> Generator[Leftover, None, None]:
        """See `Spool.leftovers`."""
        for path in _files(self._folder, self._broker):
            with _taken(path) as file:
                if file is not None:
                    settlements, spoilt = unpack(_read_all(file))
                    yield Leftover(
                        name=path.name,
                        settlements=tuple(settlements),
                        spoilt=spoilt,
                        remove=partial(_remove, path, spoilt),
                    )

    def _create(self) -> int:
        """A new file that is locked before anybody can find it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            fresh.rename(self._path)
            _sync_folder(self._folder)
        except OSError:
            os.close(file)
            raise
        return file


def survey(folder: Path, broker: str) -> list[SpoolFile]:
    """The files of this broker in a folder, touching none."""
    found = []
    for path in _files(folder, broker):
        with _taken(path) as file, contextlib.suppress(OSError):
            settlements, _ = unpack(path.read_bytes())
            found.append(SpoolFile(path=path, outcomes=len(settlements), owned=file is None))
    return found


def _remove(path: Path, spoilt: int) -> None:
    """What cannot be understood may be a newer release's, so it is put aside for a person to see."""
    if spoilt:
        path.rename(path.with_suffix(".unreadable"))
    else:
        path.unlink(missing_ok=True)


def _files(folder: Path, broker: str) -> list[Path]:
    return sorted(folder.glob(f"{broker}_*.spool"))


@contextlib.contextmanager
def _taken(path: Path) -> Iterator[int | None]:
    """The file, locked by us until the end; None if somebody has it or it is gone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield file if _locked(file) and os.fstat(file).st_nlink else None
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read_all(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as reader:
        return reader.read()


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(folder: Path) -> None:
    """So that the file's name outlives a power cut, too."""
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
