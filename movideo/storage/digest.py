"""SHA-256 of texts and files: what settings, samples and videos are told apart by."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from movideo.errors import VideoError

_MIB = 2**20


def digest(content: str | bytes) -> bytes:
    """The 32 bytes of a text (UTF-8) or of bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).digest()


def hex_digest(content: str | bytes) -> str:
    """The same as 64 hex digits."""
    return digest(content).hex()


def json_digest(value: Any) -> str:
    """64 hex digits of plain values, the same in whatever order a mapping has its keys."""
    return hex_digest(json.dumps(value, sort_keys=True))


def content_hash(path: str | Path) -> str:
    """SHA-256 over a file's size and its first, middle and last MiB: 64 hex digits.

    Raises:
        VideoError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = size.to_bytes(8, "little")
            for offset in (0, (size - _MIB) // 2, size - _MIB):
                file.seek(max(0, offset))
                content += file.read(_MIB)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return hex_digest(content)
