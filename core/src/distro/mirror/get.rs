//! Files of a mirror, over HTTP or from a directory.

use super::place::Base;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::sys::confined::{Links, Root};
use crate::web::WebOptions;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(30);
/// How long a mirror may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// For one file: a list of packages has 15 MB, an ISO image 13 GB.
const WHOLE: Duration = Duration::from_secs(6 * 3600);
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const STEP: usize = 256 << 10;

/// Gets files of a mirror.
pub(in crate::distro) struct Getter<'t> {
    from: From,
    task: &'t Task,
}

enum From {
    Web { agent: ureq::Agent, url: String },
    Directory(Root),
}

impl<'t> Getter<'t> {
    /// Begins; the proxies that `http_proxy`, `https_proxy` and `no_proxy` name are used.
    pub(in crate::distro) fn new(base: &Base, task: &'t Task) -> Result<Self> {
        let from = match base {
            Base::Url(url) => From::Web { agent: agent(url.starts_with("https:"))?, url: url.clone() },
            Base::Directory(path) => {
                From::Directory(Root::open(path).map_err(|e| Error::io("open", path.display(), e))?)
            }
        };
        Ok(Self { from, task })
    }

    /// A file of at most `limit` bytes by its path on the mirror; `None` when there is none.
    ///
    /// # Errors
    /// `Network`; `Limit` when it is longer; `Cancelled`; `Io`.
    pub(super) fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match &self.from {
            From::Directory(root) => self.open(root, path, limit),
            From::Web { agent, url } => {
                let url = format!("{url}/{path}");
                let mut left = TRIES;
                loop {
                    self.task.check()?;
                    left -= 1;
                    match self.fetch(agent, &url, limit) {
                        Err(e) if e.kind() == ErrorKind::Network && left > 0 => std::thread::sleep(PAUSE),
                        done => return done,
                    }
                }
            }
        }
    }

    /// Writes a file to `to`, as [`Getter::get`]; false when there is none.
    ///
    /// # Errors
    /// As [`Getter::get`].
    pub(in crate::distro) fn save(&self, path: &str, to: &Path, limit: u64) -> Result<bool> {
        let From::Web { agent, url } = &self.from else {
            return Err(Error::invalid("a directory is read where it is"));
        };
        let url = format!("{url}/{path}");
        let mut left = TRIES;
        loop {
            self.task.check()?;
            left -= 1;
            let mut file = File::create(to).map_err(|e| Error::io("create", to.display(), e))?;
            match self.stream(agent, &url, limit, &mut |bytes| {
                file.write_all(bytes).map_err(|e| Error::io("write", to.display(), e))
            }) {
                Err(e) if e.kind() == ErrorKind::Network && left > 0 => std::thread::sleep(PAUSE),
                Ok(false) => {
                    std::fs::remove_file(to).map_err(|e| Error::io("remove", to.display(), e))?;
                    return Ok(false);
                }
                done => return done,
            }
        }
    }

    /// Hands on what comes; false when there is none.
    fn stream(
        &self,
        agent: &ureq::Agent,
        url: &str,
        limit: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let failed = |e: ureq::Error| {
            Error::new(ErrorKind::Network, format!("{url} cannot be fetched: {e}")).fact("url", url).cause(e)
        };
        let mut answer = match agent.get(url).call() {
            Err(ureq::Error::StatusCode(404 | 410)) => return Ok(false),
            done => done.map_err(failed)?,
        };
        let (mut reader, mut buffer, mut sum) = (answer.body_mut().as_reader(), vec![0; STEP], 0);
        loop {
            self.task.check()?;
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(Error::new(ErrorKind::Network, format!("{url} was cut off")).fact("url", url).cause(e));
                }
            };
            sum += n as u64;
            if sum > limit {
                return Err(Error::limit(format!("{url} has more than {limit} bytes")));
            }
            each(&buffer[..n])?;
        }
    }

    fn fetch(&self, agent: &ureq::Agent, url: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut out = Vec::new();
        let there = self.stream(agent, url, limit, &mut |bytes| {
            out.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(there.then_some(out))
    }

    fn open(&self, root: &Root, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let failed = |e| Error::io("open", root.name_of(path.as_bytes()), e);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = match root.open_at(path.as_bytes(), flags, Mode::empty(), Links::InRoot) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            done => done.map_err(failed)?,
        };
        let mut file = File::from(fd);
        if !file.metadata().map_err(|e| Error::io("look at", path, e))?.is_file() {
            return Ok(None);
        }
        self.all(&mut file, path, limit, |e| Error::io("read", path, e)).map(Some)
    }

    fn all(
        &self,
        from: &mut impl Read,
        name: &str,
        limit: u64,
        failed: impl Fn(std::io::Error) -> Error,
    ) -> Result<Vec<u8>> {
        let (mut out, mut buffer) = (Vec::new(), vec![0; STEP]);
        loop {
            self.task.check()?;
            match from.read(&mut buffer) {
                Ok(0) => return Ok(out),
                Ok(n) => out.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(e)),
            }
            if out.len() as u64 > limit {
                return Err(Error::limit(format!("{name} has more than {limit} bytes")));
            }
        }
    }
}

fn agent(secure: bool) -> Result<ureq::Agent> {
    let mut config = ureq::Agent::config_builder()
        .user_agent(concat!("libcv/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .timeout_global(Some(WHOLE));
    if secure {
        config = config.tls_config(crate::web::tls(&WebOptions::default())?);
    }
    Ok(config.build().new_agent())
}
