"""Charts of fine detail: gray, of the frequency and at the angles that they promise."""

import numpy as np
import torch

from lwisp.data.resolution_charts import INNER, LINES, line_fan, zone_plate


def test_a_zone_plates_frequency_rises_to_half_a_cycle_per_px() -> None:
    plate = zone_plate(512).float()
    assert torch.equal(plate[0], plate[1]) and torch.equal(plate[0], plate[2])
    row = (plate[0, 256] > 128).int().numpy()
    for place, frequency in ((64, 0.125), (128, 0.25), (192, 0.375)):  # cycles per px at that radius
        crossings = np.abs(np.diff(row[256 + place - 16 : 256 + place + 16])).sum()
        assert abs(crossings / 2 / 31 - frequency) < 0.04
    assert plate[0, :10, :10].std() < 1  # beyond that there is nothing


def test_a_fan_has_lines_at_all_angles_on_an_even_ground() -> None:
    light = line_fan(512, 0.02, 0.8)
    dark = line_fan(512, 0.8, 0.02)
    assert light[0, 0, 0] < 60 < 200 < light.max()
    assert dark[0, 0, 0] > 200 > 60 > dark.min()
    angles = np.arange(0, 2 * np.pi, np.pi / 3600)
    rows, columns = (np.rint(255.5 + 200 * turn(angles)).astype(int) for turn in (np.sin, np.cos))
    lit = light[0].numpy()[rows, columns] > 130
    assert np.count_nonzero(lit & ~np.roll(lit, 1)) == LINES
    middle = light[0, 256 - int(INNER * 512) // 2 : 256 + int(INNER * 512) // 2, 256]
    assert middle.max() < 60
