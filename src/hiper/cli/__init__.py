"""The command line. Heavy rooms are imported inside the command that needs them, so that `hiper --help` is quick."""

from hiper.cli.main import main

__all__ = ["main"]
