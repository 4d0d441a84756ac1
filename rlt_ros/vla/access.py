"""Access tokens: the secret that a peer of a server shows, kept in a file that its owner alone can read."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Mapping
from pathlib import Path

from rlt_ros.rlt.parameters import ConfigError

_SHORTEST = 16  # characters; a shorter one can be guessed by trial over a fast network
_LONGEST = 512  # characters; servers refuse longer header lines
_SCHEMES = ("Api-Key", "Bearer")  # that of openpi's client, and that of RFC 6750


def read_access_token(path: Path) -> str:
    """Read the access token in a file of one line.

    Raises:
        ConfigError: it cannot be read, others can read it, or it holds no token.
    """
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            token = file.read(_LONGEST + 2).strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no access token can be read ({error}); give a file of one line") from None
    if mode & 0o077:
        raise ConfigError(f"{path}: has mode {mode:o} and others can read it; run `chmod 600 {path}`")
    if not _SHORTEST <= len(token) <= _LONGEST or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{path}: must hold one word of {_SHORTEST} to {_LONGEST} characters; "
            f"`openssl rand -hex 32 > {path}` makes one"
        )
    return token


def access_headers(token: str) -> dict[str, str]:
    """HTTP headers that show a token; none for an empty one."""
    return {"Authorization": f"{_SCHEMES[0]} {token}"} if token else {}


def admits(token: str, headers: Mapping[str, str]) -> bool:
    """Return True if a request with these headers shows the token. The time taken does not depend on the guess."""
    shown = headers.get("Authorization") or ""
    scheme, _, word = shown.partition(" ")
    return scheme in _SCHEMES and hmac.compare_digest(word.strip().encode(), token.encode())
