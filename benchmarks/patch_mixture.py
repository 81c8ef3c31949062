"""Fits the mixture of Gaussians that EPLL takes patches from, and writes it as the package's asset.

    python benchmarks/patch_mixture.py data/photos/train lwisp/assets/patches.safetensors

Patches of 8x8 px of the mean of red, green and blue of sRGB photographs (0 to 255), without their own means, by
scikit-learn's GaussianMixture. The photographs are in the public domain (CC0); needs `pip install 'lwisp[ksvd]'`.
"""

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lwisp.data.photos import find_photos
from lwisp.files.optional import need
from lwisp.files.pictures import read_rgb

SIDE, COMPONENTS, PATCHES, SEED = 8, 24, 40_000, 0
FREE = "CC0-1.0"
"""Licence of the photographs that are taken."""


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    asked = parser.parse_args()
    rng = np.random.default_rng(SEED)
    photos = [path for path, photo in find_photos(asked.photos).items() if photo.licence == FREE]
    chosen = rng.choice(len(photos), PATCHES)
    patches = []
    for index, count in zip(*np.unique(chosen, return_counts=True), strict=True):
        plane = read_rgb(photos[index]).mean(2)
        windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))
        rows, columns = (rng.integers(0, side, count) for side in windows.shape[:2])
        patches.append(windows[rows, columns].reshape(count, -1))
    values = np.concatenate(patches)
    values -= values.mean(1, keepdims=True)
    mixture = need("sklearn.mixture", "EPLL").GaussianMixture(
        COMPONENTS, reg_covar=0.1, max_iter=40, init_params="random_from_data", random_state=SEED
    )
    mixture.fit(np.concatenate([values, -values]))  # a patch and its negative are as likely, so that means vanish
    tensors = {
        "weights": mixture.weights_.astype(np.float32),
        "covariances": mixture.covariances_.astype(np.float32).astype(np.float16),
    }
    save_file(tensors, asked.output)
    asked.output.chmod(0o644)
    print(f"{len(photos)} photographs, {mixture.n_iter_} iterations, log-likelihood {mixture.lower_bound_:.2f}")


if __name__ == "__main__":
    main()
