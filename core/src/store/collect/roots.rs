//! What a collection starts from: the images that names and tags lead to.

use crate::error::{Error, Result};
use crate::image::Hash;
use crate::store::Store;
use std::collections::BTreeSet;

/// What is kept, and what is not.
pub(super) struct Roots {
    /// The images that are kept.
    pub(super) images: BTreeSet<Hash>,
    /// Generations that are not: name, number, image.
    pub(super) superseded: Vec<(String, u64, Hash)>,
}

/// Of each name the `keep_last` newest generations are kept, or all, and those with a tag. Removing a name removed what
/// was before it.
///
/// # Errors
/// `Integrity` when a generation is lost or damaged: what it needs is not known.
pub(super) fn roots(store: &Store, keep_last: Option<u64>) -> Result<Roots> {
    let refs = store.refs();
    let mut out = Roots { images: BTreeSet::new(), superseded: Vec::new() };
    for name in refs.names()? {
        let tags: BTreeSet<u64> = refs.tags(&name)?.iter().map(|t| t.generation).collect();
        // First: what comes meanwhile is listed, and not lost.
        let highest = refs.highest(&name)?.unwrap_or(0);
        let (there, buried) = refs.numbers(&name)?;
        let lost = (1..=highest).find(|n| !there.contains(n) && !buried.contains(n));
        if let Some(n) = lost {
            return Err(Error::integrity(format!(
                "generation {n} of {name} is lost, so that nobody knows what it needs: nothing can be collected"
            ))
            .hint(format!("repair the store from another, or remove it: cvctl image rm {name}@{n}")));
        }
        let (mut newer, mut removed) = (0, false);
        for &generation in there.iter().rev().filter(|n| !buried.contains(n)) {
            let Some(image) = refs.release(&name, generation)?.image else {
                removed = true;
                continue;
            };
            if tags.contains(&generation) || (!removed && keep_last.is_none_or(|n| newer < n)) {
                out.images.insert(image);
            } else {
                out.superseded.push((name.clone(), generation, image));
            }
            newer += 1;
        }
    }
    Ok(out)
}
