"""Draw the paper's figures 2 to 4 anew, as SVG: the network, FGAM and CCB, as `lwisp/model.py` has them.

    python docs/figures.py

writes `docs/images/network.svg`, `fgam.svg` and `ccb.svg`. They have no background, and follow the reader's choice of a
light or dark page.
"""

from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parent / "images"
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2937; }
.small { font-size: 11px; fill: #4b5563; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.bold { font-weight: 600; }
path, line { fill: none; stroke: #6b7280; stroke-width: 1.5; }
.dashed { stroke-dasharray: 5 4; stroke: #b45309; }
.tip { fill: #6b7280; stroke: none; }
.tip-dashed { fill: #b45309; stroke: none; }
rect, circle { stroke-width: 1.5; }
.conv { fill: #dbeafe; stroke: #2563eb; }
.attention { fill: #ffedd5; stroke: #c2410c; }
.up { fill: #dcfce7; stroke: #15803d; }
.vector { fill: #f3e8ff; stroke: #7e22ce; }
.data { fill: #f3f4f6; stroke: #6b7280; }
.frame { fill: none; stroke: #9ca3af; stroke-dasharray: 4 4; }
@media (prefers-color-scheme: dark) {
  text { fill: #e5e7eb; }
  .small { fill: #b6bcc6; }
  path, line { stroke: #9ca3af; }
  .tip { fill: #9ca3af; }
  .dashed { stroke: #f59e0b; }
  .tip-dashed { fill: #f59e0b; }
  .conv { fill: #172f55; stroke: #60a5fa; }
  .attention { fill: #4a240f; stroke: #fb923c; }
  .up { fill: #12391f; stroke: #4ade80; }
  .vector { fill: #38195a; stroke: #c084fc; }
  .data { fill: #2b303b; stroke: #9ca3af; }
  .frame { stroke: #6b7280; }
}
"""

Point = tuple[float, float]


class Drawing:
    """An SVG of boxes, arrows and words.

    Args:
        width: Of the picture, in px.
        height: Likewise.
        title: What it shows, for who cannot see it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            "<defs>",
            *(
                f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
                f'markerUnits="userSpaceOnUse" orient="auto"><path class="{name}" d="M0 0 8 4 0 8z"/></marker>'
                for name in ("tip", "tip-dashed")
            ),
            "</defs>",
        ]

    def box(self, left: float, top: float, width: float, height: float, kind: str, *lines: str) -> None:
        """Draw a box with lines of words in its middle; those after the first are small."""
        self.parts.append(f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="5"/>')
        for number, line in enumerate(lines):
            down = top + height / 2 + 4.5 + 15 * (number - (len(lines) - 1) / 2)
            self.words(left + width / 2, down, line, "middle small" if number else "middle")

    def sign(self, x: float, y: float, mark: str) -> None:
        """Draw an operation: a sign in a circle."""
        self.parts.append(f'<circle class="data" cx="{x}" cy="{y}" r="12"/>')
        self.words(x, y + 4.5, mark, "middle")

    def words(self, x: float, y: float, line: str, kind: str = "") -> None:
        """Write a line, which begins at x, or has its middle or end there, by its kind."""
        self.parts.append(f'<text x="{x}" y="{y}" class="{kind}">{escape(line)}</text>')

    def arrow(self, *points: Point, dashed: bool = False) -> None:
        """Draw an arrow along points."""
        path = "M" + " ".join(f"{x} {y}" for x, y in points)
        kind, tip = ("dashed", "tip-dashed") if dashed else ("", "tip")
        self.parts.append(f'<path class="{kind}" d="{path}" marker-end="url(#{tip})"/>')

    def frame(self, left: float, top: float, width: float, height: float, line: str) -> None:
        """Draw a dashed frame with a caption above."""
        self.parts.append(f'<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}" rx="8"/>')
        self.words(left + 10, top + 18, line, "bold")

    def text(self) -> str:
        """The SVG."""
        return "\n".join([*self.parts, "</svg>", ""])


def network() -> str:
    """Figure 2: the student at the bottom, the teacher that it imitates in training on top."""
    draw = Drawing(1060, 800, "The network: four levels down with FGAM, four up with CCB, and the teacher it imitates")
    draw.frame(10, 10, 1040, 120, "Teacher, in training only: the same network without the last enlargement")
    draw.box(30, 60, 110, 44, "data", "target J", "3 × H × W")
    draw.box(200, 60, 180, 44, "attention", "down1 to down4")
    lefts = (500, 610, 720, 885)
    for step, left in enumerate(lefts):
        draw.box(left, 60, 80, 44, "up", f"up{step + 1}")
    draw.box(995, 60, 45, 44, "data", "g(J)")
    for start, end in ((140, 200), (380, 500), (580, 610), (690, 720), (800, 885), (965, 995)):
        draw.arrow((start, 82), (end, 82))
    draw.words(660, 158, "distillation L_d, equation 6", "end small")

    draw.frame(10, 175, 1040, 615, "Student: LW-ISP")
    tops = (245, 355, 465, 575)
    widths = (16, 32, 64, 128)
    sizes = ("h × w", "h/2 × w/2", "h/4 × w/4", "h/8 × w/8")
    draw.box(25, tops[0], 95, 48, "data", "RAW, packed", "4 × h × w")
    draw.box(150, tops[0], 80, 48, "conv", "convolution", "16 × h × w")
    draw.arrow((120, tops[0] + 24), (150, tops[0] + 24))
    draw.arrow((230, tops[0] + 24), (260, tops[0] + 24))
    for level, (top, width, size) in enumerate(zip(tops, widths, sizes, strict=True)):
        draw.box(260, top, 110, 48, "conv", "2 convolutions", f"{width} × {size}")
        draw.words(380, top + 17, f"skip {level + 1}", "small")
        draw.box(110, top + 72, 120, 44, "attention", f"down{level + 1}", f"pool, FGAM: {2 * width}")
        draw.arrow((290, top + 48), (290, top + 82), (230, top + 82))
        if level < 3:
            draw.arrow((230, top + 104), (245, top + 104), (245, top + 134), (260, top + 134))
    low = 735  # of the global vector
    draw.box(110, low - 20, 120, 40, "conv", "convolution", "256")
    draw.arrow((170, tops[3] + 116), (170, low - 20))
    draw.box(260, low - 20, 110, 40, "vector", "global vector", "mean, linear: 128")
    draw.arrow((230, low), (260, low))
    draw.sign(415, low, "‖")
    draw.arrow((370, low), (403, low))
    draw.arrow((415, tops[3] + 24), (415, low - 12))
    draw.box(445, low - 20, 110, 40, "conv", "2 convolutions", "128 × h/8 × w/8")
    draw.arrow((427, low), (445, low))
    draw.arrow((555, low), (575, low), (575, tops[2] + 103))
    for step, left in enumerate(lefts[:3]):
        top = tops[2 - step] + 55
        draw.box(left, top, 95, 48, "up", f"up{step + 1}", f"CCB, conv.: {widths[2 - step]}")
        row, below = tops[2 - step] + 24, tops[3 - step] + 24
        draw.arrow((370, row), (left + 25, row), (left + 25, top))
        draw.words(left + 18, row - 6, "context", "end small")
        draw.arrow((370, below), (left + 25, below), (left + 25, top + 48))
        if step:
            draw.arrow((lefts[step - 1] + 95, top + 134), (left + 75, top + 134), (left + 75, top + 48))
    middle = tops[0] + 79
    draw.sign(850, middle, "×")
    draw.arrow((815, middle), (838, middle))
    draw.arrow((190, tops[0]), (190, 218), (850, 218), (850, middle - 12))
    draw.words(520, 212, "first features", "middle small")
    draw.box(885, middle - 24, 100, 48, "up", "up4", "×2, conv.: 16")
    draw.arrow((862, middle), (885, middle))
    draw.box(885, middle + 86, 100, 48, "conv", "output", "sigmoid: 3")
    draw.arrow((935, middle + 24), (935, middle + 86))
    draw.box(885, middle + 196, 100, 48, "data", "picture f(I)", "3 × H × W")
    draw.arrow((935, middle + 134), (935, middle + 196))
    for left, bottom in ((670, tops[1] + 55), (780, tops[0] + 55), (935, middle - 24)):
        draw.arrow((left, 104), (left, bottom), dashed=True)
    for number, line in enumerate(
        (
            "A RAW has one color in each photosite. It is packed into four planes:",
            "h = H/2, w = W/2. Numbers are channels; ‖ joins channels.",
            "A convolution is 3×3 with LeakyReLU(0.2).",
            "2,014,681 parameters; 4.234 G operations for planes of 224 × 224.",
        )
    ):
        draw.words(620, low - 30 + 20 * number, line, "small")
    return draw.text()


def fgam() -> str:
    """Figure 3: fine-grained attention."""
    draw = Drawing(820, 330, "FGAM: channel and spatial attention, each added to the input, then joined")
    draw.box(20, 135, 100, 50, "data", "features x", "C × h × w")
    top, low = 60, 250
    draw.arrow((120, 160), (150, 160), (150, top), (180, top))
    draw.arrow((120, 160), (150, 160), (150, low), (180, low))
    draw.words(180, top - 36, "Channel attention: what matters in the whole frame", "bold")
    for left, width, lines in (
        (180, 90, ("mean", "over h, w")),
        (300, 120, ("1×1 conv., ReLU", "C to C/8")),
        (450, 100, ("1×1 conv.", "C/8 to C")),
        (580, 80, ("sigmoid", "C × 1 × 1")),
    ):
        draw.box(left, top - 22, width, 44, "attention", *lines)
    for start, end in ((270, 300), (420, 450), (550, 580)):
        draw.arrow((start, top), (end, top))
    draw.words(180, low - 36, "Spatial attention: what matters at each place", "bold")
    for left, width, lines in (
        (180, 150, ("maximum and mean", "over C: 2 × h × w")),
        (370, 130, ("5×5 convolution", "2 to 1, no bias")),
        (540, 90, ("sigmoid", "1 × h × w")),
    ):
        draw.box(left, low - 22, width, 44, "attention", *lines)
    for start, end in ((330, 370), (500, 540)):
        draw.arrow((start, low), (end, low))
    draw.sign(690, top, "+")
    draw.arrow((660, top), (678, top))
    draw.sign(690, low, "+")
    draw.arrow((630, low), (678, low))
    draw.arrow((120, 160), (690, 160), (690, top + 12))
    draw.arrow((690, 160), (690, low - 12))
    draw.sign(745, 160, "‖")
    draw.arrow((702, top), (745, top), (745, 148))
    draw.arrow((702, low), (745, low), (745, 172))
    draw.words(762, 152, "2C", "")
    draw.arrow((757, 160), (805, 160))
    draw.words(
        20, 315, "The maps, in [0, 1], are added, not multiplied: no place is suppressed. ‖ joins channels.", "small"
    )
    return draw.text()


def ccb() -> str:
    """Figure 4: contextual complement upsampling."""
    draw = Drawing(860, 360, "CCB: sub-pixel upsampling joined with a contrast map of the features of twice the size")
    draw.frame(170, 14, 480, 148, "CCB-Core, equation 1")
    draw.box(20, 42, 120, 44, "data", "decoder", "C × h × w")
    draw.box(20, 106, 120, 44, "data", "skip", "C × h × w")
    draw.sign(205, 96, "+")
    draw.arrow((140, 64), (205, 64), (205, 84))
    draw.arrow((140, 128), (205, 128), (205, 108))
    draw.box(250, 72, 160, 48, "up", "3×3 convolution", "C to 2C, LeakyReLU")
    draw.arrow((217, 96), (250, 96))
    draw.box(450, 72, 180, 48, "up", "PixelShuffle", "C/2 × 2h × 2w")
    draw.arrow((410, 96), (450, 96))
    draw.frame(170, 184, 480, 148, "Contextual complement, equation 2")
    draw.box(20, 238, 120, 44, "data", "context", "C/2 × 2h × 2w")
    draw.box(220, 214, 190, 44, "attention", "f_d1: 1×1 convolution", "sees the place itself")
    draw.box(220, 276, 190, 44, "attention", "f_d2: 3×3, dilation 2", "sees 5 × 5 around it")
    draw.arrow((140, 260), (190, 260), (190, 236), (220, 236))
    draw.arrow((140, 260), (190, 260), (190, 298), (220, 298))
    draw.sign(450, 260, "−")
    draw.arrow((410, 236), (450, 236), (450, 248))
    draw.arrow((410, 298), (450, 298), (450, 272))
    draw.box(500, 236, 130, 48, "attention", "sigmoid", "map C_l, in [0, 1]")
    draw.arrow((462, 260), (500, 260))
    draw.sign(700, 178, "‖")
    draw.arrow((630, 96), (700, 96), (700, 166))
    draw.arrow((630, 260), (700, 260), (700, 190))
    draw.box(745, 154, 100, 48, "data", "result", "C × 2h × 2w")
    draw.arrow((712, 178), (745, 178))
    draw.words(
        20, 352, "One sub-pixel convolution of the sum, as the counts of Table 3 tell. ‖ joins channels.", "small"
    )
    return draw.text()


FIGURES = {"network.svg": network, "fgam.svg": fgam, "ccb.svg": ccb}
"""What is drawn, by the name of its file."""

if __name__ == "__main__":
    for name, drawn in FIGURES.items():
        (FOLDER / name).write_text(drawn(), encoding="utf-8")
