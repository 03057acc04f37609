//! What opens encrypted devices: given by whoever applies the plan, by the names that the document has.

use super::luks;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// Secrets by name; a document names one as `ref:NAME`.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl Secrets {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, with all its bytes: a line end at the end of a file is part of it.
    ///
    /// # Errors
    /// `Invalid` when it is empty, `Limit` when it is over 8 MiB long.
    pub fn add(&mut self, name: &str, secret: Vec<u8>) -> Result<()> {
        luks::check(name, &secret)?;
        self.0.insert(name.strip_prefix("ref:").unwrap_or(name).to_owned(), Zeroizing::new(secret));
        Ok(())
    }

    /// The secret of a name.
    pub(super) fn get(&self, name: &str) -> Result<&[u8]> {
        let name = name.strip_prefix("ref:").unwrap_or(name);
        self.0.get(name).map(|s| s.as_slice()).ok_or_else(|| missing(name))
    }

    /// Whether there is a secret of this name.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn require(&self, name: &str) -> Result<()> {
        self.get(name).map(drop)
    }
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("the secret {name} is not given"))
        .hint(format!("give it when the plan is applied: --secret {name}=FILE"))
        .fact("code", "A407")
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
