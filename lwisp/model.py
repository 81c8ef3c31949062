"""The LW-ISP network: fine-grained attention going down, contextual complement going up.

Chen and Ma, "LW-ISP: A Lightweight Model with ISP and Deep Learning", BMVC 2022, sections 3.1 to 3.3.
Block names follow the paper: `FGAM`, `CCB`, `down1..4` and `up1..4` (`down[0..3]`, `up[0..3]` here).
`docs/paper.md` says where each choice that the paper leaves open comes from.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.architecture import (
    BLOCKS,
    SIZE_MINIMUM,
    SIZE_MULTIPLE,
    Attention,
    Contrast,
    CoreInput,
    LWISPConfig,
    Maps,
    Padding,
    padded_side,
)
from lwisp.errors import ArgumentError
from lwisp.imaging import color

SLOPE = 0.2  # of LeakyReLU below 0


class FGAM(nn.Module):
    """Fine-grained attention: (B, C, h, w) -> (B, 2C, h, w), section 3.1 and figure 3.

    Channel and spatial attention run in parallel, each is added to the input, and both sums are concatenated. It can
    stand in any network (docs/networks.md).

    Args:
        channels: C, of the input, 1 or more.
        attention: How a map meets the features; see `LWISPConfig.attention`.
        reduction: C over the channels between the two convolutions of channel attention.
        maps: Both attentions, or one alone: then the output has C channels.
        reduced: A 1x1 convolution at the end, so that the output has C channels.

    Raises:
        ArgumentError: For other values.
    """

    def __init__(
        self,
        channels: int,
        attention: Attention = "add",
        reduction: int = 8,
        maps: Maps = "both",
        reduced: bool = False,
    ) -> None:
        super().__init__()
        if channels < 1 or reduction < 1:
            raise ArgumentError(f"FGAM: expected channels and reduction of 1 at least, got {channels}, {reduction}")
        _check_choice("FGAM", "attention", attention, Attention)
        _check_choice("FGAM", "maps", maps, Maps)
        hidden = max(1, channels // reduction)
        self.attention = attention
        self.channel: nn.Sequential | None = None
        if maps != "spatial":
            self.channel = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, hidden, 1),
                nn.ReLU(),
                nn.Conv2d(hidden, channels, 1),
                nn.Sigmoid(),
            )
        self.spatial: nn.Sequential | None = None
        if maps != "channel":
            self.spatial = nn.Sequential(nn.Conv2d(2, 1, 5, padding=2, bias=False), nn.Sigmoid())
        self.reduce = nn.Conv2d(channels * (2 if maps == "both" else 1), channels, 1) if reduced else None

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x, None if self.channel is None else self.channel(x))

    def attend(self, x: Tensor, channel_map: Tensor | None) -> Tensor:
        """Apply attention with a known channel map, the only part that needs the whole frame.

        Args:
            x: Features (B, C, h, w).
            channel_map: (B, C, 1, 1) in [0, 1], `channel(x)` of the whole frame; None where there is none.

        Returns:
            (B, 2C, h, w), or (B, C, h, w) with one map or `reduced`.
        """
        maps = [] if channel_map is None else [channel_map]
        if self.spatial is not None:
            most_and_mean = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)  # (B, 2, h, w)
            maps.append(self.spatial(most_and_mean))
        if self.attention in ("multiply", "product"):
            maps = [x * values for values in maps]
        elif self.attention == "centered":
            maps = [values - 0.5 for values in maps]
        sums = maps if self.attention == "product" else [x + values for values in maps]
        joined = torch.cat(sums, 1)
        return joined if self.reduce is None else self.reduce(joined)

    def extra_repr(self) -> str:
        return f"attention={self.attention}"


class CCB(nn.Module):
    """Contextual complement upsampling: C channels at (h, w) -> C channels at (2h, 2w), section 3.2, figure 4.

    `decoder` (B, C, h, w) is what is being upsampled, `skip` (B, C, h, w) the first stage's features of the same
    size, and `context` (B, C/2, 2h, 2w) those of twice the size. The first half of the result is CCB-Core's
    (equation 1), the second half the contrast map of `context` (equation 2). It can stand in any network
    (docs/networks.md).

    Args:
        channels: C, even.
        core_input: What is upsampled; see `LWISPConfig.core_input`. With "decoder" `skip` is not looked at.
        contrast: What is concatenated; see `LWISPConfig.contrast`.
        padding: Border of the convolutions; "reflect" needs a context larger than the dilations, in px.
        near_dilation: Dilation of f_d1 as a 3x3 convolution; 0: it is a 1x1 convolution.
        far_dilation: Dilation of f_d2, a 3x3 convolution.

    Raises:
        ArgumentError: For other values.
    """

    def __init__(
        self,
        channels: int,
        core_input: CoreInput = "sum",
        contrast: Contrast = "alone",
        padding: Padding = "reflect",
        near_dilation: int = 0,
        far_dilation: int = 2,
    ) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ArgumentError(f"CCB: expected an even number of channels from 2 up, got {channels}")
        if near_dilation < 0 or far_dilation < 1:
            raise ArgumentError(
                f"CCB: expected near_dilation of 0 and far_dilation of 1 at least, got {near_dilation}, {far_dilation}"
            )
        _check_choice("CCB", "core_input", core_input, CoreInput)
        _check_choice("CCB", "contrast", contrast, Contrast)
        _check_choice("CCB", "padding", padding, Padding)
        half = channels // 2
        self.core_input = core_input
        self.gated = contrast == "gated"
        self.core = nn.Sequential(*_conv(channels, 2 * channels, padding), nn.PixelShuffle(2))
        near = {"dilation": near_dilation} if near_dilation else {"kernel": 1}
        self.near = nn.Sequential(*_conv(half, half, padding, **near))  # f_d1
        self.far = nn.Sequential(*_conv(half, half, padding, dilation=far_dilation))  # f_d2

    def forward(self, decoder: Tensor, skip: Tensor, context: Tensor) -> Tensor:
        if self.core_input == "twice":
            upsampled = self.core(decoder) + self.core(skip)
        elif self.core_input == "sum":
            upsampled = self.core(decoder + skip)
        else:
            upsampled = self.core(decoder)
        contrast = torch.sigmoid(self.near(context) - self.far(context))
        return torch.cat([upsampled, contrast * context if self.gated else contrast], 1)

    def extra_repr(self) -> str:
        return f"core_input={self.core_input}, gated={self.gated}"


class Bilinear(nn.Module):
    """The backbone's up block in CCB's place, with its inputs and output: bilinear, a 3x3 convolution, the skip."""

    def __init__(self, channels: int, padding: Padding) -> None:
        super().__init__()
        self.core = _bilinear(channels, channels // 2, padding)

    def forward(self, decoder: Tensor, skip: Tensor, context: Tensor) -> Tensor:
        return torch.cat([self.core(decoder), context], 1)


class Look(nn.Module):
    """One camera's colors and tone: RGB (B, 3, H, W) in [0, 1] -> the same size and range. Not of the paper.

    A function of each pixel's own color, so that detail stays what it was, tiles stay exact, and a few photos are
    enough to learn it from (`camera.look.fit`). A new one changes nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(channels, 3, 1),
        )
        for values in self.layers[-1].parameters():
            nn.init.zeros_(values)

    def forward(self, rgb: Tensor) -> Tensor:
        return self.unbounded(rgb).clamp(0, 1)

    def unbounded(self, rgb: Tensor) -> Tensor:
        """The look's result before it is held in [0, 1], where a gradient would end.

        Args:
            rgb: (B, 3, H, W) in [0, 1].

        Returns:
            (B, 3, H, W), which may exceed [0, 1].
        """
        return rgb + self.layers(2 * rgb - 1)  # type: ignore[no-any-return]


class FrameColors(nn.Module):
    """One color matrix and three curves for a whole frame, made of its global vector. Not of the paper.

    A picture's matrix, 3x4, acts on all its pixels alike; then each color goes through a curve that keeps 0 and 1. A
    new one changes nothing.

    Args:
        inputs: Length of the global vector.
        channels: Of the layer between the vector and the 24 numbers.
    """

    CURVE = 4
    """Numbers of a curve: coefficients of a polynomial, times x (1 - x)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, channels)
        self.last = nn.Linear(channels, 3 * 4 + 3 * self.CURVE)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, rgb: Tensor, vector: Tensor) -> Tensor:
        """The frame's colors changed.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            vector: (B, inputs), the global vector.

        Returns:
            (B, 3, H, W), which may exceed [0, 1].
        """
        found = self.last(functional.leaky_relu(self.hidden(vector.to(self.last.weight.dtype)), SLOPE))[..., None, None]
        matrix, curves = found[:, :12].unflatten(1, (4, 3)), found[:, 12:].unflatten(1, (self.CURVE, 3))
        # (B, 4, 3, 1, 1): what red, green, blue and a constant give to the three colors
        mixed = rgb + matrix[:, 3]
        for channel in range(3):
            mixed = mixed + matrix[:, channel] * rgb[:, channel : channel + 1]
        within = mixed.clamp(0, 1)
        bend = curves[:, -1]
        for power in range(self.CURVE - 2, -1, -1):
            bend = bend * within + curves[:, power]
        return mixed + bend * within * (1 - within)  # type: ignore[no-any-return]


class LWISP(nn.Module):
    """LW-ISP, student or teacher: planes in [0, 1] -> RGB, or clean planes, in [0, 1].

    Input (B, in_channels, h, w): for a RAW, four packed planes of h = H/2, w = W/2. Output (B, out_channels, H, W) with
    `upsample`, else (B, out_channels, h, w). Any h and w from 1 up: `forward` reflects the planes at the bottom and
    right to a multiple of 16 (32 at least) and crops the result; nothing else in the project pads for the network.
    With `residual` or `frame_colors` the result is held to [0, 1] in evaluation only, for beyond the limits nothing
    would be learned.
    """

    def __init__(self, config: LWISPConfig = LWISPConfig()) -> None:
        super().__init__()
        self.config = config
        widths = [config.width << level for level in range(5)]  # 16, 32, 64, 128, 256
        self.pad: nn.Module = Pad(
            config.size_multiple, config.size_minimum
        )  # this and the next three have no parameters; converters put others in their places
        self.crop: nn.Module = Crop()
        self.average: nn.Module = FrameMean()
        self.spread: nn.Module = Spread()
        growth, padding = config.growth, config.padding  # FGAM doubles the channels, so the layer after it need not
        self.cells = Cells(config.detail, widths[0], config.is_told_noise) if config.cell == 4 else None
        if self.cells is None:
            self.head = nn.Sequential(*_conv(config.in_channels, widths[0], padding))
        else:  # which have their margin already
            self.head = nn.Sequential(
                nn.Conv2d(12 + config.in_channels, widths[0], 3), nn.LeakyReLU(SLOPE, inplace=True)
            )
        self.stages = nn.ModuleList(
            nn.Sequential(*_conv(widths[max(level - 1, 0)] * (growth if level else 1), width, padding),
                          *_conv(width, width, padding))
            for level, width in enumerate(widths[:4])
        )  # fmt: skip
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _attention(width, config))  # in the other order where FGAM comes before
            for width in widths[:4]
        )
        self.bottom = nn.Sequential(*_conv(widths[3] * growth, widths[4], padding))
        self.world = nn.Sequential(nn.Linear(widths[4], widths[3]), nn.ReLU())
        self.blend = nn.Sequential(*_conv(widths[4], widths[3], padding), *_conv(widths[3], widths[3], padding))
        self.up = nn.ModuleList(_upsampling(width, config) for width in widths[3:0:-1])
        self.fuse = nn.ModuleList(nn.Sequential(*_conv(width, width // 2, padding)) for width in widths[3:0:-1])
        self.last_up = _last_up(config) if config.upsample and config.cell == 2 else nn.Identity()
        self.out = (
            nn.Conv2d(config.detail, 4 * 48, 1)
            if config.cell == 4
            else _bare_conv(widths[0], config.out_channels, padding)
        )
        if config.residual:  # begins as the identity
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        self.look = Look(config.look) if config.look else nn.Identity()
        self.frame_colors = FrameColors(widths[3], config.frame_colors) if config.frame_colors else None

    def forward(self, x: Tensor) -> Tensor:
        seen = self.see(self.pad(x))
        return self.finish(self.blocks_of(seen, ("up4",)), seen, (x.shape[-2], x.shape[-1]))

    def blocks(self, x: Tensor, keep: Collection[str] = BLOCKS) -> dict[str, Tensor]:
        """Outputs of the paper's blocks on the padded frame.

        Args:
            x: Planes (B, in_channels, h, w).
            keep: Names out of `BLOCKS`; the outputs of other blocks are freed as soon as they are used.

        Returns:
            Output by name, in the order of `BLOCKS`. `down1..4`: 32 to 256 channels at 1/2 to 1/16 of the padded size
            with the default width; `up1..4`: see `features`.
        """
        outputs = self.blocks_of(self.see(self.pad(x)), keep)
        return {name: output for name, output in outputs.items() if name in BLOCKS}

    def see(self, planes: Tensor) -> "Seen":
        """The planes as the first stage takes them.

        Args:
            planes: (B, in_channels, h, w) of the padded frame, or of a window of it.

        Returns:
            The planes themselves, or cells of them.
        """
        return Seen(planes, planes) if self.cells is None else self.cells(planes)

    def blocks_of(self, seen: "Seen", keep: Collection[str] = BLOCKS) -> dict[str, Tensor]:
        """`blocks` of what `see` gives.

        Args:
            seen: The padded frame.
            keep: As for `blocks`.

        Returns:
            As `blocks`; with `frame_colors` also "vector", the output of `summarize`.
        """
        outputs: dict[str, Tensor] = {}
        top = self.climb_up(seen, keep, outputs)
        if "up4" in keep:
            outputs["up4"] = self.last_up(top)
        return outputs

    def climb_up(self, seen: "Seen", keep: Collection[str], outputs: dict[str, Tensor]) -> Tensor:
        """The whole way down and up, but for the last up block.

        Args:
            seen: The padded frame.
            keep: As for `blocks`.
            outputs: Gets the outputs of the blocks to be kept, and "vector" as in `blocks_of`.

        Returns:
            What the last up block takes, (B, width, h, w).
        """
        skips = []
        first = deeper = self.head(seen.encoded)
        for level in range(len(self.stages)):
            skips.append(self.encode(level, deeper))
            deeper = self.descend(level, skips[-1])
            if f"down{level + 1}" in keep:
                outputs[f"down{level + 1}"] = deeper
        vector = self.summarize(deeper)
        if self.frame_colors is not None:
            outputs["vector"] = vector
        decoder = self.decode(skips[-1], vector)
        for step in range(len(self.up)):
            skip = skips.pop()
            decoder = self.climb(step, decoder, skip, skips[-1])
            if f"up{step + 1}" in keep:
                outputs[f"up{step + 1}"] = decoder
        return first * decoder  # type: ignore[no-any-return]

    def encode(self, level: int, x: Tensor) -> Tensor:
        """Skip features of one encoder level, two convolutions.

        Args:
            level: 0 to 3.
            x: Output of the head for level 0, else of `attend` of the level before: (B, C, h, w).

        Returns:
            (B, width * 2**level, h, w).
        """
        return self.stages[level](x)  # type: ignore[no-any-return]

    def descend(self, level: int, skip: Tensor) -> Tensor:
        """A level's pooling and attention, the output of block `down{level + 1}`.

        Args:
            level: 0 to 3.
            skip: Output of `encode` of this level (B, C, h, w), of even sides.

        Returns:
            (B, growth * C, h/2, w/2).
        """
        if self.config.fgam_before:
            return self.pool(level, self.attend(level, skip))
        return self.attend(level, self.pool(level, skip))

    def pool(self, level: int, skip: Tensor) -> Tensor:
        """Skip features after 2x2 max pooling, the input of a level's attention.

        Args:
            level: 0 to 3.
            skip: Output of `encode` of this level (B, C, h, w), of even sides.

        Returns:
            (B, C, h/2, w/2).
        """
        return self.down[level].get_submodule("0")(skip)  # type: ignore[no-any-return]

    def attend(self, level: int, pooled: Tensor, channel_map: Tensor | None = None) -> Tensor:
        """Fine-grained attention after a level's pooling, the output of block `down{level + 1}`.

        Args:
            level: 0 to 3.
            pooled: Output of `pool` (B, C, h, w).
            channel_map: (B, C, 1, 1) for a window of a frame, whose means are known; None to take those of `pooled`.

        Returns:
            (B, growth * C, h, w); `pooled` itself where the network has no attention.
        """
        attention = self.down[level].get_submodule("1")
        if channel_map is None:
            return attention(pooled)  # type: ignore[no-any-return]
        assert isinstance(attention, FGAM)
        return attention.attend(pooled, channel_map)

    def summarize(self, deepest: Tensor) -> Tensor:
        """The global vector of the frame: a convolution, means over height and width, a linear layer.

        Args:
            deepest: Output of block `down4`, (B, 256, h/16, w/16) with the default width.

        Returns:
            (B, 128) with the default width.
        """
        return self.world(self.average(self.bottom(deepest)))  # type: ignore[no-any-return]

    def decode(self, skip: Tensor, vector: Tensor) -> Tensor:
        """The decoder's first features: the deepest skip features blended with the global vector.

        Args:
            skip: Output of `encode` of level 3: (B, 128, h/8, w/8) with the default width.
            vector: Output of `summarize` (B, 128).

        Returns:
            Of the shape of `skip`.
        """
        return self.blend(torch.cat([skip, self.spread(vector, skip)], 1))  # type: ignore[no-any-return]

    def climb(self, step: int, decoder: Tensor, skip: Tensor, context: Tensor) -> Tensor:
        """One up block and the convolution after it, the output of `up1..3`.

        Args:
            step: 0 to 2.
            decoder: What is upsampled (B, C, h, w).
            skip: Skip features of the same size (B, C, h, w).
            context: Skip features of twice the size (B, C/2, 2h, 2w).

        Returns:
            (B, C/2, 2h, 2w).
        """
        return self.fuse[step](self.up[step](decoder, skip, context))  # type: ignore[no-any-return]

    def finish(self, outputs: Mapping[str, Tensor], seen: "Seen", size: tuple[int, int]) -> Tensor:
        """The picture, with the padding cut off.

        Args:
            outputs: `blocks_of` the padded frame, with "up4".
            seen: The padded frame, from `see`.
            size: Height and width of the planes before they were padded.

        Returns:
            (B, out_channels, h * scale, w * scale) in [0, 1]; while training unbounded with `residual`, `frame_colors`
            or cells of 4.
        """
        values, scale = self.values(outputs, seen)
        is_bounded = self.cells is None and not self.config.residual and self.frame_colors is None
        if not (is_bounded or self.training):  # beyond the limits nothing would be learned
            values = values.clamp(0, 1)
        if scale > 1:
            values = functional.pixel_shuffle(values, scale)
        return self.crop(values, size[0] * self.config.scale, size[1] * self.config.scale)  # type: ignore[no-any-return]

    def values(self, outputs: Mapping[str, Tensor], seen: "Seen") -> tuple[Tensor, int]:
        """The picture's values as the output layer gives them.

        Args:
            outputs: `blocks_of` the padded frame, or "up4" of a window of it.
            seen: The same frame or window.

        Returns:
            (B, out_channels * s**2, h', w'), what `functional.pixel_shuffle` makes a picture of, and s. Unbounded with
            `residual`, `frame_colors` or cells of 4, else in [0, 1].
        """
        last = outputs["up4"].to(self.out.weight.dtype)  # a bf16 network may keep its output layer in fp32
        if self.cells is not None:
            values = self.cells.mix(seen.planes, self.cells.detail(seen, last), self.out)
            if isinstance(self.look, nn.Identity):
                return values, 4
            values = values if self.training else values.clamp(0, 1)
            return self.look(functional.pixel_shuffle(values, 4)), 1
        out = self.out(last)
        if self.config.residual:
            return (seen.planes[:, : out.shape[1]] if self.config.is_told_noise else seen.planes) + out, 1
        if self.frame_colors is not None:
            return self.frame_colors(torch.sigmoid(out), outputs["vector"]), 1
        return self.look(torch.sigmoid(out)), 1

    def features(self, x: Tensor) -> list[Tensor]:
        """Outputs of the four up blocks for distillation (section 3.3), on the padded frame.

        Args:
            x: Planes (B, in_channels, h, w).

        Returns:
            With the default width: 64 channels at h/4, 32 at h/2, 16 at h, and 16 at 2h (at h for the teacher,
            whose last one is what its output layer sees).
        """
        return list(self.blocks(x, BLOCKS[4:]).values())

    def extra_repr(self) -> str:
        return repr(self.config)


class Seen(NamedTuple):
    """What the network sees of a frame."""

    planes: Tensor
    """(B, C, h, w) in linear light; cells of 4 with one more on each side."""
    encoded: Tensor
    """What the first stage takes; the planes, or their cells in `Cells.encode`."""


class Cells(nn.Module):
    """Cells of 4x4 photosites: what a network that works on them has beside the paper's parts. Not of the paper.

    Four planes (B, 4, h, w) become 16 of half the size, and a stage has a quarter of the work. But 16 features cannot
    carry the 48 values of a cell's picture. So the picture is mixed, value by value: of linear demosaicings, sharp and
    smooth, after the tone curve; and of the network's own picture, for noise and for what no linear filter knows.
    """

    def __init__(self, detail: int, width: int, is_told_noise: bool) -> None:
        super().__init__()
        self.is_told_noise = is_told_noise
        self.register_buffer("whitening", _whitening(), persistent=False)
        self.fine = nn.Conv2d(16 + width + is_told_noise, detail, 3, padding=1)
        self.bases = nn.Conv2d(16, 3 * 48, 3, bias=False)
        self.bases.weight.data.copy_(_demosaicings())

    def forward(self, planes: Tensor) -> Seen:
        planes = functional.pad(planes, (2, 2, 2, 2), mode="reflect")
        cells = functional.pixel_unshuffle(planes, 2)
        cells, noise = cells[:, :16], cells[:, 16:]
        root = torch.sqrt(cells.clamp(min=0) + color.QUICK_OFFSET)
        assert isinstance(self.whitening, Tensor)
        encoded = functional.conv2d(root - 0.5, self.whitening.to(root.dtype))
        if self.is_told_noise:
            encoded = torch.cat([encoded, noise.mean(1, keepdim=True)], 1)
        return Seen(cells, encoded)

    def detail(self, seen: Seen, found: Tensor) -> Tensor:
        """Features that decide how the picture is mixed.

        Args:
            seen: Cells.
            found: The network's features (B, width, h, w).

        Returns:
            (B, detail, h, w).
        """
        encoded = seen.encoded[..., 1:-1, 1:-1]
        parts = [encoded[:, :16], found, encoded[:, 16:]] if self.is_told_noise else [encoded, found]
        return functional.leaky_relu(self.fine(torch.cat(parts, 1)), SLOPE)

    def mix(self, cells: Tensor, detail: Tensor, out: nn.Conv2d) -> Tensor:
        """The picture.

        Each 48 values are computed by a convolution of their own, which takes less time and memory than one for all.

        Args:
            cells: (B, 16, h + 2, w + 2) in linear light.
            detail: (B, detail, h, w).
            out: Makes of it 48 values each of: the network's own picture (logits), how much smoother than Malvar's the
                demosaicing shall be, in two steps, and the own picture's share (logits).

        Returns:
            (B, 48, h, w), each color's 4x4 pixels of a cell; in [0, 1] but for 0.003.
        """
        assert out.bias is not None
        own, smooth, smoother, trust = zip(out.weight.chunk(4), out.bias.chunk(4), strict=True)
        sharp, step, further = self.bases.weight.chunk(3)
        linear = functional.conv2d(cells, sharp)
        linear = linear + functional.conv2d(detail, *smooth) * functional.conv2d(cells, step)
        linear = linear + functional.conv2d(detail, *smoother) * functional.conv2d(cells, further)
        demosaiced = color.quick_tone(linear.clamp(0, 1))
        share = torch.sigmoid(functional.conv2d(detail, *trust))
        return torch.lerp(demosaiced, torch.sigmoid(4 * functional.conv2d(detail, *own)), share)


def _whitening() -> Tensor:
    """(16, 16, 1, 1): what differs from a color's mean in a cell is enlarged, for it is small and teaches most.

    Without that, nearly all that the first layers see is brightness, and they learn many times more slowly.
    """
    mean = torch.zeros(16, 16, device="cpu")
    for planes in ((0,), (1, 2), (3,)):  # red, green, blue
        places = [4 * plane + place for plane in planes for place in range(4)]
        mean[[[place] for place in places], places] = 1 / len(places)
    return (12 * (torch.eye(16, device="cpu") - mean) + 2 * mean)[:, :, None, None]


def _demosaicings() -> Tensor:
    """(144, 16, 3, 3), to begin with: Malvar's picture in linear sRGB, and what its means over 2x2 and 5x5 px change.

    Each is one convolution of cells, found by impulses.
    """
    impulses = torch.zeros(144, 16, 11, 11, device="cpu")  # values, even where a network is built without them
    for index in range(144):
        channel, place = divmod(index, 9)
        impulses[index, channel, 4 + place // 3, 4 + place % 3] = 1
    rgb = color.apply_matrix(color.CANONICAL_TO_SRGB, color.demosaic(functional.pixel_shuffle(impulses, 2)))
    pictures = [rgb]
    for side in (2, 5):
        before, after = (side - 1) // 2, side // 2
        pictures.append(functional.avg_pool2d(functional.pad(rgb, (before, after, before, after)), side, 1))
    steps = [pictures[0], pictures[1] - pictures[0], pictures[2] - pictures[1]]
    cells = [functional.pixel_unshuffle(step, 4)[:, :, 5, 5].T.reshape(48, 16, 3, 3) for step in steps]
    return torch.cat(cells)


class Pad(nn.Module):
    """Reflects planes to a size that the network takes, as `pad_to_multiple`."""

    def __init__(self, multiple: int = SIZE_MULTIPLE, minimum: int = SIZE_MINIMUM) -> None:
        super().__init__()
        self.multiple, self.minimum = multiple, minimum

    def forward(self, x: Tensor) -> Tensor:
        return pad_to_multiple(x, self.multiple, self.minimum)


class Crop(nn.Module):
    """Cuts the padding off: (B, C, H, W) -> (B, C, height, width)."""

    def forward(self, picture: Tensor, height: int, width: int) -> Tensor:
        return picture[..., :height, :width]


class FrameMean(nn.Module):
    """Means over the frame: (B, C, h, w) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1))


class Spread(nn.Module):
    """A vector repeated at every position: (B, C) and features of any (B, C, h, w) -> (B, C, h, w)."""

    def forward(self, vector: Tensor, features: Tensor) -> Tensor:
        return vector[..., None, None].expand_as(features)


def pad_to_multiple(x: Tensor, multiple: int = SIZE_MULTIPLE, minimum: int = SIZE_MINIMUM) -> Tensor:
    """Planes reflected at the bottom and right, the border itself left out.

    Args:
        x: (..., h, w), h and w from 1 up.
        multiple: What the new sides are multiples of.
        minimum: What they are not below.

    Returns:
        (..., h', w') with h', w' as `padded_side` gives them; `x` itself where nothing is missing.
    """
    for dim in (-2, -1):
        size = x.shape[dim]
        target = padded_side(size, multiple, minimum)
        if target != size:
            x = x.index_select(dim, reflected_indices(0, target, size).to(x.device))
    return x


def reflected_indices(start: int | Tensor, stop: int | Tensor, size: int | Tensor) -> Tensor:
    """Where a reflected side takes its values from, the border itself left out.

    Args:
        start: First position; it may lie before the side, by any number of sides.
        stop: The position after the last; it may lie beyond the side, likewise.
        size: Length of the side, from 1 up.

    Returns:
        Indices (stop - start,) in 0 to size - 1: a triangle wave, which serves sides shorter than the padding too.
    """
    period = torch.as_tensor(2 * (size - 1)).clamp(min=1)  # a tensor, which a traced graph computes
    index = torch.arange(start, stop) % period  # type: ignore[arg-type]
    return torch.minimum(index, period - index)


def count_params(model: nn.Module) -> int:
    """Number of trainable values.

    Args:
        model: Any module; parameters that are frozen count too.

    Returns:
        Their number.
    """
    return sum(parameter.numel() for parameter in model.parameters())


def _check_choice(block: str, name: str, value: str, choices: object) -> None:
    if value not in get_args(choices):
        raise ArgumentError(f"{block}: expected {name} to be one of {get_args(choices)}, got {value!r}")


class ReflectConv2d(nn.Conv2d):
    """A convolution that reflects its input in the input's own precision; autocast would pad in fp32, and slowly."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            padded = functional.pad(input, self._reversed_padding_repeated_twice, mode="reflect")
        return functional.conv2d(padded, self.weight, self.bias, dilation=self.dilation)


def _conv(channels: int, out: int, padding: Padding, kernel: int = 3, dilation: int = 1) -> tuple[nn.Module, ...]:
    return _bare_conv(channels, out, padding, kernel, dilation), nn.LeakyReLU(SLOPE, inplace=True)


def _bare_conv(channels: int, out: int, padding: Padding, kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
    convolution = ReflectConv2d if padding == "reflect" and kernel > 1 else nn.Conv2d
    return convolution(channels, out, kernel, padding=dilation * (kernel // 2), dilation=dilation)


def _bilinear(channels: int, out: int, padding: Padding) -> nn.Module:
    upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(upsample, *_conv(channels, out, padding))


def _attention(channels: int, config: LWISPConfig) -> nn.Module:
    if not config.fgam:
        return nn.Identity()
    return FGAM(channels, config.attention, maps=config.fgam_maps, reduced=config.fgam_reduced)


def _upsampling(channels: int, config: LWISPConfig) -> nn.Module:
    if not config.ccb:
        return Bilinear(channels, config.padding)
    dilations = (config.near_dilation, config.far_dilation)
    return CCB(channels, config.core_input, config.contrast, config.padding, *dilations)


def _last_up(config: LWISPConfig) -> nn.Module:
    width, padding = config.width, config.padding
    if not config.ccb:
        return _bilinear(width, width, padding)
    return nn.Sequential(*_conv(width, 4 * width, padding), nn.PixelShuffle(2), *_conv(width, width, padding))
