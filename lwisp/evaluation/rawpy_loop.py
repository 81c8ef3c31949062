"""rawpy as its users write it, a loop over files: `python rawpy_loop.py FOLDER FILE...` makes FOLDER/NAME.jpg of each.

Run as a script it imports nothing of lwisp, so that its start costs what a user's costs.
"""

import sys
from pathlib import Path

import rawpy
from PIL import Image

QUALITY = 95
"""Of the JPEG; colors are not subsampled, as lwisp's are not."""


def develop(source: Path, output: Path) -> None:
    """Develop a RAW by rawpy's default with the camera's white balance into a JPEG, which is replaced.

    Args:
        source: The RAW.
        output: The JPEG.
    """
    with rawpy.imread(str(source)) as raw:
        rgb = raw.postprocess(use_camera_wb=True)
    Image.fromarray(rgb).save(output, "JPEG", quality=QUALITY, subsampling=0)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        develop(Path(name), Path(sys.argv[1]) / f"{Path(name).stem}.jpg")
