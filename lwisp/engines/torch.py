"""torch itself: the facts. It runs every network, on the processor or a GPU; `eager` does it."""

from lwisp.engines.contract import BackEnd

TORCH = BackEnd("torch", package="torch", bytes_per_pixel={"fp32": 330, "bf16": 200}, any_size=True, own_threads=False)
