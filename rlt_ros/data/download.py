"""Download of data sets from ModelScope with its own library, file by file and resumable."""

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
    """Download the files of a data set with matching paths.

    Args:
        dataset: ``owner/name`` on ModelScope.
        out: target folder.
        include: path patterns, ``*`` for anything; at least one, since whole sets have tens of terabytes.
        exclude: path patterns to leave out.
        revision: branch or tag.
        token: access token; not needed for public sets.

    Raises:
        DataError: no pattern, an invalid name, or a failed download.
        ModuleNotFoundError: the extra ``data`` is not installed.
    """
    if not include:
        raise DataError(f"{dataset}: select files with --include, e.g. 'dataset/pick_block_color/g1/*'")
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
    # The library raises its own errors and those of the libraries below it.
    except Exception as error:
        raise DataError(
            f"{dataset}: could not be fetched ({type(error).__name__}: {str(error)[:200]}); check the name and the "
            "network and run the same command again, which resumes"
        ) from error
    files = [
        path for path in sorted(Path(folder).rglob("*")) if path.is_file() and ".cache" not in path.parts
    ]
    if not files:
        raise DataError(f"{dataset}: no file matches {', '.join(include)}; check the paths on modelscope.cn")
    return {
        "dataset": dataset,
        "out": str(folder),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }
