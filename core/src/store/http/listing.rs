//! Listings. A static web server has none: there a reader probes, which is enough for the generations of a name and for one
//! tag. `cvctl serve` answers `GET v1/list/PREFIX` with a line for each object.

use super::super::release::{LAST, head_key, head_number, release_key};
use super::exchange::Want;
use super::pool::Pool;
use super::{Http, hints};
use crate::error::{Error, ErrorKind, Result};
use crate::store::blob::{BlobStore, Meta};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where a server lists.
pub(crate) const LIST: &str = "v1/list/";
/// Most generations that are probed for.
const PROBED: u64 = 10_000;
/// Longest listing: some millions of objects.
const LIMIT: u64 = 1 << 30;

/// A line of a listing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// The key.
    pub(crate) key: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Milliseconds since 1970, by the clock of the store.
    pub(crate) modified: u64,
}

impl Http {
    /// All objects beneath a prefix, as one of these servers lists them.
    pub(super) fn objects(&self, pool: &Pool, prefix: &str) -> Result<Vec<(String, Meta)>> {
        let beneath = format!("{prefix}/");
        let parse = |bytes: &[u8]| -> Option<Vec<(String, Meta)>> {
            let text = std::str::from_utf8(bytes).ok()?;
            let line = |l| {
                let Listed { key, size, modified } = serde_json::from_str(l).ok()?;
                (key.starts_with(&beneath) && is_plain(&key)).then_some((key, Meta { size, modified }))
            };
            text.lines().map(line).collect()
        };
        let key = format!("{LIST}{prefix}");
        let found = pool.fetch(&key, Want::Whole(LIMIT), &|bytes| parse(bytes).is_some());
        let found = found.map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::unsupported(format!("{} cannot list what it has", self.place()))
                .hint("name the image; or read from a server that cvctl serve runs")
                .cause(e),
            _ => e,
        })?;
        let mut found = parse(&found.bytes).unwrap_or_default();
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// The names directly beneath a prefix.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        match self.objects(&self.pool, prefix) {
            Ok(objects) => {
                let first = |(key, _): &(String, Meta)| key[prefix.len() + 1..].split('/').next().map(str::to_owned);
                Ok(objects.iter().filter_map(first).collect::<BTreeSet<_>>().into_iter().collect())
            }
            Err(e) if e.kind() == ErrorKind::Unsupported => self.probe(prefix, e),
            Err(e) => Err(e),
        }
    }

    /// What can be found out without a listing.
    fn probe(&self, prefix: &str, e: Error) -> Result<Vec<String>> {
        let parts: Vec<&str> = prefix.split('/').collect();
        match parts[..] {
            ["refs", name] => self.generations(name),
            ["tags", _, _] => {
                let last = last(|n| Ok(self.stat(&format!("{prefix}/{n:016}"))?.is_some()))?;
                Ok((last > 0).then(|| format!("{last:016}")).into_iter().collect())
            }
            _ => Err(e),
        }
    }

    /// The generations that a name has, and their tombstones.
    fn generations(&self, name: &str) -> Result<Vec<String>> {
        debug_assert_eq!(hints::name_of_head(&head_key(name)), Some(name));
        let said = match self.get(&head_key(name), 32) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            text => head_number(name, &text?).unwrap_or(0),
        };
        if said > PROBED {
            return Err(Error::limit(format!("{name} has too many generations to be found without a listing")));
        }
        let (mut out, mut n) = (vec!["HEAD".to_owned()], 0);
        loop {
            n += 1;
            if n > 2 * PROBED {
                return Ok(out);
            }
            let key = release_key(name, n);
            let there = self.stat(&key)?.is_some();
            if there {
                out.push(format!("{n:016}"));
            }
            if n > said && !there {
                return Ok(out);
            }
            if self.stat(&format!("{key}.removed"))?.is_some() {
                out.push(format!("{n:016}.removed"));
            }
        }
    }
}

/// The last of numbers that stand without a gap from 1 on; 0 when there is none.
fn last(is_there: impl Fn(u64) -> Result<bool>) -> Result<u64> {
    let (mut low, mut step) = (0, 1);
    while low + step <= LAST && is_there(low + step)? {
        low += step;
        step *= 2;
    }
    // What is at `low` is there, and what is at `low + step` is not.
    while step > 1 {
        step /= 2;
        if is_there(low + step)? {
            low += step;
        }
    }
    Ok(low)
}

/// Whether a key stays beneath the store.
fn is_plain(key: &str) -> bool {
    key.split('/').all(|part| !matches!(part, "" | "." | "..")) && key.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_found_with_few_questions() {
        for there in (0..70).chain([1000, 123_456]) {
            let asked = std::cell::Cell::new(0);
            let found = last(|n| {
                asked.set(asked.get() + 1);
                Ok(n <= there)
            });
            assert_eq!(found.unwrap(), there);
            assert!(asked.get() <= 40, "{there}: {}", asked.get());
        }
    }
}
