"""The folder of a run: where it lies, and the lock that keeps it to one process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lwisp.errors import InputError, OutputError, one_line
from lwisp.files.writing import make_folder


def run_folder(output: Path) -> Path:
    """The folder that keeps the progress of a run: the path of its weights + ".run".

    Args:
        output: path of the weights.
    """
    return output.with_name(output.name + ".run") if output.name else output


@contextmanager
def exclusive(folder: Path, activity: str) -> Iterator[None]:
    """Hold a folder's lock, so that no other process works in it; the system releases it when the process ends.

    The folder is made if need be, and removed afterwards if nothing but the lock is in it.

    Args:
        folder: the run folder.
        activity: what the holder does there, for messages, as "training".

    Raises:
        InputError: where another process holds it.
        OutputError: where it cannot be locked.
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{folder}: another process is {activity} there; wait for it, or name another --output"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"{folder}: cannot be locked: {one_line(error)}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if [entry.name for entry in os.scandir(folder)] == ["lock"]:
                (folder / "lock").unlink()
                folder.rmdir()
        lock.release()
