//! The confined root: where programs of packages run while an image is made.
//!
//! ```text
//!  /            a tmpfs of its own              /target      the new root, all that can be written of the host
//!  /usr         the host's, read-only             proc       of the namespace, parts of it hidden or read-only
//!  /bin …       as on the host                    sys        empty
//!  /etc         a few files, read-only            dev        null zero full random urandom tty, pts, shm
//!  /dist/NAME   repositories, read-only           run tmp    empty
//!  /conf        what the caller gave, read-only
//! ```
//!
//! Namespaces of mounts, processes, network, messages and names; capabilities without `CAP_SYS_ADMIN`; no new privileges; a
//! filter of system calls. A chroot alone is no boundary: a package could mount, reach the host's files through `/proc/1/root`,
//! set the host's name, and leave a process behind. When whoever builds is killed, the kernel kills process 1 of the namespace,
//! with it all others, and with the last of them go the mounts.

mod caps;
mod mounts;
mod namespace;
mod run;

pub use run::{Ended, Inside, Line, Stream};

use crate::error::Result;
use crate::job::Task;
pub use crate::sys::pty::Terminal;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A confined root, in which programs can be run one after the other.
#[derive(Clone, Debug)]
pub struct Confined {
    /// The new root: an existing directory.
    pub target: PathBuf,
    /// An empty directory to mount at, which nobody else sees; beside the target, not in it.
    pub place: PathBuf,
    /// Directories to be found, read-only, at `/dist/NAME`; a name is one component.
    pub dist: Vec<(String, PathBuf)>,
    /// Files to be found, read-only, at `/conf/NAME`.
    pub conf: Vec<(String, Vec<u8>)>,
    /// A directory to be found at `/run/cv-build` of the target, which stays from one run to the next: caches and logs.
    pub work: Option<PathBuf>,
    /// Whether programs reach the host's network.
    pub net: bool,
}

/// One program to run in a confined root.
#[derive(Clone, Debug)]
pub struct Call {
    /// The argument vector; the first one is the path of the program in there.
    pub arguments: Vec<OsString>,
    /// Its environment, beside `PATH`, `HOME=/conf`, `LC_ALL=C.UTF-8` and `TZ=UTC`.
    pub environment: Vec<(OsString, OsString)>,
    /// Which root it sees.
    pub inside: Inside,
    /// It is killed after that.
    pub limit: Duration,
    /// It is killed when it has said nothing for so long.
    pub silence: Duration,
    /// Somebody sits at this terminal: it is the program's, nothing is heard, and silence is no fault.
    pub terminal: Option<Terminal>,
}

impl Call {
    /// A program with its arguments in the host's part of the root, for two hours at most, and half an hour of silence.
    pub fn new<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            inside: Inside::Host,
            limit: Duration::from_secs(7200),
            silence: Duration::from_secs(1800),
            terminal: None,
        }
    }

    /// The same, with the target as its root.
    #[must_use]
    pub fn in_target(self) -> Self {
        Self { inside: Inside::Target, ..self }
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds variables to the environment.
    #[must_use]
    pub fn envs(self, variables: &[(String, String)]) -> Self {
        variables.iter().fold(self, |call, (name, value)| call.env(name, value))
    }
}

impl Confined {
    /// Runs a program and waits for its end and that of all that it started. Each line of its output becomes a log event of
    /// the task and is given to `heard`, in the calling thread. That it failed is no error here.
    ///
    /// # Errors
    /// `Unsupported` without root, `Limit` when time or patience is over (facts: seconds, the last lines), `Cancelled`,
    /// `UnsafeInput` when a directory of the target that is mounted over is a link, else `Io`.
    pub fn run(&self, call: &Call, task: &Task, heard: &mut dyn FnMut(&Line)) -> Result<Ended> {
        run::run(self, call, task, heard)
    }
}
