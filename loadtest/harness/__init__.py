"""Measures Sluice beside nginx and beside the rig itself; `python -m harness --help` says how."""
