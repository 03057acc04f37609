//! Running a program in the root: its lines as they come, the limits, the end.
//!
//! Two threads. One is in the namespaces: its root is another one, and it can start no threads, so that nothing of the caller may
//! run on it. It hands each line over to the calling thread, which tells the task and asks it whether to go on.

use super::{Call, Confined, Terminal, namespace};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::sys::pty::{Pty, Raw};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Lines that the caller has not taken yet; then the program has to wait.
const AHEAD: usize = 1024;
/// What is longer is cut.
const LINE_LIMIT: usize = 8192;
/// Lines that an error carries.
const TAIL: usize = 40;
const TICK: Duration = Duration::from_millis(50);
/// How long the pipes of a program that has ended are read.
const AFTER: Duration = Duration::from_secs(2);

/// Which root a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// That with the host's `/usr`, `/dist`, `/conf` and `/target`.
    Host,
    /// The target.
    Target,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// stdout.
    Out,
    /// stderr.
    Err,
}

/// A line of output, without its end; what is not UTF-8 is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it came from.
    pub stream: Stream,
    /// The text.
    pub text: String,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit status; 128 and the signal that ended it.
    pub status: i32,
    /// Its last lines, forty at most.
    pub tail: Vec<String>,
}

enum How {
    Exited(ExitStatus),
    Late,
    Silent,
    Stopped,
}

/// Asks the other thread to stop, even when the caller's code panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

pub(super) fn run(root: &Confined, call: &Call, task: &Task, heard: &mut dyn FnMut(&Line)) -> Result<Ended> {
    task.check()?;
    let stop = AtomicBool::new(false);
    let (to, from) = crossbeam_channel::bounded(AHEAD);
    let mut tail = VecDeque::new();
    let how = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let thread = std::thread::Builder::new()
            .name("cv-root".into())
            .spawn_scoped(scope, || {
                let Some(terminal) = &call.terminal else {
                    let mut child = namespace::start(root, call, None)?;
                    return attend(&mut child, call, &to_caller(to), &stop);
                };
                let mut pty = Pty::like(terminal)?;
                let _raw = Raw::begin(terminal)?;
                let mut child = namespace::start(root, call, Some(&mut pty))?;
                sit(&mut child, call, (&mut pty, terminal), &stop)
            })
            .map_err(|e| Error::io("start", "a thread", e))?;
        listen(&from, task, &stop, |line| {
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line.text.clone());
            task.log(line.text.clone());
            heard(line);
        });
        thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Bug, "the thread of a build root panicked")))
    })?;
    verdict(&how, call, tail.into())
}

/// Until the other thread ends, each line; and whether the caller still wants it.
fn listen(from: &Receiver<Line>, task: &Task, stop: &AtomicBool, mut heard: impl FnMut(&Line)) {
    loop {
        match from.recv_timeout(TICK) {
            Ok(line) => heard(&line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if task.check().is_err() {
            stop.store(true, Ordering::Release);
        }
    }
}

fn verdict(how: &How, call: &Call, tail: Vec<String>) -> Result<Ended> {
    let name = namespace::shown(call).display();
    let over = |what: &str, limit: Duration| {
        let seconds = limit.as_secs_f64();
        Err(Error::limit(format!("{name} {what} {seconds} s")).fact("seconds", seconds).fact("tail", tail.clone()))
    };
    match how {
        How::Exited(status) => {
            let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            Ok(Ended { status, tail })
        }
        How::Late => over("did not end in", call.limit),
        How::Silent => over("said nothing for", call.silence),
        How::Stopped => Err(Error::cancelled()),
    }
}

fn to_caller(to: Sender<Line>) -> impl Fn(&mut VecDeque<Line>) {
    move |lines| {
        while let Some(line) = lines.pop_front() {
            match to.try_send(line) {
                Ok(()) => {}
                Err(TrySendError::Full(line)) => return lines.push_front(line),
                // The caller panicked: it has asked to stop.
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
    }
}

/// Reads, and waits until the program ends or has to.
fn attend(child: &mut Child, call: &Call, send: &impl Fn(&mut VecDeque<Line>), stop: &AtomicBool) -> Result<How> {
    let begun = Instant::now();
    let mut heard = begun;
    let mut pipes = [
        Pipe::new(Stream::Out, child.stdout.take().map(OwnedFd::from))?,
        Pipe::new(Stream::Err, child.stderr.take().map(OwnedFd::from))?,
    ];
    let mut lines = VecDeque::new();
    let mut ended = None::<(Instant, ExitStatus)>;
    loop {
        let full = lines.len() >= AHEAD;
        wait(&pipes, full);
        // Of both pipes, whatever the first one says.
        let read = if full { 0 } else { pipes.iter_mut().map(|pipe| usize::from(pipe.read(&mut lines))).sum() };
        if read > 0 {
            heard = Instant::now();
        }
        send(&mut lines);
        if full {
            // That nothing is heard is not the program's doing.
            heard = Instant::now();
        }
        if let Some((when, status)) = ended {
            let open = pipes.iter().any(|p| p.fd.is_some());
            if stop.load(Ordering::Acquire) || (lines.is_empty() && (!open || when.elapsed() > AFTER)) {
                return Ok(How::Exited(status));
            }
            continue;
        }
        if let Some(status) = child.try_wait().map_err(|e| Error::io("wait for", "the build root", e))? {
            ended = Some((Instant::now(), status));
            continue;
        }
        let how = if stop.load(Ordering::Acquire) {
            How::Stopped
        } else if begun.elapsed() >= call.limit {
            How::Late
        } else if heard.elapsed() >= call.silence {
            How::Silent
        } else {
            continue;
        };
        // Process 1 of the namespace: all others go with it, before the wait is over.
        let _ = child.kill();
        let _ = child.wait();
        pipes.iter_mut().for_each(|pipe| {
            pipe.read(&mut lines);
            pipe.finish(&mut lines);
        });
        send(&mut lines);
        return Ok(how);
    }
}

/// Passes on keys and what is drawn, until the program ends or has to.
fn sit(child: &mut Child, call: &Call, (pty, terminal): (&mut Pty, &Terminal), stop: &AtomicBool) -> Result<How> {
    let begun = Instant::now();
    loop {
        let open = pty.pass(terminal, TICK);
        if let Some(status) = child.try_wait().map_err(|e| Error::io("wait for", "the build root", e))? {
            // What it drew last.
            let end = Instant::now() + AFTER;
            while open && pty.pass(terminal, TICK / 10) && Instant::now() < end {}
            return Ok(How::Exited(status));
        }
        if !open {
            std::thread::sleep(TICK / 10);
        }
        let how = if stop.load(Ordering::Acquire) {
            How::Stopped
        } else if begun.elapsed() >= call.limit {
            How::Late
        } else {
            continue;
        };
        let _ = child.kill();
        let _ = child.wait();
        return Ok(how);
    }
}

fn wait(pipes: &[Pipe; 2], full: bool) {
    let mut fds: Vec<PollFd<'_>> = Vec::new();
    if !full {
        fds.extend(pipes.iter().filter_map(|p| p.fd.as_ref()).map(|fd| PollFd::new(fd, PollFlags::IN)));
    }
    let tick = if fds.is_empty() { TICK / 10 } else { TICK };
    let tick = Timespec { tv_sec: 0, tv_nsec: tick.subsec_nanos().into() };
    let _ = rustix::event::poll(&mut fds, Some(&tick));
}

/// One stream, and the line that is not whole yet.
struct Pipe {
    stream: Stream,
    fd: Option<OwnedFd>,
    part: Vec<u8>,
    /// Whether the rest of a line that was too long is still to come.
    cut: bool,
}

impl Pipe {
    fn new(stream: Stream, fd: Option<OwnedFd>) -> Result<Self> {
        if let Some(fd) = &fd {
            rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK).map_err(|e| Error::io("set up", "a pipe", e))?;
        }
        Ok(Self { stream, fd, part: Vec::new(), cut: false })
    }

    /// Takes what is there, one buffer at most; true when there was something.
    fn read(&mut self, lines: &mut VecDeque<Line>) -> bool {
        let Some(fd) = &self.fd else { return false };
        let mut buffer = [0u8; 16 * 1024];
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => self.finish(lines),
            Ok(n) => {
                self.take(&buffer[..n], lines);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.finish(lines),
        }
        false
    }

    /// A carriage return ends a line, too: programs draw their progress with it.
    fn take(&mut self, bytes: &[u8], lines: &mut VecDeque<Line>) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                self.flush(lines);
                self.cut = false;
            } else if !self.cut {
                self.part.push(byte);
                if self.part.len() == LINE_LIMIT {
                    self.flush(lines);
                    self.cut = true;
                }
            }
        }
    }

    fn flush(&mut self, lines: &mut VecDeque<Line>) {
        if !self.part.is_empty() {
            let text = String::from_utf8_lossy(&self.part).into_owned();
            self.part.clear();
            lines.push_back(Line { stream: self.stream, text });
        }
    }

    fn finish(&mut self, lines: &mut VecDeque<Line>) {
        self.flush(lines);
        self.fd = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_not_endless() {
        let mut pipe = Pipe::new(Stream::Out, None).unwrap();
        let mut lines = VecDeque::new();
        let long = vec![b'x'; LINE_LIMIT * 3];
        for piece in [b"one\ntw".as_slice(), b"o\r\n\n", b"bad \xff\n", &long, b"rest\nend"] {
            pipe.take(piece, &mut lines);
        }
        pipe.finish(&mut lines);
        let texts: Vec<_> = lines.iter().map(|l| if l.text.len() > 20 { "long" } else { l.text.as_str() }).collect();
        assert_eq!(texts, ["one", "two", "bad \u{fffd}", "long", "end"]);
    }
}
