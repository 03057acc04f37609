//! An archive becomes an image.

use super::{Decoder, Reader};
use crate::convert::bring::{self, ImportOptions, Imported, Origin, no_layout};
use crate::error::Result;
use crate::job::Task;
use crate::store::Store;
use std::io::Read;

/// Imports the archive that `input` gives, compressed or not, as the next generation of `name`. The archive stands for
/// the root: nothing is generalised.
///
/// # Errors
/// `Integrity` when the archive is truncated or cannot be parsed, `UnsafeInput` when an entry breaks a rule, `Limit`
/// when it is too large, `Refused` when secrets are forbidden and there are some, `Unsupported` for a dialect or
/// compression that is not read; `Cancelled`. Nothing is then published.
pub fn import(store: &Store, input: impl Read, name: &str, options: &ImportOptions, task: &Task) -> Result<Imported> {
    bring::check(store, name, options)?;
    let mut reader = Reader::new(Decoder::new(input)?, options.limits);
    bring::bring(store, name, Origin::new("tar"), options, task, |tree| {
        tree.archive(&mut reader)?;
        no_layout(tree)
    })
}
