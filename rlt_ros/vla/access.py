"""Access tokens: secrets of servers, each in a file that only its owner can read."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Mapping
from pathlib import Path

from rlt_ros.store.parameters import ConfigError

MIN_TOKEN_LENGTH = 16
"""Characters; a shorter token can be guessed by trial over a fast network."""
MAX_TOKEN_LENGTH = 512
"""Characters; servers refuse longer header lines."""
_SCHEMES = ("Api-Key", "Bearer")
"""Authorization schemes of openpi's client and of RFC 6750."""


def read_access_token(path: Path) -> str:
    """Read the access token from a file of one line.

    Raises:
        ConfigError: the file cannot be read, is readable by others, or holds no token.
    """
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            token = file.read(MAX_TOKEN_LENGTH + 2).strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no access token can be read ({error}); give a file of one line") from None
    if mode & 0o077:
        raise ConfigError(f"{path}: has mode {mode:o} and others can read it; run `chmod 600 {path}`")
    if not MIN_TOKEN_LENGTH <= len(token) <= MAX_TOKEN_LENGTH or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{path}: must hold one word of {MIN_TOKEN_LENGTH} to {MAX_TOKEN_LENGTH} characters; "
            f"`openssl rand -hex 32 > {path}` makes one"
        )
    return token


def access_headers(token: str) -> dict[str, str]:
    """HTTP headers with a token; empty for an empty token."""
    return {"Authorization": f"{_SCHEMES[0]} {token}"} if token else {}


def admits(token: str, headers: Mapping[str, str]) -> bool:
    """True if the headers hold the token. The comparison takes constant time."""
    shown = headers.get("Authorization") or ""
    scheme, _, word = shown.partition(" ")
    return scheme in _SCHEMES and hmac.compare_digest(word.strip().encode(), token.encode())
