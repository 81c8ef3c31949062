"""Fuzzing: hostile files for every reader of lwisp, and the contract that each must keep (docs/reliability.md)."""
