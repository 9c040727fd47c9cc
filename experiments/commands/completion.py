"""`panelproof completion`: the script with which a shell completes commands, options and names of studies."""

from __future__ import annotations

import click

from experiments.commands.options import Command

SHELLS = {
    "bash": 'eval "$(panelproof completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(panelproof completion zsh)"  in ~/.zshrc',
    "fish": "panelproof completion fish > ~/.config/fish/completions/panelproof.fish",
}


@click.command("completion", cls=Command, epilog="\b\n" + "\n".join(SHELLS.values()))
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(ctx.find_root().command, {}, "panelproof", "_PANELPROOF_COMPLETE").source())
