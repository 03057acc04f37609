"""The shapes of what the library gives out as dictionaries."""

from __future__ import annotations

import os
from typing import Any, Optional, TypedDict, Union

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
    torn: list[str]
    scrubbed: list[dict[str, Any]]
    scrubbed_count: int
    notes: list[str]


class Loss(TypedDict):
    """What a filesystem cannot hold."""

    feature: str
    count: int
    example: str


class Extracted(TypedDict):
    """What an extraction did."""

    entries: int
    bytes: int
    verified: bool
    losses: list[Loss]


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


class Imported(TypedDict):
    """What an import did."""

    name: str
    generation: int
    image: str
    tree: str
    changed: bool
    entries: int
    read_bytes: int
    stored_bytes: int
    implied: int
    replaced: int
    notes: list[str]


class Exported(TypedDict):
    """What an export did."""

    entries: int
    bytes: int
    long_paths: list[str]
    long_paths_count: int


class Diagnostic(TypedDict):
    """Something that is wrong with a document."""

    code: str
    severity: str
    path: str
    line: int
    column: int
    message: str
    hint: Optional[str]
