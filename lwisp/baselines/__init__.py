"""The networks that the paper compares with (Tables 1 to 4), all with one contract: packed RAW in, RGB out.

Those that were made to denoise go from RGB to RGB too, as in their source. Each is a class of its own in
`restoration`, `translation` or `isps`, written from the published description, and imported only when it is built.
`NETWORKS` says where each comes from, what its source prints of its size and where it departs; docs/networks.md has the
counts.
"""
