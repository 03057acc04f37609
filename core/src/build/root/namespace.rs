//! The thread that is in the namespaces of the root, and the command that it starts there.

use super::{Call, Confined, Inside, caps, mounts};
use crate::error::{Error, Result};
use crate::sys::confine::{self, Last};
use crate::sys::pty::Pty;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Process 1: waits for what it starts, and for orphans, who are its children. A program that is no init would leave them as
/// zombies, and could not be ended by the signals that it expects. The `exit` keeps the shell from becoming the program.
const INIT: [&str; 4] = ["/bin/sh", "-c", "\"$@\"; exit \"$?\"", "init"];
/// What a program in the target is started by; it is the host's.
const CHROOT: [&str; 2] = ["/usr/sbin/chroot", "/target"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Takes the calling thread, which must be ours, into the root and starts the program. Its output comes through pipes, or goes to
/// the terminal. It dies with the thread.
pub(super) fn start(root: &Confined, call: &Call, pty: Option<&mut Pty>) -> Result<Child> {
    mounts::prepare(&root.target)?;
    let steps = mounts::plan(root, &mounts::Host::look());
    confine::leave(root.net)?;
    let mut last = Last::new(mounts::late()?, caps::kept())?;
    mounts::perform(&steps, &root.place)?;
    confine::enter(&root.place)?;
    let mut command = command(call);
    if let Some(pty) = pty {
        let [input, output, error] = pty.take()?;
        command.stdin(input).stdout(output).stderr(error);
        last = last.at_a_terminal();
    }
    last.before(&mut command);
    command.spawn().map_err(|e| Error::io("start in the build root", shown(call).display(), e))
}

fn command(call: &Call) -> Command {
    let mut command = Command::new(INIT[0]);
    command.args(&INIT[1..]);
    if call.inside == Inside::Target {
        command.args(CHROOT);
    }
    command
        .args(&call.arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", if call.inside == Inside::Target { "/root" } else { "/conf" })
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .envs(call.environment.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The program, for messages.
pub(super) fn shown(call: &Call) -> &Path {
    call.arguments.first().map_or(Path::new("nothing"), Path::new)
}
