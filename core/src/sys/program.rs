//! External programs: a known table, argument vectors only, and never without a time limit.
//!
//! Each runs in its own process group, with the C locale, an explicit `PATH`, stdin closed or fed from memory and
//! descriptors of the host process closed. It dies with the thread that started it. Output is caught; of stderr the
//! last 2 KiB stand in the error.
#![allow(unsafe_code)]

mod table;

pub use table::Program;

use crate::error::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// More stdout than this is not kept.
const STDOUT_LIMIT: usize = 4 << 20;
const STDERR_TAIL: usize = 2048;
/// How often a cancel, and a child without a pidfd, is looked at.
const TICK: Duration = Duration::from_millis(50);

/// One run of a program, ready to go.
#[derive(Clone, Debug)]
pub struct Call {
    program: Program,
    arguments: Vec<OsString>,
    stdin: Vec<u8>,
    limit: Duration,
    root: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

/// What a successful run said.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Its stdout, at most 4 MiB.
    pub stdout: Vec<u8>,
    /// The last 2 KiB of its stderr.
    pub stderr: Vec<u8>,
}

impl Call {
    /// A run without arguments, with a limit of ten minutes.
    #[must_use]
    pub fn new(program: Program) -> Self {
        let limit = Duration::from_secs(600);
        Self { program, arguments: Vec::new(), stdin: Vec::new(), limit, root: None, environment: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Feeds these bytes to its stdin, for data that must not stand on a command line.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets the time after which it is killed.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it with this directory as its root (`chroot`); the program is looked for there.
    #[must_use]
    pub fn in_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Adds a variable to its otherwise fixed environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The argument vector, for people: what a plan shows.
    #[must_use]
    pub fn preview(&self) -> Vec<String> {
        let name = std::iter::once(self.program.name().to_owned());
        name.chain(self.arguments.iter().map(|a| a.to_string_lossy().into_owned())).collect()
    }

    /// Runs it and waits; `stop` is asked about twenty times a second whether to kill it.
    ///
    /// # Errors
    /// `Unsupported` when it is not installed, `Timeout`, `Cancelled`; `Io` when it fails, with command, status and the
    /// end of its stderr as facts.
    pub fn run(&self, stop: &dyn Fn() -> bool) -> Result<Output> {
        let path = match &self.root {
            None => self.program.find()?,
            Some(root) => self.program.find_in(root)?,
        };
        let mut child = self.command(&path)?.spawn().map_err(|e| self.failed(Error::io("run", path.display(), e)))?;
        let (output, ended) = self.attend(&mut child, stop)?;
        self.verdict(output, &ended)
    }

    /// As [`Call::run`], of a program whose exit status says nothing.
    ///
    /// # Errors
    /// As [`Call::run`], but for failure.
    pub fn run_whatever(&self, stop: &dyn Fn() -> bool) -> Result<Output> {
        let path = self.program.find()?;
        let mut child = self.command(&path)?.spawn().map_err(|e| self.failed(Error::io("run", path.display(), e)))?;
        match self.attend(&mut child, stop)? {
            (output, Ended::Exited(_)) => Ok(output),
            (output, ended) => self.verdict(output, &ended),
        }
    }

    /// Runs it and lets `work` write to its stdin, in a thread beside it; gives what `work` gives.
    ///
    /// # Errors
    /// What `work` returns, by which it is killed; else as [`Call::run`].
    pub fn feed<T: Send>(
        &self,
        stop: &dyn Fn() -> bool,
        work: impl FnOnce(&mut File) -> Result<T> + Send,
    ) -> Result<T> {
        let path = self.program.find()?;
        let mut command = self.command(&path)?;
        let mut child =
            command.stdin(Stdio::piped()).spawn().map_err(|e| self.failed(Error::io("run", path.display(), e)))?;
        let end = child.stdin.take().map(OwnedFd::from);
        self.beside(&mut child, end, stop, work)
    }

    /// Runs it and lets `work` read its stdout, in a thread beside it; gives what `work` gives.
    ///
    /// # Errors
    /// As [`Call::feed`].
    pub fn drain<T: Send>(
        &self,
        stop: &dyn Fn() -> bool,
        work: impl FnOnce(&mut File) -> Result<T> + Send,
    ) -> Result<T> {
        let path = self.program.find()?;
        let mut child = self.command(&path)?.spawn().map_err(|e| self.failed(Error::io("run", path.display(), e)))?;
        let end = child.stdout.take().map(OwnedFd::from);
        self.beside(&mut child, end, stop, work)
    }

    /// Attends to the child while `work` has the other end of a pipe to it.
    fn beside<T: Send>(
        &self,
        child: &mut Child,
        end: Option<OwnedFd>,
        stop: &dyn Fn() -> bool,
        work: impl FnOnce(&mut File) -> Result<T> + Send,
    ) -> Result<T> {
        let mut pipe = File::from(end.ok_or_else(|| Error::new(ErrorKind::Bug, "a program has no pipe"))?);
        let failed = AtomicBool::new(false);
        let (worked, attended) = std::thread::scope(|s| {
            let working = s.spawn(|| {
                block_broken_pipe();
                match work(&mut pipe) {
                    Ok(done) => {
                        // Now it sees the end.
                        drop(pipe);
                        Ok(done)
                    }
                    // The pipe stays open: the program shall be killed, not believe that it has everything.
                    Err(e) => {
                        failed.store(true, Ordering::Release);
                        Err((e, pipe))
                    }
                }
            });
            let attended = self.attend(child, &|| stop() || failed.load(Ordering::Acquire));
            (working.join(), attended)
        });
        let worked = match worked {
            Ok(done) => done.map_err(|(e, _)| e),
            Err(_) => Err(Error::new(ErrorKind::Bug, "the thread beside a program panicked")),
        };
        let (output, ended) = attended?;
        match (ended, worked) {
            (Ended::Stopped, Err(e)) if !stop() => Err(e),
            (ended, worked) => self.verdict(output, &ended).and(worked),
        }
    }

    fn verdict(&self, mut output: Output, ended: &Ended) -> Result<Output> {
        match ended {
            Ended::Exited(status) if status.success() => Ok(output),
            Ended::Exited(status) => {
                let how = match (status.code(), status.signal()) {
                    (Some(code), _) => format!("exit status {code}"),
                    (None, signal) => format!("signal {}", signal.unwrap_or(0)),
                };
                let text = String::from_utf8_lossy(&std::mem::take(&mut output.stderr)).trim().to_owned();
                let why = complaint(&text);
                let e = Error::new(ErrorKind::Io, format!("{} failed ({how}): {why}", self.program.name()));
                Err(self.failed(e).fact("status", status.code()).fact("stderr", text))
            }
            Ended::TimedOut => {
                let after = self.limit.as_secs();
                let e = Error::new(ErrorKind::Timeout, format!("{} did not end in {after} s", self.program.name()));
                Err(self.failed(e).fact("seconds", after))
            }
            Ended::Stopped => Err(self.failed(Error::cancelled())),
        }
    }

    fn failed(&self, e: Error) -> Error {
        e.fact("command", self.preview())
    }

    fn command(&self, path: &Path) -> Result<Command> {
        let mut command = Command::new(path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH.join(":"))
            .env("LC_ALL", "C")
            .env("HOME", "/")
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let root = match &self.root {
            None => None,
            Some(root) => Some(
                CString::new(root.as_os_str().as_bytes())
                    .map_err(|_| Error::invalid("the path of a root contains a zero byte"))?,
            ),
        };
        let parent = std::process::id();
        // SAFETY: the closure only makes system calls that are safe after fork (async-signal-safe), on data that was
        // allocated before; it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || prepare(root.as_deref(), parent));
        }
        Ok(command)
    }

    /// Feeds, drains and waits until the child ends, or kills it.
    fn attend(&self, child: &mut Child, stop: &dyn Fn() -> bool) -> Result<(Output, Ended)> {
        let deadline = Instant::now() + self.limit;
        let mut pipes = Pipes::new(child, &self.stdin)?;
        let pid = Pid::from_child(child);
        // EL8's kernel has no pidfd: there the child is asked at every tick.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
        let ended = loop {
            pipes.wait(pidfd.as_ref());
            pipes.pump();
            if let Some(status) = child.try_wait().map_err(|e| Error::io("wait for", self.program.name(), e))? {
                pipes.pump();
                break Ended::Exited(status);
            }
            let why = if stop() { Ended::Stopped } else { Ended::TimedOut };
            if matches!(why, Ended::Stopped) || Instant::now() >= deadline {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                break why;
            }
        };
        Ok((pipes.output, ended))
    }
}

enum Ended {
    Exited(ExitStatus),
    TimedOut,
    Stopped,
}

/// A program that ends early must not end us: in a host that is a C program a broken pipe would. Only this thread, which
/// is ours, is concerned.
fn block_broken_pipe() {
    // SAFETY: a set of the thread's own, on its stack, of which every pattern of bits is valid.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// What the child does between fork and exec.
fn prepare(root: Option<&std::ffi::CStr>, parent: u32) -> std::io::Result<()> {
    // The program dies with the thread that runs it, so that a killed libcv leaves no mkfs behind.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().is_none_or(|p| p.as_raw_nonzero().get().unsigned_abs() != parent) {
        return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
    }
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    if let Some(root) = root {
        rustix::process::chroot(root)?;
    }
    rustix::process::chdir(c"/")?;
    // Descriptors that the host process left open must not reach the program. Old kernels do not know the call;
    // Rust's own descriptors are close-on-exec anyway.
    // SAFETY: close_range with CLOEXEC only sets a flag on descriptors.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    // SAFETY: an empty set is valid; signals that the calling thread blocks must not stay blocked in the program.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    Ok(())
}

/// The three pipes of a child, none of which blocks.
struct Pipes<'a> {
    stdin: Option<(OwnedFd, &'a [u8])>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    output: Output,
}

impl<'a> Pipes<'a> {
    fn new(child: &mut Child, input: &'a [u8]) -> Result<Self> {
        let stdin = child.stdin.take().map(|p| (OwnedFd::from(p), input));
        let (stdout, stderr) = (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
        let fds = stdin.iter().map(|(fd, _)| fd).chain(&stdout).chain(&stderr);
        for fd in fds {
            rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK).map_err(|e| Error::io("set up", "a pipe", e))?;
        }
        Ok(Self { stdin, stdout, stderr, output: Output::default() })
    }

    /// Waits until something can be read or written, the child ends, or a tick is over.
    fn wait(&self, pidfd: Option<&OwnedFd>) {
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        fds.extend(pidfd.map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stdout.iter().chain(&self.stderr).map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stdin.iter().map(|(fd, _)| PollFd::new(fd, PollFlags::OUT)));
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let _ = rustix::event::poll(&mut fds, Some(&tick));
    }

    fn pump(&mut self) {
        if let Some((fd, rest)) = &mut self.stdin {
            let done = match rustix::io::write(&*fd, rest) {
                Ok(n) => {
                    *rest = &rest[n..];
                    rest.is_empty()
                }
                Err(e) => !matches!(e, Errno::AGAIN | Errno::INTR),
            };
            if done {
                self.stdin = None;
            }
        }
        if drain(self.stdout.as_ref(), &mut self.output.stdout, |kept, new| {
            let room = STDOUT_LIMIT.saturating_sub(kept.len());
            kept.extend_from_slice(&new[..new.len().min(room)]);
        }) {
            self.stdout = None;
        }
        if drain(self.stderr.as_ref(), &mut self.output.stderr, |kept, new| {
            kept.extend_from_slice(new);
            let cut = kept.len().saturating_sub(STDERR_TAIL);
            kept.drain(..cut);
        }) {
            self.stderr = None;
        }
    }
}

/// Reads what is there; true when no more will come.
fn drain(fd: Option<&OwnedFd>, kept: &mut Vec<u8>, keep: impl Fn(&mut Vec<u8>, &[u8])) -> bool {
    let Some(fd) = fd else { return false };
    let mut buffer = [0u8; 16 * 1024];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return true,
            Ok(n) => keep(kept, &buffer[..n]),
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// What a program says went wrong: its last line before it explains its usage, as mkfs does after a bad option.
fn complaint(stderr: &str) -> &str {
    let is_usage = |line: &&str| line.trim_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case("usage:"));
    let last = stderr.lines().take_while(|line| !is_usage(line)).filter(|line| !line.trim().is_empty()).last();
    last.or_else(|| stderr.lines().last()).map_or("it said nothing", str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> bool {
        false
    }

    /// A directory in which a name of the table is a script: the only way to run something else.
    fn fake(script: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("usr/bin/mkswap");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        root
    }

    /// Runs a script as if it were the program, without a chroot.
    fn run_script(script: &str, limit: Duration, stdin: &[u8], stop: &dyn Fn() -> bool) -> Result<Output> {
        let root = fake(script);
        let call = Call::new(Program::Mkswap).limit(limit).stdin(stdin);
        let mut child = call.command(&root.path().join("usr/bin/mkswap")).unwrap().spawn().unwrap();
        let (output, ended) = call.attend(&mut child, stop)?;
        match ended {
            Ended::Exited(s) if s.success() => Ok(output),
            Ended::Exited(_) => Err(Error::new(ErrorKind::Io, String::from_utf8_lossy(&output.stderr).into_owned())),
            Ended::TimedOut => Err(Error::new(ErrorKind::Timeout, "late")),
            Ended::Stopped => Err(Error::cancelled()),
        }
    }

    #[test]
    fn usage_is_no_complaint() {
        let xfs = "unknown option -z\nUsage: mkfs.xfs\n/* size */\t[-b size=num]\n<devicename> is required\n";
        assert_eq!(complaint(xfs), "unknown option -z");
        assert_eq!(complaint("mke2fs 1.47.0\n\nmke2fs: No such device\n\n"), "mke2fs: No such device");
        assert_eq!(complaint("usage: x\n"), "usage: x");
        assert_eq!(complaint(""), "it said nothing");
    }

    #[test]
    fn big_input_and_output_do_not_block_each_other() {
        let input = vec![b'x'; 1 << 20];
        let out = run_script("#!/bin/sh\ncat; echo end >&2\n", Duration::from_secs(20), &input, &never).unwrap();
        assert_eq!(out.stdout.len(), input.len());
        assert_eq!(out.stderr, b"end\n");
    }

    #[test]
    fn the_environment_is_ours_and_stdin_is_empty() {
        let out = run_script("#!/bin/sh\ncat\nenv | sort\n", Duration::from_secs(20), b"", &never).unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let names: Vec<&str> = text.lines().map(|l| l.split('=').next().unwrap()).collect();
        assert_eq!(names, ["HOME", "LC_ALL", "PATH", "PWD"]);
    }

    #[test]
    fn a_group_is_killed_when_time_is_up_or_on_cancel() {
        let begun = Instant::now();
        let script = "#!/bin/sh\nsleep 60 & sleep 60\n";
        let e = run_script(script, Duration::from_millis(200), b"", &never).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Timeout);
        let e = run_script(script, Duration::from_secs(60), b"", &|| true).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn failure_carries_the_end_of_stderr() {
        let script = "#!/bin/sh\ni=0; while [ $i -lt 1000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3\n";
        let e = run_script(script, Duration::from_secs(20), b"", &never).unwrap_err();
        assert!(e.message().ends_with("line 999\n") && e.message().len() == STDERR_TAIL);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let empty = tempfile::tempdir().unwrap();
        let e = Call::new(Program::GrubMkimage).in_root(empty.path()).run(&never).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.hint_text().unwrap().contains("grub2-tools"));
        assert_eq!(Program::Mkswap.find_in(fake("").path()).unwrap(), Path::new("/usr/bin/mkswap"));
    }

    /// Runs a script as if it were the program, with `work` at its stdin or stdout.
    fn beside_script<T: Send>(
        script: &str,
        feed: bool,
        work: impl FnOnce(&mut File) -> Result<T> + Send,
        stop: &dyn Fn() -> bool,
    ) -> Result<T> {
        let root = fake(script);
        let call = Call::new(Program::Mkswap).limit(Duration::from_secs(20));
        let mut command = call.command(&root.path().join("usr/bin/mkswap")).unwrap();
        if feed {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        let end = if feed { child.stdin.take().map(OwnedFd::from) } else { child.stdout.take().map(OwnedFd::from) };
        call.beside(&mut child, end, stop, work)
    }

    #[test]
    fn streams_go_in_and_out() {
        use std::io::{Read, Write};
        let piece = vec![b'x'; 1 << 20];
        let fed = beside_script(
            "#!/bin/sh\n[ $(wc -c) = 8388608 ]\n",
            true,
            |pipe| (0..8).try_for_each(|_| pipe.write_all(&piece)).map_err(|e| Error::io("write", "it", e)),
            &never,
        );
        fed.unwrap();
        let read = |pipe: &mut File| {
            let mut out = Vec::new();
            pipe.read_to_end(&mut out).map_err(|e| Error::io("read", "it", e))?;
            Ok(out.len())
        };
        assert_eq!(beside_script("#!/bin/sh\nhead -c 5000000 /dev/zero\n", false, read, &never).unwrap(), 5_000_000);
    }

    #[test]
    fn of_two_errors_the_cause_is_told() {
        use std::io::Write;
        let endless = |pipe: &mut File| -> Result<()> {
            loop {
                pipe.write_all(&[0; 1 << 16]).map_err(|e| Error::io("write", "it", e))?;
            }
        };
        // It ends early: what it said counts, not that nobody reads any more. And the thread outlives the broken pipe.
        let e = beside_script("#!/bin/sh\necho no room >&2; exit 3\n", true, endless, &never).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["stderr"]), (ErrorKind::Io, &"no room".into()));
        // The work fails: it is killed, and cannot take what it has for everything.
        let fail = |_: &mut File| -> Result<()> { Err(Error::integrity("damaged")) };
        let begun = Instant::now();
        for feed in [true, false] {
            let script = "#!/bin/sh\nif [ -p /dev/stdin ]; then cat; else sleep 15; fi\n";
            assert_eq!(beside_script(script, feed, fail, &never).unwrap_err().message(), "damaged");
        }
        let e = beside_script("#!/bin/sh\nsleep 15\n", false, |_| Ok(()), &|| true).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
