"""Fetches data sets from ModelScope with its own library, file by file, which goes on after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_ros.data.errors import DataError

GENIE_SIM = "agibot_world/GenieSim3.0-Dataset"


def download(
    dataset: str,
    out: Path,
    *,
    include: Sequence[str],
    exclude: Sequence[str] = (),
    revision: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """Fetch the files of a data set whose paths match.

    Args:
        dataset: ``owner/name`` on ModelScope.
        out: folder for them.
        include: patterns of paths, ``*`` for anything; at least one, since whole sets have tens of terabytes.
        exclude: patterns of paths to leave out.
        revision: branch or tag.
        token: access token; public sets need none.

    Raises:
        DataError: no pattern was given, the name is none, or the site did not deliver.
        ModuleNotFoundError: the extra ``data`` is not installed.
    """
    if not include:
        raise DataError(
            f"{dataset}: say which files to fetch with --include, e.g. 'dataset/pick_block_color/g1/*'"
        )
    if dataset.count("/") != 1:
        raise DataError(f"data set {dataset!r}: expected OWNER/NAME, e.g. {GENIE_SIM}")
    from modelscope.hub.snapshot_download import dataset_snapshot_download

    out.mkdir(parents=True, exist_ok=True)
    try:
        folder = dataset_snapshot_download(
            dataset,
            revision=revision,
            local_dir=str(out),
            allow_patterns=list(include),
            ignore_patterns=list(exclude) or None,
            token=token,
        )
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the library raises its own kinds and those of the libraries below it
        raise DataError(
            f"{dataset}: could not be fetched ({type(error).__name__}: {str(error)[:200]}); check the name and the "
            "network and run the same command again, which goes on where it stopped"
        ) from error
    files = [
        path for path in sorted(Path(folder).rglob("*")) if path.is_file() and ".cache" not in path.parts
    ]
    if not files:
        raise DataError(
            f"{dataset}: no file matches {', '.join(include)}; look at the paths on modelscope.cn"
        )
    return {
        "dataset": dataset,
        "out": str(folder),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }
