//! What stands on what: the objects of a document, each after everything that it stands on.
//!
//! ```text
//! partitions ─> raid ─> luks ─> lvm group ─> lvm volume ─> luks … ─> filesystem
//! ```
//!
//! Any order of kinds is possible. A thin volume stands on its pool.

use super::spec::{PartitionKey, Preserve, Ref, Spec};
use std::collections::{BTreeSet, HashMap};
use std::fmt;

/// An object of a document that stands on others or carries others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A partition on every disk of its set.
    Partition(PartitionKey),
    /// An array.
    Raid(String),
    /// An encrypted device.
    Luks(String),
    /// A volume group.
    Group(String),
    /// A volume of a group.
    Volume(String, String),
    /// A filesystem or swap space.
    Filesystem(String),
}

impl Object {
    /// Its path in the document, such as `lvm.sys.lvs.root`.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Partition(key) => format!("partitions.{key}"),
            Self::Raid(name) => format!("raid.{name}"),
            Self::Luks(name) => format!("luks.{name}"),
            Self::Group(name) => format!("lvm.{name}"),
            Self::Volume(group, name) => format!("lvm.{group}.lvs.{name}"),
            Self::Filesystem(name) => format!("filesystems.{name}"),
        }
    }

    /// What the document says about keeping it.
    #[must_use]
    pub fn preserve(&self, spec: &Spec) -> Preserve {
        let found = match self {
            Self::Partition(key) => spec.partitions.get(key).map(|p| p.preserve),
            Self::Raid(name) => spec.raid.get(name).map(|r| r.preserve),
            Self::Luks(name) => spec.luks.get(name).map(|l| l.preserve),
            Self::Group(name) => spec.lvm.get(name).map(|g| g.preserve),
            Self::Volume(group, name) => spec.lvm.get(group).and_then(|g| g.lvs.get(name)).map(|v| v.preserve),
            Self::Filesystem(name) => spec.filesystems.get(name).map(|f| f.preserve),
        };
        found.unwrap_or_default()
    }
}

impl From<&Ref> for Object {
    fn from(reference: &Ref) -> Self {
        match reference {
            Ref::Partition(key) => Self::Partition(key.clone()),
            Ref::Raid(name) => Self::Raid(name.clone()),
            Ref::Luks(name) => Self::Luks(name.clone()),
            Ref::Volume(group, name) => Self::Volume(group.clone(), name.clone()),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(key) => key.fmt(f),
            Self::Raid(name) => write!(f, "raid/{name}"),
            Self::Luks(name) => write!(f, "luks/{name}"),
            Self::Group(name) => write!(f, "lvm/{name}"),
            Self::Volume(group, name) => write!(f, "lvm/{group}/{name}"),
            Self::Filesystem(name) => write!(f, "filesystems.{name}"),
        }
    }
}

/// The objects of a document and what each stands on.
#[derive(Clone, Debug)]
pub struct Stack {
    order: Vec<Object>,
    below: HashMap<Object, Vec<Object>>,
    above: HashMap<Object, Vec<Object>>,
}

impl Stack {
    /// The objects of `spec`. What a reference names and the document has not is left out.
    ///
    /// # Errors
    /// Objects that stand on each other in a circle, the first once more at the end.
    pub fn of(spec: &Spec) -> Result<Self, Vec<Object>> {
        let mut objects: Vec<(Object, Vec<Object>)> = Vec::new();
        objects.extend(spec.partitions.keys().map(|key| (Object::Partition(key.clone()), Vec::new())));
        let all = |refs: &[Ref]| refs.iter().map(Object::from).collect::<Vec<_>>();
        objects.extend(spec.raid.iter().map(|(name, raid)| (Object::Raid(name.clone()), all(&raid.members))));
        objects.extend(spec.luks.iter().map(|(name, luks)| (Object::Luks(name.clone()), vec![(&luks.on).into()])));
        for (group, g) in &spec.lvm {
            objects.push((Object::Group(group.clone()), all(&g.pvs)));
            objects.extend(g.lvs.iter().map(|(name, volume)| {
                let on = match &volume.pool {
                    Some(pool) => Object::Volume(group.clone(), pool.clone()),
                    None => Object::Group(group.clone()),
                };
                (Object::Volume(group.clone(), name.clone()), vec![on])
            }));
        }
        let filesystems = spec.filesystems.iter();
        objects.extend(filesystems.map(|(name, fs)| (Object::Filesystem(name.clone()), vec![(&fs.on).into()])));
        Self::sorted(&objects)
    }

    fn sorted(objects: &[(Object, Vec<Object>)]) -> Result<Self, Vec<Object>> {
        let known: BTreeSet<Object> = objects.iter().map(|(o, _)| o.clone()).collect();
        let mut below: HashMap<Object, Vec<Object>> = HashMap::new();
        let mut above: HashMap<Object, Vec<Object>> = HashMap::new();
        for (object, on) in objects {
            let on: Vec<Object> = on.iter().filter(|o| known.contains(o)).cloned().collect();
            for lower in &on {
                above.entry(lower.clone()).or_default().push(object.clone());
            }
            below.insert(object.clone(), on);
        }
        // Round after round those come that stand on nothing else any more, in document order: it is the same every
        // time.
        let index: HashMap<&Object, usize> = objects.iter().enumerate().map(|(i, (o, _))| (o, i)).collect();
        let on: Vec<Vec<usize>> = objects.iter().map(|(o, _)| below[o].iter().map(|b| index[b]).collect()).collect();
        let mut placed = vec![false; objects.len()];
        let mut order = Vec::with_capacity(objects.len());
        let mut left: Vec<usize> = (0..objects.len()).collect();
        while !left.is_empty() {
            let (ready, waiting): (Vec<usize>, Vec<usize>) =
                left.into_iter().partition(|i| on[*i].iter().all(|b| placed[*b]));
            if ready.is_empty() {
                let placed: BTreeSet<&Object> = order.iter().collect();
                return Err(circle(&objects[waiting[0]].0, &below, &placed));
            }
            for i in ready {
                placed[i] = true;
                order.push(objects[i].0.clone());
            }
            left = waiting;
        }
        Ok(Self { order, below, above })
    }

    /// All objects, each after what it stands on.
    #[must_use]
    pub fn order(&self) -> &[Object] {
        &self.order
    }

    /// What an object stands on directly.
    #[must_use]
    pub fn below(&self, object: &Object) -> &[Object] {
        self.below.get(object).map_or(&[], Vec::as_slice)
    }

    /// What stands on an object directly.
    #[must_use]
    pub fn above(&self, object: &Object) -> &[Object] {
        self.above.get(object).map_or(&[], Vec::as_slice)
    }

    /// Everything that an object stands on, down to the partitions; without the object.
    #[must_use]
    pub fn foundation(&self, object: &Object) -> BTreeSet<&Object> {
        self.reach(object, &self.below)
    }

    /// Everything that would fall with an object; without the object.
    #[must_use]
    pub fn burden(&self, object: &Object) -> BTreeSet<&Object> {
        self.reach(object, &self.above)
    }

    fn reach<'s>(&self, from: &Object, edges: &'s HashMap<Object, Vec<Object>>) -> BTreeSet<&'s Object> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&Object> = edges.get(from).into_iter().flatten().collect();
        while let Some(object) = open.pop() {
            if found.insert(object) {
                open.extend(edges.get(object).into_iter().flatten());
            }
        }
        found
    }
}

/// Everything that a device stands on, the nearest first, with the device itself, each once.
#[must_use]
pub fn reach<T: Copy + PartialEq>(from: T, below: impl Fn(T) -> Vec<T>) -> Vec<T> {
    let mut found = vec![from];
    let mut at = 0;
    while let Some(device) = found.get(at).copied() {
        for lower in below(device) {
            if !found.contains(&lower) {
                found.push(lower);
            }
        }
        at += 1;
    }
    found
}

/// A circle that can be reached from `from`, along objects that are not placed.
fn circle(from: &Object, below: &HashMap<Object, Vec<Object>>, placed: &BTreeSet<&Object>) -> Vec<Object> {
    let mut path: Vec<&Object> = vec![from];
    loop {
        let Some(next) = below[path[path.len() - 1]].iter().find(|o| !placed.contains(o)) else {
            // Not reached: what is not placed waits for something that is not placed.
            return path.into_iter().cloned().collect();
        };
        if let Some(first) = path.iter().position(|o| *o == next) {
            return path[first..].iter().copied().chain([next]).cloned().collect();
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raid(name: &str) -> Object {
        Object::Raid(name.to_owned())
    }

    #[test]
    fn what_is_below_comes_first() {
        let objects = vec![(raid("a"), vec![raid("b")]), (raid("b"), vec![raid("nowhere")]), (raid("c"), vec![])];
        let stack = Stack::sorted(&objects).unwrap();
        assert_eq!(stack.order(), [raid("b"), raid("c"), raid("a")]);
        assert_eq!(stack.above(&raid("b")), [raid("a")]);
        assert_eq!(stack.foundation(&raid("a")), BTreeSet::from([&raid("b")]));
        assert_eq!(stack.burden(&raid("b")), BTreeSet::from([&raid("a")]));
    }

    #[test]
    fn a_circle_is_named() {
        let objects = vec![(raid("x"), vec![raid("a")]), (raid("a"), vec![raid("b")]), (raid("b"), vec![raid("a")])];
        assert_eq!(Stack::sorted(&objects).unwrap_err(), [raid("a"), raid("b"), raid("a")]);
    }
}
