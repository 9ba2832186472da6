"""Every error edgeq raises on purpose: one clear message, one exit code a class.

Messages say what is wrong, where (file or Hugging Face module), and what to do.
"""

from __future__ import annotations


class EdgeqError(Exception):
    """Base of all deliberate errors; `exit_code` is what the command line exits with."""

    exit_code = 1


class UsageError(EdgeqError):
    """An option or argument that means nothing: unknown bits, target, pass, or option value."""

    exit_code = 2


class ModelError(EdgeqError):
    """The model cannot be read: missing or half-downloaded files, a corrupt header, a wrong shard, pickle only."""

    exit_code = 3


class UnsupportedError(EdgeqError):
    """The model is readable but outside what edgeq compiles; the message lists every offending op or layer at once."""

    exit_code = 4


class OutputError(EdgeqError):
    """The output cannot be written: it exists, the disk is full, no permission."""

    exit_code = 5


class ArtifactError(EdgeqError):
    """An artifact that must not be run: damaged, of a newer schema, or incomplete."""

    exit_code = 6


class TargetError(EdgeqError):
    """This machine or device cannot run it: another CPU, a missing instruction, a device that is absent."""

    exit_code = 7


class ContextError(EdgeqError):
    """More tokens than the artifact's context holds."""

    exit_code = 8


class ToolchainError(EdgeqError):
    """The code generator, C compiler or linker failed: a fault of edgeq's, reported with its output."""

    exit_code = 9


class VerifyError(EdgeqError):
    """A graph that breaks the dialect's rules between passes: a fault of the pass named in the message."""

    exit_code = 10


class BudgetError(EdgeqError):
    """A promised size, perplexity or latency that this model cannot keep; the message has the nearest that it can."""

    exit_code = 11
