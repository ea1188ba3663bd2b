"""Getting a proven file of published weights: from this machine, else from the publisher, its mirrors, Hugging Face.

Imports weights.catalogue, weights.cache and weights.download.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from netwright.weights import cache, download
from netwright.weights.cache import Place
from netwright.weights.catalogue import File, Weights, catalogue, find
from netwright.weights.download import (
    OutOfSpace,
    SourceFailed,
    discard,
    ensure_reachable,
    ensure_space,
    hold,
    say,
    sha256_of,
)


class WeightsUnavailable(RuntimeError):
    """No proven file could be had; the message says which file, how large, from where, and where to put it."""


class WrongHash(WeightsUnavailable):
    """A file was there or came, but is not the published one. It is kept aside and never loaded."""


class DiskFull(WeightsUnavailable):
    """The disk cannot hold the file. What had come is kept for the next attempt."""


class CacheNotWritable(WeightsUnavailable):
    """netwright's folder cannot be written."""


def fetch(weights: Weights | str, *, progress: bool = True) -> Path:
    """Path of a file of these weights whose hash has been checked, downloaded if need be.

    Looks in ``NETWRIGHT_HOME``/weights, torch.hub's cache and Hugging Face's cache, then asks ``NETWRIGHT_MIRROR``
    (a server that has the files under the publishers' names, for a classroom), the publisher, its mirrors and the
    twin on Hugging Face. ``NETWRIGHT_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` never touches the network.
    Raises UnknownWeights and the errors above.
    """
    weights = find(weights) if isinstance(weights, str) else weights
    place, refused = _look(weights)
    if place is not None:
        return place.path
    if offline():
        reason = "the network is switched off (NETWRIGHT_OFFLINE or HF_HUB_OFFLINE is set)"
        raise _unavailable(weights, [reason], refused)
    with _alone(weights, progress):
        place, more = _look(weights)  # another process may have brought it meanwhile
        return place.path if place is not None else _download(weights, list(dict.fromkeys(refused + more)), progress)


def where(weights: Weights | str) -> list[Place]:
    """Every place these weights are looked for, with what is there; nothing is hashed, moved or downloaded."""
    weights = find(weights) if isinstance(weights, str) else weights
    return [*cache.places(weights), *cache.leftovers(weights)]


def verify(weights: Weights | str) -> list[Place]:
    """The files of these weights on this machine, hashed afresh: ``state`` is "verified" or "wrong hash".

    "not verified yet" remains where nobody has stated a hash. Nothing is moved.
    """
    weights = find(weights) if isinstance(weights, str) else weights
    found = [cache.prove(p, rehash=True) for p in cache.places(weights) if p.state != cache.ABSENT]
    return [*found, *cache.leftovers(weights)]


def verify_all() -> list[Place]:
    """``verify`` for every weight file found on this machine."""
    return [place for weights in catalogue() for place in verify(weights)]


def offline() -> bool:
    """Whether the reader forbade the network."""
    said = {os.environ.get(name, "").upper() for name in ("NETWRIGHT_OFFLINE", "HF_HUB_OFFLINE")}
    return not said.isdisjoint({"1", "ON", "YES", "TRUE"})  # the words that Hugging Face's library takes


def _look(weights: Weights) -> tuple[Place | None, list[str]]:
    """The first proven file on this machine, and a sentence for each file that had to be refused."""
    refused = []
    for place in map(cache.prove, cache.places(weights)):
        if place.state == cache.VERIFIED:
            return place, refused
        if place.state == cache.WRONG:
            refused.append(_refuse(place.file, place.path, movable=place.label == "netwright"))
    return None, refused


def _refuse(file: File, path: Path, movable: bool) -> str:
    """Says that a file has the wrong hash; in netwright's own folder it is also put out of the way."""
    wanted, found = cache.expected_hash(file, path), sha256_of(path).hexdigest()
    if movable:
        with contextlib.suppress(OSError):  # a folder that cannot be written: it stays, and stays refused
            path = path.replace(path.with_name(f"{file.filename}.wrong-hash"))
    sentence = f"{path} is refused: its sha256 starts with {found[:12]}, that of {file.filename} with {wanted[:12]}"
    if not movable:
        sentence += "; it was left there, remove it if nothing else uses it"
    if file.suffix_hash == "convention" and not file.sha256 and file.sha256_prefix:
        sentence += (
            " (that this suffix is a sha256 is only the convention of such file names: the publisher's own code never"
            " checks it, so the publisher may have replaced the file; it is refused all the same)"
        )
    return sentence


@contextlib.contextmanager
def _alone(weights: Weights, progress: bool) -> Iterator[None]:
    """One download at a time for each set of weights, over all processes that share the folder."""
    try:
        lock = hold(cache.folder() / f"{weights.name}.lock", weights.name, progress)
    except OSError as error:
        raise _not_writable(weights, error) from error
    try:
        yield
    finally:
        lock.release()


def _download(weights: Weights, refused: list[str], progress: bool) -> Path:
    failures = []
    for file in _sources(weights):
        try:
            return (_from_hub if file.role == "huggingface" else _from_server)(file, progress)
        except SourceFailed as failure:
            failures.append(f"{file.url}: {failure}")
        except _Refused as failure:
            failures.append(f"{file.url}: sent another file")
            refused = [*refused, str(failure)]
        except OutOfSpace as full:
            raise _disk_full(weights, file, full) from full
        except OSError as error:
            if error.errno in download.DISK_FULL:
                raise _disk_full(weights, file, OutOfSpace(file.size or 1)) from error
            raise _not_writable(weights, error) from error
        say(f"{weights.name}: {failures[-1]}", progress)
    raise _unavailable(weights, failures, refused)


def _sources(weights: Weights) -> Iterator[File]:
    """Addresses in the order in which they are asked."""
    mirror = os.environ.get("NETWRIGHT_MIRROR")
    if mirror:
        first = weights.files[0]
        yield replace(first, role="mirror", url=f"{mirror.rstrip('/')}/{first.filename}")
    yield from weights.files


class _Refused(Exception):
    """What came is not the published file."""


def _from_server(file: File, progress: bool) -> Path:
    target = cache.folder() / file.filename
    partial = target.with_name(f"{target.name}.partial")
    wanted = file.sha256 or file.sha256_prefix
    got = download.download_whole(file.url, partial, wanted, size=file.size, progress=progress)
    if not got.sha256.startswith(wanted):
        sentence = _refuse(file, partial, movable=True)
        discard(partial)
        raise _Refused(sentence)
    os.replace(partial, target)
    discard(partial)
    cache.remember(target, got.sha256)
    return target


def _from_hub(file: File, progress: bool) -> Path:
    """Through Hugging Face's own library: its cache, its proxies, its tokens; then the hash, as everywhere."""
    import huggingface_hub as hub
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    address = hub.hf_hub_url(file.repository, file.filename, revision=file.pin)
    ensure_reachable(address)  # the library itself goes on trying for half a minute where there is no network
    ensure_space(_hub_folder(), file.size or 0)
    quiet = not progress and not are_progress_bars_disabled()
    if quiet:
        disable_progress_bars()
    try:
        path = Path(hub.hf_hub_download(file.repository, file.filename, revision=file.pin))
        wanted = cache.expected_hash(file, path)
        if wanted is None:  # a cache without links (Windows) does not show the hash; the hub does
            wanted = hub.get_hf_file_metadata(address).etag
    except Exception as error:  # the library lets its HTTP client's errors through, which differ between versions
        if getattr(error, "errno", None) in download.DISK_FULL:
            raise OutOfSpace(file.size or 1) from error
        raise SourceFailed(str(error).strip().split("\n")[0]) from error
    finally:
        if quiet:
            enable_progress_bars()
    found = sha256_of(path).hexdigest()
    if not wanted or not found.startswith(wanted):
        published = wanted[:12] if wanted else "no hash"
        raise _Refused(f"{path} is refused: its sha256 starts with {found[:12]}, {file.repository} has {published}")
    cache.remember(path, found, hub=wanted)
    return path


def _hub_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _unavailable(weights: Weights, failures: list[str], refused: list[str]) -> WeightsUnavailable:
    first = weights.files[0]
    digits = first.sha256 or first.sha256_prefix
    opening = (
        f"{weights.name} is not to be had: {first.filename} ({first.size_text}, sha256 {digits[:8]}…) by "
        f"{weights.publisher} is not on this machine, and no source gave it:"
    )
    reasons = [f"  - {reason}" for reason in (*failures, *refused)]
    way_out = (
        f"The file belongs in {cache.folder()} (or {cache.torch_hub_folder()}), under that name; it is published at "
        f"{first.url}. Fetch it there on a machine with a network, or set NETWRIGHT_MIRROR to a server that has it."
    )
    still = f"What still works: create_model({weights.architecture!r}) with random weights; {_still_here()}."
    lines = [opening, *reasons, way_out, still]
    return (WrongHash if refused else WeightsUnavailable)("\n".join(lines))


def _still_here() -> str:
    here = cache.available()
    return f"the weights on this machine: {', '.join(here)}" if here else "no published weights are on this machine yet"


def _disk_full(weights: Weights, file: File, full: OutOfSpace) -> DiskFull:
    folder = _hub_folder() if file.role == "huggingface" else cache.folder()
    kept = download.size_of(folder / f"{file.filename}.partial")
    had = f" The {kept / 1e6:.1f} MB that had come are kept, and the next attempt goes on from there." if kept else ""
    return DiskFull(
        f"The disk of {folder} is full: {file.filename} ({file.size_text}) of {weights.name} needs "
        f"{max(full.missing / 1e6, 0.1):.1f} MB more.{had} Free that much, or set NETWRIGHT_HOME to a folder on a larger disk."
    )


def _not_writable(weights: Weights, error: OSError) -> CacheNotWritable:
    reason = errno.errorcode.get(error.errno, type(error).__name__) if error.errno else type(error).__name__
    return CacheNotWritable(
        f"{weights.name} cannot be stored: {cache.folder()} cannot be written ({error.strerror or reason}). Set "
        f"NETWRIGHT_HOME to a folder that can, or have {weights.files[0].filename} put there by whoever owns it."
    )
