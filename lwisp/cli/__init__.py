"""The command line: one file per group of verbs; each verb translates strings and calls one function of the library."""

from lwisp.cli.commands import app, main

from lwisp.cli import develop, watch, restore, sensor, inspection, serve, train, evaluate, export, weights, hub, sample  # isort: skip  # in the order of --help

__all__ = [
    "app",
    "develop",
    "evaluate",
    "export",
    "hub",
    "inspection",
    "main",
    "restore",
    "sample",
    "sensor",
    "serve",
    "train",
    "watch",
    "weights",
]
