"""Tensors in files and messages: safetensors with kind, format version and checksum, written atomically.

Nothing is ever unpickled. A file is either the old one or the new one, whatever happens while it is written.
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

from rlt_ros.rlt.documents import parse_json
from rlt_ros.rlt.lineage import digest

# safetensors and torch are imported where tensors are: `replacing` and the errors serve launch files too, which run on
# a Python that has neither.
if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1

_KIND, _FORMAT, _CHECKSUM = "rlt_ros.kind", "rlt_ros.format", "rlt_ros.checksum"
_LONGEST_HEADER = 100 * 2**20  # the limit of the safetensors format

_UNFINISHED = ".part"


class StorageError(RuntimeError):
    """A file could not be written or read. The message names the file and the remedy."""


class MissingFileError(StorageError):
    """There is no such file."""


class TruncatedError(StorageError):
    """The file ends before its data does."""


class ForeignFileError(StorageError):
    """The file was not written by this package, or by a newer version of it."""


class WrongKindError(StorageError):
    """The file holds something else than asked for, for instance a token encoder instead of a policy."""


class ChecksumError(StorageError):
    """The contents are not those that were written."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file to write to, and put it in the place of ``path`` when the block ends well.

    The data is on the disk before the name changes, so a crash or a full disk leaves the old file.

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
    """Remove the unfinished files that killed processes left in ``folder`` and below it; living writers keep theirs."""
    _remove_leftovers(Path(folder).rglob(f".*{_UNFINISHED}"))


def _remove_leftovers(candidates: Iterable[Path]) -> None:
    """Remove those unfinished files whose writer is gone: a living one holds a lock."""
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
        path: the file; its folder is made where needed.
        tensors: name to tensor, any device.
        kind: what the file is, checked on reading (``"rlt-learner"``, ``"rlt-actor"``, …).
        metadata: further text, covered by the checksum.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    # Not safetensors' own save_file, which since 0.8 puts a file of its own, for its owner alone, in the place of the
    # locked one that carries the umask's mode.
    data = pack_tensors(tensors, kind=kind, metadata=metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_tensors(path: str | Path, *, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`save_tensors` wrote: tensors on the CPU, and the metadata.

    Raises:
        MissingFileError, TruncatedError, ForeignFileError, WrongKindError, ChecksumError: see their names.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            header = _header(start + stream.read(min(length, _LONGEST_HEADER)), size, str(path))
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
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
    """The same as :func:`save_tensors`, as bytes for a message."""
    plain = _separate(tensors)
    import safetensors.torch

    return safetensors.torch.save(plain, _sealed(plain, kind, metadata or {}))


def unpack_tensors(data: bytes, *, kind: str, origin: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`pack_tensors` made; ``origin`` (a topic, a peer) names it in errors."""
    import safetensors.torch

    metadata = _metadata(_header(data, len(data), origin), kind, origin)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ForeignFileError(f"{origin}: has a damaged header ({error}); fetch it again") from None
    return _verified(tensors, metadata, origin)


def _create_locked(path: Path) -> tuple[Path, int]:
    """Create a file to write ``path`` to, locked by this process; its name and descriptor.

    A sweep that comes between creation and lock removes the file, which then has no name left; another is created.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        # Not mkstemp, which keeps the file to its owner: the umask says who may read.
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
    """Contiguous CPU tensors of which no two share memory, as the format demands."""
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
    """The JSON header of a safetensors file, after checking that the file is as long as the header says."""
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or not 2 <= length <= _LONGEST_HEADER:
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
