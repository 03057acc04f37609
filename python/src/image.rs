//! Images: what they hold, and how they become a tree again.

use crate::change::Change;
use crate::convert::{FileLike, ImagePath, SystemPath, to_python};
use crate::error::OrRaise;
use crate::job::Job;
use crate::row::Rows;
use crate::wait;
use libcv::Error;
use libcv::build::sbom;
use libcv::convert::tar::{self, Compression, ExportOptions};
use libcv::convert::{self, DeriveKind, DeriveOptions, Format};
use libcv::job::Task;
use libcv::tree::diff::DiffOptions;
use libcv::tree::extract::ExtractOptions;
use libcv::tree::update::{Local, UpdateOptions};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// An image.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Image(pub(crate) Arc<libcv::store::Image>, Option<Py<PyAny>>);

impl Image {
    pub(crate) fn new(image: libcv::store::Image) -> Self {
        Self(Arc::new(image), None)
    }

    /// An image fresh from a capture or an import, with what that did.
    pub(crate) fn made(py: Python<'_>, image: libcv::store::Image, done: &impl serde::Serialize) -> PyResult<Self> {
        Ok(Self(Arc::new(image), Some(to_python(py, done)?.unbind())))
    }
}

#[pymethods]
impl Image {
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    #[getter]
    fn tree_id(&self) -> String {
        self.0.tree_id().to_string()
    }

    #[getter]
    fn parent(&self) -> Option<String> {
        self.0.manifest().parent.map(|p| p.to_string())
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.0.release().map(|r| r.name.as_str())
    }

    #[getter]
    fn generation(&self) -> Option<u64> {
        self.0.release().map(|r| r.generation)
    }

    #[getter]
    fn report(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.1.as_ref().map(|d| d.clone_ref(py))
    }

    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let image = self.0.clone();
        to_python(py, &wait::run(py, "info", None, move |_| image.info())?)
    }

    #[pyo3(signature = (path=ImagePath(Vec::new()), *, recursive=false))]
    fn ls(&self, py: Python<'_>, path: ImagePath, recursive: bool) -> PyResult<Rows> {
        let image = self.0.clone();
        let rows = wait::run(py, "ls", None, move |_| image.list(&path.0, recursive))?;
        Ok(Rows::new(rows))
    }

    fn cat<'py>(&self, py: Python<'py>, path: ImagePath) -> PyResult<Bound<'py, PyBytes>> {
        let image = self.0.clone();
        let bytes = wait::run(py, "cat", None, move |task| {
            let mut out = Checked { out: Vec::new(), task };
            image.cat(&path.0, &mut out).map_err(|e| out.explain(e))?;
            Ok(out.out)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn cat_to(&self, py: Python<'_>, path: ImagePath, file: FileLike) -> PyResult<()> {
        let image = self.0.clone();
        wait::run(py, "cat", None, move |task| {
            let mut out = Checked { out: file.writer()?, task };
            image.cat(&path.0, &mut out).map_err(|e| out.explain(e))
        })
    }

    #[pyo3(signature = (file, *, compression="zstd", level=0, progress=None))]
    fn export_tar<'py>(
        &self,
        py: Python<'py>,
        file: FileLike,
        compression: &str,
        level: i32,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = ExportOptions { compression: compressed(compression).or_raise(py)?, level };
        let image = self.0.clone();
        let work = move |t: &Task| Ok(tar::export(&image, file.writer()?, &options, t)?.1);
        to_python(py, &wait::run(py, "export", progress, work)?)
    }

    #[pyo3(signature = (file, *, compression="zstd", level=0))]
    fn export_tar_job(&self, py: Python<'_>, file: FileLike, compression: &str, level: i32) -> PyResult<Job> {
        let options = ExportOptions { compression: compressed(compression).or_raise(py)?, level };
        let image = self.0.clone();
        let work = move |t: &Task| Ok(tar::export(&image, file.writer()?, &options, t)?.1);
        Job::start(py, "export", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[getter]
    fn key(&self) -> Option<String> {
        self.0.key().map(|k| k.to_string())
    }

    #[pyo3(signature = (*, threads=0, progress=None))]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        threads: usize,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let image = self.0.clone();
        to_python(py, &wait::run(py, "verify", progress, move |t| image.verify(threads, t))?)
    }

    #[pyo3(signature = (*, threads=0))]
    fn verify_job(&self, py: Python<'_>, threads: usize) -> PyResult<Job> {
        let image = self.0.clone();
        let work = move |t: &Task| image.verify(threads, t);
        Job::start(py, "verify", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (path, format, *, compression=None, level=0, reference=None, created=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn export<'py>(
        &self,
        py: Python<'py>,
        path: SystemPath,
        format: &str,
        compression: Option<&str>,
        level: i32,
        reference: Option<String>,
        created: Option<i64>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = export_options(format, compression, level, reference, created).or_raise(py)?;
        let image = self.0.clone();
        let work = move |t: &Task| convert::export(&image, path.0, &options, t);
        to_python(py, &wait::run(py, "export", progress, work)?)
    }

    #[pyo3(signature = (path, format, *, compression=None, level=0, reference=None, created=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn export_job(
        &self,
        py: Python<'_>,
        path: SystemPath,
        format: &str,
        compression: Option<&str>,
        level: i32,
        reference: Option<String>,
        created: Option<i64>,
    ) -> PyResult<Job> {
        let options = export_options(format, compression, level, reference, created).or_raise(py)?;
        let image = self.0.clone();
        let work = move |t: &Task| convert::export(&image, path.0, &options, t);
        Job::start(py, "export", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (kind, path=None, *, compression=None, threads=0, work=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn derive<'py>(
        &self,
        py: Python<'py>,
        kind: &str,
        path: Option<SystemPath>,
        compression: Option<&str>,
        threads: usize,
        work: Option<SystemPath>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = derive_options(kind, compression, threads, work).or_raise(py)?;
        let image = self.0.clone();
        to_python(py, &wait::run(py, "derive", progress, move |t| derived(&image, &options, path, t))?)
    }

    #[pyo3(signature = (kind, path=None, *, compression=None, threads=0, work=None))]
    fn derive_job(
        &self,
        py: Python<'_>,
        kind: &str,
        path: Option<SystemPath>,
        compression: Option<&str>,
        threads: usize,
        work: Option<SystemPath>,
    ) -> PyResult<Job> {
        let options = derive_options(kind, compression, threads, work).or_raise(py)?;
        let image = self.0.clone();
        let work = move |t: &Task| derived(&image, &options, path, t);
        Job::start(py, "derive", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (target, *, verify=false, accept_loss=false, threads=0, no_sync=false, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn extract<'py>(
        &self,
        py: Python<'py>,
        target: SystemPath,
        verify: bool,
        accept_loss: bool,
        threads: usize,
        no_sync: bool,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (image, options) = (self.0.clone(), ExtractOptions { verify, accept_loss, threads, no_sync });
        let work = move |t: &Task| image.extract(target.0, &options, t);
        to_python(py, &wait::run(py, "extract", progress, work)?)
    }

    #[pyo3(signature = (target, *, verify=false, accept_loss=false, threads=0, no_sync=false))]
    fn extract_job(
        &self,
        py: Python<'_>,
        target: SystemPath,
        verify: bool,
        accept_loss: bool,
        threads: usize,
        no_sync: bool,
    ) -> PyResult<Job> {
        let (image, options) = (self.0.clone(), ExtractOptions { verify, accept_loss, threads, no_sync });
        let work = move |t: &Task| image.extract(target.0, &options, t);
        Job::start(py, "extract", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (target, *, local="keep", dry_run=false, paranoid=false, protect=Vec::new(), exact=false, verify=false,
                        accept_loss=false, threads=0, no_sync=false, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn update<'py>(
        &self,
        py: Python<'py>,
        target: SystemPath,
        local: &str,
        dry_run: bool,
        paranoid: bool,
        protect: Vec<String>,
        exact: bool,
        verify: bool,
        accept_loss: bool,
        threads: usize,
        no_sync: bool,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let local = local_files(local).or_raise(py)?;
        let options = UpdateOptions { local, dry_run, paranoid, protect, exact, verify, accept_loss, threads, no_sync };
        let image = self.0.clone();
        let work = move |t: &Task| image.update(target.0, &options, t);
        to_python(py, &wait::run(py, "update", progress, work)?)
    }

    #[pyo3(signature = (target, *, local="keep", dry_run=false, paranoid=false, protect=Vec::new(), exact=false, verify=false,
                        accept_loss=false, threads=0, no_sync=false))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn update_job(
        &self,
        py: Python<'_>,
        target: SystemPath,
        local: &str,
        dry_run: bool,
        paranoid: bool,
        protect: Vec<String>,
        exact: bool,
        verify: bool,
        accept_loss: bool,
        threads: usize,
        no_sync: bool,
    ) -> PyResult<Job> {
        let local = local_files(local).or_raise(py)?;
        let options = UpdateOptions { local, dry_run, paranoid, protect, exact, verify, accept_loss, threads, no_sync };
        let image = self.0.clone();
        let work = move |t: &Task| image.update(target.0, &options, t);
        Job::start(py, "update", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }

    #[pyo3(signature = (tree, *, exact=false, protect=Vec::new(), threads=0, progress=None))]
    fn diff_tree(
        &self,
        py: Python<'_>,
        tree: SystemPath,
        exact: bool,
        protect: Vec<String>,
        threads: usize,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Change>> {
        let (image, options) = (self.0.clone(), DiffOptions { exact, protect, threads });
        let work = move |t: &Task| image.diff_tree(tree.0, &options, t);
        Ok(wait::run(py, "diff", progress, work)?.into_iter().map(Change::from).collect())
    }

    #[pyo3(signature = (tree, *, exact=false, protect=Vec::new(), threads=0))]
    fn diff_tree_job(
        &self,
        py: Python<'_>,
        tree: SystemPath,
        exact: bool,
        protect: Vec<String>,
        threads: usize,
    ) -> PyResult<Job> {
        let (image, options) = (self.0.clone(), DiffOptions { exact, protect, threads });
        let work = move |t: &Task| image.diff_tree(tree.0, &options, t);
        Job::start(py, "diff", work, |py, found| {
            let changes = found.into_iter().map(Change::from).collect::<Vec<_>>();
            Ok(changes.into_pyobject(py)?.unbind().into_any())
        })
    }

    #[pyo3(signature = (*, progress=None))]
    fn packages<'py>(&self, py: Python<'py>, progress: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let image = self.0.clone();
        to_python(py, &wait::run(py, "packages", progress, move |t| image.packages(t))?)
    }

    #[pyo3(signature = (newer, *, progress=None))]
    fn diff_packages<'py>(
        &self,
        py: Python<'py>,
        newer: &Self,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (image, newer) = (self.0.clone(), newer.0.clone());
        to_python(py, &wait::run(py, "diff", progress, move |t| image.diff_packages(&newer, t))?)
    }

    #[pyo3(signature = (format, *, progress=None))]
    fn sbom(&self, py: Python<'_>, format: &str, progress: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
        let format = sbom::Format::parse(format).or_raise(py)?;
        let image = self.0.clone();
        let bytes = wait::run(py, "sbom", progress, move |t| image.sbom(format, t))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Image>().is_ok_and(|o| o.get().0.id() == self.0.id())
    }

    fn __hash__(&self) -> u64 {
        u64::from_le_bytes(self.0.id().0[..8].try_into().unwrap_or_default())
    }

    fn __repr__(&self) -> String {
        match self.0.release() {
            Some(r) => format!("<libcv.Image {}@{} {}>", r.name, r.generation, self.0.id().short()),
            None => format!("<libcv.Image {}>", self.0.id().short()),
        }
    }
}

/// A writer that stops when its task is cancelled.
struct Checked<'t, W> {
    out: W,
    task: &'t Task,
}

impl<W> Checked<'_, W> {
    /// A cancel came as a failed write.
    fn explain(&self, e: Error) -> Error {
        self.task.check().err().unwrap_or(e)
    }
}

impl<W: std::io::Write> std::io::Write for Checked<'_, W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.task.check().map_err(|_| std::io::Error::other("cancelled"))?;
        self.out.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn compressed(name: &str) -> libcv::Result<Compression> {
    match name {
        "zstd" => Ok(Compression::Zstd),
        "gzip" => Ok(Compression::Gzip),
        "none" => Ok(Compression::None),
        _ => Err(Error::invalid(format!("\"{name}\" is no compression")).hint("zstd, gzip or none")),
    }
}

fn export_options(
    format: &str,
    compression: Option<&str>,
    level: i32,
    reference: Option<String>,
    created: Option<i64>,
) -> libcv::Result<convert::ExportOptions> {
    let compression = compression.map(compressed).transpose()?;
    Ok(convert::ExportOptions { format: Format::parse(format)?, compression, level, reference, created })
}

fn derive_options(
    kind: &str,
    compression: Option<&str>,
    threads: usize,
    work: Option<SystemPath>,
) -> libcv::Result<DeriveOptions> {
    let compression = compression.map(compressed).transpose()?;
    let usual = DeriveOptions::new(DeriveKind::parse(kind)?);
    Ok(DeriveOptions { compression, threads, work: work.map(|w| w.0), ..usual })
}

/// Derives, and writes the file where one is named.
fn derived(
    image: &libcv::store::Image,
    options: &DeriveOptions,
    path: Option<SystemPath>,
    task: &Task,
) -> libcv::Result<convert::Derivation> {
    match path {
        Some(path) => convert::derive_to(image, options, path.0, task),
        None => convert::derive(image, options, task).map(|(_, done)| done),
    }
}

fn local_files(name: &str) -> libcv::Result<Local> {
    match name {
        "keep" => Ok(Local::Keep),
        "delete" => Ok(Local::Delete),
        _ => Err(Error::invalid(format!("\"{name}\" is not what can become of local files")).hint("keep or delete")),
    }
}
