"""Files of bundles on a device, each stored once by its digest, and bundles made of links to them."""

import errno
import glob
import hashlib
import os
import re
import shutil
import time
from typing import Any, Collection, Dict, List

KEPT_S = 30 * 86400.0  # what was not used for longer is removed
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refused(Exception):
    """A request that cannot be carried out: a code for the host, and a text for a person."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def is_full(problem: OSError) -> bool:
    """Return whether no room is left, on the disk or of what this user may have."""
    return problem.errno in _FULL


def stored(folder: str, files: List[Dict[str, Any]], verify: bool) -> Dict[str, int]:
    """Return which files are missing, and how many bytes of each are there. `verify` reads those that are there."""
    missing = {}
    for file in files:
        path = _object(folder, file)
        good = os.path.isfile(path) and os.path.getsize(path) == file["size"]
        if good and verify and _sha256(path) != file["sha256"]:
            os.remove(path)
            good = False
        if not good:
            part = path + ".part"
            missing[file["sha256"]] = os.path.getsize(part) if os.path.isfile(part) else 0
    return missing


def put(folder: str, file: Dict[str, Any], body: bytes) -> None:
    """Write a part of a file; check its digest when it is complete. Two hosts may send the same file at once.

    Where no room is left, the part makes room again: others need it, and the host sends the file again.
    """
    path = _object(folder, file)
    if os.path.exists(path):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with os.fdopen(os.open(path + ".part", os.O_RDWR | os.O_CREAT, 0o600), "r+b") as part:
            part.seek(file["offset"])
            part.write(body)
    except OSError as problem:
        if is_full(problem):
            remove(path + ".part")
        raise
    if file["offset"] + len(body) < file["total"]:
        return
    try:
        if _sha256(path + ".part") != file["sha256"]:
            os.remove(path + ".part")
            raise Refused("damaged", "a file was damaged on its way")
        os.rename(path + ".part", path)
    except FileNotFoundError:  # the other host has just finished it
        pass


def assembled(folder: str, digest: str, files: List[Dict[str, Any]], rebuild: bool) -> str:
    """Return the folder of a bundle, made of links to its files. `rebuild`: also where it is there already."""
    bundle = os.path.join(folder, "bundles", digest[:32])
    if rebuild:
        shutil.rmtree(bundle, ignore_errors=True)
    if not os.path.isdir(bundle):
        part = f"{bundle}.{os.getpid()}.part"
        try:
            _lay_out(folder, files, part)
            os.rename(part, bundle)
        except OSError:
            if not os.path.isdir(bundle):
                raise
        finally:  # another job was faster, or there is no room
            shutil.rmtree(part, ignore_errors=True)
    os.utime(bundle, None)
    return bundle


def _lay_out(folder: str, files: List[Dict[str, Any]], part: str) -> None:
    for file in files:
        parts = file["name"].split("/")
        if os.path.isabs(file["name"]) or ".." in parts:
            raise Refused("request", "a file of the bundle has an odd name")
        path = os.path.join(part, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _link(_object(folder, file), path)


def tidy(folder: str, used: Collection[str]) -> None:
    """Remove bundles and files that were not used for a month, but none of `used`: a clock may jump by years."""
    now, root = time.time(), glob.escape(folder)
    for path in glob.glob(os.path.join(root, "bundles", "*")):
        if path not in used and now - os.path.getmtime(path) > KEPT_S:
            shutil.rmtree(path, ignore_errors=True)
    for path in glob.glob(os.path.join(root, "objects", "*")):
        about = os.stat(path)
        if now - about.st_mtime > KEPT_S and about.st_nlink == 1:
            os.remove(path)


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    try:
        os.remove(path)
    except OSError:
        pass


def _object(folder: str, file: Dict[str, Any]) -> str:
    if not re.match(r"^[0-9a-f]{64}$", file["sha256"]):
        raise Refused("request", "a file has an odd digest")
    return os.path.join(folder, "objects", file["sha256"])


def _link(there: str, path: str) -> None:
    try:
        os.link(there, path)
    except FileNotFoundError as problem:
        raise Refused("damaged", "a file of the bundle was removed there") from problem
    except OSError:  # a file system without links
        shutil.copyfile(there, path)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
