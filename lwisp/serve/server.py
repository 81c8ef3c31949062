"""Listening: the address, and the loop that answers until it is stopped."""

import ipaddress
import socket
from collections.abc import Callable, Collection

import uvicorn
from fastapi import FastAPI

from lwisp.errors import ArgumentError, InputError
from lwisp.files.writing import temporary_folder
from lwisp.serve.app import create_app
from lwisp.serve.connections import bounded_by
from lwisp.serve.guard import LONGEST_HEAD
from lwisp.serve.limits import Limits

LOOPBACK = "127.0.0.1"
BACKLOG = 128
"""Connections that the system keeps until they are taken."""


def serve(
    host: str = LOOPBACK,
    port: int = 8000,
    limits: Limits = Limits(),
    names: Collection[str] = (),
    is_verbose: bool = False,
    tell: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer requests until the process is told to stop; nothing of what was received stays behind.

    Args:
        host: The address to listen at; 127.0.0.1 is reached from this machine alone.
        port: 0 for any that is free.
        limits: What is taken and kept at most.
        names: Names under which the server may be asked for, beside "localhost" and addresses.
        is_verbose: Print what goes wrong unforeseen.
        tell: Called with the page's address when it can be asked for.

    Raises:
        InputError: The address cannot be listened at, or there is no place for temporary files.
    """
    with listen(host, port) as listening, temporary_folder() as folder:
        app = create_app(folder, limits, {*names, host}, is_loopback(host), is_verbose=is_verbose)
        tell(address_of(host, listening.getsockname()[1]))
        make_server(app, is_verbose).run(sockets=[listening])


def make_server(app: FastAPI, is_verbose: bool = False) -> uvicorn.Server:
    """uvicorn as it is run here: it trusts no proxy, tells no version, and waits for nobody who does not go.

    Args:
        app: From `create_app`.
        is_verbose: Print what goes wrong unforeseen.
    """
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=bounded_by(app.state.store.limits),
        ws="none",
        lifespan="on",
        log_level="error" if is_verbose else "critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; processes that are started do not have it.

    Args:
        host: The address, or a name of one.
        port: 0 for any that is free.

    Raises:
        InputError: It cannot be listened there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise ArgumentError(f"--host {host}: expected an address of this machine, as 127.0.0.1") from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise InputError(
            f"{host}:{port}: cannot be listened at: {error.strerror}; --port 0 takes any port that is free"
        ) from error
    return listening


def address_of(host: str, port: int) -> str:
    """The address of the page.

    Args:
        host: That it listens at.
        port: Likewise.
    """
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
