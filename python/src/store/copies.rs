//! A store and its copies: check, collection, sync, mirrors, repair.

use super::Store;
use crate::convert::{SystemPath, to_python};
use crate::error::OrRaise;
use crate::job::Job;
use crate::options::{Span, collect_options};
use crate::wait;
use libcv::job::Task;
use libcv::store::SyncOptions;
use pyo3::prelude::*;

#[pymethods]
impl Store {
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
}
