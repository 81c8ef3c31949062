"""Facts of the networks that the paper compares with: sources, sizes that they take, tasks. Imports none of them."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from lwisp.architecture import STUDIED, LWISPConfig, Takes

Name = Literal[
    "srcnn",
    "srgan",
    "dped",
    "dncnn",
    "unet",
    "pix2pix",
    "spade",
    "nafnet",
    "pynet",
    "awnet",
    "cameranet",
    "pynet-ca",
    "hern",
    "tnrd",
    "ridnet",
    "cbdnet",
    "vdn",
    "mirnet",
    "unet-fgam",
    "unet-ccb",
    "nafnet-fgam",
    "nafnet-ccb",
]


@dataclass(frozen=True)
class Network:
    """Facts of one network."""

    title: str
    source: str
    published: str
    """Its number of parameters as published, and where."""
    departs: str
    """Differences of this implementation from its source."""
    multiple: int = 1
    """Height and width of the planes must be multiples of it, in pixels of the planes,"""
    minimum: int = 2
    """and not smaller than this: instance normalization needs two values."""
    restores: bool = False
    """Whether it can also map RGB to RGB of the same size, by a residual as in its source."""


OWN_TAKES: tuple[Takes, ...] = ("raw", "rgb", "planes")
"""Tasks of networks that are not of this package."""
MAX_MULTIPLE = 1024
"""Largest multiple that such a network may ask its input to be padded to."""

SHUFFLED = "works at the planes' size, its last convolution making 12 planes that are shuffled to the picture"

NETWORKS: dict[Name, Network] = {
    "srcnn": Network(
        "SRCNN",
        "Dong, Loy, He, Tang, Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016",
        "57,184 for one channel, without biases (the paper, 9-5-5)",
        "takes four planes, not demosaiced but enlarged by 2 one by one, where the source takes one enlarged channel; "
        "its borders are repeated instead of lost",
    ),
    "srgan": Network(
        "SRGAN's generator (SRResNet)",
        "Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017",
        "1.5 M for RGB enlarged by 4 (Lim et al., EDSR, CVPR Workshops 2017)",
        "enlarges by 2, not by 4, so that one PixelShuffle is left; takes four planes",
    ),
    "dped": Network(
        "DPED's generator",
        "Ignatov et al., DSLR-Quality Photos on Mobile Devices with Deep Convolutional Networks, ICCV 2017",
        "none",
        SHUFFLED,
    ),
    "dncnn": Network(
        "DnCNN",
        "Zhang, Zuo, Chen, Meng, Zhang, Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising, "
        "TIP 2017",
        "none; 17 layers of 64 channels (the paper)",
        SHUFFLED + "; from RGB to RGB nothing departs: DnCNN-S of 17 layers, but for three channels",
        restores=True,
    ),
    "unet": Network(
        "U-Net",
        "Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
        "none",
        SHUFFLED + "; its convolutions keep the size, with zeros at the borders; no dropout",
        multiple=16,
        minimum=32,
    ),
    "pix2pix": Network(
        "Pix2Pix",
        "Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017",
        "54.408 M from one channel to one (printed by the authors' PyTorch code)",
        SHUFFLED + "; normalizes each picture by itself, which is the source's rule for a batch of one, "
        "and drops out in training only",
        multiple=256,
        minimum=256,
    ),
    "spade": Network(
        "SPADE's generator",
        "Park, Liu, Wang, Zhu, Semantic Image Synthesis with Spatially-Adaptive Normalization, CVPR 2019",
        "97,480,899 (Table 3 of LW-ISP), which is its size for the 184 label channels of COCO-Stuff",
        "the four planes stand where the map of labels stands, and are averaged, not sampled, to each size; "
        "plain batch normalization for the synchronized one",
        multiple=16,
        minimum=32,
    ),
    "nafnet": Network(
        "NAFNet, width 32",
        "Chen, Chu, Zhang, Sun, Simple Baselines for Image Restoration, ECCV 2022",
        "29.16 M for RGB (the authors, of the SIDD network)",
        SHUFFLED + "; the input is not added to the output, which is no RAW; from RGB to RGB nothing departs",
        multiple=16,
        minimum=32,
        restores=True,
    ),
    "pynet": Network(
        "PyNET",
        "Ignatov, Van Gool, Timofte, Replacing Mobile Camera ISP with a Single Deep Learning Model, "
        "CVPR Workshops 2020",
        "47,554,738 (Table 3 of LW-ISP)",
        "instance normalization on level 1 too, an option that is off in the authors' training code, but on in Table 3",
        multiple=16,
        minimum=32,
    ),
    "awnet": Network(
        "AWNet, the branch for RAW",
        "Dai, Liu, Li, Chen, AWNet: Attentive Wavelet Network for Image ISP, ECCV Workshops 2020",
        "55.70 M (Table 2 of LW-ISP)",
        "without the four convolutions of the authors' code that no pass uses, 3,134,400 of its 50,657,204 parameters, "
        "and without the second network, for demosaiced input, whose picture the source combines with this one's",
        multiple=16,
        minimum=32,
    ),
    "cameranet": Network(
        "CameraNet",
        "Liang, Cai, Cao, Zhang, CameraNet: A Two-Stage Framework for Effective Camera ISP Learning, TIP 2021",
        "26.53 M (Table 2 of LW-ISP)",
        "the part that sees the whole frame is in both U-Nets, as the 26.53 M demand, where the authors' code switches "
        "it off in the first; both can learn from the finished picture, without the linear target of the source",
        multiple=16,
        minimum=144,
    ),
    "pynet-ca": Network(
        "PyNET-CA",
        "Kim, Song, Ye, Baek, PyNET-CA: Enhanced PyNET with Channel Attention for End-to-End Mobile Image Signal "
        "Processing, ECCV Workshops 2020",
        "56.89 M (Table 2 of LW-ISP)",
        "nothing but that the coarser pictures are made in every pass, as PyNET makes them; the count is that of the "
        "authors' code",
        multiple=16,
        minimum=32,
    ),
    "hern": Network(
        "HERN",
        "Mei et al., Higher-Resolution Network for Image Demosaicing and Enhancing, ICCV Workshops 2019",
        "39.64 M (Table 2 of LW-ISP)",
        SHUFFLED
        + "; of the several networks in the authors' code the one that their page tests, with the 16 groups of "
        "10 blocks that it has there",
        multiple=4,
        minimum=4,
    ),
    "tnrd": Network(
        "TNRD",
        "Chen, Pock, Trainable Nonlinear Reaction Diffusion: A Flexible Framework for Fast and Effective Image "
        "Restoration, TPAMI 2017",
        "none; 5 stages of 48 filters of 7x7 and 63 Gaussians each (the paper)",
        "each plane is denoised by itself, as the source does gray pictures, with the same weights; a 1x1 convolution "
        "makes 12 planes of four that are shuffled to the picture; all stages are learned at once, not one after the "
        "other first",
        minimum=4,
        restores=True,
    ),
    "ridnet": Network(
        "RIDNet",
        "Anwar, Barnes, Real Image Denoising with Feature Attention, ICCV 2019",
        "none",
        SHUFFLED + "; from RGB to RGB the mean color is not taken away first, which biases can say",
        restores=True,
    ),
    "cbdnet": Network(
        "CBDNet",
        "Guo, Yan, Zhang, Zuo, Zhang, Toward Convolutional Blind Denoising of Real Photographs, CVPR 2019",
        "4.3 M (the table of an unofficial PyTorch version, IDKiro/denoisers)",
        SHUFFLED + "; the estimate of the noise is learned through the picture alone, without the source's two losses "
        "of its own",
        multiple=4,
        minimum=4,
        restores=True,
    ),
    "vdn": Network(
        "VDN, its denoising network",
        "Yue, Yong, Zhao, Zhang, Meng, Variational Denoising Network: Toward Blind Noise Modeling and Removal, NeurIPS "
        "2019",
        "none",
        SHUFFLED + "; without the second network and the variance, which serve the source's variational loss alone and "
        "which no pass needs",
        multiple=8,
        minimum=8,
        restores=True,
    ),
    "mirnet": Network(
        "MIRNet",
        "Zamir et al., Learning Enriched Features for Real Image Restoration and Enhancement, ECCV 2020",
        "31.8 M for RGB (Zamir et al., TPAMI 2023)",
        SHUFFLED + "; each dual attention has a PReLU of its own, where all of them share one in the authors' code",
        multiple=4,
        minimum=8,
        restores=True,
    ),
    "unet-fgam": Network(
        "U-Net with FGAM",
        "the U-Net above with a block of LW-ISP, Chen, Ma, BMVC 2022",
        "none",
        "our own trial: FGAM (x + map - 1/2) after each pooling, so that the next convolution takes twice the channels",
        multiple=16,
        minimum=32,
    ),
    "unet-ccb": Network(
        "U-Net with CCB",
        "the U-Net above with a block of LW-ISP, Chen, Ma, BMVC 2022",
        "none",
        "our own trial: CCB in the place of each transposed convolution and of the skip that is concatenated to it; "
        "the deepest one upsamples the decoder's features alone",
        multiple=16,
        minimum=32,
    ),
    "nafnet-fgam": Network(
        "NAFNet with FGAM",
        "the NAFNet above with a block of LW-ISP, Chen, Ma, BMVC 2022",
        "none",
        "our own trial: the strided convolutions keep the channels, and FGAM (x + map - 1/2) after each doubles them",
        multiple=16,
        minimum=32,
    ),
    "nafnet-ccb": Network(
        "NAFNet with CCB",
        "the NAFNet above with a block of LW-ISP, Chen, Ma, BMVC 2022",
        "none",
        "our own trial: CCB and a 1x1 convolution to half the channels in the place of PixelShuffle and of the skip "
        "that is added to it",
        multiple=16,
        minimum=32,
    ),
}


@dataclass(frozen=True)
class BaselineConfig:
    """Architecture of a `Baseline`, as `LWISPConfig` is that of LW-ISP; part of cards and recipes."""

    network: Name
    takes: Takes = "raw"
    """Its task: all of them map packed RAW planes to RGB; those that restore may map RGB to RGB."""

    def __post_init__(self) -> None:
        if self.network not in get_args(Name):
            raise ValueError(f"expected network to be one of {get_args(Name)}, got {self.network!r}")
        if self.takes != "raw" and not (self.takes == "rgb" and NETWORKS[self.network].restores):
            able = ", ".join(name for name, network in NETWORKS.items() if network.restores)
            raise ValueError(f'expected takes = "raw", or "rgb" for {able}, got {self.takes!r} for {self.network}')

    @property
    def in_channels(self) -> int:
        """4 packed planes, or RGB."""
        return 4 if self.takes == "raw" else 3

    @property
    def out_channels(self) -> int:
        """3, RGB."""
        return 3

    @property
    def scale(self) -> int:
        """Output pixels per input pixel, along each side."""
        return 2 if self.takes == "raw" else 1

    @property
    def size_multiple(self) -> int:
        """Height and width of the input are padded to multiples of it."""
        return NETWORKS[self.network].multiple

    @property
    def size_minimum(self) -> int:
        """Height and width of the input are padded to this at least."""
        return NETWORKS[self.network].minimum


@dataclass(frozen=True)
class OwnConfig:
    """Architecture of a network that is not of this package: a class that whoever uses it has imported."""

    module: str
    """Where it is, as "mynets.small:Small"."""
    takes: Takes
    """Its task: "raw", "rgb" or "planes"."""
    size_multiple: int = 1
    """Height and width of its input are padded to multiples of it."""
    size_minimum: int = 1
    """Height and width of its input are padded to this at least."""

    def __post_init__(self) -> None:
        place, colon, name = self.module.partition(":")
        if not (colon and all(part.isidentifier() for part in (*place.split("."), name))):
            raise ValueError(f'expected a network of "module:Class", got {self.module!r}')
        if self.takes not in OWN_TAKES:
            raise ValueError(f"expected takes to be one of {', '.join(OWN_TAKES)}, got {self.takes!r}")
        if not (1 <= self.size_multiple <= MAX_MULTIPLE and 1 <= self.size_minimum <= MAX_MULTIPLE):
            raise ValueError(
                f"expected size_multiple and size_minimum of 1 to {MAX_MULTIPLE}, got {self.size_multiple} and "
                f"{self.size_minimum}"
            )

    @property
    def in_channels(self) -> int:
        """4 packed planes, or RGB."""
        return 3 if self.takes == "rgb" else 4

    @property
    def out_channels(self) -> int:
        """RGB, or clean planes."""
        return 4 if self.takes == "planes" else 3

    @property
    def scale(self) -> int:
        """Output pixels per input pixel, along each side."""
        return 2 if self.takes == "raw" else 1


Architecture = LWISPConfig | BaselineConfig | OwnConfig
"""Architecture of any network here; part of cards and recipes."""


def fields_of(architecture: Architecture) -> dict[str, Any]:
    """What is said of an architecture, as names of files and pages have it.

    Args:
        architecture: That of any network.

    Returns:
        Its fields by name; those of `STUDIED` only where they differ from the paper's choice.
    """
    return {name: value for name, value in asdict(architecture).items() if (name, value) not in STUDIED.items()}
