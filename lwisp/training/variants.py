"""What the paper's tables and figures compare: the variants of every study, and what the paper prints for them."""

from dataclasses import dataclass, field, replace
from typing import Any

from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import NETWORKS, Architecture, BaselineConfig, Name

UP = ("up2", "up3", "up4")
"""The blocks that the paper distills."""
PRINTED: dict[Name, float] = {
    "srcnn": 18.56, "srgan": 20.06, "dped": 20.67, "unet": 20.81, "pix2pix": 20.93, "spade": 20.96, "nafnet": 21.12,
    "pynet": 21.19, "awnet": 21.40, "cameranet": 21.35, "pynet-ca": 21.50, "hern": 21.30,
}  # fmt: skip
"""PSNR on Zurich in dB, as Tables 1 and 2 print it."""
CHANGES: dict[Name, dict[str, Any]] = {"awnet": {"learning_rate": 1e-4}}
"""What a network needs otherwise than the others: AWNet diverges at a learning rate of 1e-3."""


@dataclass(frozen=True)
class Variant:
    """One row of a study: what it changes in the recipe."""

    label: str
    architecture: Architecture = field(default_factory=LWISPConfig)
    distill: tuple[str, ...] = ()
    """Blocks that it imitates of a teacher; none: no teacher."""
    paper: float | None = None
    """PSNR in dB that the paper prints for it, misprints too (docs/paper.md)."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Further fields of the recipe; none that decides its data, which the variants share."""


@dataclass(frozen=True)
class Study:
    """A comparison of the paper's section 4."""

    title: str
    variants: tuple[Variant, ...]
    order: tuple[tuple[int, int], ...] = ()
    """Pairs of rows (lower, higher) that the paper orders by PSNR, or must order if its reason is the right one."""
    clock: bool = False
    """Whether every variant trains for the time that the first needs for the recipe's steps, not for equal steps."""
    latency: bool = False
    """Whether the table has latencies."""
    equal: bool = False
    """Whether all variants get the steps that the slowest of them has time for, where hours are bounded."""
    rates: tuple[float, ...] = ()
    """Learning rates that are tried for every variant, which then learns at its best one; none: the recipe's."""
    printed_for: str = "Zurich"
    """Dataset that the paper prints its PSNR for."""


CONTROLLED: dict[str, Any] = {"distill_normalized": True, "distill_share": 0.2, "distill_fade": True}
"""Distillation whose strength hangs neither on the blocks that are chosen nor on the teacher: each channel counts
alike, the gradient has a fifth of all else's, and none at the end."""
FULL = LWISPConfig(attention="centered")  # the same functions as the default's, learned faster
BACKBONE = LWISPConfig(fgam=False, ccb=False)
CCB = LWISPConfig(fgam=False)
FGAM = replace(FULL, ccb=False)
DENOISER = replace(FULL, in_channels=3, upsample=False, residual=True)
TABLE_4: dict[Name, float] = {
    "tnrd": 24.73,
    "dncnn": 23.66,
    "cbdnet": 30.78,
    "ridnet": 38.71,
    "vdn": 39.28,
    "mirnet": 39.72,
}
"""PSNR on SIDD in dB, as Table 4 prints it."""
NETWORKS_OF_TABLE_1 = (
    Variant("LW-ISP", FULL, paper=21.57),
    *(
        Variant(network.title, BaselineConfig(name), paper=paper, changes=CHANGES.get(name, {}))
        for name, paper in PRINTED.items()
        for network in [NETWORKS[name]]
    ),
)
AGAIN = (
    NETWORKS_OF_TABLE_1[0],
    Variant("LW-ISP with colors of the frame (not the paper's)", replace(FULL, frame_colors=64)),
    *(
        Variant(row.label, row.architecture, paper=row.paper)
        if row.architecture not in (BaselineConfig("pynet"), BaselineConfig("pynet-ca"))
        else Variant(f"{row.label}, by level", row.architecture, paper=row.paper, changes={"by_level": True})
        for row in NETWORKS_OF_TABLE_1[1:]
    ),
)
"""The rows of Tables 1 and 2 at rates of their own."""
PLUGGED: tuple[Name, ...] = ("unet", "unet-fgam", "unet-ccb", "nafnet", "nafnet-fgam", "nafnet-ccb")
BLOCKS = Study(
    "Table 5 without distillation: FGAM and CCB",
    (
        Variant("backbone", BACKBONE, paper=20.92),
        Variant("+ FGAM", FGAM, paper=21.17),
        Variant("+ CCB", CCB, paper=21.28),
        Variant("+ FGAM + CCB", FULL, paper=21.36),
    ),
    ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)),
)
STUDIES = {
    "table5": Study(
        "Table 5: FGAM, CCB and distillation",
        (
            *BLOCKS.variants,
            Variant("+ CCB + distillation", CCB, UP, 21.40),
            Variant("+ FGAM + CCB + distillation", FULL, UP, 21.57),
        ),
        (*BLOCKS.order, (2, 4), (3, 5), (4, 5)),
    ),
    "blocks": BLOCKS,
    "table1": Study("Tables 1 and 2: other networks, equal steps", NETWORKS_OF_TABLE_1, latency=True),
    "table1-clock": Study(
        "Tables 1 and 2: other networks, equal time on one machine", NETWORKS_OF_TABLE_1, clock=True, latency=True
    ),
    "table1-again": Study(
        "Tables 1 and 2 again: equal steps, each network at its own learning rate",
        AGAIN,
        latency=True,
        equal=True,
        rates=(1e-4, 3e-4, 1e-3, 3e-3),
    ),
    "fgam": Study(
        "Section 4.3: FGAM's maps, how they meet the features, and where it stands, on the backbone",
        (
            Variant("backbone", BACKBONE, paper=20.92),
            Variant("FGAM, x + map", replace(FGAM, attention="add"), paper=21.17),
            Variant("FGAM, x + map - 1/2", FGAM, paper=21.17),
            Variant("FGAM, x + x * map", replace(FGAM, attention="multiply"), paper=21.05),
            Variant("FGAM, x * map", replace(FGAM, attention="product"), paper=21.05),
            Variant("channel attention alone", replace(FGAM, fgam_maps="channel"), paper=21.10),
            Variant("spatial attention alone", replace(FGAM, fgam_maps="spatial"), paper=21.04),
            Variant("reduced by 1x1", replace(FGAM, fgam_reduced=True), paper=20.11),
            Variant("before pooling", replace(FGAM, fgam_before=True), paper=20.04),
        ),
        (
            *((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8)),
            *((3, 1), (3, 2), (4, 1), (4, 2), (5, 2), (6, 2), (7, 2), (8, 2)),
        ),
    ),
    "dilation": Study(
        "Section 3.2: the fields that CCB compares, f_d1 and f_d2, without FGAM",
        (
            Variant("1x1 and 3x3 of dilation 2", CCB, paper=21.28),
            Variant("1x1 and 3x3 of dilation 1", replace(CCB, far_dilation=1)),
            Variant("1x1 and 3x3 of dilation 4", replace(CCB, far_dilation=4)),
            Variant("3x3 of dilation 1 and 2", replace(CCB, near_dilation=1)),
            Variant("3x3 of dilation 2 and 2", replace(CCB, near_dilation=2)),
        ),
    ),
    "plug-in": Study(
        "Sections 3.1 and 3.2: FGAM and CCB in other networks",
        tuple(Variant(NETWORKS[name].title, BaselineConfig(name), paper=PRINTED.get(name)) for name in PLUGGED),
        ((0, 1), (0, 2), (3, 4), (3, 5)),
    ),
    "alpha": Study(
        "Section 4.3: the weight of the structural loss",
        tuple(
            Variant(f"alpha = {alpha:g}", FULL, paper=21.36 if alpha == 0.4 else None, changes={"alpha": alpha})
            for alpha in (0.4, 0.0, 0.1, 0.2, 0.8, 1.6)
        ),
    ),
    "distillation": Study(
        "Section 4.3: which blocks the student imitates, with CCB and without FGAM",
        (
            Variant("none", CCB, paper=21.28),
            Variant("down1 + down2 + down3", CCB, ("down1", "down2", "down3"), 21.11),
            Variant("down4 + up1 + up2", CCB, ("down4", "up1", "up2"), 21.33),
            Variant("up2 + up3 + up4", CCB, UP, 21.40),
        ),
        ((1, 0), (0, 2), (2, 3)),
    ),
    "distillation-places": Study(
        "Section 4.3: which blocks the student imitates, all at one share of the gradient, with CCB and without FGAM",
        (
            Variant("none", CCB, paper=21.28),
            Variant("down1 + down2 + down3", CCB, ("down1", "down2", "down3"), 21.11, CONTROLLED),
            Variant("down4 + up1 + up2", CCB, ("down4", "up1", "up2"), 21.33, CONTROLLED),
            Variant("up2 + up3 + up4", CCB, UP, 21.40, CONTROLLED),
        ),
        ((1, 0), (0, 2), (2, 3)),
    ),
    "distillation-controls": Study(
        "Section 3.3: a teacher and its controls, with CCB and without FGAM",
        (
            Variant("none", CCB, paper=21.28),
            Variant("teacher", CCB, UP, 21.40, CONTROLLED),
            Variant("untrained teacher", CCB, UP, changes={**CONTROLLED, "guide": "untrained"}),
            Variant("teacher of another picture", CCB, UP, changes={**CONTROLLED, "guide": "another"}),
            Variant("`photo` on the RAW", CCB, UP, changes={**CONTROLLED, "guide": "raw", "teacher": "photo"}),
        ),
        ((0, 1), (2, 1), (3, 1)),
    ),
    "teacher": Study(
        "Section 3.3: with and without a teacher, CCB without FGAM",
        (Variant("none", CCB, paper=21.28), Variant("up2 + up3 + up4", CCB, UP, 21.40)),
        ((0, 1),),
    ),
    "table4": Study(
        "Table 4: networks that denoise, equal steps",
        (
            Variant("LW-ISP", DENOISER, paper=39.44),
            *(
                Variant(NETWORKS[name].title, BaselineConfig(name, "rgb"), paper=paper)
                for name, paper in TABLE_4.items()
            ),
        ),
        printed_for="SIDD",
    ),
    "denoise-clock": Study(
        "Denoising: other networks, equal time on one machine",
        (
            Variant("LW-ISP", DENOISER),
            Variant("DnCNN", BaselineConfig("dncnn", "rgb")),
            Variant("NAFNet, width 32", BaselineConfig("nafnet", "rgb")),
        ),
        clock=True,
        latency=True,
    ),
    "denoise-distillation": Study(
        "Denoising: with and without a teacher",
        (Variant("none", DENOISER), Variant("up2 + up3 + up4", DENOISER, UP)),
        ((0, 1),),
    ),
    "denoise-residual": Study(
        "Denoising: the picture itself, or what is to be added to the noisy one",
        (Variant("picture", replace(DENOISER, residual=False)), Variant("residual", DENOISER)),
    ),
    "beta": Study(
        "Figure 6b: the weight of the distillation loss, without the structural loss",
        tuple(
            Variant(f"beta = {beta:g}", FULL, UP if beta else (), changes={"alpha": 0.0, "beta": beta})
            for beta in (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
        ),
    ),
    "lr": Study(
        "Figure 6a: the learning rate, on the backbone",
        tuple(
            Variant(
                f"learning rate {rate:g}",
                BACKBONE,
                paper=20.92 if rate == 8e-5 else None,
                changes={"learning_rate": rate},
            )
            for rate in (8e-5, 3e-4, 1e-3, 3e-3)
        ),
    ),
}
