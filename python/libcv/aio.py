"""The long calls as awaitables.

    import libcv as cv, libcv.aio

    image = await cv.aio.capture(store, "/", "node")

The work runs in threads of the library and the waiting in one of the event loop's; nothing blocks the loop. Cancelling
the awaiting task cancels the work and waits for its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Callable, Optional, TypeVar, Union

from ._native import (
    Change,
    Image,
    Job,
    MulticastSource,
    Plan,
    Role,
    Store,
    add_distro_job,
    build_image_job,
    doctor_multicast_receive_job,
    doctor_multicast_send_job,
    edit_image_job,
    multicast_receive_job,
    update_image_job,
    verify_distro_job,
)
from ._types import (
    Captured,
    Collected,
    Delivered,
    Derivation,
    DistroAdded,
    DistroReport,
    DoctorReceived,
    DoctorSent,
    Event,
    Exported,
    Extracted,
    Made,
    Pulled,
    Repaired,
    Report,
    SendReport,
    StrPath,
    Synced,
    Updated,
    Verified,
)

T = TypeVar("T")

__all__ = [
    "add_distro",
    "apply",
    "build_image",
    "capture",
    "capture_node",
    "check",
    "derive",
    "diff",
    "diff_tree",
    "doctor_multicast_receive",
    "doctor_multicast_send",
    "edit_image",
    "events",
    "export",
    "export_tar",
    "extract",
    "gc",
    "import_image",
    "import_tar",
    "multicast",
    "multicast_receive",
    "repair",
    "result",
    "mirror",
    "sync",
    "update",
    "update_image",
    "update_node",
    "verify",
    "verify_distro",
]

Progress = Optional[Callable[[Event], object]]


async def events(job: Job[Any]) -> AsyncIterator[Event]:
    """The events of a job, as they come."""
    while True:
        event = await asyncio.to_thread(job.next_event)
        if event is None:
            return
        yield event


async def result(job: Job[T], progress: Progress = None) -> T:
    """Waits for a job and gives its result; `progress` is called with each event, in the loop's thread."""
    try:
        if progress is not None:
            async for event in events(job):
                progress(event)
        await asyncio.to_thread(job.wait)
    except BaseException:
        job.cancel()
        await asyncio.shield(asyncio.to_thread(job.wait))
        raise
    return job.result()


async def capture(store: Store, root: StrPath, name: str, *, progress: Progress = None, **options: Any) -> Image:
    """`Store.capture`, with the same options."""
    return await result(store.capture_job(root, name, **options), progress)


async def check(store: Store, *, read_data: bool = False, progress: Progress = None) -> Report:
    """`Store.check`."""
    return await result(store.check_job(read_data=read_data), progress)


async def diff(
    store: Store, before: Union[str, Image], after: Union[str, Image], *, progress: Progress = None
) -> list[Change]:
    """`Store.diff`."""
    return await result(store.diff_job(before, after), progress)


async def gc(store: Store, *, progress: Progress = None, **options: Any) -> Collected:
    """`Store.gc`, with the same options."""
    return await result(store.gc_job(**options), progress)


async def sync(store: Store, to: Store, names: Sequence[str] = (), *, progress: Progress = None, **options: Any) -> Synced:
    """`Store.sync`, with the same options."""
    return await result(store.sync_job(to, names, **options), progress)


async def capture_node(store: Store, node: str, name: str, *, progress: Progress = None, **options: Any) -> Captured:
    """`Store.capture_node`, with the same options."""
    return await result(store.capture_node_job(node, name, **options), progress)


async def update_node(store: Store, node: str, image: str, *, progress: Progress = None, **options: Any) -> Updated:
    """`Store.update_node`, with the same options."""
    return await result(store.update_node_job(node, image, **options), progress)


async def mirror(store: Store, to: StrPath, *, progress: Progress = None) -> Pulled:
    """`Store.mirror`."""
    return await result(store.mirror_job(to), progress)


async def repair(store: Store, source: Store, *, progress: Progress = None) -> Repaired:
    """`Store.repair`."""
    return await result(store.repair_job(source), progress)


async def diff_tree(image: Image, tree: StrPath, *, progress: Progress = None, **options: Any) -> list[Change]:
    """`Image.diff_tree`, with the same options."""
    return await result(image.diff_tree_job(tree, **options), progress)


async def update(image: Image, target: StrPath, *, progress: Progress = None, **options: Any) -> Updated:
    """`Image.update`, with the same options."""
    return await result(image.update_job(target, **options), progress)


async def extract(image: Image, target: StrPath, *, progress: Progress = None, **options: Any) -> Extracted:
    """`Image.extract`, with the same options."""
    return await result(image.extract_job(target, **options), progress)


async def multicast(image: Image, interface: str, *, progress: Progress = None, **options: Any) -> SendReport:
    """`Image.multicast`, with the same options."""
    return await result(image.multicast_job(interface, **options), progress)


async def multicast_receive(target: StrPath, interface: str, *, progress: Progress = None, **options: Any) -> Delivered:
    """`multicast_receive`, with the same options."""
    return await result(multicast_receive_job(target, interface, **options), progress)


async def doctor_multicast_send(interface: str, *, progress: Progress = None, **options: Any) -> DoctorSent:
    """`doctor_multicast_send`, with the same options."""
    return await result(doctor_multicast_send_job(interface, **options), progress)


async def doctor_multicast_receive(interface: str, *, progress: Progress = None, **options: Any) -> DoctorReceived:
    """`doctor_multicast_receive`, with the same options."""
    return await result(doctor_multicast_receive_job(interface, **options), progress)


async def verify(image: Image, *, threads: int = 0, progress: Progress = None) -> Verified:
    """`Image.verify`."""
    return await result(image.verify_job(threads=threads), progress)


async def import_tar(store: Store, file: Any, name: str, *, progress: Progress = None, **options: Any) -> Image:
    """`Store.import_tar`, with the same options."""
    return await result(store.import_tar_job(file, name, **options), progress)


async def export_tar(image: Image, file: Any, *, progress: Progress = None, **options: Any) -> Exported:
    """`Image.export_tar`, with the same options."""
    return await result(image.export_tar_job(file, **options), progress)


async def import_image(store: Store, path: StrPath, name: str, *, progress: Progress = None, **options: Any) -> Image:
    """`Store.import_image`, with the same options."""
    return await result(store.import_image_job(path, name, **options), progress)


async def export(image: Image, path: StrPath, format: Any, *, progress: Progress = None, **options: Any) -> Exported:
    """`Image.export`, with the same options."""
    return await result(image.export_job(path, format, **options), progress)


async def derive(
    image: Image, kind: Any, path: Optional[StrPath] = None, *, progress: Progress = None, **options: Any
) -> Derivation:
    """`Image.derive`, with the same options."""
    return await result(image.derive_job(kind, path, **options), progress)


async def apply(
    plan: Plan, image: Union[Image, MulticastSource, None] = None, *, progress: Progress = None, **options: Any
) -> dict[str, Any]:
    """`Plan.apply`, with the same options."""
    return await result(plan.apply_job(image, **options), progress)


async def add_distro(store: Store, place: StrPath, *, progress: Progress = None, **options: Any) -> DistroAdded:
    """`add_distro`, with the same options."""
    return await result(add_distro_job(store, place, **options), progress)


async def verify_distro(store: Store, name: str, *, progress: Progress = None, threads: int = 0) -> DistroReport:
    """`verify_distro`."""
    return await result(verify_distro_job(store, name, threads=threads), progress)


async def build_image(store: Store, name: str, role: Role, *, progress: Progress = None, **options: Any) -> Made:
    """`build_image`, with the same options."""
    return await result(build_image_job(store, name, role, **options), progress)


async def update_image(store: Store, name: str, *, progress: Progress = None, **options: Any) -> Made:
    """`update_image`, with the same options."""
    return await result(update_image_job(store, name, **options), progress)


async def edit_image(
    store: Store, image: str, command: Sequence[StrPath], *, progress: Progress = None, **options: Any
) -> Made:
    """`edit_image`, with the same options."""
    return await result(edit_image_job(store, image, command, **options), progress)
