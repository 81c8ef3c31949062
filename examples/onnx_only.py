"""Develop a RAW without lwisp: `python onnx_only.py photo.onnx photo.dng photo.jpg`; `docs/export.md` says the rest."""

import sys

import numpy as np
import onnxruntime
import rawpy
from PIL import Image

TO_XYZ = np.array([[0.636958, 0.144617, 0.168881], [0.262700, 0.677998, 0.059302], [0, 0.028073, 1.060985]])
FROM_SRGB = np.array([[0.627404, 0.329283, 0.043313], [0.069097, 0.919541, 0.011362], [0.016391, 0.088013, 0.895595]])
with rawpy.imread(sys.argv[2]) as raw:
    mosaic, sites, flip = raw.raw_image_visible.copy(), raw.raw_colors_visible[:2, :2].copy(), raw.sizes.flip
    offset = np.argwhere(sites == 0)[0]  # of the first red photosite
    order = np.roll(sites, tuple(-offset), (0, 1)).ravel()  # R, Gr, Gb, B
    levels = np.array([raw.black_level_per_channel, raw.camera_white_level_per_channel or 4 * [raw.white_level]])
    gains = np.array(raw.camera_whitebalance[:3]) / raw.camera_whitebalance[1]
    matrix, to_camera = FROM_SRGB @ raw.color_matrix[:, :3], raw.rgb_xyz_matrix[:3] @ TO_XYZ  # one of them is zero
matrix = matrix if matrix.any() else np.linalg.inv(to_camera / to_camera.sum(1)[:, None])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
facts = [np.array(fact, np.float32) for fact in (*levels[:, order], gains, matrix / matrix.sum(1)[:, None], 0)]  # 0 EV
inputs = dict(zip((entry.name for entry in session.get_inputs()), (mosaic, *facts, offset), strict=True))
picture = session.run(["picture"], inputs)[0][:: 1 - (flip & 2), :: 1 - 2 * (flip & 1)]  # upright
Image.fromarray(picture.swapaxes(0, 1) if flip & 4 else picture).save(sys.argv[3], quality=95)
