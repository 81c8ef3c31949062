"""Files of a folder tree, without what systems put there."""

import os
from collections.abc import Callable, Collection
from pathlib import Path

SYSTEM_FOLDERS = frozenset(["@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"])
"""Folders that file servers and operating systems make, with previews or deleted files in them."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over: its name begins with a dot, as of macOS's `._IMG.DNG`, or is a system's.

    Args:
        name: The last part of a path.

    Returns:
        True where it is.
    """
    return name.startswith(".") or name in SYSTEM_FOLDERS


def find_files(
    folder: Path,
    is_wanted: Callable[[Path], bool],
    recursive: bool = True,
    leave_out: Collection[Path] = (),
    unread: list[Path] | None = None,
) -> list[Path]:
    """Files in a folder and those below, sorted by path; links to folders are not followed.

    Args:
        folder: The folder.
        is_wanted: Whether a file is one of those looked for, by its path alone.
        recursive: Whether folders below are searched.
        leave_out: Folders below that are not searched.
        unread: Gets the folders below that cannot be read; without it they are passed over.

    Returns:
        The files; folders whose names look like a file's are none, nor is what `is_hidden` names.

    Raises:
        OSError: The folder itself cannot be read.
    """
    os.scandir(folder).close()  # os.walk would take a folder that cannot be read for an empty one
    left_out = {os.path.realpath(path) for path in leave_out}
    found = []

    def note(error: OSError) -> None:
        if unread is not None:
            unread.append(Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = [
            name for name in folders if not is_hidden(name) and os.path.realpath(Path(place, name)) not in left_out
        ]
        found += [Path(place, name) for name in names if not is_hidden(name) and is_wanted(Path(place, name))]
        if not recursive:
            break
    return sorted(found)
