"""Networks run on pictures of any size: back ends, tiles, memory, exported files, cost."""
