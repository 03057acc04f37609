//! Stores: images, generations, tags, capture, check, collection, copies.

use crate::change::Change;
use crate::convert::{FileLike, Reference, SystemPath, to_python};
use crate::error::{OrRaise, raise};
use crate::image::Image;
use crate::job::Job;
use crate::options::{
    Span, capture_options, collect_options, http_options, import_options, limits, node_patience, secrets,
};
use crate::wait;
use libcv::capture::{CaptureOptions, Captured};
use libcv::convert::tar;
use libcv::convert::{self, ImportOptions, Imported};
use libcv::job::Task;
use libcv::node::Action;
use libcv::sign::{Keyring, Signer};
use libcv::store::{Location, SyncOptions, TokenOptions, Trust};
use libcv::{Error, ErrorKind};
use pyo3::prelude::*;
use std::sync::{PoisonError, RwLock};

/// A store.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Store {
    place: String,
    /// `None` once it is closed.
    inner: RwLock<Option<libcv::store::Store>>,
}

impl Store {
    fn new(store: libcv::store::Store) -> Self {
        Self { place: store.blobs().place(), inner: RwLock::new(Some(store)) }
    }

    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<libcv::store::Store> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner).clone();
        inner.ok_or_else(|| raise(py, &Error::new(ErrorKind::Misuse, "this store is closed")))
    }

    /// Calls something short without the GIL.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&libcv::store::Store) -> libcv::Result<T> + Send,
    ) -> PyResult<T> {
        let store = self.get(py)?;
        py.detach(|| f(&store)).or_raise(py)
    }
}

/// What there is now, by the generation that a capture or an import gave.
fn generation(store: &libcv::store::Store, name: &str, number: u64) -> libcv::Result<libcv::store::Image> {
    store.image(&format!("{name}@{number}"))
}

/// What a capture does, with or without a job.
fn capturing(
    store: libcv::store::Store,
    root: SystemPath,
    name: String,
    options: CaptureOptions,
) -> impl FnOnce(&Task) -> libcv::Result<(libcv::store::Image, Captured)> + Send + 'static {
    move |t| {
        let done = store.capture(root.0, &name, &options, t)?;
        Ok((generation(&store, &done.name, done.generation)?, done))
    }
}

fn importing_tar(
    store: libcv::store::Store,
    file: FileLike,
    name: String,
    options: ImportOptions,
) -> impl FnOnce(&Task) -> libcv::Result<(libcv::store::Image, Imported)> + Send + 'static {
    move |t| {
        let done = tar::import(&store, file.reader()?, &name, &options, t)?;
        Ok((generation(&store, &done.name, done.generation)?, done))
    }
}

fn importing(
    store: libcv::store::Store,
    path: SystemPath,
    name: String,
    options: ImportOptions,
) -> impl FnOnce(&Task) -> libcv::Result<(libcv::store::Image, Imported)> + Send + 'static {
    move |t| {
        let done = convert::import(&store, path.0, &name, &options, t)?;
        Ok((generation(&store, &done.name, done.generation)?, done))
    }
}

impl Store {
    fn ask(&self, py: Python<'_>, node: String, action: Action, patience: Option<Span>) -> PyResult<Job> {
        let (store, patience) = (self.get(py)?, node_patience(py, patience)?);
        let work = move |t: &Task| store.ask_node(&node, &action, patience, t);
        Job::start(py, "ask", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }
}

#[pymethods]
impl Store {
    #[staticmethod]
    fn init(py: Python<'_>, path: SystemPath) -> PyResult<Self> {
        py.detach(|| libcv::store::Store::init(path.0)).or_raise(py).map(Self::new)
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, mirrors=None, ca=None, identity=None, proxy=None, token=None))]
    fn open(
        py: Python<'_>,
        path: SystemPath,
        mirrors: Option<Vec<String>>,
        ca: Option<SystemPath>,
        identity: Option<(SystemPath, SystemPath)>,
        proxy: Option<String>,
        token: Option<String>,
    ) -> PyResult<Self> {
        py.detach(|| match (Location::parse(&path.0)?, token) {
            (Location::Http(url), token) => {
                let options = http_options(url, mirrors, ca, identity, proxy)?;
                match token {
                    Some(token) => libcv::store::Store::open_to(&options, &token),
                    None => libcv::store::Store::open_http(&options),
                }
            }
            (_, Some(_)) => Err(libcv::Error::invalid("a token is for a store behind a server")),
            (_, None) => libcv::store::Store::open(path.0),
        })
        .or_raise(py)
        .map(Self::new)
    }

    fn close(&self) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    #[getter]
    fn closed(&self) -> bool {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    #[getter]
    fn uuid(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.get(py)?.uuid().to_owned())
    }

    fn images<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.call(py, libcv::store::Store::images)?)
    }

    #[pyo3(signature = (name, *, max_size=None, expires=None))]
    fn create_token(
        &self,
        py: Python<'_>,
        name: String,
        max_size: Option<u64>,
        expires: Option<Span>,
    ) -> PyResult<String> {
        let expires = expires.map(|e| e.duration("expires")).transpose().or_raise(py)?;
        let options = TokenOptions { name, max_size, expires };
        self.call(py, move |s| Ok(s.create_token(&options)?.1.to_string()))
    }

    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.call(py, libcv::store::Store::tokens)?)
    }

    fn remove_token(&self, py: Python<'_>, id: String) -> PyResult<()> {
        self.call(py, move |s| s.remove_token(&id))
    }

    fn add_node(&self, py: Python<'_>, name: String) -> PyResult<String> {
        self.call(py, move |s| Ok(s.add_node(&name)?.to_string()))
    }

    fn nodes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.call(py, libcv::store::Store::nodes)?)
    }

    fn remove_node(&self, py: Python<'_>, name: String) -> PyResult<()> {
        self.call(py, move |s| s.remove_node(&name))
    }

    #[pyo3(signature = (node, name, *, tag=None, exclude=None, patience=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // most are keywords
    fn capture_node<'py>(
        &self,
        py: Python<'py>,
        node: String,
        name: String,
        tag: Option<String>,
        exclude: Option<Vec<String>>,
        patience: Option<Span>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let action = Action::Capture { name, tag, exclude: exclude.unwrap_or_default() };
        let (store, patience) = (self.get(py)?, node_patience(py, patience)?);
        to_python(py, &wait::run(py, "ask", progress, move |t| store.ask_node(&node, &action, patience, t))?)
    }

    #[pyo3(signature = (node, name, *, tag=None, exclude=None, patience=None))]
    fn capture_node_job(
        &self,
        py: Python<'_>,
        node: String,
        name: String,
        tag: Option<String>,
        exclude: Option<Vec<String>>,
        patience: Option<Span>,
    ) -> PyResult<Job> {
        self.ask(py, node, Action::Capture { name, tag, exclude: exclude.unwrap_or_default() }, patience)
    }

    #[pyo3(signature = (node, image, *, dry_run=false, protect=None, patience=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // most are keywords
    fn update_node<'py>(
        &self,
        py: Python<'py>,
        node: String,
        image: String,
        dry_run: bool,
        protect: Option<Vec<String>>,
        patience: Option<Span>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let action = Action::Update { image, dry_run, protect: protect.unwrap_or_default() };
        let (store, patience) = (self.get(py)?, node_patience(py, patience)?);
        to_python(py, &wait::run(py, "ask", progress, move |t| store.ask_node(&node, &action, patience, t))?)
    }

    #[pyo3(signature = (node, image, *, dry_run=false, protect=None, patience=None))]
    fn update_node_job(
        &self,
        py: Python<'_>,
        node: String,
        image: String,
        dry_run: bool,
        protect: Option<Vec<String>>,
        patience: Option<Span>,
    ) -> PyResult<Job> {
        self.ask(py, node, Action::Update { image, dry_run, protect: protect.unwrap_or_default() }, patience)
    }

    fn log<'py>(&self, py: Python<'py>, name: String) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.call(py, move |s| s.log(&name))?)
    }

    fn image(&self, py: Python<'_>, reference: Reference) -> PyResult<Image> {
        self.call(py, move |s| s.image(&reference.0)).map(Image::new)
    }

    fn tag(&self, py: Python<'_>, name: String, reference: Reference, tag: String) -> PyResult<()> {
        self.call(py, move |s| s.tag(&reference.0, &name, &tag))
    }

    fn rollback<'py>(&self, py: Python<'py>, name: String, to: Reference) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.call(py, move |s| s.rollback(&name, &to.0))?)
    }

    #[pyo3(signature = (before, after, *, progress=None))]
    fn diff(
        &self,
        py: Python<'_>,
        before: Reference,
        after: Reference,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Change>> {
        let store = self.get(py)?;
        let work = move |t: &Task| store.diff(&store.image(&before.0)?, &store.image(&after.0)?, t);
        Ok(wait::run(py, "diff", progress, work)?.into_iter().map(Change::from).collect())
    }

    fn diff_job(&self, py: Python<'_>, before: Reference, after: Reference) -> PyResult<Job> {
        let store = self.get(py)?;
        let work = move |t: &Task| store.diff(&store.image(&before.0)?, &store.image(&after.0)?, t);
        Job::start(py, "diff", work, |py, found| {
            let changes = found.into_iter().map(Change::from).collect::<Vec<_>>();
            Ok(changes.into_pyobject(py)?.unbind().into_any())
        })
    }

    fn signing(&self, py: Python<'_>, key: SystemPath) -> PyResult<Self> {
        self.call(py, move |s| Ok(s.signing(Signer::read(key.0)?))).map(Self::new)
    }

    #[pyo3(signature = (keys, *, state=None))]
    fn trusting(&self, py: Python<'_>, keys: Vec<SystemPath>, state: Option<SystemPath>) -> PyResult<Self> {
        let keys: Vec<_> = keys.into_iter().map(|k| k.0).collect();
        let work = move |s: &libcv::store::Store| {
            let trust = Trust::new(Keyring::read(&keys)?);
            Ok(s.trusting(match state {
                Some(state) => trust.remembering(state.0),
                None => trust,
            }))
        };
        self.call(py, work).map(Self::new)
    }

    fn sign<'py>(&self, py: Python<'py>, reference: String) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.call(py, move |s| s.sign(&reference))?)
    }

    fn remove(&self, py: Python<'_>, reference: String) -> PyResult<()> {
        self.call(py, move |s| s.remove(&reference))
    }

    #[pyo3(signature = (*, read_data=false, progress=None))]
    fn check<'py>(
        &self,
        py: Python<'py>,
        read_data: bool,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let store = self.get(py)?;
        to_python(py, &wait::run(py, "check", progress, move |t| store.check(read_data, t))?)
    }

    #[pyo3(signature = (*, read_data=false))]
    fn check_job(&self, py: Python<'_>, read_data: bool) -> PyResult<Job> {
        let store = self.get(py)?;
        let work = move |t: &Task| store.check(read_data, t);
        Job::start(py, "check", work, |py, report| to_python(py, &report).map(Bound::unbind))
    }

    #[staticmethod]
    fn open_to_repair(py: Python<'_>, path: SystemPath) -> PyResult<Self> {
        py.detach(|| libcv::store::Store::open_to_repair(path.0)).or_raise(py).map(Self::new)
    }

    #[pyo3(signature = (*, keep_last=None, grace=None, dry_run=false, threads=0, progress=None))]
    fn gc<'py>(
        &self,
        py: Python<'py>,
        keep_last: Option<u64>,
        grace: Option<Span>,
        dry_run: bool,
        threads: usize,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (store, options) = (self.get(py)?, collect_options(py, keep_last, grace, dry_run, threads)?);
        to_python(py, &wait::run(py, "gc", progress, move |t| store.collect(&options, t))?)
    }

    #[pyo3(signature = (*, keep_last=None, grace=None, dry_run=false, threads=0))]
    fn gc_job(
        &self,
        py: Python<'_>,
        keep_last: Option<u64>,
        grace: Option<Span>,
        dry_run: bool,
        threads: usize,
    ) -> PyResult<Job> {
        let (store, options) = (self.get(py)?, collect_options(py, keep_last, grace, dry_run, threads)?);
        let work = move |t: &Task| store.collect(&options, t);
        Job::start(py, "gc", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (to, names=Vec::new(), *, threads=0, progress=None))]
    fn sync<'py>(
        &self,
        py: Python<'py>,
        to: &Self,
        names: Vec<String>,
        threads: usize,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (store, to) = (self.get(py)?, to.get(py)?);
        let options = SyncOptions { names, threads, ..SyncOptions::default() };
        to_python(py, &wait::run(py, "sync", progress, move |t| store.sync(&to, &options, t))?)
    }

    #[pyo3(signature = (to, names=Vec::new(), *, threads=0))]
    fn sync_job(&self, py: Python<'_>, to: &Self, names: Vec<String>, threads: usize) -> PyResult<Job> {
        let (store, to) = (self.get(py)?, to.get(py)?);
        let options = SyncOptions { names, threads, ..SyncOptions::default() };
        let work = move |t: &Task| store.sync(&to, &options, t);
        Job::start(py, "sync", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (to, *, progress=None))]
    fn mirror<'py>(
        &self,
        py: Python<'py>,
        to: SystemPath,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let store = self.get(py)?;
        to_python(py, &wait::run(py, "mirror", progress, move |t| store.mirror(&to.0, t))?)
    }

    fn mirror_job(&self, py: Python<'_>, to: SystemPath) -> PyResult<Job> {
        let store = self.get(py)?;
        let work = move |t: &Task| store.mirror(&to.0, t);
        Job::start(py, "mirror", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (source, *, progress=None))]
    fn repair<'py>(
        &self,
        py: Python<'py>,
        source: &Self,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (store, from) = (self.get(py)?, source.get(py)?);
        to_python(py, &wait::run(py, "repair", progress, move |t| store.repair(&from, t))?)
    }

    fn repair_job(&self, py: Python<'_>, source: &Self) -> PyResult<Job> {
        let (store, from) = (self.get(py)?, source.get(py)?);
        let work = move |t: &Task| store.repair(&from, t);
        Job::start(py, "repair", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (root, name, *, exclude=None, keep=None, exact=false, strict=false, paranoid=false, tag=None,
                        level=3, threads=0, state=None, expect_parent=None, forbid_secrets=false, allow_secrets=None,
                        report=None, layout=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn capture(
        &self,
        py: Python<'_>,
        root: SystemPath,
        name: String,
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
        forbid_secrets: bool,
        allow_secrets: Option<Vec<String>>,
        report: Option<SystemPath>,
        layout: Option<String>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Image> {
        let secrets = secrets(forbid_secrets, allow_secrets);
        let options = capture_options(
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
            report,
            layout,
        );
        let work = capturing(self.get(py)?, root, name, options);
        let (image, done) = wait::run(py, "capture", progress, work)?;
        Image::made(py, image, &done)
    }

    #[pyo3(signature = (root, name, *, exclude=None, keep=None, exact=false, strict=false, paranoid=false, tag=None,
                        level=3, threads=0, state=None, expect_parent=None, forbid_secrets=false, allow_secrets=None,
                        report=None, layout=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn capture_job(
        &self,
        py: Python<'_>,
        root: SystemPath,
        name: String,
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
        forbid_secrets: bool,
        allow_secrets: Option<Vec<String>>,
        report: Option<SystemPath>,
        layout: Option<String>,
    ) -> PyResult<Job> {
        let secrets = secrets(forbid_secrets, allow_secrets);
        let options = capture_options(
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
            report,
            layout,
        );
        let work = capturing(self.get(py)?, root, name, options);
        Job::start(py, "capture", work, |py, (image, done)| Ok(Py::new(py, Image::made(py, image, &done)?)?.into_any()))
    }

    #[pyo3(signature = (file, name, *, tag=None, level=3, threads=0, exact=false, expect_parent=None,
                        max_entries=None, max_metadata=None, max_data=None, forbid_secrets=false,
                        allow_secrets=None, report=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn import_tar(
        &self,
        py: Python<'_>,
        file: FileLike,
        name: String,
        tag: Option<String>,
        level: i32,
        threads: usize,
        exact: bool,
        expect_parent: Option<u64>,
        max_entries: Option<u64>,
        max_metadata: Option<u64>,
        max_data: Option<u64>,
        forbid_secrets: bool,
        allow_secrets: Option<Vec<String>>,
        report: Option<SystemPath>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Image> {
        let (limits, secrets) = (limits(max_entries, max_metadata, max_data), secrets(forbid_secrets, allow_secrets));
        let options = import_options(tag, level, threads, exact, expect_parent, limits, secrets, report);
        let work = importing_tar(self.get(py)?, file, name, options);
        let (image, done) = wait::run(py, "import", progress, work)?;
        Image::made(py, image, &done)
    }

    #[pyo3(signature = (file, name, *, tag=None, level=3, threads=0, exact=false, expect_parent=None,
                        max_entries=None, max_metadata=None, max_data=None, forbid_secrets=false,
                        allow_secrets=None, report=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn import_tar_job(
        &self,
        py: Python<'_>,
        file: FileLike,
        name: String,
        tag: Option<String>,
        level: i32,
        threads: usize,
        exact: bool,
        expect_parent: Option<u64>,
        max_entries: Option<u64>,
        max_metadata: Option<u64>,
        max_data: Option<u64>,
        forbid_secrets: bool,
        allow_secrets: Option<Vec<String>>,
        report: Option<SystemPath>,
    ) -> PyResult<Job> {
        let (limits, secrets) = (limits(max_entries, max_metadata, max_data), secrets(forbid_secrets, allow_secrets));
        let options = import_options(tag, level, threads, exact, expect_parent, limits, secrets, report);
        let work = importing_tar(self.get(py)?, file, name, options);
        Job::start(py, "import", work, |py, (image, done)| Ok(Py::new(py, Image::made(py, image, &done)?)?.into_any()))
    }

    #[pyo3(signature = (path, name, *, tag=None, level=3, threads=0, exact=false, expect_parent=None,
                        reference=None, platform=None, max_entries=None, max_metadata=None, max_data=None,
                        forbid_secrets=false, allow_secrets=None, report=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn import_image(
        &self,
        py: Python<'_>,
        path: SystemPath,
        name: String,
        tag: Option<String>,
        level: i32,
        threads: usize,
        exact: bool,
        expect_parent: Option<u64>,
        reference: Option<String>,
        platform: Option<String>,
        max_entries: Option<u64>,
        max_metadata: Option<u64>,
        max_data: Option<u64>,
        forbid_secrets: bool,
        allow_secrets: Option<Vec<String>>,
        report: Option<SystemPath>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Image> {
        let (limits, secrets) = (limits(max_entries, max_metadata, max_data), secrets(forbid_secrets, allow_secrets));
        let options = import_options(tag, level, threads, exact, expect_parent, limits, secrets, report);
        let work = importing(self.get(py)?, path, name, ImportOptions { platform, reference, ..options });
        let (image, done) = wait::run(py, "import", progress, work)?;
        Image::made(py, image, &done)
    }

    #[pyo3(signature = (path, name, *, tag=None, level=3, threads=0, exact=false, expect_parent=None,
                        reference=None, platform=None, max_entries=None, max_metadata=None, max_data=None,
                        forbid_secrets=false, allow_secrets=None, report=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn import_image_job(
        &self,
        py: Python<'_>,
        path: SystemPath,
        name: String,
        tag: Option<String>,
        level: i32,
        threads: usize,
        exact: bool,
        expect_parent: Option<u64>,
        reference: Option<String>,
        platform: Option<String>,
        max_entries: Option<u64>,
        max_metadata: Option<u64>,
        max_data: Option<u64>,
        forbid_secrets: bool,
        allow_secrets: Option<Vec<String>>,
        report: Option<SystemPath>,
    ) -> PyResult<Job> {
        let (limits, secrets) = (limits(max_entries, max_metadata, max_data), secrets(forbid_secrets, allow_secrets));
        let options = import_options(tag, level, threads, exact, expect_parent, limits, secrets, report);
        let work = importing(self.get(py)?, path, name, ImportOptions { platform, reference, ..options });
        Job::start(py, "import", work, |py, (image, done)| Ok(Py::new(py, Image::made(py, image, &done)?)?.into_any()))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Store {}{}>", self.place, if self.closed() { " closed" } else { "" })
    }
}
