//! A secret that is told once: into a file that only its owner may read, or to whoever reads the output.

use crate::error::{Error, Result};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Makes a secret with `make` and writes it into a new file; without one it is given back, to be printed. The file first: a secret that
/// nobody got would lie about.
pub(super) fn tell(
    file: Option<&Path>,
    make: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<Option<Zeroizing<String>>> {
    let Some(file) = file else { return make().map(Some) };
    let failed = |e| Error::io("write", file.display(), e);
    let mut opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    let written =
        make().and_then(|secret| writeln!(opened, "{}", *secret).and_then(|()| opened.sync_all()).map_err(failed));
    if written.is_err() {
        // It holds nothing that anybody could use.
        let _ = std::fs::remove_file(file);
    }
    written.map(|()| None)
}
