//! Who may send and who may be asked: tokens, nodes.

use super::Store;
use crate::convert::to_python;
use crate::error::OrRaise;
use crate::job::Job;
use crate::options::{Span, node_patience};
use crate::wait;
use libcv::job::Task;
use libcv::node::Action;
use libcv::store::TokenOptions;
use pyo3::prelude::*;

impl Store {
    fn ask(&self, py: Python<'_>, node: String, action: Action, patience: Option<Span>) -> PyResult<Job> {
        let (store, patience) = (self.get(py)?, node_patience(py, patience)?);
        let work = move |t: &Task| store.ask_node(&node, &action, patience, t);
        Job::start(py, "ask", work, |py, done| to_python(py, &done).map(Bound::unbind))
    }
}

#[pymethods]
impl Store {
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

    #[pyo3(signature = (node, name, *, tag=None, exclude=None, max_size=None, patience=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // most are keywords
    fn capture_node<'py>(
        &self,
        py: Python<'py>,
        node: String,
        name: String,
        tag: Option<String>,
        exclude: Option<Vec<String>>,
        max_size: Option<u64>,
        patience: Option<Span>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let action = Action::Capture { name, tag, exclude: exclude.unwrap_or_default(), max_size };
        let (store, patience) = (self.get(py)?, node_patience(py, patience)?);
        to_python(py, &wait::run(py, "ask", progress, move |t| store.ask_node(&node, &action, patience, t))?)
    }

    #[pyo3(signature = (node, name, *, tag=None, exclude=None, max_size=None, patience=None))]
    #[allow(clippy::too_many_arguments)] // most are keywords
    fn capture_node_job(
        &self,
        py: Python<'_>,
        node: String,
        name: String,
        tag: Option<String>,
        exclude: Option<Vec<String>>,
        max_size: Option<u64>,
        patience: Option<Span>,
    ) -> PyResult<Job> {
        self.ask(py, node, Action::Capture { name, tag, exclude: exclude.unwrap_or_default(), max_size }, patience)
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
}
