"""``rlt-ros serve``: a trained policy, or a VLA with its hidden states, behind a WebSocket."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import ipaddress
import signal
import sys
from pathlib import Path
from typing import Any

from rlt_ros.cli.options import SubParsers, add_command, positive_float

PORTS = {"genie_sim": 8999, "openpi": 8000}


# Parameter number in <malloc.h> of glibc.
_M_MMAP_THRESHOLD = -3
# Bytes from which freed blocks are returned to the system.
_LARGE_BLOCK = 2**18


def add_parser(subparsers: SubParsers) -> None:
    """Add ``serve`` to the command line."""
    parser = add_command(
        subparsers,
        "serve",
        summary="serve a trained policy to Genie Sim or to an openpi client",
        description="""\
Answers every observation with absolute joint targets, within the limits of the robot profile.
Genie Sim connects to it like to any other policy (`--infer-host=HOST:8999`) and can benchmark
the trained policy.

With the name of a VLA in place of a run's folder, the frozen VLA is served with its hidden
states, for a robot with a computer that is too small for the VLA. The robot uses it as
`openpi:ws://HOST:8000`.""",
        examples="""\
  rlt-ros serve runs/charger                           for Genie Sim, at port 8999
  rlt-ros serve runs/charger --acts vla                the frozen VLA, for comparison
  rlt-ros serve runs/charger --protocol openpi --hz 30
  openssl rand -hex 32 > token; chmod 600 token
  rlt-ros serve transformers:/models/pi0 --protocol openpi --host 0.0.0.0 --token-file token""",
    )
    parser.add_argument("source", metavar="RUN|VLA", help="folder of a run, or name of a VLA")
    parser.add_argument(
        "--protocol",
        choices=tuple(PORTS),
        default="genie_sim",
        help="protocol of the peer (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="port (default: 8999 for Genie Sim, 8000 for openpi)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 accepts other machines with a token (default: %(default)s)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file of mode 600 with the access token of the peers; required for any address but the loopback. "
        "`server.token_file` of a VLA's adapter names its copy on the robot",
    )
    parser.add_argument("--robot", default="", help="robot profile (default: that of the run)")
    parser.add_argument(
        "--acts",
        choices=("actor", "vla"),
        default="actor",
        help="source of the actions (default: %(default)s)",
    )
    parser.add_argument(
        "--approach-steps",
        type=int,
        default=0,
        metavar="N",
        help="control steps of an episode in which the VLA acts before the actor (default: %(default)s)",
    )
    parser.add_argument(
        "--hz",
        type=positive_float,
        metavar="N",
        help="control rate of the peer; Genie Sim has 30 (default: that of the robot profile)",
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Serve until interrupted; return the port and the refused connections."""
    from rlt_ros.serving.websocket import WebSocketServer

    access_token = _access_token(args.host, args.token_file)
    _return_large_blocks()
    server = WebSocketServer(
        _session(args),
        host=args.host,
        port=PORTS[args.protocol] if args.port is None else args.port,
        access_token=access_token,
    )
    print(
        f"serving {args.source} at ws://{args.host}:{server.port} ({args.protocol})",
        file=sys.stderr,
        flush=True,
    )
    # A background job of a shell ignores SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.close()
    return {"served": str(args.source), "port": server.port, "refused": server.refused}


def _return_large_blocks() -> None:
    """Let the C library return the memory of messages and images to the system when they are freed.

    Otherwise it raises its threshold to 32 MiB, and keeps smaller blocks for each thread.
    """
    # Other libraries than glibc lack the function.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _access_token(host: str, path: Path | None) -> str:
    """Read the access token of the peers; empty for the loopback."""
    from rlt_ros.store.parameters import ConfigError
    from rlt_ros.vla.access import read_access_token

    if path is not None:
        return read_access_token(path)
    if not _is_loopback(host):
        raise ConfigError(
            f"`--host {host}` accepts other machines; give `--token-file FILE` with their access token, or use "
            "127.0.0.1 and an SSH tunnel"
        )
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _session(args: argparse.Namespace) -> Any:
    """Factory of the session of a connection."""
    from rlt_ros.learning.run_folder import CONFIG_FILE
    from rlt_ros.serving.genie_sim import GenieSimSession
    from rlt_ros.serving.openpi import OpenPIPolicySession, OpenPIVLASession
    from rlt_ros.serving.policy import ServingConfig, open_run
    from rlt_ros.store.parameters import ConfigError

    folder = Path(args.source)
    if (folder / CONFIG_FILE).is_file():
        serving = ServingConfig(args.acts, args.approach_steps, args.hz)
        policy = open_run(folder, serving, robot=args.robot)
        session = GenieSimSession if args.protocol == "genie_sim" else OpenPIPolicySession
        # An error is raised now instead of at the first connection.
        session(policy)
        return lambda: session(policy)
    if args.protocol != "openpi":
        raise ConfigError(
            f"{args.source}: is not the folder of a run; a VLA alone is served with `--protocol openpi`"
        )
    from rlt_ros.vla.loading import load_vla

    vla = load_vla(args.source)
    # One session for all connections, for its lock.
    shared = OpenPIVLASession(vla)
    return lambda: shared


def present(result: dict[str, Any]) -> None:
    """Print the port and the refused connections."""
    from rlt_ros.cli.output import print_mapping

    print_mapping(result)
