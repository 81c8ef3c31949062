"""The command line: one file per group of verbs; each verb translates strings and calls one function of the library."""

from lwisp.cli.commands import app, main

from lwisp.cli import develop, restore, sensor, inspection, serve, train, evaluate, export, weights, sample  # isort: skip  # in the order of --help

__all__ = [
    "app",
    "develop",
    "evaluate",
    "export",
    "inspection",
    "main",
    "restore",
    "sample",
    "sensor",
    "serve",
    "train",
    "weights",
]
