"""Tensors in files and messages: safetensors with kind, format version and checksum, written atomically.

No data is unpickled. After an interrupted write a file has its old or its new content.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rlt_ros.store.documents import parse_json
from rlt_ros.store.lineage import digest

# safetensors and torch are imported in functions: launch files use `replacing` and the errors on a Python without them.
if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1

_KIND, _FORMAT, _CHECKSUM = "rlt_ros.kind", "rlt_ros.format", "rlt_ros.checksum"
_MAX_HEADER_BYTES = 100 * 2**20
"""Limit of the safetensors format."""

_UNFINISHED = ".part"


class StorageError(RuntimeError):
    """A file could not be written or read. The message names the file and the remedy."""


class MissingFileError(StorageError):
    """The file does not exist."""


class TruncatedError(StorageError):
    """The file is shorter than its data."""


class ForeignFileError(StorageError):
    """The file was written by another program or a newer version of this package."""


class WrongKindError(StorageError):
    """The file is of another kind than requested, for instance a token encoder instead of a policy."""


class ChecksumError(StorageError):
    """The contents differ from those that were written."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file and rename it to ``path`` when the block ends without an error.

    The data is on the disk before the rename, so a crash or a full disk leaves the old file.

    Raises:
        StorageError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    temporary: Path | None = None
    descriptor: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent.glob(f".{glob.escape(path.name)}.*{_UNFINISHED}"))
        temporary, descriptor = _create_locked(path)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: could not be written ({error}); the previous version, if any, is untouched. "
            "Free some disk space or choose another folder"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)


def sweep(folder: str | Path) -> None:
    """Remove unfinished files of killed processes in ``folder`` and below; those of running writers stay."""
    _remove_leftovers(Path(folder).rglob(f".*{_UNFINISHED}"))


def _remove_leftovers(candidates: Iterable[Path]) -> None:
    """Remove unfinished files of ended writers; a running writer holds a lock."""
    for leftover in candidates:
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(descriptor)


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], *, kind: str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to ``path`` atomically.

    Args:
        path: the file; a missing folder is created.
        tensors: name to tensor, any device.
        kind: kind of the file, verified on reading (``"rlt-learner"``, ``"rlt-actor"``, …).
        metadata: further text, covered by the checksum.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    # safetensors' save_file, since 0.8, replaces the locked file, whose mode is the umask's, by one for its owner
    # alone.
    data = pack_tensors(tensors, kind=kind, metadata=metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_tensors(path: str | Path, *, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of :func:`save_tensors`: tensors on the CPU, and the metadata.

    Raises:
        MissingFileError, TruncatedError, ForeignFileError, WrongKindError, ChecksumError: see their names.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            header = _header(start + stream.read(min(length, _MAX_HEADER_BYTES)), size, str(path))
    except FileNotFoundError:
        raise MissingFileError(f"{path}: the file does not exist; check the path") from None
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    metadata = _metadata(header, kind, str(path))
    import safetensors.torch

    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ForeignFileError(f"{path}: has a damaged header ({error}); fetch it again") from None
    return _verified(tensors, metadata, str(path))


def pack_tensors(
    tensors: Mapping[str, Tensor], *, kind: str, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Serialise tensors as :func:`save_tensors` does, as bytes for a message."""
    plain = _separate(tensors)
    import safetensors.torch

    return safetensors.torch.save(plain, _sealed(plain, kind, metadata or {}))


def unpack_tensors(data: bytes, *, kind: str, origin: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Inverse of :func:`pack_tensors`; ``origin`` (a topic, a peer) names the source in errors."""
    import safetensors.torch

    metadata = _metadata(_header(data, len(data), origin), kind, origin)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ForeignFileError(f"{origin}: has a damaged header ({error}); fetch it again") from None
    return _verified(tensors, metadata, origin)


def _create_locked(path: Path) -> tuple[Path, int]:
    """Create a temporary file for ``path``, locked by this process; returns its name and descriptor.

    A sweep between creation and lock removes the file; then another is created.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        # mkstemp would restrict the file to its owner; here the umask decides.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors without shared memory, as the format requires."""
    seen: set[int] = set()
    plain = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.nbytes() != tensor.nbytes or storage.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        plain[name] = tensor
    return plain


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    result = hashlib.sha256(digest(tensors).digest())
    for name in sorted(metadata):
        if name != _CHECKSUM:
            result.update(f"{name}\0{metadata[name]}\0".encode())
    return result.hexdigest()


def _sealed(tensors: Mapping[str, Tensor], kind: str, metadata: Mapping[str, str]) -> dict[str, str]:
    sealed = {**metadata, _KIND: kind, _FORMAT: str(FORMAT_VERSION)}
    return {**sealed, _CHECKSUM: _checksum(tensors, sealed)}


def _header(start: bytes, size: int, origin: str) -> dict[str, object]:
    """JSON header of a safetensors file, after a check of the file's length against it."""
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or not 2 <= length <= _MAX_HEADER_BYTES:
        raise ForeignFileError(
            f"{origin}: is not a safetensors file, or is cut off in its first bytes; fetch it again"
        )
    if size < 8 + length:
        raise TruncatedError(f"{origin}: ends inside its header after {size} bytes; fetch or save it again")
    try:
        header = parse_json(start[8 : 8 + length], origin="its header")
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ForeignFileError(
            f"{origin}: has a header that is not safetensors ({error}); fetch it again"
        ) from None
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise TruncatedError(f"{origin}: has {size} of {expected} bytes; fetch or save it again")
    if size > expected:
        raise ForeignFileError(f"{origin}: has {size - expected} bytes too many; fetch or save it again")
    return header


def _metadata(header: Mapping[str, object], kind: str, origin: str) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or _KIND not in metadata or _CHECKSUM not in metadata:
        raise ForeignFileError(
            f"{origin}: is a safetensors file of another program; expected `{kind}` of rlt_ros"
        )
    if metadata[_KIND] != kind:
        raise WrongKindError(f"{origin}: holds `{metadata[_KIND]}`, not `{kind}`; pass the right file")
    if metadata.get(_FORMAT) != str(FORMAT_VERSION):
        raise ForeignFileError(
            f"{origin}: has format {metadata.get(_FORMAT)}, this is for {FORMAT_VERSION}; update rlt_ros"
        )
    return metadata


def _verified(
    tensors: dict[str, Tensor], metadata: dict[str, str], origin: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    if _checksum(tensors, metadata) != metadata[_CHECKSUM]:
        raise ChecksumError(
            f"{origin}: the contents do not match their checksum; the file is damaged, fetch it again"
        )
    own = (_KIND, _FORMAT, _CHECKSUM)
    return tensors, {name: value for name, value in metadata.items() if name not in own}
