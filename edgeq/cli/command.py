"""What every subcommand shares: -q, -v, --debug, --json, examples in its help, and errors that end as one message."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeq.cli import console
from edgeq.errors import EdgeqError

F = TypeVar("F", bound=Callable[..., Any])
INTERRUPTED = 130


def _set_level(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        console.set_level({"quiet": console.QUIET, "verbose": console.VERBOSE, "debug": console.DEBUG}[str(param.name)])


def _flag(*names: str, text: str) -> click.Option:
    return click.Option(names, is_flag=True, expose_value=False, callback=_set_level, help=text)


def json_option(function: F) -> F:
    """Add `--json` (argument `as_json`): the result as exactly one JSON object on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(function)


class Command(click.Command):
    """A subcommand. `examples` are lines that can be pasted into a shell, shown at the end of its help."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params += [
            _flag("-q", "--quiet", text="No progress, errors only."),
            _flag("-v", "--verbose", text="Say more on stderr."),
            _flag("--debug", text="Say everything, with the traceback of an error."),
        ]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, never wrapped: a wrapped command cannot be pasted."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever it raises becomes one message on stderr and an exit code."""
        console.configure_logging()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.error("interrupted")
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except EdgeqError as error:
            self._report(str(error))
            ctx.exit(error.exit_code)
        except Exception as error:
            self._report(f"unexpected {type(error).__name__}: {error}")
            if console.level() < console.DEBUG:
                console.note("this is a fault of edgeq's; run it again with --debug for the traceback, and report it")
            ctx.exit(1)
        finally:
            console.set_level(console.NORMAL)

    @staticmethod
    def _report(message: str) -> None:
        if console.level() >= console.DEBUG:
            click.echo(traceback.format_exc(), err=True, nl=False)
        console.error(message)
