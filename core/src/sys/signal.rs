//! Signals that ask the program to end. Only the program uses this; the library never touches signals.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// The writing end of the pipe that the handler writes to; -1 before [`on_interrupt`].
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Calls `f` in a thread of its own after the first SIGINT or SIGTERM. A second one ends the process at once.
///
/// System calls go on as if nothing had happened. A child that is started keeps the default handling.
///
/// # Errors
/// `Misuse` when called twice; `Io` when there is no pipe or thread to be had.
pub fn on_interrupt(f: impl FnOnce() + Send + 'static) -> Result<()> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| Error::io("make", "a pipe", e))?;
    if PIPE.compare_exchange(-1, write.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return Err(Error::new(crate::ErrorKind::Misuse, "signals are handled already"));
    }
    std::mem::forget(write);
    let wait = move || {
        if wait_for_byte(&read) {
            f();
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(|e| Error::io("start", "a thread", e))?;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        handle(signal).map_err(|e| Error::io("handle", "signals", e))?;
    }
    Ok(())
}

fn wait_for_byte(pipe: &OwnedFd) -> bool {
    loop {
        match rustix::io::read(pipe, &mut [0; 1]) {
            Err(rustix::io::Errno::INTR) => {}
            done => return done == Ok(1),
        }
    }
}

extern "C" fn handler(_: libc::c_int) {
    // SAFETY: `write` may be called in a handler; the pipe is never closed, and one byte never blocks it, since the
    // handler runs once for each of two signals. errno belongs to the interrupted code and is put back.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::write(PIPE.load(Ordering::SeqCst), b"x".as_ptr().cast(), 1);
        *errno = saved;
    }
}

fn handle(signal: libc::c_int) -> std::io::Result<()> {
    // SAFETY: a zeroed sigaction is a valid one; the handler does only what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND;
        if libc::sigaction(signal, &raw const action, std::ptr::null_mut()) == -1 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}
