import hashlib

import numpy as np
import torch

from lwisp.files.tensors import digest_of
from lwisp.imaging.tensors import to_bytes


def test_a_digest_is_over_names_and_bytes_in_the_order_of_the_names() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = hashlib.sha256(b"a" + np.float64(1.5).tobytes() + b"b" + values.tobytes()).hexdigest()
    assert expected == "ab130dc5686486fe775d758aef9715e7942b975967840a551364df6336e77ffc"  # cards of weights hold such
    assert digest_of({"b": values, "a": np.array(1.5)}) == expected
    assert digest_of({"b": np.asfortranarray(values), "a": np.array(1.5)}) == expected
    tensors = {"b": torch.from_numpy(values), "a": torch.tensor(1.5, dtype=torch.float64)}
    assert digest_of(to_bytes(tensors)) == expected
