//! What is kept: down the whole chain, or not at all.

use super::Validator;
use crate::layout::spec::{Preserve, Spec, Wipe};
use crate::layout::stack::{Object, Stack};

impl Validator<'_> {
    pub(super) fn preserve(&mut self, stack: &Stack) {
        let spec = self.spec;
        for object in stack.order().iter().filter(|o| keeps(spec, o)) {
            let made_anew = stack.below(object).iter().find(|o| !keeps(spec, o)).map(Object::path);
            let set = match object {
                Object::Partition(key) => spec.disks.get(&key.set).filter(|d| !d.preserve.keeps()).map(|_| &key.set),
                _ => None,
            };
            let Some(below) = made_anew.or_else(|| set.map(|s| format!("disks.{s}"))) else { continue };
            if self.positions.is_wrong(&format!("{below}.preserve")) {
                continue;
            }
            let path = object.path();
            let text = format!("preserve: {path} is kept but {below} below it would be made anew");
            self.wrong_with_hint(
                "L134",
                format!("{path}.preserve"),
                text,
                format!("write preserve in {below} as well"),
            );
        }
        for (name, set) in spec.disks.iter().filter(|(_, d)| d.preserve.keeps()) {
            let word = match set.wipe {
                Wipe::None | Wipe::Signatures => continue,
                Wipe::Table => "table",
                Wipe::All => "all",
                Wipe::Discard => "discard",
                Wipe::Zero => "zero",
            };
            let text = format!("wipe: {word} together with preserve in set {name}");
            self.wrong_with_hint(
                "L135",
                format!("disks.{name}.wipe"),
                text,
                "wipe: signatures leaves out what is kept",
            );
        }
    }
}

fn keeps(spec: &Spec, object: &Object) -> bool {
    let preserve = match object {
        Object::Partition(key) => spec.partitions.get(key).map(|p| p.preserve),
        Object::Raid(name) => spec.raid.get(name).map(|r| r.preserve),
        Object::Luks(name) => spec.luks.get(name).map(|l| l.preserve),
        Object::Group(name) => spec.lvm.get(name).map(|g| g.preserve),
        Object::Volume(group, name) => spec.lvm.get(group).and_then(|g| g.lvs.get(name)).map(|v| v.preserve),
        Object::Filesystem(name) => spec.filesystems.get(name).map(|f| f.preserve),
    };
    preserve.is_some_and(Preserve::keeps)
}
