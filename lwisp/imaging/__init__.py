"""Pure functions on pixels: filter layout, color, scores, matching, alignment. They know no file and no network."""
