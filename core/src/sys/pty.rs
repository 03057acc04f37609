//! A terminal for a program elsewhere: what is typed at ours goes to it, what it draws comes to ours.
//!
//! ```text
//!  our terminal, raw ──> master ══ slave ──> program
//!                    <──
//! ```
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// The terminal at which somebody sits.
#[derive(Clone, Debug)]
pub struct Terminal {
    input: Arc<OwnedFd>,
    output: Arc<OwnedFd>,
}

impl Terminal {
    /// That of these two descriptors, of which copies are kept.
    ///
    /// # Errors
    /// `Invalid` when one is no terminal.
    pub fn of(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Self> {
        if !rustix::termios::isatty(input) || !rustix::termios::isatty(output) {
            return Err(Error::invalid("a shell needs a terminal").hint("name a program to run"));
        }
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(|e| Error::io("copy", "a terminal", e));
        Ok(Self { input: Arc::new(copy(input)?), output: Arc::new(copy(output)?) })
    }
}

/// Both ends of a new terminal.
#[derive(Debug)]
pub struct Pty {
    master: OwnedFd,
    slave: Option<OwnedFd>,
    /// What was typed and the program has not taken yet.
    typed: Vec<u8>,
    /// Whether nobody types any more.
    left: bool,
}

impl Pty {
    /// Makes one of the size of `like`.
    ///
    /// # Errors
    /// `Io`.
    pub fn like(like: &Terminal) -> Result<Self> {
        let failed = |e: Errno| Error::io("make", "a terminal", e);
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).map_err(failed)?;
        rustix::pty::grantpt(&master).map_err(failed)?;
        rustix::pty::unlockpt(&master).map_err(failed)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(failed)?;
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).map_err(failed)?;
        let pty = Self { master, slave: Some(slave), typed: Vec::new(), left: false };
        pty.resize(like);
        Ok(pty)
    }

    /// The end of the program, three times, as its standard input, output and error. It can be had once.
    ///
    /// # Errors
    /// `Io`.
    pub fn take(&mut self) -> Result<[OwnedFd; 3]> {
        let slave = self.slave.take().ok_or_else(|| Error::invalid("the terminal was given away already"))?;
        let copy = || slave.try_clone().map_err(|e| Error::io("copy", "a terminal", e));
        Ok([copy()?, copy()?, slave])
    }

    fn resize(&self, like: &Terminal) {
        if let Ok(size) = rustix::termios::tcgetwinsize(&*like.output) {
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// Passes on what there is, for as long as `wait` at most; false when the program's end is closed. A program that takes
    /// nothing holds up nobody: the keyboard is not read until it does.
    pub fn pass(&mut self, terminal: &Terminal, wait: Duration) -> bool {
        self.resize(terminal);
        let hears = !self.left && self.typed.is_empty();
        let master = if self.typed.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut fds = vec![PollFd::from_borrowed_fd(self.master.as_fd(), master)];
        if hears {
            fds.push(PollFd::from_borrowed_fd(terminal.input.as_fd(), PollFlags::IN));
        }
        let limit = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        if rustix::event::poll(&mut fds, Some(&limit)).is_err() {
            return true;
        }
        let (drawn, typed) = (fds[0].revents(), fds.get(1).map_or(PollFlags::empty(), PollFd::revents));
        let mut buffer = [0u8; 4096];
        if !typed.is_empty() {
            match rustix::io::read(&*terminal.input, &mut buffer) {
                Ok(0) | Err(Errno::IO | Errno::BADF) => self.left = true,
                Ok(n) => self.typed.extend_from_slice(&buffer[..n]),
                Err(_) => {}
            }
        }
        if !self.typed.is_empty()
            && let Ok(n) = rustix::io::write(&self.master, &self.typed)
        {
            self.typed.drain(..n);
        }
        if drawn.intersects(PollFlags::IN | PollFlags::HUP) {
            return match rustix::io::read(&self.master, &mut buffer) {
                Ok(0) | Err(Errno::IO) => false,
                Ok(n) => {
                    all(terminal.output.as_fd(), &buffer[..n]);
                    true
                }
                Err(_) => true,
            };
        }
        true
    }
}

/// Writes all of it, also where the other end is slow.
fn all(fd: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Our terminal while each key goes on as it is; as it was before once this is dropped.
pub struct Raw {
    terminal: Terminal,
    before: Termios,
}

impl Raw {
    /// Begins it.
    ///
    /// # Errors
    /// `Io`.
    pub fn begin(terminal: &Terminal) -> Result<Self> {
        let failed = |e: Errno| Error::io("set up", "the terminal", e);
        let before = rustix::termios::tcgetattr(&*terminal.input).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&*terminal.input, OptionalActions::Flush, &raw).map_err(failed)?;
        Ok(Self { terminal: terminal.clone(), before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(&*self.terminal.input, OptionalActions::Flush, &self.before);
    }
}

/// Makes standard input the terminal of the calling process, which leads a session. Safe after fork.
///
/// # Errors
/// What the kernel says.
pub fn control() -> Result<(), Errno> {
    // SAFETY: the request takes a number.
    match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
        0 => Ok(()),
        // SAFETY: the pointer is to the thread's own errno and always valid.
        _ => Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() })),
    }
}
