//! Images and the files that were derived from them: whether everything that they need is there.

use super::{Checker, ends};
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::rules::Rules;
use crate::image::{Hash, Manifest};
use crate::store::image_key;
use crate::store::needs::of_row_by_rules;
use crate::store::release::Refs;
use std::collections::{BTreeSet, HashMap, HashSet};

impl Checker<'_> {
    /// The images that generations lead to, as far as they can be read.
    pub(super) fn live(&self) -> Result<HashSet<Hash>> {
        let (refs, mut out) = (Refs::new(self.store.blobs()), HashSet::new());
        for name in refs.names()? {
            for generation in refs.generations(&name)? {
                if !refs.is_buried(&name, generation)? {
                    out.extend(refs.release(&name, generation).ok().and_then(|r| r.image));
                }
            }
        }
        Ok(out)
    }

    pub(super) fn images(&mut self, ids: Vec<Hash>) -> Result<HashMap<Hash, Hash>> {
        self.task.stage("images", ids.len() as u64, Unit::Steps);
        let mut trees = HashMap::new();
        for id in ids {
            self.task.check()?;
            self.report.images += 1;
            let key = image_key(&id);
            let image = self.store.image_by_id(id);
            trees.extend(image.as_ref().ok().map(|image| (id, image.tree_id())));
            let remains = image.is_ok() && !self.live.contains(&id);
            match image.and_then(|image| self.tree(id, image.manifest())) {
                Ok(()) => {}
                Err(e) if ends(&e) => return Err(e),
                // A collection has just deleted it, and then what it needed.
                Err(_) if !self.is_there(&key)? => self.report.images -= 1,
                // Nothing leads to it: a writer slept too long, and what it had stored was collected.
                Err(_) if remains => {}
                Err(e) => self.fault(key, e.to_string(), vec![id.to_string()]),
            }
            self.task.advance(1);
        }
        Ok(trees)
    }

    /// Reads all pages and lists of an image and looks every chunk up.
    fn tree(&mut self, id: Hash, manifest: &Manifest) -> Result<()> {
        let store = self.store;
        let image = store.image_by_id(id)?;
        image.expect_pages()?;
        let (mut rules, mut lost) = (Rules::default(), BTreeSet::new());
        for p in &manifest.pages {
            self.task.check()?;
            self.need(id, &p.hash, &mut lost);
            let mut rows = image.open_page(p)?;
            while let Some(row) = rows.read()? {
                of_row_by_rules(store, row, &mut rules, &mut |hash, _| {
                    self.need(id, hash, &mut lost);
                    Ok(())
                })?;
            }
        }
        if rules.finish()? != manifest.totals {
            return Err(Error::integrity("the totals of the manifest are not those of its rows"));
        }
        match lost.len() {
            0 => Ok(()),
            n => {
                let first = lost.first().map(ToString::to_string).unwrap_or_default();
                Err(Error::integrity(format!("{n} chunks are missing, the first is {first}")))
            }
        }
    }

    fn need(&mut self, id: Hash, hash: &Hash, lost: &mut BTreeSet<Hash>) {
        match self.places.get(hash) {
            Some(&pack) => {
                self.needed[pack as usize].insert(id);
                if let Some(block) = self.hurt.get(hash) {
                    self.harm.entry(*block).or_default().insert(id);
                }
            }
            None => {
                lost.insert(*hash);
            }
        }
    }

    /// Derived files need their chunks as long as their image is there; damage is the image's.
    pub(super) fn derived(&mut self, images: &HashMap<Hash, Hash>) -> Result<()> {
        for object in self.store.stray_derived()? {
            self.fault(object, "it has no place in a store", Vec::new());
        }
        for (id, name) in self.store.all_derived()? {
            self.task.check()?;
            let object = format!("blobs/{id}/{}-{}", name.kind, name.params);
            let touched = vec![id.to_string()];
            if !images.contains_key(&id) {
                self.fault(object, format!("its image {id} is missing"), touched);
                continue;
            }
            let chunks = match self.store.any_derived(&id, &name).and_then(|d| d.map(|d| d.chunks()).transpose()) {
                Ok(Some(chunks)) => chunks,
                Ok(None) => continue,
                Err(e) => {
                    self.fault(object, e.to_string(), touched);
                    continue;
                }
            };
            let mut lost = BTreeSet::new();
            chunks.chunks().iter().for_each(|(hash, _)| self.need(id, hash, &mut lost));
            if let Some(first) = lost.first() {
                let message = format!("{} chunks are missing, the first is {first}", lost.len());
                self.fault(object, message, touched);
            }
        }
        Ok(())
    }
}
