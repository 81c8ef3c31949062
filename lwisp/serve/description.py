"""The description of the interface, for programs as OpenAPI and for people as a plain page."""

import html
import re
from collections.abc import Mapping
from typing import Any

from lwisp.serve.knobs import to_schema

ERROR = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "one sentence for people"},
        "kind": {"type": "string", "description": "one word for programs"},
    },
}
STATUSES = {
    400: "A field that cannot be used, or a damaged form",
    403: "A request from another site's page, or to a name that is not this server's",
    404: "No such picture, or not yet",
    408: "The file came too slowly",
    413: "A file of too many bytes",
    415: "No multipart form",
    422: "A file that cannot be developed",
    429: "Too much is waiting; the header Retry-After tells the seconds after which to try again",
    503: "The server was stopped meanwhile",
    507: "No room on the disk",
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"description": told, "content": {"application/json": {"schema": ERROR}}}
    for status, told in STATUSES.items()
}
"""What may be answered in place of what was asked for."""


def form_of(has_file: bool) -> dict[str, Any]:
    """OpenAPI's description of a form.

    Args:
        has_file: Whether a RAW goes with it.
    """
    file = {"type": "string", "format": "binary", "description": "the RAW"}
    schema: dict[str, Any] = {"type": "object", "properties": {**({"file": file} if has_file else {}), **to_schema()}}
    if has_file:
        schema["required"] = ["file"]
    return {"requestBody": {"required": has_file, "content": {"multipart/form-data": {"schema": schema}}}}


def describe(openapi: Mapping[str, Any]) -> str:
    """A page of HTML, without scripts, that tells what `openapi` tells programs.

    Args:
        openapi: OpenAPI's object.
    """
    parts = []
    for path, methods in openapi["paths"].items():
        for method, told in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{_prose(told['summary'])}. {_prose(told.get('description', ''))}</p>")
    knobs = "".join(_knob(name, schema) for name, schema in to_schema().items())
    statuses = "".join(f"<tr><td>{status}<td>{html.escape(told)}" for status, told in STATUSES.items())
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>lwisp: the interface</title>
<link rel="stylesheet" href="/style.css"><link rel="icon" href="/icon.svg">
<main class="docs"><h1>The interface of lwisp {html.escape(openapi["info"]["version"])}</h1>
<p>For programs as <a href="/openapi.json">OpenAPI</a>; for people as <a href="/">a page</a>.</p>
<pre tabindex="0">curl -F file=@photo.dng -F format=tiff -F exposure=0.5 http://127.0.0.1:8000/develop -o out.tif</pre>
{"".join(parts)}
<h2>Fields of a form</h2>
<table><tr><th scope="col">field<th scope="col">meaning<th scope="col">if it is not told{knobs}</table>
<h2>Answers</h2>
<p>Errors are JSON: <code>error</code> is a sentence, <code>kind</code> a word for programs.</p>
<table><tr><th scope="col">status<th scope="col">meaning{statuses}</table></main></html>
"""


def _prose(text: str) -> str:
    """A text as HTML, its code between backticks too."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))


def _knob(name: str, schema: Mapping[str, Any]) -> str:
    meaning = schema["description"]
    if "minimum" in schema and "maximum" in schema:
        meaning += f", {schema['minimum']} to {schema['maximum']}"
    default = schema.get("default", "")
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return f"<tr><td><code>{name}</code><td>{html.escape(meaning)}<td>{html.escape(shown)}"
