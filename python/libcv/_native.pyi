"""The core of libcv."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, Optional, Protocol, TypeVar, Union, final

from typing_extensions import Self

from ._types import (
    Action,
    Captured,
    Collected,
    Delivered,
    Derivation,
    Diagnostic,
    DistroAdded,
    DistroInfo,
    DistroReport,
    DoctorReceived,
    DoctorSent,
    Event,
    Examined,
    Exported,
    Extracted,
    ImageInfo,
    Imported,
    NameInfo,
    NodeInfo,
    Logged,
    Made,
    Package,
    PackageChanges,
    Release,
    Pulled,
    Repaired,
    Report,
    SendReport,
    Synced,
    Token,
    Updated,
    Verified,
)

_StrPath = Union[str, bytes, os.PathLike[str], os.PathLike[bytes]]
_Progress = Optional[Callable[[Event], object]]
_T_co = TypeVar("_T_co", covariant=True)

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

_File = Union[int, _HasFileno, _StrPath]

__all__ = ["BuildOptions", "Change", "Image", "Job", "Layout", "MulticastSource", "Plan", "Role", "Row", "Rows", "Server", "Store", "__version__", "add_distro", "add_distro_job", "build_image", "build_image_job", "configure", "connect_job", "distro_info", "doctor_http", "doctor_multicast_receive", "doctor_multicast_receive_job", "doctor_multicast_send", "doctor_multicast_send_job", "edit_image", "edit_image_job", "error_kinds", "generate_key", "list_distros", "main", "multicast_receive", "multicast_receive_job", "remove_distro", "update_image", "update_image_job", "verify_distro", "verify_distro_job"]

__version__: str
"""The version of the library."""

def add_distro(
    store: Store,
    place: _StrPath,
    *,
    name: Optional[str] = None,
    keys: Optional[Sequence[_StrPath]] = None,
    sha256: Optional[str] = None,
    components: Optional[Sequence[str]] = None,
    threads: int = 0,
    progress: _Progress = None,
) -> DistroAdded:
    """Adds a distribution from its ISO image, from a directory that holds its repositories, or from a mirror.

    A mirror is that of Debian or Ubuntu, named with its suite: `http://mirror.example/debian/dists/bookworm`; of it `components`
    are taken, `main` without them, and it wants `keys`.
    Without a `name` it is called what it calls itself, such as `rocky-9.4`. With `keys`, files, its packages have to be
    signed with one of these, in place of those that lie in it. `sha256` is what a medium has to have, as its publisher
    prints it: without it the checksum that the medium carries is looked at, which takes longer. Raises `Integrity` when it is damaged, `UnsafeInput` when
    something in it leads out of it, `Conflict` when another distribution has the name: nothing is published then.
    """

def add_distro_job(
    store: Store,
    place: _StrPath,
    *,
    name: Optional[str] = None,
    keys: Optional[Sequence[_StrPath]] = None,
    sha256: Optional[str] = None,
    components: Optional[Sequence[str]] = None,
    threads: int = 0,
) -> Job[DistroAdded]:
    """`add_distro` in the background."""

def list_distros(store: Store) -> list[DistroInfo]:
    """The distributions of a store, by name."""

def connect_job(
    url: str,
    secret: str,
    policy: _StrPath,
    *,
    state: Optional[_StrPath] = None,
    mirrors: Optional[Sequence[str]] = None,
    ca: Optional[_StrPath] = None,
    identity: Optional[tuple[_StrPath, _StrPath]] = None,
    proxy: Optional[str] = None,
) -> Job[None]:
    """Starts to be a node: asks the server at `url` for orders, and does what the policy file allows, until the job is cancelled.
    `secret` is what `Store.add_node` gave. The other keywords are those of `Store.open`."""

def multicast_receive(
    target: _StrPath,
    interface: str,
    *,
    group: Optional[str] = None,
    name: Optional[str] = None,
    key_file: Optional[_StrPath] = None,
    keys: Optional[Sequence[_StrPath]] = None,
    mirrors: Optional[Sequence[str]] = None,
    ca: Optional[_StrPath] = None,
    identity: Optional[tuple[_StrPath, _StrPath]] = None,
    proxy: Optional[str] = None,
    state: Optional[_StrPath] = None,
    update: bool = False,
    verify: bool = False,
    no_sync: bool = False,
    progress: _Progress = None,
) -> Delivered:
    """Waits for an image that `Image.multicast` sends, and writes it into `target` while it comes: an empty directory, one that does
    not exist, or one in which this was interrupted. With `update` the tree that is there becomes the image, as with `Image.update`, and only
    what it lacks is received.

    The image is the one called `name`, else the first that is announced on `group`, `"ADDR:PORT"`. With `key_file` only what is made with
    the key in it is taken, without it only what is sent without a key. With `keys`, public ones in files, it has to be signed by one of
    them, and with `state`, a directory, it is not older than what was seen before. What multicast does not bring is read from `mirrors`, each `"URL"` or `"URL=WEIGHT"`; `ca`, `identity` and `proxy` are those of
    `Store.open`.

    Raises `NotFound` when there is no such interface, `Network` when the session ends before everything is here, `Integrity` when nobody
    that is trusted signed it; else as `Image.extract`.
    """

def multicast_receive_job(
    target: _StrPath,
    interface: str,
    *,
    group: Optional[str] = None,
    name: Optional[str] = None,
    key_file: Optional[_StrPath] = None,
    keys: Optional[Sequence[_StrPath]] = None,
    mirrors: Optional[Sequence[str]] = None,
    ca: Optional[_StrPath] = None,
    identity: Optional[tuple[_StrPath, _StrPath]] = None,
    proxy: Optional[str] = None,
    state: Optional[_StrPath] = None,
    update: bool = False,
    verify: bool = False,
    no_sync: bool = False,
) -> Job[Delivered]:
    """`multicast_receive` in the background."""

def distro_info(store: Store, name: str) -> DistroInfo:
    """What is known of a distribution. Raises `NotFound` with the nearest names."""

def verify_distro(store: Store, name: str, *, threads: int = 0, progress: _Progress = None) -> DistroReport:
    """Checks each package: its checksum, and its signature where rpm is installed. What is wrong is in `faults`."""

def verify_distro_job(store: Store, name: str, *, threads: int = 0) -> Job[DistroReport]:
    """`verify_distro` in the background."""

def remove_distro(store: Store, name: str) -> None:
    """Removes a distribution. What only it needs stays until it is collected."""

def build_image(
    store: Store,
    name: str,
    role: Role,
    *,
    distro: Optional[str] = None,
    image: Optional[str] = None,
    options: Optional[BuildOptions] = None,
    progress: _Progress = None,
) -> Made:
    """Makes the next generation of `name` from the distribution `distro`, or lays the role over the image `image`.

    Needs root and the package manager of the distribution. Raises `NotFound` for packages that are not there, `Conflict`
    when they do not go together, `Integrity` when one is damaged or not signed, `PluginError` when a scriptlet or a script
    failed, `Limit` when time is over, `Unsupported` where it cannot be done: nothing is published then.
    """

def build_image_job(
    store: Store,
    name: str,
    role: Role,
    *,
    distro: Optional[str] = None,
    image: Optional[str] = None,
    options: Optional[BuildOptions] = None,
) -> Job[Made]:
    """`build_image` in the background."""

def update_image(
    store: Store,
    name: str,
    *,
    distro: Optional[str] = None,
    packages: Optional[Sequence[str]] = None,
    role: Optional[Role] = None,
    options: Optional[BuildOptions] = None,
    progress: _Progress = None,
) -> Made:
    """Makes a new generation of `name` out of its newest one: packages as `distro` has them, `packages` besides, another role.

    What is not given is as when the image was built. Raises `Refused` when it was not built and no `distro` is given; else
    as `build_image`.
    """

def update_image_job(
    store: Store,
    name: str,
    *,
    distro: Optional[str] = None,
    packages: Optional[Sequence[str]] = None,
    role: Optional[Role] = None,
    options: Optional[BuildOptions] = None,
) -> Job[Made]:
    """`update_image` in the background."""

def edit_image(
    store: Store,
    image: str,
    command: Sequence[_StrPath],
    *,
    name: Optional[str] = None,
    net: bool = False,
    options: Optional[BuildOptions] = None,
    progress: _Progress = None,
) -> Made:
    """Runs a program as root of the image, confined, and makes what it leaves the next generation of `name`, or of the same name.

    With `net` it sees the network of this machine. Raises `PluginError` when it fails: nothing is published then.
    """

def edit_image_job(
    store: Store,
    image: str,
    command: Sequence[_StrPath],
    *,
    name: Optional[str] = None,
    net: bool = False,
    options: Optional[BuildOptions] = None,
) -> Job[Made]:
    """`edit_image` in the background."""

def configure(
    root: _StrPath, actions: Sequence[Action], *, progress: _Progress = None
) -> list[Literal["unchanged", "created", "changed"]]:
    """Applies actions such as `{"hostname": "n1"}` to the tree at `root`: all of them, or none.

    The result says of each what became of it. Applying the same actions twice changes nothing the second time.
    """

def error_kinds() -> list[tuple[int, str]]:
    """The table of errors: code and name of each kind."""

def generate_key(file: _StrPath) -> str:
    """Makes an Ed25519 key: `file`, which must not exist and which only its owner may read, and `file.pub`.

    Gives the key id, 16 hex digits. Raises `Conflict` when one of the two files exists.
    """

def main(argv: Sequence[str]) -> int:
    """Runs `cvctl`: `argv[0]` is its name. Gives the number it would exit with."""

def doctor_http(
    urls: Sequence[str],
    *,
    ca: Optional[_StrPath] = None,
    identity: Optional[tuple[_StrPath, _StrPath]] = None,
    proxy: Optional[str] = None,
) -> list[Examined]:
    """Asks servers of a store, each alone, what is wrong with them; that is no error."""

def doctor_multicast_send(
    interface: str,
    *,
    group: Optional[str] = None,
    receivers: int = 0,
    time: Union[str, float, None] = None,
    progress: _Progress = None,
) -> DoctorSent:
    """Finds out why multicast does not arrive: sends over a network interface to the hosts where `doctor_multicast_receive` runs, by each way,
    at each length and rate, up to 1 Gbit/s for a third of a second, and says what arrived.

    It begins when so many `receivers` are there, or after `time` (ten seconds: a number of them, or a text such as `"1min"`; an hour at
    most). `group` is `"ADDR:PORT"`.

    What is wrong with the network is no error: images can be sent as it is when no verdict is `"bad"`, in `findings` and in those
    of each of the `receivers`. Raises `NotFound` when there is no such interface, `Invalid` for an address that is none of a group.
    """

def doctor_multicast_send_job(
    interface: str, *, group: Optional[str] = None, receivers: int = 0, time: Union[str, float, None] = None
) -> Job[DoctorSent]:
    """`doctor_multicast_send` in the background."""

def doctor_multicast_receive(
    interface: str,
    *,
    group: Optional[str] = None,
    time: Union[str, float, None] = None,
    progress: _Progress = None,
) -> DoctorReceived:
    """Listens to what `doctor_multicast_send` sends on another host, tells it what arrives, and says what is wrong here.

    The sender is waited for as long as `time` (ten seconds), and so long at least questions of an IGMP querier are listened for, which
    takes 130 seconds to be sure. The rest is as of `doctor_multicast_send`; `sender` is `None` when nothing came.
    """

def doctor_multicast_receive_job(
    interface: str, *, group: Optional[str] = None, time: Union[str, float, None] = None
) -> Job[DoctorReceived]:
    """`doctor_multicast_receive` in the background."""

@final
class Server:
    """A store that is handed out over HTTP, until it is stopped; `with Server(...) as server:` stops it at the end."""

    def __new__(
        cls,
        store: Store,
        listen: str,
        *,
        tls: Optional[tuple[_StrPath, _StrPath]] = None,
        client_ca: Optional[_StrPath] = None,
        on_access: Optional[Callable[[dict[str, Any]], object]] = None,
    ) -> Server:
        """Begins to serve at `listen`, such as `"[::]:7787"`; port 0 takes any. `tls` is the PEM files of certificate and key, `client_ca`
        that of authorities whose clients alone are served. `on_access` is called with each answer, from threads of the server.

        Raises `Busy` when the address is taken.
        """
    @staticmethod
    def mirror(
        directory: _StrPath,
        listen: str,
        origin: str,
        *,
        ca: Optional[_StrPath] = None,
        identity: Optional[tuple[_StrPath, _StrPath]] = None,
        tls: Optional[tuple[_StrPath, _StrPath]] = None,
        client_ca: Optional[_StrPath] = None,
        on_access: Optional[Callable[[dict[str, Any]], object]] = None,
    ) -> Server:
        """Makes a directory the mirror of a server and serves it when all is there and whole; from then on it follows.

        Raises `Conflict` when another store is there, `Unsupported` when the origin cannot list.
        """
    @property
    def address(self) -> str:
        """Where it listens: `"127.0.0.1:7787"`."""
    def metrics(self) -> str:
        """What it has done, in the text format of Prometheus."""
    def stop(self, grace: Optional[Union[str, float]] = None) -> None:
        """Takes no new connections and lets those that run finish, for 30 seconds unless said otherwise.

        Raises `Timeout` when some were cut off.
        """
    def __enter__(self) -> Server: ...
    def __exit__(self, *error: object) -> None: ...

@final
class Store:
    """A store of images. Usable from any thread; `with Store.open(...) as store:` closes it at the end."""

    @staticmethod
    def init(path: _StrPath) -> Store:
        """Makes a store in a directory, which is made as well, or at `"s3://bucket/prefix"`, given as text; the place
        must be empty.

        Raises `Conflict` when there is a store already, `Refused` when the place is not empty.
        """
    @staticmethod
    def open(
        path: _StrPath,
        *,
        mirrors: Optional[Sequence[str]] = None,
        ca: Optional[_StrPath] = None,
        identity: Optional[tuple[_StrPath, _StrPath]] = None,
        proxy: Optional[str] = None,
        token: Optional[str] = None,
    ) -> Store:
        """Opens the store in a directory, at `"s3://bucket/prefix"`, or, to be read, at `"https://host/path"`, given as text.

        The keywords are for web servers: `mirrors` has the same store, each `"URL"` or `"URL=WEIGHT"`, and none is trusted; `ca` is
        a PEM file of the authorities that servers are believed by, `identity` those of this client's certificate and key. With
        `token`, the secret that `create_token` gave where the store lies, `capture` of its name sends to the server, which publishes.

        Raises `NotFound` when there is none, `Denied` without the right credentials, `Network` when the server cannot be
        reached.
        """
    def close(self) -> None:
        """Closes the store; later calls raise `Misuse`. Its images and jobs stay usable."""
    @property
    def closed(self) -> bool:
        """Whether it was closed."""
    @property
    def uuid(self) -> str:
        """The store's uuid."""
    def images(self) -> list[NameInfo]:
        """The names that have an image, sorted."""
    def create_token(
        self, name: str, *, max_size: Optional[int] = None, expires: Union[str, float, None] = None
    ) -> str:
        """Makes a token, with which somebody far away can send one new generation of `name`; gives its secret, which is told
        this once. At most `max_size` bytes may be sent with it, for as long as `expires` says: seconds, or a text such as `"12h"`.

        Raises `Invalid` for a bad name.
        """
    def tokens(self) -> list[Token]:
        """The tokens, without their secrets, sorted by id."""
    def remove_token(self, id: str) -> None:
        """Removes a token: nothing can be sent with it any more.

        Raises `NotFound` when there is none.
        """
    def add_node(self, name: str) -> str:
        """Makes a node known; gives the secret by which it says who it is, which is told this once.

        Raises `Conflict` when it is known already.
        """
    def nodes(self) -> list[NodeInfo]:
        """The nodes that are known, sorted by name."""
    def remove_node(self, name: str) -> None:
        """Forgets a node, and what it was asked for.

        Raises `NotFound` when there is none.
        """
    def capture_node(
        self,
        node: str,
        name: str,
        *,
        tag: Optional[str] = None,
        exclude: Optional[Sequence[str]] = None,
        max_size: Optional[int] = None,
        patience: Union[str, float, None] = None,
        progress: _Progress = None,
    ) -> Captured:
        """Asks a node, through a server of this store, to send its tree as the next generation of `name`, and waits for the end.
        Lists of the result are cut to what fits into a report. It may send `max_size` bytes at most.

        Raises `Refused` when its policy does not allow it, `Timeout` when it has not come for it within `patience` (two minutes).
        """
    def capture_node_job(
        self,
        node: str,
        name: str,
        *,
        tag: Optional[str] = None,
        exclude: Optional[Sequence[str]] = None,
        max_size: Optional[int] = None,
        patience: Union[str, float, None] = None,
    ) -> Job[Captured]:
        """Starts what `capture_node` does."""
    def update_node(
        self,
        node: str,
        image: str,
        *,
        dry_run: bool = False,
        protect: Optional[Sequence[str]] = None,
        patience: Union[str, float, None] = None,
        progress: _Progress = None,
    ) -> Updated:
        """Asks a node, through a server of this store, to become the image in place, and waits for the end.

        Raises as `capture_node`, and what the node says when it fails.
        """
    def update_node_job(
        self,
        node: str,
        image: str,
        *,
        dry_run: bool = False,
        protect: Optional[Sequence[str]] = None,
        patience: Union[str, float, None] = None,
    ) -> Job[Updated]:
        """Starts what `update_node` does."""
    def log(self, name: str) -> list[Logged]:
        """The generations of a name, newest first."""
    def image(self, reference: Union[str, Image]) -> Image:
        """Opens an image: `name`, `name:tag`, `name@GENERATION` or the first digits of an id.

        Raises `NotFound` with the nearest names, `Conflict` when digits fit several.
        """
    def tag(self, name: str, reference: Union[str, Image], tag: str) -> None:
        """Points `tag` of `name` to an image, which must be one of its generations."""
    def rollback(self, name: str, to: Union[str, Image]) -> Release:
        """Makes a new generation of `name` that points to an older image."""
    def diff(
        self, before: Union[str, Image], after: Union[str, Image], *, progress: _Progress = None
    ) -> list[Change]:
        """What changed from one image to another, in path order."""
    def diff_job(self, before: Union[str, Image], after: Union[str, Image]) -> Job[list[Change]]:
        """`diff` in the background."""
    def signing(self, key: _StrPath) -> Store:
        """The same store, as one that signs generations and derived files with the private key in `key`."""
    def trusting(self, keys: Sequence[_StrPath], *, state: Optional[_StrPath] = None) -> Store:
        """The same store, as one that opens only images whose generation one of the public keys in these files signed.

        With `state`, a directory, it keeps in mind the highest generation of a name or tag that it believed. Its
        `image` raises `Integrity` for what is not signed, and `Stale` for an older generation than was seen before. A
        derived file that none of the keys signed is made again.
        """
    def sign(self, reference: str) -> Release:
        """Adds the signature of this store's key, which `signing` gave it, to a generation that is there."""
    def remove(self, reference: str) -> None:
        """Removes a tag, a generation or a whole name.

        Raises `Refused` for a generation that is the newest or has a tag.
        """
    def check(self, *, read_data: bool = False, progress: _Progress = None) -> Report:
        """Checks the store, with `read_data` every block; faults are in the report."""
    def check_job(self, *, read_data: bool = False) -> Job[Report]:
        """`check` in the background."""
    @staticmethod
    def open_to_repair(path: _StrPath) -> Store:
        """Opens a store to repair it, even if `store.json` is damaged or lost."""
    def gc(
        self,
        *,
        keep_last: Optional[int] = None,
        grace: Union[str, float, None] = None,
        dry_run: bool = False,
        threads: int = 0,
        progress: _Progress = None,
    ) -> Collected:
        """Finds what no image needs, and deletes what was found to be so `grace` ago (seven days).

        `keep_last` removes all but so many of the newest generations of each name, and those with a tag. `grace` is a
        number of seconds or a text such as "12h".
        """
    def gc_job(
        self,
        *,
        keep_last: Optional[int] = None,
        grace: Union[str, float, None] = None,
        dry_run: bool = False,
        threads: int = 0,
    ) -> Job[Collected]:
        """`gc` in the background."""
    def sync(
        self, to: Store, names: Sequence[str] = ..., *, threads: int = 0, progress: _Progress = None
    ) -> Synced:
        """Brings what `to` lacks of these names, or of all, into it.

        Raises `Conflict` when `to` has other generations of a name.
        """
    def sync_job(self, to: Store, names: Sequence[str] = ..., *, threads: int = 0) -> Job[Synced]:
        """`sync` in the background."""
    def mirror(self, to: _StrPath, *, progress: _Progress = None) -> Pulled:
        """Makes a directory an exact copy, object by object: an empty one, or one that is its copy already.

        Raises `Conflict` when another store is there, `Refused` when something else is.
        """
    def mirror_job(self, to: _StrPath) -> Job[Pulled]:
        """`mirror` in the background."""
    def repair(self, source: Store, *, progress: _Progress = None) -> Repaired:
        """Heals what is damaged or lost from another store; `faults` is what is left."""
    def repair_job(self, source: Store) -> Job[Repaired]:
        """`repair` in the background."""
    def capture(
        self,
        root: _StrPath,
        name: str,
        *,
        exclude: Optional[Sequence[str]] = None,
        keep: Optional[Sequence[str]] = None,
        exact: bool = False,
        strict: bool = False,
        paranoid: bool = False,
        tag: Optional[str] = None,
        level: int = 3,
        threads: int = 0,
        state: Optional[_StrPath] = None,
        expect_parent: Optional[int] = None,
        forbid_secrets: bool = False,
        allow_secrets: Optional[Sequence[str]] = None,
        report: Optional[_StrPath] = None,
        layout: Optional[str] = None,
        progress: _Progress = None,
    ) -> Image:
        """Captures the tree at `root` as the next generation of `name`; none is made when nothing changed.

        `exclude` and `keep` are patterns as in .gitignore. `exact` generalises nothing. `strict` fails with
        `Conflict` when a file changes while it is read. `paranoid` reads every file, whatever the last capture saw.
        With `expect_parent` it fails with `Conflict` unless that is the newest generation (0: none yet).
        `forbid_secrets` raises `Refused` before anything is published when a secret is found in a file that none of
        the patterns `allow_secrets` fits.
        What the capture did is in `report` of the image, and in the file `report` with every entry that was left out
        or generalised and every secret, also when they are refused. `layout` is a document that goes with the image,
        such as the `document` of `Layout.capture`.
        """
    def capture_job(
        self,
        root: _StrPath,
        name: str,
        *,
        exclude: Optional[Sequence[str]] = None,
        keep: Optional[Sequence[str]] = None,
        exact: bool = False,
        strict: bool = False,
        paranoid: bool = False,
        tag: Optional[str] = None,
        level: int = 3,
        threads: int = 0,
        state: Optional[_StrPath] = None,
        expect_parent: Optional[int] = None,
        forbid_secrets: bool = False,
        allow_secrets: Optional[Sequence[str]] = None,
        report: Optional[_StrPath] = None,
        layout: Optional[str] = None,
    ) -> Job[Image]:
        """`capture` in the background."""
    def import_tar(
        self,
        file: _File,
        name: str,
        *,
        tag: Optional[str] = None,
        level: int = 3,
        threads: int = 0,
        exact: bool = False,
        expect_parent: Optional[int] = None,
        max_entries: Optional[int] = None,
        max_metadata: Optional[int] = None,
        max_data: Optional[int] = None,
        forbid_secrets: bool = False,
        allow_secrets: Optional[Sequence[str]] = None,
        report: Optional[_StrPath] = None,
        progress: _Progress = None,
    ) -> Image:
        """Imports an archive, compressed or not, as the next generation of `name`.

        What the import did is in `report` of the image. Raises `Integrity` for a damaged archive, `UnsafeInput` for an
        entry that breaks a rule, `Limit` beyond `max_entries`, `max_metadata` or `max_data`. Secrets are as in `capture`,
        and the file `report` has all of them, also when they are refused.
        """
    def import_tar_job(
        self,
        file: _File,
        name: str,
        *,
        tag: Optional[str] = None,
        level: int = 3,
        threads: int = 0,
        exact: bool = False,
        expect_parent: Optional[int] = None,
        max_entries: Optional[int] = None,
        max_metadata: Optional[int] = None,
        max_data: Optional[int] = None,
        forbid_secrets: bool = False,
        allow_secrets: Optional[Sequence[str]] = None,
        report: Optional[_StrPath] = None,
    ) -> Job[Image]:
        """`import_tar` in the background."""
    def import_image(
        self,
        path: _StrPath,
        name: str,
        *,
        tag: Optional[str] = None,
        level: int = 3,
        threads: int = 0,
        exact: bool = False,
        expect_parent: Optional[int] = None,
        reference: Optional[str] = None,
        platform: Optional[str] = None,
        max_entries: Optional[int] = None,
        max_metadata: Optional[int] = None,
        max_data: Optional[int] = None,
        forbid_secrets: bool = False,
        allow_secrets: Optional[Sequence[str]] = None,
        report: Optional[_StrPath] = None,
        progress: _Progress = None,
    ) -> Image:
        """Imports what is at `path` as the next generation of `name`; what it is is told by its content.

        That is a tar archive, an OCI layout (a directory, or one in a plain tar archive), an archive of `docker save`,
        or a squashfs. Of a layout with several images, `reference` is the name of one, and `platform` such as
        `linux/arm64`; else the one for this machine is taken. What the import did is in `report` of the image, and in the
        file `report` with all secrets, also when they are refused.
        Raises `Integrity` for a wrong digest, `UnsafeInput` for what breaks a rule, `Unsupported` for what is not read.
        """
    def import_image_job(
        self,
        path: _StrPath,
        name: str,
        *,
        tag: Optional[str] = None,
        level: int = 3,
        threads: int = 0,
        exact: bool = False,
        expect_parent: Optional[int] = None,
        reference: Optional[str] = None,
        platform: Optional[str] = None,
        max_entries: Optional[int] = None,
        max_metadata: Optional[int] = None,
        max_data: Optional[int] = None,
        forbid_secrets: bool = False,
        allow_secrets: Optional[Sequence[str]] = None,
        report: Optional[_StrPath] = None,
    ) -> Job[Image]:
        """`import_image` in the background."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, *_args: Union[type[BaseException], BaseException, TracebackType, None]
    ) -> None: ...

@final
class Image:
    """An image of a store. Images are equal when their ids are."""

    @property
    def id(self) -> str:
        """The image id: 64 hex digits."""
    @property
    def tree_id(self) -> str:
        """The tree id, which equal trees have in common."""
    @property
    def parent(self) -> Optional[str]:
        """The id of the image that this one was made from."""
    @property
    def name(self) -> Optional[str]:
        """The name through which it was opened."""
    @property
    def generation(self) -> Optional[int]:
        """The generation through which it was opened."""
    @property
    def key(self) -> Optional[str]:
        """The id of the key that signed it; `None` when the store was asked for no keys."""
    @property
    def report(self) -> Union[Captured, Imported, None]:
        """What the capture or the import did that gave this object."""
    def info(self) -> ImageInfo:
        """What is known of the image."""
    def ls(self, path: _StrPath = ..., *, recursive: bool = False) -> Rows:
        """The entry at `path`, and if it is a directory the entries in it, with `recursive` all beneath it."""
    def cat(self, path: _StrPath) -> bytes:
        """The content of a regular file."""
    def cat_to(self, path: _StrPath, file: _File) -> None:
        """Writes the content of a regular file to a path, an open file or a file descriptor."""
    def export_tar(
        self,
        file: _File,
        *,
        compression: Literal["zstd", "gzip", "none"] = "zstd",
        level: int = 0,
        progress: _Progress = None,
    ) -> Exported:
        """Writes the image as an archive; the same image and options give the same bytes."""
    def export_tar_job(
        self, file: _File, *, compression: Literal["zstd", "gzip", "none"] = "zstd", level: int = 0
    ) -> Job[Exported]:
        """`export_tar` in the background."""
    def verify(self, *, threads: int = 0, progress: _Progress = None) -> Verified:
        """Reads all of the image and compares it with its hashes.

        Raises `Integrity` when something is missing or damaged.
        """
    def verify_job(self, *, threads: int = 0) -> Job[Verified]:
        """`verify` in the background."""
    def export(
        self,
        path: _StrPath,
        format: Literal["tar", "oci", "oci-archive", "squashfs", "erofs", "cpio"],
        *,
        compression: Optional[Literal["zstd", "gzip", "none"]] = None,
        level: int = 0,
        reference: Optional[str] = None,
        created: Optional[int] = None,
        progress: _Progress = None,
    ) -> Exported:
        """Writes the image to `path`, which must not exist; the same image and options give the same bytes.

        What the format cannot hold is in `losses`. By default tar and cpio are compressed as the name ends (`.zst`,
        `.gz`), OCI and squashfs with zstd. `reference` and `created` are name and time of an OCI image.
        """
    def export_job(
        self,
        path: _StrPath,
        format: Literal["tar", "oci", "oci-archive", "squashfs", "erofs", "cpio"],
        *,
        compression: Optional[Literal["zstd", "gzip", "none"]] = None,
        level: int = 0,
        reference: Optional[str] = None,
        created: Optional[int] = None,
    ) -> Job[Exported]:
        """`export` in the background."""
    def derive(
        self,
        kind: Literal["squashfs", "erofs", "cpio"],
        path: Optional[_StrPath] = None,
        *,
        compression: Optional[Literal["zstd", "gzip", "none"]] = None,
        threads: int = 0,
        work: Optional[_StrPath] = None,
        progress: _Progress = None,
    ) -> Derivation:
        """Makes a file of the image once and keeps it in the store; writes it to `path` if that is given.

        By default it is compressed with zstd, and erofs not at all. `work` is where a squashfs is made before it goes
        into the store.
        """
    def derive_job(
        self,
        kind: Literal["squashfs", "erofs", "cpio"],
        path: Optional[_StrPath] = None,
        *,
        compression: Optional[Literal["zstd", "gzip", "none"]] = None,
        threads: int = 0,
        work: Optional[_StrPath] = None,
    ) -> Job[Derivation]:
        """`derive` in the background."""
    def extract(
        self,
        target: _StrPath,
        *,
        verify: bool = False,
        accept_loss: bool = False,
        threads: int = 0,
        no_sync: bool = False,
        progress: _Progress = None,
    ) -> Extracted:
        """Extracts into a directory, which is made if need be and must hold nothing but empty directories.

        `verify` reads everything back and compares. Raises `Unsupported` with the list of what the filesystem cannot
        hold, unless `accept_loss`. `no_sync` does not wait for the medium: a power cut soon after may leave files without content.
        """
    def extract_job(
        self,
        target: _StrPath,
        *,
        verify: bool = False,
        accept_loss: bool = False,
        threads: int = 0,
        no_sync: bool = False,
    ) -> Job[Extracted]:
        """`extract` in the background."""
    def update(
        self,
        target: _StrPath,
        *,
        local: Literal["keep", "delete"] = "keep",
        dry_run: bool = False,
        paranoid: bool = False,
        protect: Sequence[str] = ...,
        exact: bool = False,
        verify: bool = False,
        accept_loss: bool = False,
        threads: int = 0,
        no_sync: bool = False,
        progress: _Progress = None,
    ) -> Updated:
        """Updates the tree at `target` to this image: only what differs is written, and what runs keeps running.

        The node's own configuration and what `protect` names are neither overwritten nor deleted, unless `exact`, which
        protects only `protect`. `local` says what becomes of files that no image brought. `dry_run` writes nothing and
        lists the actions. `verdict` says what it asks of the machine. An update that was interrupted is finished by
        repeating it.
        """
    def update_job(
        self,
        target: _StrPath,
        *,
        local: Literal["keep", "delete"] = "keep",
        dry_run: bool = False,
        paranoid: bool = False,
        protect: Sequence[str] = ...,
        exact: bool = False,
        verify: bool = False,
        accept_loss: bool = False,
        threads: int = 0,
        no_sync: bool = False,
    ) -> Job[Updated]:
        """`update` in the background."""
    def multicast(
        self,
        interface: str,
        *,
        group: Optional[str] = None,
        receivers: int = 0,
        wait: Union[str, float, None] = None,
        rate: Union[str, float, None] = None,
        mode: Literal["crc", "tag", "aead"] = "crc",
        key_file: Optional[_StrPath] = None,
        progress: _Progress = None,
    ) -> SendReport:
        """Sends the image over a network interface to all nodes that ask for it, until nobody wants anything any more.

        It begins when so many `receivers` are there, or after `wait` (ten seconds: a number of them, or a text such as `"1min"`) since the
        first one. `group` is `"ADDR:PORT"`, `rate` bits in a second, as a number or as `"940Mbit"`, or `"auto"`. With the mode `tag` nobody
        can add anything without the key in `key_file`, 32 bytes or 64 hex digits; with `aead` nobody can read it either.

        Whoever has not got all of it is no error: `receivers` of the result says of each how it stands. Raises `NotFound` when there is
        no such interface, `Invalid` for an address that is none of a group, and for a mode without its key.
        """
    def multicast_job(
        self,
        interface: str,
        *,
        group: Optional[str] = None,
        receivers: int = 0,
        wait: Union[str, float, None] = None,
        rate: Union[str, float, None] = None,
        mode: Literal["crc", "tag", "aead"] = "crc",
        key_file: Optional[_StrPath] = None,
    ) -> Job[SendReport]:
        """`multicast` in the background. `Job.report` is how it goes, once a second."""
    def diff_tree(
        self,
        tree: _StrPath,
        *,
        exact: bool = False,
        protect: Sequence[str] = ...,
        threads: int = 0,
        progress: _Progress = None,
    ) -> list[Change]:
        """What differs between the image and a tree on disk, byte by byte; what only the tree has is added.

        What a capture leaves out is left out, unless `exact`.
        """
    def diff_tree_job(
        self, tree: _StrPath, *, exact: bool = False, protect: Sequence[str] = ..., threads: int = 0
    ) -> Job[list[Change]]:
        """`diff_tree` in the background."""
    def packages(self, *, progress: _Progress = None) -> list[Package]:
        """The packages that are installed in the image by rpm and by dpkg, sorted by name.

        Raises `NotFound` when it has no package database, `Unsupported` when that is of a kind that cannot be read (bdb,
        ndb). The database of rpm is copied for that into `TMPDIR`, else `/var/tmp`.
        """
    def diff_packages(self, newer: Image, *, progress: _Progress = None) -> PackageChanges:
        """How the packages of `newer` differ from those of this image."""
    def sbom(self, format: Literal["cyclonedx", "spdx"], *, progress: _Progress = None) -> str:
        """The bill of materials of the image, as JSON: CycloneDX 1.5 or SPDX 2.3.

        The same image opened by the same generation gives the same text.
        """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Rows(Iterator[Row]):
    """The entries of a listing."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Row: ...
    def __length_hint__(self) -> int: ...

@final
class Row:
    """An entry of an image."""

    @property
    def path(self) -> str:
        """The path from the root, as `os.fsdecode` gives it."""
    @property
    def kind(self) -> Literal["file", "directory", "link", "character", "block", "fifo"]:
        """What it is."""
    @property
    def mode(self) -> int:
        """`st_mode`: kind and permissions."""
    @property
    def uid(self) -> int:
        """Numeric owner."""
    @property
    def gid(self) -> int:
        """Numeric group."""
    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds since the epoch."""
    @property
    def size(self) -> int:
        """Size of a regular file in bytes, else 0."""
    @property
    def target(self) -> Optional[str]:
        """Target of a symbolic link."""
    @property
    def device(self) -> Optional[tuple[int, int]]:
        """Major and minor number of a device."""
    @property
    def links(self) -> Optional[str]:
        """What the names of one file with several have in common."""
    @property
    def torn(self) -> bool:
        """Whether the file changed while it was read."""
    @property
    def flags(self) -> int:
        """Flags such as immutable, as `FS_IOC_GETFLAGS` gives them."""
    @property
    def xattrs(self) -> dict[str, Optional[bytes]]:
        """Extended attributes; `None` for a value over 1,024 bytes."""

@final
class Change:
    """A path that two images do not have alike."""

    @property
    def path(self) -> str:
        """The path from the root, as `os.fsdecode` gives it."""
    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """What happened to it."""
    @property
    def fields(self) -> list[str]:
        """What of it changed: kind, mode, owner, mtime, size, content, target, device, xattrs, flags, links, torn."""
    @property
    def kept(self) -> Optional[str]:
        """Of a tree: why an update would leave it alone; `None` when it would not."""

@final
class Layout:
    """A layout document that is right in itself."""

    @staticmethod
    def load(path: _StrPath, *, search: Sequence[_StrPath] = ...) -> Layout:
        """Reads a document from a file. What it extends lies beside it, or in one of the directories of `search`.

        Raises `Invalid` with everything that is wrong in `detail["diagnostics"]`.
        """
    @staticmethod
    def parse(document: Union[str, bytes], name: str = "layout") -> Layout:
        """Reads a document in YAML or JSON; `name` stands for it in messages."""
    @staticmethod
    def check(document: Union[str, bytes], name: str = "layout") -> list[Diagnostic]:
        """Everything that is wrong with a document that extends no other; empty when nothing is."""
    @staticmethod
    def check_file(path: _StrPath, *, search: Sequence[_StrPath] = ...) -> list[Diagnostic]:
        """Everything that is wrong with a document in a file and with what it extends, as `load` finds it.

        A mistake in another document than this one has its `document`.
        """
    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON Schema of layout documents."""
    @staticmethod
    def capture(
        disks: Union[_StrPath, Sequence[_StrPath], None] = None,
        *,
        root: Optional[_StrPath] = None,
        name: Optional[str] = None,
        pin: bool = False,
        keep_uuids: bool = False,
    ) -> dict[str, Any]:
        """Captures a layout from the disks of this machine, or from these disks or image files.

        They are opened for reading. `root` is the system whose fstab, crypttab and command line are read: `/`, or none
        where disks are named. `pin` matches these very disks, `keep_uuids` keeps the UUIDs of partitions and filesystems.
        `document` of the result is YAML with what was observed in comments, `layout` the same as a dict; `notes` and
        `unsupported` say what to read and what the document does not have.
        """
    @property
    def name(self) -> str:
        """The name of the layout."""
    def to_dict(self) -> dict[str, Any]:
        """The document with all that it extends, which `parse` reads again as JSON. The order of its keys means something."""
    @property
    def hash(self) -> str:
        """What stands for the meaning of the document, 64 hex digits: the same however it is written."""
    def plan(
        self,
        disks: Optional[Mapping[str, Union[_StrPath, Sequence[_StrPath]]]] = None,
        *,
        image: Optional[Image] = None,
        hostname: Optional[str] = None,
        seed: Optional[bytes] = None,
        sector: Optional[int] = None,
        resume: Optional[_StrPath] = None,
        inventory: Union[str, bytes, None] = None,
    ) -> Plan:
        """Makes a plan for these disks or image files, by set, one or several each. Writes nothing.

        `image` is what the disks are for, `seed` 16 bytes that identities come from, `sector` the sector size that
        image files get. Sets that are not in `disks` choose theirs by their rules. `resume` is the journal of an
        interrupted apply that the plan is to go on with: identities come from its seed. Raises `Refused` when a disk is
        too small, in use or read-only.

        `inventory` is JSON, shape `cv.inventory/v1`, with the disks of another machine: none of this one is opened, and
        the plan cannot be applied; its token confirms the same plan made on that machine.
        """

@final
class Role:
    """A role that is right in itself, with all that it extends: what is in an image."""

    @staticmethod
    def load(path: _StrPath, *, search: Sequence[_StrPath] = ...) -> Role:
        """Reads a role from a file. What it extends, and files that it names, lie beside it.

        Roles are then looked for in the directories of `search`, then among those that come with libcv. Raises `Invalid`
        with everything that is wrong in `detail["diagnostics"]`.
        """
    @staticmethod
    def find(name: str, *, search: Sequence[_StrPath] = ...) -> Role:
        """Reads a role by its name, such as `node`, or from a file: what has a `/` or an ending in it is one."""
    @staticmethod
    def find_all(names: Sequence[str], *, search: Sequence[_StrPath] = ...) -> Role:
        """Several roles, each as for `find`, as one that extends them, in this order."""
    @staticmethod
    def parse(document: Union[str, bytes], name: str = "role") -> Role:
        """Reads a role in YAML or JSON; `name` stands for it in messages."""
    @staticmethod
    def check(document: Union[str, bytes], name: str = "role") -> list[Diagnostic]:
        """Everything that is wrong with a role; empty when nothing is."""
    @staticmethod
    def check_file(path: _StrPath, *, search: Sequence[_StrPath] = ...) -> list[Diagnostic]:
        """Everything that is wrong with a role in a file and with what it extends, as `load` finds it.

        A mistake in another document than this one has its `document`.
        """
    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON Schema of roles."""
    @property
    def name(self) -> str:
        """The name of the role."""
    @property
    def digest(self) -> str:
        """What stands for the meaning of the role, 64 hex digits: the same however it is written."""
    def to_dict(self, system: Optional[str] = None) -> dict[str, Any]:
        """The role with all that it extends, which `parse` reads again as JSON.

        With `system`, such as `el9`, `debian12`, `ubuntu24.04`, only what it says of that.
        """
    def to_yaml(self) -> str:
        """The same as YAML, as a person would write it."""

@final
class BuildOptions:
    """How an image is made, for `build_image`, `update_image` and `edit_image`."""

    def __new__(
        cls,
        *,
        tag: Optional[str] = None,
        dry_run: bool = False,
        check_reproducible: bool = False,
        work: Optional[_StrPath] = None,
        time_limit: Union[str, float, None] = None,
        silence: Union[str, float, None] = None,
        environment: Optional[Mapping[str, str]] = None,
        level: int = 3,
        threads: int = 0,
        expect_parent: Optional[int] = None,
        forbid_secrets: bool = False,
        allow_secrets: Optional[Sequence[str]] = None,
    ) -> Self:
        """`tag` is one for the new generation. A `dry_run` says what would be installed and makes nothing.

        `check_reproducible` makes the tree once more and names the paths that differ, in `differs`. The new root lies in
        `work`, else in the store, or `/var/tmp`. The package manager, or the program, is killed after `time_limit` (two
        hours), and after a `silence` of half an hour: seconds, or a text such as `"10min"`. `environment` is what it sees
        besides. The others are those of `Store.capture`.
        """

@final
class MulticastSource:
    """Where a node gets an image that is sent to many: what `Plan.apply` takes in place of an image."""

    def __new__(
        cls,
        interface: str,
        *,
        group: Optional[str] = None,
        name: Optional[str] = None,
        key_file: Optional[_StrPath] = None,
        keys: Optional[Sequence[_StrPath]] = None,
        mirrors: Optional[Sequence[str]] = None,
        ca: Optional[_StrPath] = None,
        identity: Optional[tuple[_StrPath, _StrPath]] = None,
        proxy: Optional[str] = None,
        state: Optional[_StrPath] = None,
    ) -> Self:
        """The keywords are those of `multicast_receive`. Files are read when the plan is applied."""

@final
class Plan:
    """What a layout means for these disks. `print(plan)` shows it: each disk now and after, what is lost.

    In a notebook it is a picture.
    """

    @staticmethod
    def read_journal(journal: _StrPath) -> dict[str, Any]:
        """The journal of an apply: `plan` is its first line, `steps` says what was begun and what of it is done."""
    @property
    def token(self) -> str:
        """What confirms this plan and no other."""
    def to_dict(self) -> dict[str, Any]:
        """The plan, shape `cv.plan/v1`."""
    def to_svg(self) -> str:
        """The plan as a picture, an SVG document: each disk now and after, what is lost, what is made of partitions."""
    def _repr_html_(self) -> str:
        """The picture, as a notebook shows it."""
    def _repr_svg_(self) -> str:
        """The picture, where HTML is not shown."""
    def apply(
        self,
        image: Union[Image, MulticastSource, None] = None,
        *,
        confirm: str,
        hostname: Optional[str] = None,
        configure: Optional[Sequence[Action]] = None,
        verify: bool = False,
        secrets: Optional[Mapping[str, bytes]] = None,
        backend: Literal["kernel", "offline"] = "kernel",
        journal: Optional[_StrPath] = None,
        resume: bool = False,
        tpm2_device: Optional[str] = None,
        progress: _Progress = None,
    ) -> dict[str, Any]:
        """Makes the disks what the plan says, and deploys `image` on them: WHAT IS ON THEM IS LOST.

        `confirm` is the token of the plan. Without an image the disks are partitioned and formatted only. `configure`
        are further actions on the root, as for `configure()`. `verify` reads everything back.
        `secrets` open the encrypted devices of the layout, by the names that it has for them. The backend `offline` makes
        partitions, arrays and volumes in image files without the kernel, and without an image it needs no root.
        `journal` is a file in which each step is noted before and after it is done; `resume` goes on with the interrupted
        apply of that journal, by a plan that was made with it (`Layout.plan(resume=...)`).
        `tpm2_device` is the TPM for encrypted devices that one opens, as systemd-cryptenroll takes it; without it that of
        this machine. Raises `Refused` for another token, or when a disk is not as it was.

        A `MulticastSource` is an image that is sent to many: it is asked for when the disks are ready, written while it comes, and then
        `delivered` of the result is that of `multicast_receive`. A plan that was made for an image takes no other one. An interface
        that is not there is refused before anything is written.
        """
    def apply_job(
        self,
        image: Union[Image, MulticastSource, None] = None,
        *,
        confirm: str,
        hostname: Optional[str] = None,
        configure: Optional[Sequence[Action]] = None,
        verify: bool = False,
        secrets: Optional[Mapping[str, bytes]] = None,
        backend: Literal["kernel", "offline"] = "kernel",
        journal: Optional[_StrPath] = None,
        resume: bool = False,
        tpm2_device: Optional[str] = None,
    ) -> Job[dict[str, Any]]:
        """`apply` in the background."""

@final
class Job(Generic[_T_co]):
    """Work in the background: an iterator of its events. `with job:` cancels it at the end if it still runs."""

    @property
    def id(self) -> str:
        """The id, as events carry it."""
    @property
    def done(self) -> bool:
        """Whether the work has ended, however it did."""
    @property
    def report(self) -> Optional[_T_co]:
        """What the result looks like so far, of work that says so: `Image.multicast_job` does, once a second. `None` before that, and of other
        work. What was said last stays when the work has ended, however it did."""
    def cancel(self) -> None:
        """Asks the work to end; `result` then raises `Cancelled`, unless it was faster."""
    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits for the end, up to `timeout` seconds; false when it did not come. Ctrl-C ends the wait only."""
    def result(self, timeout: Optional[float] = None) -> _T_co:
        """Waits for the end and gives the result, or raises the error of the work; `Timeout` after `timeout`."""
    def next_event(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event, waited for up to `timeout` seconds. `None` when there was none, or none will come."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, *_args: Union[type[BaseException], BaseException, TracebackType, None]
    ) -> None: ...
    @classmethod
    def __class_getitem__(cls, key: Any) -> Any: ...
