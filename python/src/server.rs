//! Servers of a store.

use crate::convert::{SystemPath, to_python};
use crate::error::{OrRaise, raise};
use crate::options::{Span, http_options};
use crate::store::Store;
use libcv::job::Task;
use libcv::server::{Access, Listener, MirrorOptions, ServerOptions, TlsFiles};
use libcv::store::http::doctor::examine;
use libcv::web::Url;
use libcv::{Error, ErrorKind};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long answers may go on.
const GRACE: Duration = Duration::from_secs(30);

/// A server that runs.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Server {
    /// `None` once it was stopped.
    inner: Mutex<Option<libcv::server::Server>>,
}

impl Server {
    fn new(server: libcv::server::Server) -> Self {
        Self { inner: Mutex::new(Some(server)) }
    }

    fn take(&self) -> Option<libcv::server::Server> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn with<R>(&self, py: Python<'_>, f: impl FnOnce(&libcv::server::Server) -> R) -> PyResult<R> {
        let server = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().map(f).ok_or_else(|| stopped(py))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(server) = self.take() else { return };
        // Its end waits for calls of on_access, and they for the GIL.
        let mut server = Some(server);
        Python::try_attach(|py| py.detach(|| server.take()));
    }
}

fn stopped(py: Python<'_>) -> PyErr {
    raise(py, &Error::new(ErrorKind::Misuse, "this server was stopped"))
}

fn server_options(
    tls: Option<(SystemPath, SystemPath)>,
    client_ca: Option<SystemPath>,
    on_access: Option<Py<PyAny>>,
) -> libcv::Result<ServerOptions> {
    if tls.is_none() && client_ca.is_some() {
        return Err(Error::invalid("client_ca needs tls"));
    }
    let client_ca = client_ca.map(|f| f.0);
    let tls = tls.map(|(certificate, key)| TlsFiles { certificate: certificate.0, key: key.0, client_ca });
    let listener = on_access.map(|call| {
        let listener: Listener = Arc::new(move |access: &Access| {
            Python::attach(|py| {
                let called = to_python(py, access).and_then(|a| call.call1(py, (a,)));
                // There is nobody to raise it to.
                if let Err(e) = called {
                    e.write_unraisable(py, None);
                }
            });
        });
        listener
    });
    Ok(ServerOptions { tls, listener, ..ServerOptions::default() })
}

#[pyfunction]
#[pyo3(signature = (urls, *, ca=None, identity=None, proxy=None))]
pub(crate) fn doctor_http<'py>(
    py: Python<'py>,
    urls: Vec<String>,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut urls = urls.into_iter();
    let first = urls.next().ok_or_else(|| raise(py, &Error::invalid("no server is named")))?;
    let found = py.detach(move || {
        let mut options = http_options(Url::parse(&first)?, None, ca, identity, proxy)?;
        for url in urls {
            options.mirrors.push(Url::parse(&url)?.into());
        }
        examine(&options, &Task::quiet())
    });
    to_python(py, &found.or_raise(py)?)
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (store, listen, *, tls=None, client_ca=None, on_access=None))]
    fn start(
        py: Python<'_>,
        store: &Store,
        listen: String,
        tls: Option<(SystemPath, SystemPath)>,
        client_ca: Option<SystemPath>,
        on_access: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let store = store.get(py)?;
        let options = server_options(tls, client_ca, on_access).or_raise(py)?;
        py.detach(move || libcv::server::Server::start(&store, &listen, &options)).or_raise(py).map(Self::new)
    }

    #[staticmethod]
    #[pyo3(signature = (directory, listen, origin, *, ca=None, identity=None, tls=None, client_ca=None, on_access=None))]
    #[allow(clippy::too_many_arguments)] // most are keywords
    fn mirror(
        py: Python<'_>,
        directory: SystemPath,
        listen: String,
        origin: String,
        ca: Option<SystemPath>,
        identity: Option<(SystemPath, SystemPath)>,
        tls: Option<(SystemPath, SystemPath)>,
        client_ca: Option<SystemPath>,
        on_access: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let options = server_options(tls, client_ca, on_access).or_raise(py)?;
        py.detach(move || {
            let origin = MirrorOptions::new(http_options(Url::parse(&origin)?, None, ca, identity, None)?);
            libcv::server::Server::mirror(&directory.0, &listen, &origin, &options, Task::quiet())
        })
        .or_raise(py)
        .map(Self::new)
    }

    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |s| s.address().to_string())
    }

    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, libcv::server::Server::metrics)
    }

    #[pyo3(signature = (grace=None))]
    fn stop(&self, py: Python<'_>, grace: Option<Span>) -> PyResult<()> {
        let grace = grace.map_or(Ok(GRACE), |g| g.duration("grace")).or_raise(py)?;
        let server = self.take().ok_or_else(|| stopped(py))?;
        // Without the GIL: its threads may be about to call on_access.
        py.detach(|| server.stop(grace)).or_raise(py)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        match self.take() {
            Some(server) => py.detach(|| server.stop(GRACE)).or_raise(py),
            None => Ok(()),
        }
    }
}
