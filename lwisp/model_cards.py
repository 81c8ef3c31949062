"""The model card of weights in Hugging Face's form: a README.md with what programs read at its head.

What cannot be done comes first, then what can, how good it is and how long it takes, and what it was learned from. All
figures come from the weights' own card and from what was measured for the docs; nothing is measured for the page.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lwisp.architecture import LWISPConfig, Takes
from lwisp.downloads import SCHEME, WEIGHTS
from lwisp.engines.developed import INPUTS as MOSAIC_INPUTS
from lwisp.engines.developed import OUTPUTS as MOSAIC_OUTPUTS
from lwisp.files.places import bundled_folder
from lwisp.weights import WAYS, Card, read_digest, shipped_files

MODEL = "model.onnx"
LICENCES = frozenset(
    [
        *("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "unlicense"),
        *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
        *("gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0"),
    ]
)
"""Names of licences that the hub knows and a card may have; any other is "other" there, with its name beside."""
VERBS: dict[Takes, str] = {
    "raw": "lwisp develop photo.dng",
    "linear": "lwisp develop photo.raf",
    "rgb": "lwisp denoise photo.jpg",
    "planes": "lwisp denoise-raw photo.dng",
}
PYTHON: dict[Takes, str] = {
    "raw": 'lwisp.develop(weights, lwisp.read_raw("photo.dng"))  # (H, W, 3) float32 sRGB in [0, 1]',
    "linear": 'lwisp.develop(weights, lwisp.read_any("photo.raf"))  # (H, W, 3) float32 sRGB in [0, 1]',
    "rgb": "lwisp.denoise(picture, weights)  # (H, W, 3) float32 in [0, 1], as the picture",
    "planes": 'lwisp.denoise_raw(lwisp.read_raw("photo.dng"), weights)  # a RAW with less noise',
}
LIMITS: dict[Takes, tuple[str, ...]] = {
    "raw": (
        "It takes RAWs with a Bayer mosaic, not X-Trans, nor files that are demosaiced already.",
        "It works on one frame, upright or not, without knowing lens or subject: no lens correction but what lwisp "
        "applies before, no burst.",
        "The picture has one look. What is clipped in the RAW is guessed.",
    ),
    "linear": (
        "It sees what a demosaicing before it has left, false color too.",
        "It works on one frame, and the picture has one look.",
    ),
    "rgb": (
        "It takes finished sRGB pictures. What compression or a camera took from them it does not bring back.",
        "It is no judge: text, faces and fine texture may come out other than they were, so it is nothing for evidence "
        "or measurements.",
    ),
    "planes": (
        "It takes RAWs with a Bayer mosaic, black level subtracted, and gives them back with less noise; it does not "
        "develop them.",
        "Fine texture near the noise may go with it, so it is nothing for evidence or measurements.",
    ),
}
INPUTS: dict[Takes, tuple[str, str]] = {
    "raw": (
        "packed planes (1, {channels}, h, w) float32 in [0, 1], h and w multiples of 16 from 32 up: {planes}, prepared "
        "by the input convention in `config.json`",
        "RGB (1, 3, 2h, 2w) float32 in [0, 1], sRGB",
    ),
    "linear": (
        "demosaiced planes (1, {channels}, h, w) float32 in [0, 1], h and w multiples of 16 from 32 up: R, G, B{more}, "
        "prepared by the input convention in `config.json`",
        "RGB (1, 3, h, w) float32 in [0, 1], sRGB",
    ),
    "rgb": (
        "RGB (1, 3, h, w) float32 in [0, 1], sRGB, h and w multiples of 16 from 32 up",
        "RGB of the same size, float32 in [0, 1], sRGB",
    ),
    "planes": (
        "packed planes (1, {channels}, h, w) float32 in [0, 1], h and w multiples of 16 from 32 up: {planes}",
        "clean planes of the same size, float32 in [0, 1]",
    ),
}
SHOWN = 200
"""Photographs that are credited one by one; of more the page says how many there are."""
FRONT = {"clean": "no noise", "middle": "middle (about ISO 800)", "high": "high (about ISO 6400)"}
GENERATED = frozenset(["Architecture", "Input convention", "Data"])
"""Sections of a page of docs/models that come from the card, as those do that begin as in `GENERATED_STARTS`."""
GENERATED_STARTS = ("Scores, protocol", "Look of")
KNOWN = "Good to know"
"""The section of such a page that tells limits of these weights."""
TIMES = {
    "denoise": "A JPEG of 12 MP took 16 s on two cores of an AMD EPYC with AVX-512 BF16, by OpenVINO, four passes."
}
"""Seconds of shipped weights that do not stand in the front, from docs/use.md."""
UNTIMED = "How long a picture takes was not measured."


@dataclass(frozen=True)
class Facts:
    """What a page tells beside the card."""

    name: str
    """Of the weights, and of the repository."""
    sha256: str
    """Of the tensors."""
    parameters: int
    multiply_adds: int
    """For planes of 512x512."""
    contract: str
    """Input and output of the ONNX file in words."""
    owner: str = "OWNER"
    """Of the repository."""


def config_of(card: Card, sha256: str, version: str) -> dict[str, Any]:
    """The content of a repository's config.json.

    Args:
        card: Of LW-ISP weights.
        sha256: Of the tensors.
        version: Of lwisp.

    Returns:
        "config", the architecture, which huggingface_hub hands to `LWISP`; "lwisp", what `lwisp.load` compares.
    """
    return {
        "config": asdict(card.architecture),
        "lwisp": {
            "version": version,
            "name": card.name,
            "takes": card.takes,
            "convention": asdict(card.convention),
            "sha256": sha256,
        },
    }


def model_card(card: Card, facts: Facts) -> str:
    """The README.md of weights.

    Args:
        card: Their card; what it tells of file names and licences is shown as it is, but for what Markdown would read.
        facts: What it does not tell.

    Returns:
        YAML between two lines of dashes, then Markdown.
    """
    takes = card.takes
    assert takes is not None
    assert isinstance(card.architecture, LWISPConfig)
    lines = [*_head(card), "", f"# {_cell(facts.name)}", ""]
    lines += [
        f"LW-ISP, a small network {WAYS[takes]}, in {facts.parameters / 1e6:.1f} million parameters.{_look(card)}"
    ]
    sections = _sections(facts)
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in LIMITS[takes]), f"- {_score_note(card)}"]
    lines += [sections.pop(KNOWN)] if KNOWN in sections else []
    lines += ["", "## Use", "", *_usage(takes, card, facts)]
    lines += ["", "## Input and output", "", *_contract(takes, card, facts)]
    lines += ["", "## Quality and time", "", *_scores(card), *_front(facts), *_cost(takes, facts)]
    lines += ["", "## Training data", "", *_data(card)]
    for title, text in sections.items():
        lines += ["", f"## {title}", "", text]
    lines += ["", "## Licence", "", f"{_cell(card.licence)}. The code of lwisp is under the MIT licence."]
    lines += ["", "## The paper", "", "Chen and Ma, LW-ISP: A Lightweight Model with ISP and Deep Learning, BMVC 2022,"]
    lines += ["<https://arxiv.org/abs/2210.03904>. These weights are not the paper's, whose authors published none."]
    return "\n".join(lines) + "\n"


def _head(card: Card) -> list[str]:
    """The YAML; texts are written as JSON, which YAML reads too."""
    licence = card.licence.lower()
    tags = ["image-signal-processing", "raw", "photography", "lw-isp", "onnx"]
    tags += {"raw": ["demosaicing"], "linear": ["demosaicing"], "rgb": ["image-restoration"], "planes": ["denoising"]}[
        card.takes or "raw"
    ]
    lines = ["---", f"license: {licence if licence in LICENCES else 'other'}"]
    if licence not in LICENCES:
        lines.append(f"license_name: {json.dumps(_cell(card.licence))}")
    return [*lines, "library_name: lwisp", "pipeline_tag: image-to-image", f"tags: {json.dumps(tags)}", "---"]


def _look(card: Card) -> str:
    if card.camera is None:
        return ""
    style = f", picture style {_cell(card.camera.style)}" if card.camera.style else ""
    return f" It has the look of the JPEGs of {_cell(card.camera.name)}{style}, and was learned from {_pairs(card)}."


def _pairs(card: Card) -> str:
    assert card.camera is not None
    return f"{len(card.camera.pairs)} of its RAW files with their JPEGs"


def _score_note(card: Card) -> str:
    if card.scores:
        return "Scores are means over a few photographs; below stands over which."
    return "The card of these weights has no scores by a protocol."


def _usage(takes: Takes, card: Card, facts: Facts) -> list[str]:
    address = f"{SCHEME}{facts.owner}/{facts.name}"
    recipe = card.training.get("recipe")
    verb, python = VERBS[takes], PYTHON[takes]
    if takes == "rgb" and isinstance(recipe, Mapping) and recipe.get("data") == "enhance":
        verb, python = verb.replace("denoise", "enhance"), python.replace("denoise", "enhance")
    return [
        "```sh",
        "pip install 'lwisp[hub]'",
        f"{verb} --weights {address}",
        "```",
        "",
        "```python",
        "import lwisp",
        "",
        f'weights = lwisp.load("{address}#sha256={facts.sha256}")',
        *(['picture = lwisp.read_picture("photo.jpg").rgb'] if takes == "rgb" else []),
        f"made = {python}",
        "```",
        "",
        "`@REVISION` behind the name takes a branch, a tag or a commit. The digest is that of the tensors; leave it",
        "out to take whatever lies here. No PyTorch is needed. With it, the module itself comes by",
        f'`lwisp.hub.hub_class().from_pretrained("{facts.owner}/{facts.name}")`.',
    ]


def _contract(takes: Takes, card: Card, facts: Facts) -> Iterator[str]:
    assert isinstance(card.architecture, LWISPConfig)
    told = ", and one that tells the noise" if card.architecture.is_told_noise else ""
    taken, given = (
        text.format(channels=card.architecture.in_channels, planes=f"R, Gr, Gb, B{told}", more=told)
        for text in INPUTS[takes]
    )
    yield f"`{WEIGHTS}` is the network, for lwisp and for PyTorch. It takes {taken}. It gives {given}."
    yield ""
    yield f"`{MODEL}` is for ONNX Runtime and others, which gave the same as PyTorch when this was written:"
    if takes != "raw":
        yield f"{_cell(facts.contract)}, as above. Its metadata hold the card."
        return
    yield "a RAW's mosaic goes in, its picture comes out, with all that `lwisp develop` does between the two. Its"
    yield "metadata hold the card, and these tables."
    yield ""
    yield "| input | what it is |"
    yield "|---|---|"
    for name in card.convention.preparation.inputs:
        yield f"| `{name}` | {_cell(MOSAIC_INPUTS[name])} |"
    yield ""
    yield "| output | what it is |"
    yield "|---|---|"
    for name, text in MOSAIC_OUTPUTS.items():
        yield f"| `{name}` | {_cell(text)} |"


def _scores(card: Card) -> Iterator[str]:
    for protocol, scores in card.scores.items():
        rows = {name: row for name, row in scores.items() if isinstance(row, Mapping) and row}
        columns = sorted({str(column) for row in rows.values() for column in row})
        told = "; ".join(f"{_cell(name)}: {_cell(value)}" for name, value in scores.items() if name not in rows)
        yield f"By the protocol `{_cell(protocol)}` of lwisp{told and f' ({told})'}, as the card has it:"
        yield ""
        if rows:
            yield f"| | {' | '.join(map(_cell, columns))} |"
            yield f"|---|{'---|' * len(columns)}"
        for name, row in rows.items():
            yield f"| {_cell(name)} | {' | '.join(_cell(row.get(column, '')) for column in columns)} |"
        if rows:
            yield ""


def is_shipped(facts: Facts) -> bool:
    """Whether weights are those that lwisp brings under this name: the docs' figures are theirs alone."""
    return any(path.stem == facts.name and read_digest(path) == facts.sha256 for path in shipped_files())


def _front(facts: Facts) -> Iterator[str]:
    """The front of quality and time, of weights that stand in it."""
    file = bundled_folder("docs/results") / "front.csv"
    if not (is_shipped(facts) and file.is_file()):
        return
    with file.open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["panel"] in FRONT]
    own = f"lwisp {facts.name}"
    if own not in {row["name"] for row in rows}:
        return
    machines = sorted({row["machine"] for row in rows})
    yield "Beside other tools: decibels (fitted PSNR) of the truth test, 24 photographs at each noise level, whole"
    yield "pictures; seconds from a RAW file of 12 MP to the picture, measured beside other work on"
    yield f"{_cell('; '.join(machines))}. `no look` is for comparison: no command writes that picture."
    yield ""
    yield f"| | {' | '.join(FRONT.values())} | seconds |"
    yield "|---|---|---|---|---|"
    names = list(dict.fromkeys(row["name"] for row in rows))
    points = {name: {row["panel"]: row for row in rows if row["name"] == name} for name in names}
    for name in sorted(names, key=lambda name: _place(points[name])):
        panels = points[name]
        one = next(iter(panels.values()))
        psnr = " | ".join(f"{float(panels[case]['psnr']):.2f}" if case in panels else "" for case in FRONT)
        seconds = float(one["seconds"])
        shown = "not timed" if math.isnan(seconds) else f"{seconds:.1f}"
        mark = "**" if name.startswith(own) and name.removeprefix(own)[:1] in ("", ",") else ""
        yield f"| {mark}{_cell(name)}{mark} | {psnr} | {shown} |"
    yield ""


def _place(panels: Mapping[str, Mapping[str, str]]) -> tuple[bool, float]:
    """For sorting by seconds; what was not timed comes last."""
    seconds = float(next(iter(panels.values()))["seconds"])
    return math.isnan(seconds), seconds


def _cost(takes: Takes, facts: Facts) -> list[str]:
    time = TIMES.get(facts.name, "") if is_shipped(facts) else ""
    is_raw = takes in ("raw", "linear")
    return [
        f"{facts.parameters:,} parameters; {facts.multiply_adds / 512**2:,.0f} multiply-adds for each place of the "
        "planes (convolutions and matrix products).",
        time or ("How long a RAW takes on your machine, `lwisp doctor FILE` estimates." if is_raw else UNTIMED),
    ]


def _data(card: Card) -> list[str]:
    if card.camera is not None:
        return [
            f"{_pairs(card)[0].upper()}{_pairs(card)[1:]}, by the file's name and its SHA-256:",
            "",
            *(f"- {_cell(pair.file)}: `{_cell(pair.sha256)}`" for pair in card.camera.pairs[:SHOWN]),
            *_more(len(card.camera.pairs)),
        ]
    if not card.photos:
        return ["The card names no photographs."]
    rows = [(photo.file, photo.licence, photo.author, photo.source) for photo in card.photos[:SHOWN]]
    return [
        "| file | licence | author | source |",
        "|---|---|---|---|",
        *(f"| {' | '.join(map(_cell, row))} |" for row in rows),
        *_more(len(card.photos)),
    ]


def _more(count: int) -> list[str]:
    return ["", f"And {count - SHOWN} more."] if count > SHOWN else []


def _sections(facts: Facts) -> dict[str, str]:
    """What the docs tell of shipped weights, beside what their card does: texts by title."""
    page = bundled_folder("docs/models") / f"{facts.name}.md"
    if not (is_shipped(facts) and page.is_file()):
        return {}
    text = page.read_text(encoding="utf-8")
    found = {}
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        # the card's own training comes first, with its recipe; a section of this name behind it was written by hand
        is_recipe = title == "Training" and body.lstrip().startswith("- ")
        if title in GENERATED or title.startswith(GENERATED_STARTS) or is_recipe:
            continue
        links = r"\[([^\]]*)\]\((?!\w+://)[^)]+\)"  # of files that are not here
        found["How it was trained" if title == "Training" else title] = re.sub(links, r"\1", body.strip())
    return found


def _cell(value: object) -> str:
    """A value as text that is one line, and neither a table's border nor a tag."""
    text = "".join(letter for letter in str(value) if letter.isprintable())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def without_paths(value: Any) -> Any:
    """What a card holds with file names in place of paths that lead through a user's folders.

    Args:
        value: Of JSON.

    Returns:
        The same, where no text has an absolute path, one from the home folder, or one that goes up.
    """
    if isinstance(value, str):
        return _without_paths(value)
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [without_paths(item) for item in value]
    return value


ROOTS = r"(?:[A-Za-z]:[\\/]|\\\\|~[\w.-]*[\\/]|\.\.[\\/]|/)"
"""How a path begins that says where on a machine something lies."""
WITHIN = re.compile(rf"(?<![^\s'\"=(\[{{,;])(?:file://)?{ROOTS}[^\s'\"`,;:|<>]+")


def _without_paths(text: str) -> str:
    if re.match(rf"(?:file://)?{ROOTS}", text) and "\n" not in text:
        return re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    return WITHIN.sub(lambda path: re.split(r"[\\/]", path[0].rstrip("\\/"))[-1], text)
