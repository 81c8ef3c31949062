import re

import numpy as np

from lwisp.files.report import (
    Block,
    Bullets,
    Command,
    Gallery,
    Heading,
    Panel,
    Table,
    to_html,
    to_markdown,
    to_picture,
)

RED = np.full((20, 30, 3), (200, 10, 10), np.uint8)
BLOCKS: list[Block] = [
    "Two < three.",
    Table(["tool", "s"], [["a & b", "1.0"]]),
    Gallery("IMG.dng", [[Panel(RED, "a\n1 s")] * 2]),
]


def test_markdown_has_the_words_and_the_tables() -> None:
    assert to_markdown("Title", BLOCKS) == "# Title\n\nTwo < three.\n\n| tool | s |\n| --- | --- |\n| a & b | 1.0 |\n"


def test_headings_commands_and_lists_are_markdown() -> None:
    blocks: list[Block] = [Command("lwisp bench"), Heading("Time"), Bullets(["a", "b"]), Table(["x", "y"], [["1"]])]
    expected = "    lwisp bench\n\n## Time\n\n- a\n- b\n\n| x | y |\n|---|---|\n| 1 |\n"
    assert to_markdown("", blocks, "---") == expected


def test_headings_commands_and_lists_are_html() -> None:
    page = to_html("Title", [Command("a < b"), Heading("Time"), Bullets(["a", "b"])])
    assert "<pre>a &lt; b</pre>\n<h2>Time</h2>\n<ul><li>a</li><li>b</li></ul>" in page


def test_html_is_whole_in_itself_and_shows_text_as_text() -> None:
    page = to_html("<Title>", BLOCKS)
    assert "&lt;Title&gt;" in page
    assert "Two &lt; three." in page
    assert "<td>a &amp; b</td>" in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "http" not in page


def test_the_picture_shows_every_panel() -> None:
    picture = np.asarray(to_picture(BLOCKS))
    red = (picture == (200, 10, 10)).all(-1)
    assert red.sum() == 2 * 20 * 30
    assert to_picture([]).size[0] > 0
