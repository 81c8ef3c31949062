"""Bytes on disk to values and back: RAW files, pictures, their tags; files that appear whole or not at all."""
