//! Stores: opening one, images, generations, tags; the rest lies beside.

mod content;
mod copies;
mod nodes;

use crate::change::Change;
use crate::convert::{Reference, SystemPath, to_python};
use crate::error::{OrRaise, raise};
use crate::image::Image;
use crate::job::Job;
use crate::options::http_options;
use crate::wait;
use libcv::job::Task;
use libcv::sign::{Keyring, Signer};
use libcv::store::{Location, Trust};
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
