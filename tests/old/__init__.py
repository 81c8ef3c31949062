"""Files that earlier versions wrote, a folder a version, and what reads them."""
