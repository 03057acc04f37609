//! Names: their generations, HEAD, their tags.

use super::{Checker, ends};
use crate::error::Result;
use crate::image::Hash;
use crate::store::name::check_name;
use crate::store::release::Refs;
use std::collections::HashMap;

/// So many lost generations of a name are told; beyond it a stray number would make a list without end.
const MOST_LOST: u64 = 1_000;

impl Checker<'_> {
    pub(super) fn releases(&mut self, trees: &HashMap<Hash, Hash>) -> Result<()> {
        let refs = Refs::new(self.store.blobs());
        for place in ["refs", "tags"] {
            for name in self.store.blobs().list(place)?.iter().filter(|n| check_name(n).is_err()) {
                self.fault(format!("{place}/{name}"), "it has no place in a store", Vec::new());
            }
        }
        for name in refs.names()? {
            self.numbers(&refs, &name)?;
            for generation in refs.generations(&name)? {
                self.report.releases += 1;
                let object = format!("refs/{name}/{generation:016}");
                match refs.release(&name, generation) {
                    Ok(r) => {
                        if let Some(id) = r.image
                            && !refs.is_buried(&name, generation)?
                            && trees.get(&id) != r.tree.as_ref()
                            && self.store.image_by_id(id).map(|i| i.tree_id()).ok() != r.tree
                        {
                            self.fault(object, format!("its image {id} is missing or another"), vec![id.to_string()]);
                        }
                    }
                    Err(e) if ends(&e) => return Err(e),
                    Err(e) => self.fault(object, e.to_string(), Vec::new()),
                }
            }
        }
        self.tags(&refs)
    }

    /// Generations are 1, 2, 3 …; one that was lost is a fault until it is removed.
    fn numbers(&mut self, refs: &Refs<'_>, name: &str) -> Result<()> {
        // HEAD first: what is published meanwhile is listed, and not lost.
        let said = refs.said(name)?;
        let there = refs.generations(name)?;
        let highest = there.last().copied().max(said).unwrap_or(0);
        if there.is_empty() && said.is_none() {
            // A writer that was killed leaves an empty directory at most.
            if self.store.blobs().size(&format!("refs/{name}")).is_ok_and(|file| file.is_some()) {
                self.fault(format!("refs/{name}"), "it has no place in a store", Vec::new());
            }
            return Ok(());
        }
        // A writer that was killed in between leaves the first generation without HEAD.
        if refs.hint(name)? == 0 && (said.is_some() || highest > 1) {
            self.fault(format!("refs/{name}/HEAD"), "it is missing or damaged", Vec::new());
        }
        let mut listed = there.iter().copied().peekable();
        let mut lost = Vec::new();
        for n in 1..=highest.min(there.len() as u64 + MOST_LOST) {
            if listed.next_if_eq(&n).is_none() && !refs.is_buried(name, n)? {
                lost.push(n);
            }
        }
        for n in lost {
            self.fault(format!("refs/{name}/{n:016}"), "this generation is lost", Vec::new());
        }
        Ok(())
    }

    fn tags(&mut self, refs: &Refs<'_>) -> Result<()> {
        for name in self.store.blobs().list("tags")?.iter().filter(|n| check_name(n).is_ok()) {
            for tag in self.store.blobs().list(&format!("tags/{name}"))? {
                let object = format!("tags/{name}/{tag}");
                if check_name(&tag).is_err() {
                    self.fault(object, "it has no place in a store", Vec::new());
                    continue;
                }
                match refs.tag(name, &tag) {
                    Ok(Some(generation)) if !refs.generations(name)?.contains(&generation) => {
                        self.fault(object, format!("it points to generation {generation}, which is lost"), Vec::new());
                    }
                    Ok(_) => {}
                    Err(e) if ends(&e) => return Err(e),
                    Err(e) => self.fault(object, e.to_string(), Vec::new()),
                }
            }
        }
        Ok(())
    }
}
