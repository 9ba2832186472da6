"""The checks of `verify.py`, one a file: `add_options(parser)` and `run(options) -> Report`."""
