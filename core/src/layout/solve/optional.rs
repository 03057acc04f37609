//! What leaves when not everything fits: optional partitions and volumes, the last of the document first, and with
//! each what stands on it alone.

use super::{Problem, Short, Solved, report};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::stack::Object;
use std::collections::HashSet;

/// Leaves the last optional object out that helps, and tries again; none where nothing would help.
pub(super) fn relieve(problem: &mut Problem, short: &[Short]) -> Option<Result<Solved, Vec<Short>>> {
    let before = missing(short);
    for object in problem.optional() {
        let kept = problem.gone.clone();
        let own = problem.least_of(&object);
        problem.leave_out(&object);
        let after = problem.attempt();
        let left = after.as_ref().err().map_or(0, |short| missing(short));
        if left < before {
            problem.warnings.push(report::left_out(&object, own, before));
            return Some(after);
        }
        problem.gone = kept;
    }
    None
}

impl Problem<'_> {
    /// Optional sets without disks leave at once.
    pub(super) fn leave_out_sets(&mut self) {
        let spec = self.spec;
        for (name, set) in spec.disks.iter().filter(|(_, d)| d.optional) {
            if self.disks(name).is_empty() {
                let own = spec.partitions.keys().filter(|k| k.set == *name);
                own.for_each(|key| self.leave_out(&Object::Partition(key.clone())));
                let text = format!("set {name} is left out: none of its disks is there");
                let d = Diagnostic::warning("F211", format!("disks.{name}"), text);
                self.warnings.push(d.hint(format!("it is optional, with {} disks", set.count.min)));
            }
        }
    }

    /// Everything that was left out, in document order.
    pub(super) fn dropped(&self) -> Vec<Object> {
        self.stack.order().iter().filter(|o| self.gone.contains(*o)).cloned().collect()
    }

    /// Optional objects that are still there, the last of the document first.
    fn optional(&self) -> Vec<Object> {
        let partitions = self.spec.partitions.iter().filter(|(_, p)| p.optional);
        let partitions = partitions.filter(|(key, _)| !self.is_kept_anywhere(key));
        let mut all: Vec<Object> = partitions.map(|(key, _)| Object::Partition(key.clone())).collect();
        for (group, g) in &self.spec.lvm {
            let kept = self.ground.kept.groups.get(group);
            let volumes =
                g.lvs.iter().filter(|(name, v)| v.optional && !kept.is_some_and(|k| k.volumes.contains_key(*name)));
            all.extend(volumes.map(|(name, _)| Object::Volume(group.clone(), name.clone())));
        }
        all.retain(|o| !self.gone.contains(o));
        all.reverse();
        all
    }

    /// Leaves an object out, and what stands on nothing else.
    fn leave_out(&mut self, object: &Object) {
        let burden: HashSet<&Object> = self.stack.burden(object).into_iter().collect();
        self.gone.insert(object.clone());
        for above in self.stack.order().iter().filter(|o| burden.contains(o)) {
            if self.stack.below(above).iter().all(|b| self.gone.contains(b)) {
                self.gone.insert(above.clone());
            }
        }
    }

    /// The least of an object in bytes, for messages.
    fn least_of(&self, object: &Object) -> u64 {
        let needs = self.needs();
        match object {
            Object::Partition(key) => {
                let set = self.set(&key.set, |o| needs.of(o));
                let whole = set.disks.iter().map(|d| set.capacity(d)).min().unwrap_or(0);
                let claim = set.wishes.iter().find(|w| w.key == key).map(|w| w.claim.at(whole));
                claim.unwrap_or(0).saturating_mul(set.unit)
            }
            Object::Volume(group, name) => {
                let Some(g) = self.spec.lvm.get(group) else { return 0 };
                let index = self.made_volumes(group, g).position(|v| v == name);
                let wishes = self.wishes(group, g, |o| needs.of(o));
                let least = index.and_then(|i| wishes.claims.get(i)).map(|c| c.at(0));
                least.unwrap_or(0).saturating_mul(self.extent(group, g))
            }
            _ => needs.of(object),
        }
    }
}

fn missing(short: &[Short]) -> u128 {
    short.iter().map(|s| u128::from(s.missing())).sum()
}
