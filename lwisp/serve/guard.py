"""Which requests are let in: those for this server by its own name, from no other site's page; and headers for all."""

import ipaddress
import json
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lwisp.errors import printable
from lwisp.serve.refusals import FORBIDDEN, HEAD_TOO_LARGE

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of every answer."""
LONGEST_HEAD = 16_000
"""Bytes of a request before its body: browsers send up to some thousand."""
MOST_HEADERS = 100
"""Lines of it."""


class Guard:
    """An ASGI application that refuses what another site's page, or a name that another site controls, has sent.

    Args:
        app: The application behind it.
        names: Names that this server has, beside those that `is_own_name` knows.
        is_loopback: Whether it listens to this machine alone.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = (), is_loopback: bool = True) -> None:
        self.app = app
        self.names = {name.lower() for name in names}
        self.is_loopback = is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        status, kind = HEAD_TOO_LARGE, "head"
        reason = refuse_head(scope)
        if not reason:
            status, kind = FORBIDDEN, "forbidden"
            reason = self.refuse(Headers(scope=scope), scope["method"], scope["path"])
        if not reason and not scope["query_string"].isascii():  # h11 lets none through, other servers do
            reason = "expected an address whose query is text; percent-encode other letters"
        if not reason:
            await self.app(scope, receive, send_with_headers)
            return
        body = json.dumps({"error": reason, "kind": kind}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send_with_headers({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def refuse(self, headers: Headers, method: str, path: str) -> str:
        """Why a request is refused; empty where it is not.

        Args:
            headers: Of the request.
            method: Likewise.
            path: Likewise.
        """
        host = headers.get("host", "")
        if not is_own_name(host, self.names, self.is_loopback):
            return f"this server is not called {printable(host)[:100]!r}; lwisp serve --allow-host NAME lets it be"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return f"requests from the pages of {printable(origin)[:100]!r} are refused"
        site = headers.get("sec-fetch-site", "none")
        is_visit = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not is_visit:  # a link to the page is none of its requests
            return "requests from the pages of other sites are refused"
        return ""


def refuse_head(scope: Scope) -> str:
    """Why the head of a request is refused for its size; empty where it is not.

    Args:
        scope: Of the request.
    """
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > LONGEST_HEAD:
        return f"expected the head of a request within {LONGEST_HEAD // 1000} kB, got one of {size / 1000:.0f} kB"
    if len(scope["headers"]) > MOST_HEADERS:
        return f"expected at most {MOST_HEADERS} headers, got {len(scope['headers'])}"
    return ""


def is_own_name(host: str, names: Collection[str], is_loopback: bool) -> bool:
    """Whether a request's Host is a name that no other site can have.

    Addresses are: only a name can be made to lead here, as DNS rebinding does.

    Args:
        host: The header, with or without a port.
        names: Names that were allowed, in small letters.
        is_loopback: Whether the server listens to this machine alone; then no other machine's address is its own.
    """
    try:
        parts = urlsplit(f"//{host}")
        name, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    if parts.netloc != host or "@" in host or not name:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not is_loopback
