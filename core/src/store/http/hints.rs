//! HEAD and CURRENT: what is replaced in place. A mirror may have that of yesterday, and a liar any: all mirrors are asked,
//! and what only one of them says has to be there.

use super::super::proof;
use super::super::release::{head_number, release_key};
use super::Http;
use crate::error::Result;
use crate::store::blob::BlobStore;
use std::collections::BTreeSet;

/// The name whose HEAD this key is.
pub(super) fn name_of_head(key: &str) -> Option<&str> {
    key.strip_prefix("refs/")?.strip_suffix("/HEAD")
}

impl Http {
    /// The HEAD of a name that says most, of those that name a generation that somebody has.
    pub(super) fn head(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let key = format!("refs/{name}/HEAD");
        let mut said = self.pool.ask_all(&key, limit, &|bytes| head_number(name, bytes).is_some())?;
        said.sort_unstable_by_key(|text| head_number(name, text));
        said.dedup();
        while said.len() > 1 {
            let newest = said.last().and_then(|text| head_number(name, text)).unwrap_or(0);
            let release = release_key(name, newest);
            if self.stat(&release)?.is_some() || self.stat(&format!("{release}.removed"))?.is_some() {
                break;
            }
            said.pop();
        }
        Ok(said.pop().unwrap_or_default())
    }

    /// All segments that any mirror names. What is not there any more is passed over by whoever reads them.
    pub(super) fn current(&self, limit: u64) -> Result<Vec<u8>> {
        let key = super::super::locate::CURRENT;
        let said = self.pool.ask_all(key, limit, &|bytes| proof::fits(key, bytes))?;
        let all: BTreeSet<String> = said.iter().filter_map(|bytes| proof::lines(bytes)).flatten().collect();
        Ok(all.into_iter().map(|line| line + "\n").collect::<String>().into_bytes())
    }
}
