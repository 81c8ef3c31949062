"""The one exception for what the person at the keyboard can put right."""


class InputError(Exception):
    """A file, folder or setting that cannot be used; the message says what came, what was expected, what to do."""
