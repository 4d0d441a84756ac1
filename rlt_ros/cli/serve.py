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


_M_MMAP_THRESHOLD = -3  # <malloc.h> of glibc
_LARGE_BLOCK = 2**18  # bytes


def add_parser(subparsers: SubParsers) -> None:
    """Add ``serve`` to the command line."""
    parser = add_command(
        subparsers,
        "serve",
        summary="serve a trained policy to Genie Sim or to an openpi client",
        description="""\
Answers every observation with absolute joint targets, within the limits of the robot profile.
Genie Sim connects to it as to any other policy (`--infer-host=HOST:8999`), so that a trained
policy is benchmarked by Genie Sim as it is.

With the name of a VLA in place of a run's folder, the frozen VLA is served together with its
hidden states, for a robot whose own computer is too small for it: `openpi:ws://HOST:8000` is
its name there.""",
        examples="""\
  rlt-ros serve runs/charger                           Genie Sim asks at port 8999
  rlt-ros serve runs/charger --acts vla                the frozen VLA, for comparison
  rlt-ros serve runs/charger --protocol openpi --hz 30
  openssl rand -hex 32 > token; chmod 600 token
  rlt-ros serve transformers:/models/pi0 --protocol openpi --host 0.0.0.0 --token-file token""",
    )
    parser.add_argument("what", metavar="RUN|VLA", help="folder of a run, or name of a VLA")
    parser.add_argument(
        "--protocol", choices=tuple(PORTS), default="genie_sim", help="who asks (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="to listen at (default: 8999 for Genie Sim, 8000 for openpi)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other machines in, which must show a token (default: %(default)s)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file of mode 600 with the access token that peers must show; required for any address but the loopback. "
        "`server.token_file` of a VLA's adapter names its copy on the robot",
    )
    parser.add_argument("--robot", default="", help="robot profile (default: the run's)")
    parser.add_argument(
        "--acts", choices=("actor", "vla"), default="actor", help="who chooses (default: %(default)s)"
    )
    parser.add_argument(
        "--approach-steps",
        type=int,
        default=0,
        metavar="N",
        help="control steps of an episode in which the VLA acts before the actor does (default: %(default)s)",
    )
    parser.add_argument(
        "--hz",
        type=positive_float,
        metavar="N",
        help="rate at which the peer executes steps; Genie Sim has 30 (default: that of the robot profile)",
    )
    parser.set_defaults(run=run, present=present)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Serve until interrupted, and say how it went."""
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
        f"serving {args.what} at ws://{args.host}:{server.port} ({args.protocol})",
        file=sys.stderr,
        flush=True,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background leaves the first ignored
        signal.signal(number, signal.default_int_handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.close()
    return {"served": str(args.what), "port": server.port, "refused": server.refused}


def _return_large_blocks() -> None:
    """Have the C library give the memory of messages and pictures back to the system as soon as they are freed.

    It raises its own threshold to 32 MiB otherwise, and keeps blocks below it for each thread.
    """
    with contextlib.suppress(AttributeError):  # no glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _access_token(host: str, path: Path | None) -> str:
    """Read the secret that peers must show; empty for the loopback alone."""
    from rlt_ros.rlt.parameters import ConfigError
    from rlt_ros.vla.access import read_access_token

    if path is not None:
        return read_access_token(path)
    if not _is_loopback(host):
        raise ConfigError(
            f"`--host {host}` lets other machines in; give `--token-file FILE` with a secret that they must show, "
            "or keep to 127.0.0.1 and let them in through an SSH tunnel"
        )
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _session(args: argparse.Namespace) -> Any:
    """What makes the session of a connection."""
    from rlt_ros.rlt.parameters import ConfigError
    from rlt_ros.rlt.run_folder import CONFIG_FILE
    from rlt_ros.serving.genie_sim import GenieSimSession
    from rlt_ros.serving.openpi import OpenPIPolicySession, OpenPIVLASession
    from rlt_ros.serving.policy import Serving, open_run

    folder = Path(args.what)
    if (folder / CONFIG_FILE).is_file():
        serving = Serving(args.acts, args.approach_steps, args.hz)
        policy = open_run(folder, serving, robot=args.robot)
        session = GenieSimSession if args.protocol == "genie_sim" else OpenPIPolicySession
        session(policy)  # what does not fit is told now, not to the first peer
        return lambda: session(policy)
    if args.protocol != "openpi":
        raise ConfigError(
            f"{args.what}: is no folder of a run; a VLA alone is served with `--protocol openpi`"
        )
    from rlt_ros.vla.loading import load_vla

    vla = load_vla(args.what)
    of_all = OpenPIVLASession(vla)  # one for all connections, for its lock
    return lambda: of_all


def present(result: dict[str, Any]) -> None:
    """Print how it went."""
    from rlt_ros.cli.output import print_mapping

    print_mapping(result)
