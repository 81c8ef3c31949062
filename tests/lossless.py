"""DNGs in tiles of lossless JPEG, as cameras and Adobe's converter write them."""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin


def noisy(height: int, width: int) -> NDArray[np.uint16]:
    """A mosaic like a photo's: smooth, with noise."""
    rng = np.random.default_rng(1)
    return (1000 + 4 * np.arange(width) + rng.integers(0, 64, (height, width))).astype(np.uint16)


def lossless_jpeg(mosaic: NDArray[np.uint16]) -> bytes:
    """Predictor 1, two components, a code of five bits for each number of bits."""
    height, width = mosaic.shape
    values = mosaic.reshape(height, width // 2, 2).astype(np.int64)
    left = np.concatenate([values[:, :1], values[:, :-1]], 1)
    left[0, 0], left[1:, 0] = 32768, values[:-1, 0]
    bits = []
    for difference in (((values - left + 32768) % 65536) - 32768).ravel().tolist():
        count = abs(difference).bit_length()
        bits.append(f"{count:05b}")
        if 0 < count < 16:
            bits.append(f"{difference if difference > 0 else difference + (1 << count) - 1:0{count}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    stream = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 255, marker, len(content) + 2) + content

    frame = struct.pack(">BHHB", 16, height, width // 2, 2) + bytes([0, 17, 0, 1, 17, 0])
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    scan = bytes([2, 0, 0, 1, 0, 1, 0, 0])
    head = b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, table) + segment(0xDA, scan)
    return head + stream + b"\xff\xd9"


def lossless_dng(mosaic: NDArray[np.uint16], side: int, black: int = 64) -> bytes:
    """A DNG in tiles of lossless JPEG."""
    height, width = mosaic.shape
    places = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    tiles = [lossless_jpeg(mosaic[top : top + side, left : left + side]) for top, left in places]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype |= {254: 4, 324: 4, 325: 4, 33422: 1, 50706: 1}
    offsets = np.cumsum([1024, *map(len, tiles)])[:-1]
    for tag, value in {
        **{254: 0, 256: width, 257: height, 258: 16, 259: 7, 262: 32803, 271: "Lwisp", 272: "Testcam", 274: 1, 277: 1},
        **{322: side, 323: side, 324: tuple(offsets.tolist()), 325: tuple(map(len, tiles))},
        **{33421: (2, 2), 33422: bytes([0, 1, 1, 2]), 50706: b"\1\4\0\0", 50708: "Lwisp Testcam"},
        **{50714: black, 50717: 4095},
    }.items():
        directory[tag] = value
    return (b"II*\0\x08\0\0\0" + directory.tobytes(8)).ljust(1024, b"\0") + b"".join(tiles)
