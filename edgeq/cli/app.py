"""The `edgeq` group: each subcommand lives in its own file and is imported when it is asked for."""

from __future__ import annotations

import importlib

import click

COMMANDS = (
    "compile", "run", "inspect", "profile", "eval", "targets", "opt", "sensitivity", "pareto", "package", "devices",
)  # fmt: skip


class App(click.Group):
    """Finds subcommands by file name, so that a new command is a new file and a word in COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called `cmd_name`; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"edgeq.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest name suggested for a misspelt one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib  # only now: it costs what click does

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(COMMANDS)}"
            ctx.fail(f"no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


def print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Callback of --version: edgeq's, and those of the code generator (importing TVM takes seconds, so only here)."""
    if not value or ctx.resilient_parsing:
        return
    from edgeq.cli.version import lines

    click.echo("\n".join(lines()))
    ctx.exit()


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=print_version,
    help="Print the versions of edgeq, TVM and LLVM.",
)
def app() -> None:
    """Compile Hugging Face models to small folders that run on the device with nothing else installed.

    \b
      edgeq compile demo:smollm2-135m --bits w4a8 -o build/smollm2
      edgeq run build/smollm2 --prompt "Explain photosynthesis to a child."
      edgeq profile build/smollm2
    """
