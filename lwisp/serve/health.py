"""Whether the server of a container answers: `python -m lwisp.serve.health`, which the image's health check runs.

A container that serves nothing, as one that develops a folder, is healthy as long as it runs.
"""

import http.client
import sys
from collections.abc import Sequence
from pathlib import Path

FIRST_PROCESS = Path("/proc/1/cmdline")
"""The command that a container was started with."""
PORT = 8000
"""Where `lwisp serve` listens if nothing is said."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that stand for all of a machine's, and one of these."""
SECONDS = 5.0


def address_in(command: Sequence[str]) -> tuple[str, int] | None:
    """Where a command lets `lwisp serve` listen.

    Args:
        command: Its words.

    Returns:
        Host and port to ask; None where it serves nothing, or its port is none.
    """
    if "serve" not in command:
        return None
    options = {"--host": "127.0.0.1", "--port": str(PORT)}
    for word, following in zip(command, [*command[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            options[name] = value if equals else following
    host, port = options["--host"], options["--port"]
    return (EVERYWHERE.get(host, host), int(port)) if port.isdecimal() else None


def trouble(host: str, port: int, seconds: float = SECONDS) -> str:
    """Why a server is not well.

    Args:
        host: Where to ask.
        port: Likewise.
        seconds: How long to wait for each step of the answer.

    Returns:
        One line; "" where it answers as it should.
    """
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", "/settings")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{host}:{port}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if status == http.client.OK else f"{host}:{port}: answered {status}"


def main() -> None:
    """Exit with 0 where all is well, else with 1 and the reason."""
    words = FIRST_PROCESS.read_bytes().decode("utf-8", "replace").replace("\0", " ").split()
    found = address_in(words)
    reason = trouble(*found) if found else ""
    if reason:
        sys.exit(reason)


if __name__ == "__main__":
    main()
