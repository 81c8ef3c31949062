"""Hooks of MkDocs: pages of the verbs made of the CLI's help, the API's page, and links that leave `docs/`."""

import html
import posixpath
import re
from collections.abc import Iterator
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")
"""A link that climbs; those out of `docs/` have no page here."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made, and put one for each verb under "Verbs"."""
    from mkdocs.structure.files import File

    pages = {f"verbs/{name}.md": page for name, page in verb_pages().items()}
    for path, content in {**pages, "api.md": api_page()}.items():
        files.append(File.generated(config, path, content=content))
    for section in config.nav:
        if section.get("Verbs") == []:
            section["Verbs"] = [*pages]
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Show what lies outside of `docs/` by its name, and indent nested lists by four spaces, as MkDocs needs it."""
    folder = posixpath.dirname(page.file.src_uri)

    def unlink(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        return f"{link[1]} (`{target.removeprefix('../')}`)" if target.startswith("../") else link[0]

    return re.sub(r"^((?:  )+)(?=- )", r"\1\1", OUTSIDE.sub(unlink, markdown), flags=re.MULTILINE)


def verb_pages() -> dict[str, str]:
    """The page of every verb in Markdown, by the name of the verb, in the order of `lwisp --help`."""
    import typer

    from lwisp.cli import app

    group: Any = typer.main.get_command(app)
    context = group.make_context("lwisp", [], resilient_parsing=True)
    return {
        name: "\n".join(_of_verb(group.commands[name], name, context, "#")) for name in group.list_commands(context)
    }


def _of_verb(command: Any, name: str, parent: Any, heading: str) -> Iterator[str]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield f"{heading} {context.command_path}\n\n{_plain(command.help)}\n"
    for below in getattr(command, "commands", {}):
        yield from _of_verb(command.commands[below], below, context, heading + "#")
    if hasattr(command, "commands"):
        return
    yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
    panels: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        is_argument = parameter.param_type_name == "argument"
        panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
        panels.setdefault(panel, []).append(_row(parameter, context))
    for panel, rows in panels.items():
        yield f"{heading}# {panel}\n\n| {'argument' if panel == 'Arguments' else 'option'} | what it does |\n|---|---|"
        yield "".join(f"{row}\n" for row in rows)
    if command.epilog:
        yield f"{_plain(command.epilog)}\n"


def _row(parameter: Any, context: Any) -> str:
    names, text = parameter.get_help_record(context) or ("", "")
    names = re.sub(r" <[^<>]*>$", "", names)  # an argument's type, which newer versions of typer add
    return f"| `{names}` | {_plain(text).replace('|', '&#124;')} |"


def _plain(text: str) -> str:
    """Help as Markdown: one paragraph, in which nothing is markup but options, which are code."""
    escaped = html.escape(re.sub(r"([*_\[\]\\`])", r"\\\1", " ".join(text.split())), quote=False)
    return re.sub(r"(?<![\w-])--[a-z][\w-]*", lambda option: f"`{option[0]}`", escaped)


def api_page() -> str:
    """The page of the public names, which mkdocstrings fills in from their docstrings."""
    import lwisp

    functions_first = sorted(lwisp._HOMES.items(), key=lambda item: (item[0][0].isupper(), item[0]))
    homes = {name: f"lwisp.{home}.{name}" for name, home in functions_first}
    parts = [f"## lwisp.{name}\n\n::: {home}\n" for name, home in homes.items()]
    return "# Python\n\nAll of these are names of `lwisp` itself.\n\n" + "\n".join(parts)
