"""Where weight files may lie on this machine, and which of them their hash has proven.

Imports paths, weights.catalogue and weights.download.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from netwright import paths
from netwright.weights.catalogue import File, Weights, catalogue
from netwright.weights.download import sha256_of

ABSENT, UNPROVEN, VERIFIED, WRONG = "absent", "not verified yet", "verified", "wrong hash"
PARTIAL, ASIDE = "partly downloaded", "kept aside: wrong hash"


@dataclass(frozen=True)
class Place:
    """One spot where a file of these weights is looked for, and what is there."""

    weights: str
    file: File
    label: str  # "netwright", "torch hub" or "Hugging Face"
    path: Path
    state: str  # one of the constants above

    @property
    def present(self) -> bool:
        return self.state in (UNPROVEN, VERIFIED)


def folder() -> Path:
    """netwright's own folder for weight files; files that the reader puts here are used."""
    return paths.home() / "weights"


def torch_hub_folder() -> Path:
    """Where torch.hub, torchvision and timm keep .pth files. Does not import torch."""
    if "torch" in sys.modules:
        return Path(sys.modules["torch"].hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def places(weights: Weights) -> Iterator[Place]:
    """Every spot, in the order in which they are looked at; lazily, since only the hub's needs its library."""
    seen = set()
    for file in weights.files:
        if file.role == "huggingface":
            yield _place(weights, file, "Hugging Face", _hub_path(file))
        elif file.filename not in seen:
            seen.add(file.filename)
            yield _place(weights, file, "netwright", folder() / file.filename)
            yield _place(weights, file, "torch hub", torch_hub_folder() / file.filename)


def leftovers(weights: Weights) -> Iterator[Place]:
    """What earlier downloads left in netwright's folder: parts, and files that were kept aside."""
    for filename, file in {file.filename: file for file in weights.files if file.role != "huggingface"}.items():
        for suffix, state in ((".partial", PARTIAL), (".wrong-hash", ASIDE)):
            path = folder() / f"{filename}{suffix}"
            if path.is_file():
                yield Place(weights.name, file, "netwright", path, state)


def prove(place: Place, *, rehash: bool = False) -> Place:
    """The same place with its state settled by the file's hash, from memory if the file has not changed since.

    A file for which no hash is known anywhere stays ``UNPROVEN``; it is never loaded.
    """
    if place.state == ABSENT:
        return place
    wanted = expected_hash(place.file, place.path)
    if wanted is None:
        return place
    found = None if rehash else _remembered(place.path)
    if found is None:
        before = place.path.stat()
        found = sha256_of(place.path).hexdigest()
        remember(place.path, found, before)
    return replace(place, state=VERIFIED if found.startswith(wanted) else WRONG)


def expected_hash(file: File, path: Path) -> str | None:
    """The sha256, or its start, that the file at ``path`` must have; None when nobody has stated one.

    Hugging Face names the stored file by its sha256, which serves where the catalogue has none.
    """
    if file.sha256 or file.sha256_prefix:
        return file.sha256 or file.sha256_prefix
    stored = os.path.basename(os.path.realpath(path))
    return stored if re.fullmatch(r"[0-9a-f]{64}", stored) else _memory().get(_key(path), {}).get("hub")


def available() -> list[str]:
    """Names of the weights of which a file lies on this machine, proven or not."""
    return [w.name for w in catalogue() if any(place.present for place in places(w))]


def remember(path: Path, sha256: str, stat: os.stat_result | None = None, *, hub: str | None = None) -> None:
    """Note the hash of a file with its size and time, so that a large file is hashed once and not at each load.

    ``hub``: the sha256 that Hugging Face itself states, noted where its cache does not show it (Windows).
    """
    stat = stat or path.stat()
    memory = _memory()
    hub = hub or memory.get(_key(path), {}).get("hub")
    entry = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256} | ({"hub": hub} if hub else {})
    kept = {key: old for key, old in memory.items() if os.path.exists(key)} | {_key(path): entry}
    target = folder() / "verified.json"
    scratch = target.with_name(f"verified.{os.getpid()}.json")
    try:
        folder().mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(kept, indent=1), "utf-8")
        os.replace(scratch, target)
    except OSError:
        pass  # a folder that cannot be written costs a second hashing, nothing else


def _remembered(path: Path) -> str | None:
    entry, stat = _memory().get(_key(path), {}), path.stat()
    if (entry.get("bytes"), entry.get("mtime_ns")) != (stat.st_size, stat.st_mtime_ns):
        return None
    return entry.get("sha256")


def _memory() -> dict[str, dict]:
    try:
        return json.loads((folder() / "verified.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _key(path: Path) -> str:
    return os.path.realpath(path)  # Hugging Face's snapshots are links to one stored file


def _place(weights: Weights, file: File, label: str, path: Path) -> Place:
    if not path.is_file():
        return Place(weights.name, file, label, path, ABSENT)
    wanted, found = expected_hash(file, path), _remembered(path)
    state = UNPROVEN if wanted is None or found is None else VERIFIED if found.startswith(wanted) else WRONG
    return Place(weights.name, file, label, path, state)


def _hub_path(file: File) -> Path:
    """Where Hugging Face's cache has the file, at the pinned commit or at whatever ``main`` was when it came."""
    from huggingface_hub import constants, try_to_load_from_cache

    for revision in dict.fromkeys((file.pin, None)):
        found = try_to_load_from_cache(file.repository, file.filename, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return Path(constants.HF_HUB_CACHE) / f"models--{file.repository.replace('/', '--')}" / "snapshots" / "main"
