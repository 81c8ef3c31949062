"""Weights in Hugging Face's form of repository, on its hub: fetched by huggingface_hub, into its own cache.

Nothing else in lwisp connects to a network, and this does only for an address that begins with `hf://`. Two files are
fetched: `config.json`, which says whose weights these are and names their digest, and `model.safetensors`. Nothing of
a repository is run. With `HF_HUB_OFFLINE=1` nothing is fetched, and what lies in the cache serves.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lwisp.errors import ArgumentError, DamagedError, InputError, NotFoundError, one_line
from lwisp.files.optional import need

SCHEME = "hf://"
FORM = "hf://OWNER/NAME, with @REVISION (a branch, a tag or a commit) and #sha256=DIGEST behind it if need be"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Names of the files, which are Hugging Face's own."""
ENTRY = "lwisp"
"""Key in the config under which the facts of lwisp stand."""
LARGEST_CONFIG = 2**20
"""Bytes of a config that is read; ours have two thousand."""
PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
ADDRESS = re.compile(
    rf"hf://(?P<repository>{PART}/{PART})(?:@(?P<revision>\w[\w./+-]{{0,200}}))?(?:#sha256=(?P<sha256>[0-9a-fA-F]{{64}}))?",
    re.ASCII,
)
COMMIT = re.compile("[0-9a-f]{40}")
LARGEST = 2 * 10**9
"""Bytes of a file that is fetched; ours have four million."""
REFUSED, SERVER = (401, 403, 404), 500
"""What the hub answers where there is nothing or it would have to know who asks; from where on the fault is its own."""


@dataclass(frozen=True)
class Address:
    """Where weights lie on the hub."""

    repository: str
    """As "owner/name"."""
    revision: str | None = None
    """A branch, a tag or a commit; None for the newest."""
    sha256: str | None = None
    """Of the tensors, as `Weights.sha256` has it; None where any will do."""

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}{'' if self.revision is None else f'@{self.revision}'}"


@dataclass(frozen=True)
class Fetched:
    """Weights that lie in the cache now."""

    address: Address
    path: Path
    """The safetensors file."""
    sha256: str
    """Of its tensors, as the config of the repository tells; the file was not read."""


def is_address(name: object) -> bool:
    """Whether a name of weights is an address on the hub, be it well formed or not."""
    return isinstance(name, str) and name.startswith(SCHEME)


def parse_address(text: str) -> Address:
    """The address that a text is.

    Args:
        text: Of the form `FORM`.

    Returns:
        Its parts; the digest in small letters.

    Raises:
        ArgumentError: It is of another form.
    """
    found = ADDRESS.fullmatch(text)
    if found is None or ".." in (found["repository"] + (found["revision"] or "")):
        raise ArgumentError(f"{text}: expected {FORM}")
    sha256 = found["sha256"]
    return Address(found["repository"], found["revision"], sha256 and sha256.lower())


def fetch(text: str) -> Fetched:
    """Fetch weights from the hub, unless the cache of huggingface_hub has them.

    Args:
        text: Of the form `FORM`.

    Returns:
        The file, and the digest that it should have: whoever opens it compares.

    Raises:
        InputError: The form is another, huggingface_hub is not installed, the hub cannot be reached or has no such
            repository, revision or file, or the repository holds other weights than those of lwisp, or than the digest
            in the address names.
    """
    address = parse_address(text)
    config = _download(address, CONFIG, address.revision)
    sha256 = _digest_in(config, address)
    if address.sha256 not in (None, sha256):
        raise DamagedError(
            f"{address}: expected weights with SHA-256 {address.sha256}, got {sha256}: they were changed since, or are "
            "others; name the revision that had them, or check these and name their digest"
        )
    commit = config.parent.name  # so that both files are of one, whatever is uploaded meanwhile
    return Fetched(address, _download(address, WEIGHTS, commit), sha256)


def _digest_in(config: Path, address: Address) -> str:
    """The digest of the tensors that a config names."""
    try:
        with config.open("rb") as file:
            content: Any = json.loads(file.read(LARGEST_CONFIG))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{address}: its {CONFIG} cannot be read: {one_line(error)}") from error
    entry = content.get(ENTRY) if isinstance(content, Mapping) else None
    sha256 = entry.get("sha256") if isinstance(entry, Mapping) else None
    if not isinstance(sha256, str):
        raise InputError(
            f"{address}: holds no weights of lwisp: its {CONFIG} has no entry {ENTRY!r}; expected a repository that "
            "`lwisp hub pack` wrote"
        )
    return sha256


def _download(address: Address, name: str, revision: str | None) -> Path:
    """A file of a repository: from the cache where the revision is a commit, which never changes, or nobody answers."""
    hub, errors = _hub()
    if revision is not None and COMMIT.fullmatch(revision):
        kept = _kept(address, name, revision)
        if kept is not None:
            return kept
    try:
        size = _metadata(address, name, revision).size or 0
        if size > LARGEST:
            raise InputError(f"{address}: {name} has {size:,} bytes, and {LARGEST:,} are fetched at most")
        return Path(hub.hf_hub_download(address.repository, name, revision=revision, library_name="lwisp"))
    except _UnreachedError as error:
        kept = _kept(address, name, revision)
        if kept is not None:
            return kept
        raise NotFoundError(
            f"{address}: {name} is not in the cache of huggingface_hub, and the hub cannot be reached: {error}"
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(address, error) from error
    except (OSError, ValueError, RuntimeError) as error:  # of the disk, or a download that was cut short
        raise InputError(f"{address}: {name} cannot be fetched: {one_line(error)}; try again later") from error


def _kept(address: Address, name: str, revision: str | None) -> Path | None:
    """A file in the cache; None where it is not there."""
    hub, errors = _hub()
    try:
        return Path(hub.hf_hub_download(address.repository, name, revision=revision, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{address}: {name} cannot be read from the cache: {one_line(error)}") from error


class _UnreachedError(Exception):
    """The hub did not answer."""


def _metadata(address: Address, name: str, revision: str | None) -> Any:
    """What the hub tells of a file; raises `InputError` where it has none, `_UnreachedError` where it tells nothing."""
    hub, errors = _hub()
    try:
        return hub.get_hf_file_metadata(hub.hf_hub_url(address.repository, name, revision=revision))
    except errors.EntryNotFoundError as error:
        raise NotFoundError(f"{address}: this repository has no {name}; `lwisp hub pack` writes such ones") from error
    except errors.RevisionNotFoundError as error:
        raise NotFoundError(f"{address}: the repository has no such branch, tag or commit") from error
    except errors.HfHubHTTPError as error:
        if _status_of(error) >= SERVER:
            raise _UnreachedError(one_line(error)) from error
        raise _refused(address, error) from error
    except errors.HFValidationError as error:
        raise ArgumentError(f"{address}: expected {FORM}: {one_line(error)}") from error
    except Exception as error:  # of the package that connects, which differs by version
        raise _UnreachedError(one_line(error)) from error


def _hub() -> tuple[Any, Any]:
    """huggingface_hub and its errors; raises `InputError` where it is not installed."""
    need("huggingface_hub.constants", "weights from a hub")  # read now, while no reports are allowed
    return need("huggingface_hub"), need("huggingface_hub.errors")


def _status_of(error: Any) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _refused(address: Address, error: Any) -> InputError:
    """The error about a repository that the hub does not give."""
    if _status_of(error) in REFUSED:
        return NotFoundError(
            f"{address}: the hub gives no such repository; it may be spelled otherwise, or private or gated: then "
            "`hf auth login` tells the hub who asks"
        )
    return InputError(f"{address}: the hub did not answer as expected: {one_line(error)}; try again later")
