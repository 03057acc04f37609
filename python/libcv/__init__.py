"""Provisions the nodes of a Linux cluster: images, versions, disk layouts, deployment.

    import libcv as cv

    store = cv.Store.open("/srv/images")
    image = store.capture("/", "rocky9", progress=cv.bar())
    image.extract("/mnt/target", verify=True)
"""

from __future__ import annotations

from ._native import (
    BuildOptions,
    Change,
    Image,
    Job,
    Layout,
    Plan,
    Role,
    Row,
    Rows,
    Store,
    __version__,
    build_image,
    build_image_job,
    configure,
    edit_image,
    edit_image_job,
    generate_key,
    update_image,
    update_image_job,
)
from .errors import (
    Bug,
    Busy,
    Cancelled,
    Conflict,
    Denied,
    Error,
    IOFail,
    Integrity,
    Invalid,
    Limit,
    Misuse,
    Network,
    NotFound,
    Partial,
    PluginError,
    Refused,
    Stale,
    Timeout,
    UnsafeInput,
    Unsupported,
)
from .progress import bar

__all__ = [
    "Bug",
    "BuildOptions",
    "Busy",
    "Cancelled",
    "Change",
    "Conflict",
    "Denied",
    "Error",
    "IOFail",
    "Image",
    "Integrity",
    "Invalid",
    "Job",
    "Layout",
    "Limit",
    "Misuse",
    "Network",
    "NotFound",
    "Partial",
    "Plan",
    "PluginError",
    "Refused",
    "Role",
    "Row",
    "Rows",
    "Stale",
    "Store",
    "Timeout",
    "UnsafeInput",
    "Unsupported",
    "__version__",
    "bar",
    "build_image",
    "build_image_job",
    "configure",
    "edit_image",
    "edit_image_job",
    "generate_key",
    "update_image",
    "update_image_job",
]
