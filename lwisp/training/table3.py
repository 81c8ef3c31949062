"""The paper's Table 3, parameters and operations of five networks: counted here beside what the paper prints."""

from pathlib import Path

import torch

from lwisp.architecture import LWISPConfig
from lwisp.baselines.build import build
from lwisp.baselines.config import Architecture, BaselineConfig
from lwisp.engines.cost import count_macs, count_multiply_adds
from lwisp.files.report import Block, Bullets, Table, is_page, to_markdown
from lwisp.model import count_params

TABLE_3_SIZES = ((224, 224), (960, 960), (1440, 1984))
"""Heights and widths of the packed planes."""
TABLE_3: tuple[tuple[str, Architecture, str, tuple[str, str, str], str], ...] = (
    ("SPADE", BaselineConfig("spade"), "97,480,899", ("191.31 G", "3.16 T", "10.89 T"),
     "the size with COCO-Stuff's 184 label channels, the operations those of a 256x256 picture of it (191.36 G), and "
     "10.89 T is 191.31 G scaled by area from 224x224; here with the four planes"),
    ("PyNET", BaselineConfig("pynet"), "47,554,738", ("342.698 G", "5.72 T", "19.513 T"),
     "5.72 T does not scale with area from the row's own 342.698 G; counted it is 6.294 T"),
    ("LW-ISP, printed as w/o FGAM", LWISPConfig(ccb=False), "1,660,777", ("3.441 G", "63.198 G", "195.914 G"),
     "mislabeled: these are the counts of FGAM without CCB; the 21.40 dB beside them are Table 5's CCB without FGAM"),
    ("LW-ISP without FGAM", LWISPConfig(fgam=False), "not printed", ("not printed",) * 3,
     "what the row above is called"),
    ("LW-ISP with FGAM", LWISPConfig(), "2,014,681", ("4.234 G", "69.198 G", "211.914 G"),
     "misprints: 69.198 = 63.198 + 6 and 211.914 = 195.914 + 16, sums with the row without CCB"),
)  # fmt: skip
"""Label, network, parameters and operations at `TABLE_3_SIZES` as printed in the paper, and what is wrong there."""


TITLE = "Table 3: parameters and operations"


def is_table3(path: Path) -> bool:
    """Whether a file is the page that `table3` makes."""
    return is_page(path, TITLE)


def table3() -> str:
    """The paper's Table 3 as a page of Markdown: counted here, as the paper counts and plainly, beside its figures."""
    rows = []
    for label, architecture, printed_params, printed, _ in TABLE_3:
        with torch.device("meta"):
            network = build(architecture)
        params = f"{count_params(network):,}"
        for (height, width), figure in zip(TABLE_3_SIZES, printed, strict=True):
            shape = (1, 4, height, width)
            counted = f"{count_macs(network, shape) / 1e9:,.3f} G"
            plain = f"{count_multiply_adds(network, shape) / 1e9:,.3f} G"
            rows.append([label, f"{height}x{width}", params, printed_params, counted, figure, plain])
    head = ["network", "size", "parameters", "printed", "counted", "printed", "multiply-adds"]
    notes = [f"{label}: {note}." for label, _, _, _, note in TABLE_3]
    about = (
        "Packed RAW of (height, width). *Counted*: by the paper's convention, thop 0.0.31's (`count_macs`). "
        "*Multiply-adds*: of convolutions and products alone (`count_multiply_adds`). *Printed*: in the paper, not "
        "measured here."
    )
    blocks: list[Block] = [about, Table(head, rows), Bullets(notes)]
    return to_markdown(TITLE, blocks, rule="---")
