"""A folder of RAW files with their camera's JPEGs to weights with that camera's look."""
