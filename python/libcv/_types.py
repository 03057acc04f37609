"""The shapes of what the library gives out as dictionaries."""

from __future__ import annotations

import os
from typing import Any, Literal, Optional, TypedDict, Union

Action = dict[str, Any]
"""An action on a root, such as `{"hostname": "n1"}`."""
StrPath = Union[str, "os.PathLike[str]"]


class _Event(TypedDict):
    v: int
    seq: int
    ts: str
    job: str
    kind: str


class Event(_Event, total=False):
    """An event of a job, shape `cv.event/v1`."""

    stage: str
    done: int
    total: int
    unit: str
    rate: int
    eta_s: float
    message: str
    code: int


class Tag(TypedDict):
    """A tag of a name."""

    tag: str
    generation: int


class NameInfo(TypedDict):
    """A name of a store."""

    name: str
    generation: int
    image: str
    tree: str
    created: str
    tags: list[Tag]


class Token(TypedDict):
    """What lets somebody send one generation of a name into a store."""

    id: str
    name: str
    max_size: Optional[int]
    created: str
    expires: Optional[str]
    used: bool


class NodeInfo(TypedDict):
    """A node that the server knows."""

    name: str
    created: str
    seen: Optional[str]


class Release(TypedDict):
    """A generation of a name."""

    name: str
    generation: int
    image: Optional[str]
    tree: Optional[str]
    created: str
    reason: str
    store: str


class Logged(Release):
    """A generation of a name with the tags that point to it."""

    tags: list[str]


class Fault(TypedDict):
    """Something that is wrong in a store."""

    object: str
    message: str
    images: list[str]


class Report(TypedDict):
    """What a check found."""

    images: int
    releases: int
    packs: int
    blocks: int
    unreferenced_packs: int
    faults: list[Fault]


class Collected(TypedDict):
    """What a collection did, or would do."""

    dry_run: bool
    images: int
    removed: list[str]
    deleted: int
    deleted_bytes: int
    found: int
    found_bytes: int
    repacked: int
    repacked_bytes: int
    waiting: int
    waiting_bytes: int
    held_by: list[str]
    packs: int
    packs_bytes: int
    notes: list[str]


class Synced(TypedDict):
    """What a copy of a store took."""

    names: int
    generations: list[str]
    images: int
    chunks: int
    read_bytes: int
    stored_bytes: int
    tags: list[str]


class CheckFinding(TypedDict):
    """What a check found, of a server or of a network."""

    check: str
    verdict: Literal["ok", "warning", "bad"]
    message: str


class Examined(TypedDict):
    """What is known of a server."""

    url: str
    store: Optional[str]
    rate: Optional[int]
    clock: Optional[int]
    findings: list[CheckFinding]


class Counted(TypedDict):
    """What came of what was sent to find out what arrives."""

    way: Literal["direct", "broadcast", "local", "control", "far", "data", "size", "rate"]
    rate: int
    """Kilobits in a second, headers included; 0 when it has none."""
    sent: int
    """Datagrams; 0 when this end does not know."""
    phase: int
    received: int
    duplicates: int
    reordered: int
    ttl: int
    """The lowest one; 0 when none came."""
    elsewhere: int
    """Those that came by another interface than was named."""
    dropped: int
    """Those that the host had no room or time for."""
    longest: int
    """Bytes."""
    micros: int
    """Microseconds between the first and the last one."""


class DoctorReceiver(TypedDict):
    """A receiver as the sender knows it."""

    name: str
    address: str
    findings: list[CheckFinding]
    counts: list[Counted]


class DoctorSent(TypedDict):
    """What the end that sends found out."""

    interface: str
    group: str
    findings: list[CheckFinding]
    """Of this host, and of all receivers together."""
    receivers: list[DoctorReceiver]


class DoctorReceived(TypedDict):
    """What the end that listens found out."""

    interface: str
    group: str
    sender: Optional[str]
    """Its address; `None` when nothing came."""
    findings: list[CheckFinding]
    counts: list[Counted]


class Pulled(TypedDict):
    """What a mirror took."""

    objects: int
    packs: int
    bytes: int
    removed: int


class Repaired(TypedDict):
    """What a repair did, and what is left."""

    found: int
    healed: list[str]
    removed: list[str]
    chunks: int
    stored_bytes: int
    faults: list[Fault]


Finding = TypedDict(
    "Finding",
    {"path": str, "line": Optional[int], "rule": str, "class": str, "what": str, "allowed": bool},
)
"""A secret in a tree, or something encrypted: where, and what kind. Never what it is."""


class Captured(TypedDict):
    """What a capture did."""

    name: str
    generation: int
    image: str
    tree: str
    changed: bool
    entries: int
    read: int
    read_bytes: int
    stored_bytes: int
    amplification: int | None
    """Bytes that a reader of the whole image reads, in percent of those that it needs."""
    torn: list[str]
    scrubbed: list[dict[str, Any]]
    scrubbed_count: int
    secrets: list[Finding]
    secrets_count: int
    notes: list[str]


class Step(TypedDict):
    """A package that comes or goes."""

    action: str
    """`install` or `remove`."""
    name: str
    version: str
    arch: str
    repository: str


class Made(TypedDict):
    """What a build, an update or an edit made."""

    image: Captured | None
    """The new version; `None` after a dry run."""
    transaction: list[Step]
    epoch: int | None
    """Seconds since 1970: nothing in the tree is younger."""
    warnings: list[Diagnostic]
    failed: list[str]
    """Scriptlets that failed and were allowed to."""
    differs: list[str] | None
    """With `check_reproducible` the paths in which a second build differs."""


class _DistroSource(TypedDict, total=False):
    url: str
    """Where a mirror is, without the suite."""
    suite: str
    components: list[str]
    release: str
    """What the suite called itself."""


class DistroSource(_DistroSource):
    """Where a distribution came from; of a mirror with `url`, `suite`, `components` and `release`."""

    kind: str
    """`iso`, `directory` or `mirror`."""
    size: int
    sha256: str | None
    volume: str | None
    media: str
    """`undamaged` when the medium carries a checksum, which fits; else `none`."""


class Repository(TypedDict):
    """What is known of a repository without reading it."""

    id: str
    path: str
    packages: int
    size: int
    groups: list[str]
    environments: list[str]
    modules: list[str]


class DistroKey(TypedDict):
    """A key that packages have to be signed with."""

    fingerprint: str
    user: str
    file: str | None
    """Where it lies in the tree."""
    pinned: bool
    """Whether it was given with `keys`."""
    text: str


class _Distribution(TypedDict, total=False):
    codename: str
    """Of Debian and Ubuntu."""


class Distribution(_Distribution):
    """What is known of a distribution."""

    schema: str
    id: str
    title: str
    version: str
    major: int
    arch: str
    platform: str
    timestamp: int | None
    source: DistroSource
    repositories: list[Repository]
    keys: list[DistroKey]


class DistroInfo(TypedDict):
    """A distribution of a store."""

    name: str
    added: str
    image: str
    size: int
    distribution: Distribution


class DistroAdded(TypedDict):
    """What adding a distribution did."""

    name: str
    image: str
    tree: str
    changed: bool
    files: int
    read_bytes: int
    stored_bytes: int
    distribution: Distribution
    notes: list[str]


class DistroFault(TypedDict):
    """Something that is wrong in a distribution."""

    path: str
    package: str | None
    message: str


class DistroReport(TypedDict):
    """What the verification of a distribution found."""

    name: str
    packages: int
    bytes: int
    signatures: str
    """`checked`, or why signatures were not."""
    faults: list[DistroFault]


class Loss(TypedDict):
    """What a filesystem or a format cannot hold."""

    feature: str
    count: int
    example: str


class Extracted(TypedDict):
    """What an extraction did."""

    entries: int
    bytes: int
    verified: bool
    losses: list[Loss]


class Sent(TypedDict):
    """What was sent to many: symbols, messages, and what came back."""

    first: int
    parity: int
    again: int
    messages: int
    reports: int
    refused: int


class Seen(TypedDict):
    """A node that an image was sent to; who has all of it is `done`."""

    name: str
    standing: Literal["receiving", "laggard", "detached", "lost", "done", "failed"]
    whole: int
    loss: float
    rate: float
    backlog: int
    dropped: int


class SendReport(TypedDict):
    """How it went to send an image to many."""

    image: str
    stage: Literal["waiting", "first_pass", "repair", "lingering", "over"]
    rate: float
    """Bits in a second, with headers."""
    limited_by: Optional[str]
    """The node whose loss, or disk, kept the rate from rising."""
    stripes: int
    bytes: int
    seconds: float
    sent: Sent
    receivers: list[Seen]


class Received(TypedDict):
    """What came by multicast."""

    symbols: int
    useless: int
    no_room: int
    refused: int
    forgotten: int
    restored: int


class Delivered(TypedDict):
    """An image that was sent to many, and is here."""

    image: str
    name: str
    generation: int
    received: Received
    instead: Optional[str]
    """Why the rest came from mirrors, if it did."""
    extracted: Extracted
    updated: Optional[Updated]
    """What changed, where a tree was updated."""


class Listed(TypedDict):
    """How many entries, and the first 100 of them."""

    count: int
    paths: list[str]


class Verdict(TypedDict):
    """What an update asks of the machine."""

    need: str
    reasons: list[dict[str, Any]]
    services: list[dict[str, Any]]
    daemon_reload: bool
    processes: list[dict[str, Any]]
    running: bool


class Updated(TypedDict):
    """What an update did, or would do."""

    image: str
    dry_run: bool
    resumed: bool
    entries: int
    created: int
    replaced: int
    metadata: int
    deleted: int
    unchanged: int
    bytes: int
    verified: bool
    kept: Listed
    local_kept: Listed
    local_deleted: Listed
    losses: list[Loss]
    actions: list[dict[str, Any]]
    verdict: Verdict


class ImageInfo(TypedDict):
    """What is known of an image."""

    image: str
    tree: str
    parent: Optional[str]
    release: Optional[Release]
    totals: dict[str, int]
    facts: Optional[dict[str, Any]]
    policy: Optional[dict[str, Any]]
    names: Optional[dict[str, Any]]
    tags: list[str]
    pages: int
    layout: Optional[str]


class _Package(TypedDict):
    kind: str
    name: str
    version: str
    arch: str


class Package(_Package, total=False):
    """An installed package of rpm or dpkg; what it does not say is left out."""

    epoch: int
    release: str
    license: str
    source: str
    vendor: str
    header_sha256: str
    module: str


class Replaced(TypedDict):
    """A package before and after."""

    old: Package
    new: Package


class PackageChanges(TypedDict):
    """How the packages of two images differ."""

    added: list[Package]
    removed: list[Package]
    changed: list[Replaced]


class Imported(TypedDict):
    """What an import did."""

    name: str
    generation: int
    image: str
    tree: str
    changed: bool
    format: str
    layers: int
    entries: int
    read_bytes: int
    stored_bytes: int
    implied: int
    replaced: int
    secrets: list[Finding]
    secrets_count: int
    removed: int
    notes: list[str]


class Verified(TypedDict):
    """What was verified of an image."""

    image: str
    tree: str
    name: Optional[str]
    generation: Optional[int]
    key: Optional[str]
    entries: int
    pages: int
    chunks: int
    bytes: int
    blocks: int


class Exported(TypedDict):
    """What an export did; `digest` is that of the manifest of an OCI image."""

    format: str
    entries: int
    bytes: int
    losses: list[Loss]
    long_paths: list[str]
    long_paths_count: int
    digest: Optional[str]


class Derivation(TypedDict):
    """A file that was derived from an image; `made` says whether it was made now."""

    image: str
    kind: str
    params: str
    made: bool
    size: int
    hash: str
    stored_bytes: int
    losses: list[Loss]


class _Diagnostic(TypedDict):
    code: str
    severity: str
    path: str
    line: int
    column: int
    message: str
    hint: Optional[str]


class Diagnostic(_Diagnostic, total=False):
    """Something that is wrong with a document; with `document` when it is wrong in one that is extended."""

    document: str
