"""Reading the first file while the program is still being imported."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

S = TypeVar("S")


def read_ahead(read: Callable[[Path], S], first: Path) -> Callable[[Path], S]:
    """Begin to read a file in a thread of its own.

    Args:
        read: Reads any file.
        first: The file; nothing is begun where it is none.

    Returns:
        `read`, but for the first file once what was begun: the same photo, or the same error.
    """
    try:
        is_file = first.is_file()
    except OSError:  # as of too long a name, which is said where its turn comes
        is_file = False
    if not is_file:
        return read
    reader = ThreadPoolExecutor(1)
    begun: dict[Path, Future[S]] = {first: reader.submit(read, first)}
    reader.shutdown(wait=False)

    def read_or_wait(path: Path) -> S:
        future = begun.pop(path, None)
        return read(path) if future is None else future.result()

    return read_or_wait
