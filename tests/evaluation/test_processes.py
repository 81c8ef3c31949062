import os

import numpy as np
import pytest

import lwisp
from lwisp.evaluation.processes import call_in_new_process, peak_memory_mib


def test_a_process_that_is_killed_is_one_sentence() -> None:
    with pytest.raises(lwisp.InputError, match="was killed"):
        call_in_new_process(os._exit, 3)


def test_peak_memory_sees_what_is_gone_again() -> None:
    before = peak_memory_mib()
    size = int(before + 100) << 20
    np.ones(size, np.uint8)
    assert peak_memory_mib() > before + 90
