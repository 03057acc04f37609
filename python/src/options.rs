//! What calls of a store are given as keywords, as the library takes it.

use crate::convert::SystemPath;
use crate::error::OrRaise;
use libcv::Error;
use libcv::capture::CaptureOptions;
use libcv::convert::ImportOptions;
use libcv::convert::tar::Limits;
use libcv::secrets::Policy;
use libcv::store::collect::CollectOptions;
use libcv::store::http::{HttpOptions, MirrorOf};
use libcv::web::Url;
use pyo3::prelude::*;
use std::time::Duration;

/// A span of time: text with a unit, or seconds.
#[derive(FromPyObject)]
pub(crate) enum Span {
    Text(String),
    Seconds(f64),
}

impl Span {
    /// The time; `name` is whose it is.
    pub(crate) fn duration(self, name: &str) -> libcv::Result<Duration> {
        match self {
            Self::Text(text) => libcv::units::duration(&text),
            Self::Seconds(s) => {
                Duration::try_from_secs_f64(s).map_err(|_| Error::invalid(format!("{name} is not a number of seconds")))
            }
        }
    }
}

pub(crate) fn collect_options(
    py: Python<'_>,
    keep_last: Option<u64>,
    grace: Option<Span>,
    dry_run: bool,
    threads: usize,
) -> PyResult<CollectOptions> {
    let mut options = CollectOptions { keep_last, dry_run, threads, ..CollectOptions::default() };
    if let Some(grace) = grace {
        options.grace = grace.duration("grace").or_raise(py)?;
    }
    Ok(options)
}

/// How a store behind web servers is reached; what is not said comes from the environment.
pub(crate) fn http_options(
    url: Url,
    mirrors: Option<Vec<String>>,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
) -> libcv::Result<HttpOptions> {
    let mut options = HttpOptions::from_environment(url)?;
    options.mirrors.extend(parsed(mirrors)?);
    Ok(reached(options, ca, identity, proxy))
}

/// The same where there is no server besides the mirrors; `None` without any of them.
pub(crate) fn http_mirrors(
    mirrors: Option<Vec<String>>,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
) -> libcv::Result<Option<HttpOptions>> {
    Ok(HttpOptions::of_mirrors(&parsed(mirrors)?)?.map(|options| reached(options, ca, identity, proxy)))
}

fn parsed(mirrors: Option<Vec<String>>) -> libcv::Result<Vec<MirrorOf>> {
    mirrors.unwrap_or_default().iter().map(|m| m.parse()).collect()
}

fn reached(
    mut options: HttpOptions,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
) -> HttpOptions {
    options.web.ca = ca.map(|f| f.0).or(options.web.ca);
    options.web.identity = identity.map(|(certificate, key)| (certificate.0, key.0)).or(options.web.identity);
    options.web.proxy = proxy.or(options.web.proxy);
    options
}

/// What is done about secrets.
pub(crate) fn secrets(forbid: bool, allow: Option<Vec<String>>) -> Policy {
    Policy { forbid, allow: allow.unwrap_or_default() }
}

/// Limits of an import, where they are not the usual ones.
pub(crate) fn limits(entries: Option<u64>, metadata: Option<u64>, data: Option<u64>) -> Limits {
    let usual = Limits::default();
    Limits {
        entries: entries.unwrap_or(usual.entries),
        metadata: metadata.unwrap_or(usual.metadata),
        data: data.unwrap_or(usual.data),
    }
}

#[allow(clippy::too_many_arguments)] // they are keywords
pub(crate) fn capture_options(
    exclude: Option<Vec<String>>,
    keep: Option<Vec<String>>,
    exact: bool,
    strict: bool,
    paranoid: bool,
    tag: Option<String>,
    level: i32,
    threads: usize,
    state: Option<SystemPath>,
    expect_parent: Option<u64>,
    secrets: Policy,
    report: Option<SystemPath>,
    layout: Option<String>,
) -> CaptureOptions {
    let (exclude, keep) = (exclude.unwrap_or_default(), keep.unwrap_or_default());
    let (state, report) = (state.map(|s| s.0), report.map(|r| r.0));
    CaptureOptions {
        exclude,
        keep,
        exact,
        strict,
        paranoid,
        tag,
        level,
        threads,
        state,
        expect_parent,
        secrets,
        layout: layout.map(String::into_bytes),
        report,
        ..CaptureOptions::default()
    }
}

#[allow(clippy::too_many_arguments)] // they are keywords
pub(crate) fn import_options(
    tag: Option<String>,
    level: i32,
    threads: usize,
    exact: bool,
    expect_parent: Option<u64>,
    limits: Limits,
    secrets: Policy,
    report: Option<SystemPath>,
) -> ImportOptions {
    let report = report.map(|r| r.0);
    ImportOptions { tag, level, threads, exact, limits, expect_parent, secrets, report, ..ImportOptions::default() }
}

/// How long a node may take to come for what it is asked.
pub(crate) fn node_patience(py: Python<'_>, patience: Option<Span>) -> PyResult<Duration> {
    patience.map_or(Ok(Duration::from_secs(120)), |p| p.duration("patience").or_raise(py))
}
