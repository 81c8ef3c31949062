"""The exception for what the person at the keyboard can put right."""


class InputError(Exception):
    """A file, folder or setting that cannot be used; the message says what came, what was expected, what to do."""


class OutputError(InputError):
    """A file that cannot be written, be the disk full or the folder not ours: going on with others would not help."""


def one_line(error: Exception) -> str:
    """What a library says of an error, on one line and not endless, to be put into a message of ours."""
    return " ".join(str(error).split())[:300]
