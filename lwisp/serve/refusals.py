"""Refusals of a server: an HTTP status with one sentence, as every `InputError` has it."""

from lwisp.errors import ArgumentError, DiskFullError, InputError, OutputError

BAD_REQUEST, FORBIDDEN, NOT_FOUND, TOO_SLOW, GONE, TOO_LARGE = 400, 403, 404, 408, 410, 413
WRONG_TYPE, UNUSABLE, BUSY, HEAD_TOO_LARGE, FAILED, STOPPED, NO_ROOM = 415, 422, 429, 431, 500, 503, 507


class RefusedError(InputError):
    """A request that is not carried out.

    Args:
        status: Of the answer.
        kind: One word for programs.
        message: One sentence: what was expected, what came, what to do.
        retry_after: Seconds after which to ask again; None where that would not help.
    """

    def __init__(self, status: int, kind: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


def status_of(error: InputError) -> int:
    """The HTTP status of any error that a user can put right.

    Args:
        error: The error.

    Returns:
        Its own of a `RefusedError`; 400 for an argument, 507 for a disk, 422 for a file that cannot be developed.
    """
    if isinstance(error, RefusedError):
        return error.status
    return status_of_kind(error.kind)


def status_of_kind(kind: str) -> int:
    """The same by the word for programs, where the error itself stayed in another process."""
    if kind == ArgumentError.kind:
        return BAD_REQUEST
    if kind in (DiskFullError.kind, OutputError.kind):
        return NO_ROOM
    if kind == "stopped":
        return STOPPED
    return FAILED if kind in ("unforeseen", "worker") else UNUSABLE
