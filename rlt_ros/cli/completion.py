"""``rlt-ros completion``: completion of commands, options and names in bash and zsh."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command
from rlt_ros.share import shipped

SHELLS = ("bash", "zsh")

_SCRIPT = """\
{start}_rlt_ros() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}} $before" in
{values}
    esac
    if [ -z "$words" ]; then
        case "${{COMP_WORDS[1]}}" in
{options}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [ ${{#COMPREPLY[@]}} -eq 0 ]; then
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}}
complete -o filenames -F _rlt_ros rlt-ros
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add ``completion`` to the command line."""
    parser = add_command(
        subparsers,
        "completion",
        summary="print a script that completes commands, options and names in a shell",
        description="""\
Prints a script for the shell, generated from the command line.""",
        examples="""\
  eval "$(rlt-ros completion bash)"                    in ~/.bashrc
  eval "$(rlt-ros completion zsh)"                     in ~/.zshrc, after compinit""",
    )
    parser.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS), help="shell of the script")
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Generate the script."""
    from rlt_ros.cli.parser import build_parser

    commands = next(
        action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    values, options = [], []
    for name, parser in commands.items():
        candidates: list[str] = []
        for action in parser._actions:
            choices = " ".join(_choices(action))
            candidates += action.option_strings or [choices]
            if action.option_strings and choices:
                pattern = "|".join(f'"{name} {option}"' for option in action.option_strings)
                values.append(f'        {pattern}) words="{choices}" ;;')
        options.append(f'            {name}) words="{" ".join(filter(None, candidates))}" ;;')
    script = _SCRIPT.format(
        start="autoload -U +X bashcompinit && bashcompinit\n" if args.shell == "zsh" else "",
        commands=" ".join(commands),
        values="\n".join(values),
        options="\n".join(options),
    )
    return {"shell": args.shell, "script": script}


def present(result: dict[str, Any]) -> None:
    """Print the script."""
    print(result["script"], end="")


def _choices(action: argparse.Action) -> Iterator[str]:
    """Allowed or shipped values of an option."""
    if action.choices is not None:
        yield from map(str, action.choices)
    elif action.dest in ("robot", "task"):
        yield from shipped(f"{action.dest}s")
    elif action.metavar == "true|false":
        yield from ("true", "false")
