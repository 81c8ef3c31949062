"""Pairs of input and target: photographs through simulators, and the datasets of the paper."""
