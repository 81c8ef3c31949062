"""Files in stores, through fsspec: found, fetched within bounds, and written once."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lwisp.cluster.urls import Url
from lwisp.errors import InputError, NotFoundError, OutputError, one_line
from lwisp.files.optional import need
from lwisp.planning import is_wanted

MOST_BYTES = 4 * 2**30
"""Of a file that is fetched: no TIFF, and so no RAW of that kind, can be larger."""
CHUNK = 8 * 2**20
"""Bytes fetched at once."""
MOST_SECONDS = 600.0
"""For one file to be fetched, however slowly its bytes come."""
TRIES = 3
"""How often a store is asked that does not answer, or answers with an error that may pass."""
PAUSE = 1.0
"""Seconds before the second try; each further pause is twice as long."""
S3 = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}
"""Settings of botocore: seconds until a store counts as silent; s3fs tries again by itself, up to five times."""
WHOLE = frozenset(["s3", "s3a", "memory"])
"""Stores in which a file appears whole or not at all, and on a condition; in others it gets a temporary name first."""
SETTLED = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError, InputError)
"""Errors that another try would not put right."""

T = TypeVar("T")


class RefusedWriteError(OutputError):
    """A store that takes no files from us: it would refuse the next one, too."""


@dataclass(frozen=True)
class Version:
    """What tells two contents of one name apart, so far as the store says."""

    size: int | None
    mark: str
    """ETag, or time of the last change."""


def files_below(url: Url, recursive: bool) -> list[Url] | None:
    """The files below a folder of a store, sorted; None where the URL is no folder.

    Args:
        url: A folder or a file.
        recursive: Those of folders below, too.

    Raises:
        InputError: There is nothing of this name, the store cannot be asked, or a RAW has a key that no path can have.
    """
    system, path = _open(url)

    def find() -> list[str] | None:
        if system.info(path)["type"] != "directory":
            return None
        return list(system.find(path, maxdepth=None if recursive else 1))

    found = _ask(url, find)
    return None if found is None else sorted(_urls(url, found))


def files_like(pattern: Url) -> list[Url]:
    """The files whose URLs fit a pattern with *, ? or [], sorted.

    Raises:
        InputError: The store cannot be asked, or a RAW has a key that no path can have.
    """
    system, path = _open(pattern)
    return sorted(_urls(pattern, _ask(pattern, lambda: system.glob(path))))


def _urls(url: Url, names: list[str]) -> Iterator[Url]:
    for name in names:
        parts = name.strip("/").split("/")
        if {"", ".", ".."}.isdisjoint(parts):
            yield Url(f"{url.scheme}:", *parts)
        elif is_wanted(Path(name)):
            raise InputError(
                f"{url.scheme}://{name.lstrip('/')}: a key with a part that is empty, '.' or '..' cannot be named "
                "here; rename it, or name the others by a pattern or a manifest"
            )


def fetch(url: Url, file: Path, most: int = MOST_BYTES) -> Version:
    """Fetch a file.

    Args:
        url: The file.
        file: Where it goes.
        most: Bytes that it may have.

    Returns:
        The version that was fetched.

    Raises:
        InputError: There is no such file, it is too large, comes too slowly, or the store refuses it.
    """
    system, path = _open(url)

    def copy() -> Version:
        told = system.info(path)
        if told["type"] == "directory":
            raise InputError(f"{url}: expected a file, this is a folder")
        if (told.get("size") or 0) > most:
            raise InputError(f"{url}: expected at most {most / 2**30:g} GiB, got {told['size'] / 2**30:.1f}")
        deadline = time.monotonic() + MOST_SECONDS
        copied = 0
        with system.open(path, "rb", block_size=CHUNK, cache_type="none") as reader, file.open("wb") as writer:
            while content := reader.read(CHUNK):
                copied += len(content)
                if copied > most:
                    raise InputError(f"{url}: expected at most {most / 2**30:g} GiB, and more came")
                if time.monotonic() > deadline:
                    raise InputError(f"{url}: came too slowly; {copied / 1e6:.1f} MB in {MOST_SECONDS:.0f} s")
                writer.write(content)
        if told.get("size") not in (None, copied):
            raise OSError(f"{copied} of {told['size']} bytes came")
        return _version(told)

    return _ask(url, copy)


def version_of(url: Url) -> Version | None:
    """The version of what has a name; None where nothing has it.

    Raises:
        InputError: The store cannot be asked.
    """
    system, path = _open(url)

    def look() -> Version | None:
        with contextlib.suppress(FileNotFoundError):
            told = system.info(path)
            if told["type"] == "directory":
                raise InputError(f"{url}: expected the name of a file, this is a folder")
            return _version(told)
        return None

    return _ask(url, look)


def write_once(file: Path, url: Url, replaced: Version | None) -> bool:
    """Put a finished file into a store, whole or not at all, in place of nothing but a version that was looked at.

    Args:
        file: The file.
        url: Its name there.
        replaced: The version that it replaces; None where there was nothing.

    Returns:
        False where something else has come to this name meanwhile, which is left as it is.

    Raises:
        OutputError: It cannot be written; `RefusedWriteError` where the rights are missing.
    """
    system, path = _open(url)

    def put() -> bool:
        if replaced is not None and version_of(url) != replaced:
            return False
        if url.scheme in WHOLE:
            try:
                system.put_file(str(file), path, mode="create" if replaced is None else "overwrite")
            except FileExistsError:
                return False
            return True
        return _rename_into(system, file, path, replaced is not None)

    try:
        return _ask(url, put)
    except OutputError:
        raise
    except InputError as error:
        kind = RefusedWriteError if isinstance(error.__cause__, PermissionError) else OutputError
        raise kind(str(error)) from error


def _rename_into(system: Any, file: Path, path: str, replaces: bool) -> bool:
    folder, _, name = path.rpartition("/")
    system.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/.lwisp-{secrets.token_hex(8)}-{name}.tmp"
    try:
        system.put_file(str(file), temporary)
        if not replaces and system.exists(path):
            return False
        system.mv(temporary, path)
    finally:
        with contextlib.suppress(Exception):
            if system.exists(temporary):
                system.rm_file(temporary)
    return True


def _version(told: dict[str, Any]) -> Version:
    mark = next((str(told[key]) for key in ("ETag", "etag", "LastModified", "mtime", "created") if told.get(key)), "")
    return Version(told.get("size"), mark)


def _open(url: Url) -> tuple[Any, str]:
    """The file system of a URL, and what the file is called there."""
    fsspec = need("fsspec", f"{url.scheme}://")
    settings: dict[str, Any] = {"use_listings_cache": False}
    if url.scheme in ("s3", "s3a"):
        told = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        settings["config_kwargs"] = {**S3, **told}
    try:
        system = fsspec.filesystem(url.scheme, **settings)
    except ImportError as error:
        raise InputError(f"{url}: {one_line(error)}; pip install 'lwisp[cluster]' brings s3") from error
    except ValueError as error:
        raise InputError(f"{url}: expected a store that fsspec knows, as s3://; {one_line(error)}") from error
    except Exception as error:  # of settings that the store's own package refuses
        raise InputError(f"{url}: the store cannot be opened: {one_line(error)}") from error
    return system, system._strip_protocol(str(url))


def _ask(url: Url, action: Callable[[], T]) -> T:
    """Do something with a store, again where it may help, and say in a sentence what went wrong."""
    for attempt in range(TRIES):
        try:
            return action()
        except SETTLED as error:
            raise _refusal(url, error) from error
        except Exception as error:
            if attempt + 1 == TRIES:
                raise _refusal(url, error) from error
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError


def _refusal(url: Url, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(f"{url}: cannot be reached: there is no such file, folder or bucket")
    if isinstance(error, PermissionError):
        return InputError(f"{url}: the store refuses access; check the bucket's rights and the credentials here")
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return InputError(f"{url}: there are no credentials for this store; set them, as AWS_ACCESS_KEY_ID, everywhere")
    reason = one_line(error) or type(error).__name__
    return InputError(f"{url}: the store did not do what it was asked, {TRIES} times: {reason}")
