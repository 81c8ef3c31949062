"""Developing on several machines: files from folders, manifests and object stores, by the workers of a Dask cluster."""
