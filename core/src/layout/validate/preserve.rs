//! What is kept: down the whole chain, or not at all.

use super::Validator;
use crate::layout::spec::Wipe;
use crate::layout::stack::{Object, Stack};

impl Validator<'_> {
    pub(super) fn preserve(&mut self, stack: &Stack) {
        let spec = self.spec;
        for object in stack.order().iter().filter(|o| o.preserve(spec).keeps()) {
            let made_anew = stack.below(object).iter().find(|o| !o.preserve(spec).keeps()).map(Object::path);
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
