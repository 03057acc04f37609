//! What becomes an image: a tree that is captured, files of other tools.

use super::Store;
use crate::convert::{FileLike, SystemPath};
use crate::image::Image;
use crate::job::Job;
use crate::options::{capture_options, import_options, limits, secrets};
use crate::wait;
use libcv::capture::{CaptureOptions, Captured};
use libcv::convert::tar;
use libcv::convert::{self, ImportOptions, Imported};
use libcv::job::Task;
use pyo3::prelude::*;

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

#[pymethods]
impl Store {
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
}
