//! Layers against a model.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Dir,
    File(u64),
    Link,
    Whiteout,
    Opaque,
}

type State = BTreeMap<String, (char, u64)>;

fn above(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path.split('/').collect();
    (1..parts.len()).map(|n| parts[..n].join("/")).collect()
}

/// What a layer makes of a tree; `None` where it breaks a rule.
fn apply(mut tree: State, layer: &BTreeMap<(String, bool), Op>, number: u64) -> Option<State> {
    let inside = |path: &str, dir: &str| path.starts_with(&format!("{dir}/"));
    for ((path, _), op) in layer {
        match op {
            Op::Whiteout => tree.retain(|p, _| p != path && !inside(p, path)),
            Op::Opaque => tree.retain(|p, _| !inside(p, path)),
            _ => {}
        }
    }
    let own: BTreeMap<&String, &Op> = layer.iter().filter(|((_, mark), _)| !mark).map(|((p, _), op)| (p, op)).collect();
    let implied: BTreeSet<String> = own.keys().flat_map(|p| above(p)).filter(|p| !own.contains_key(p)).collect();
    for path in &implied {
        match tree.get(path) {
            Some(('d', _)) => {}
            Some(_) => return None,
            None => drop(tree.insert(path.clone(), ('d', 755))),
        }
    }
    for (path, op) in own {
        if above(path).iter().any(|p| matches!(tree.get(p), Some((kind, _)) if *kind != 'd')) {
            let replaced = above(path).iter().all(|p| layer.get(&(p.clone(), false)).is_none_or(|o| *o == Op::Dir));
            if !replaced {
                return None;
            }
        }
        let new = match op {
            Op::Dir => ('d', 700 + number),
            Op::File(n) => ('f', *n),
            _ => ('l', 0),
        };
        if new.0 != 'd' {
            tree.retain(|p, _| !inside(p, path));
        }
        tree.insert(path.clone(), new);
    }
    Some(tree)
}

fn any_layer() -> impl Strategy<Value = Vec<((String, bool), Op)>> {
    let part = prop_oneof![Just("a"), Just("b"), Just("c")];
    let path = prop::collection::vec(part, 1..4).prop_map(|p| p.join("/"));
    let op = prop_oneof![
        3 => Just(Op::Dir),
        3 => (0u64..40).prop_map(Op::File),
        1 => Just(Op::Link),
        2 => Just(Op::Whiteout),
        1 => Just(Op::Opaque),
    ];
    let one = (path, op).prop_map(|(path, op)| ((path, matches!(op, Op::Whiteout | Op::Opaque)), op));
    // Each path once as an entry and once as a mark, in any order.
    prop::collection::hash_map(one.clone().prop_map(|o| o.0), one.prop_map(|o| o.1), 0..8).prop_map(|all| {
        let fits = |((path, mark), op): ((String, bool), Op)| {
            let op = match (mark, &op) {
                (true, Op::Whiteout | Op::Opaque) | (false, Op::Dir | Op::File(_) | Op::Link) => op,
                (true, _) => Op::Whiteout,
                (false, _) => Op::Dir,
            };
            ((path, mark), op)
        };
        all.into_iter().map(fits).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150), ..ProptestConfig::default() })]

    /// Layers of any entries and whiteouts in any order become the tree that the rules describe, or are refused where
    /// these say so.
    #[test]
    fn layers_become_what_the_model_says(layers in prop::collection::vec(any_layer(), 1..5)) {
        let mut model = Some(State::new());
        let mut packed: Vec<Layer> = Vec::new();
        for (layer, n) in layers.iter().zip(0u64..) {
            let map: BTreeMap<_, _> = layer.iter().cloned().collect();
            model = model.and_then(|tree| apply(tree, &map, n));
            let join = |path: &str, mark: &str| match path.rsplit_once('/') {
                Some((dir, name)) => format!("{dir}/.wh.{}{}", if mark.is_empty() { name } else { "" }, mark),
                None => format!(".wh.{path}"),
            };
            packed.push(layer.iter().map(|((path, _), op)| match op {
                Op::Dir => entry(path, 0o700 + n as u32, Kind::Directory),
                Op::File(size) => file(path, *size),
                Op::Link => link(path, "x"),
                Op::Whiteout => file(&join(path, ""), 0),
                Op::Opaque => file(&format!("{path}/.wh..wh..opq"), 0),
            }).collect());
        }
        let bed = Bed::new();
        let done = bed.bring(Layout::with(&packed).path());
        match (model, done) {
            (None, Err(e)) => prop_assert_eq!(e.kind(), ErrorKind::UnsafeInput),
            (Some(model), Ok(_)) => {
                let found: State = bed.image().rows().unwrap().map(|r| r.unwrap()).filter(|r| !r.path.is_empty()).map(|r| {
                    let what = match r.kind_name() {
                        "directory" if r.mode & 0o7777 == 0o755 => ('d', 755),
                        "directory" => ('d', 700 + u64::from(r.mode & 0o77)),
                        "file" => ('f', r.size()),
                        _ => ('l', 0),
                    };
                    (String::from_utf8(r.path).unwrap(), what)
                }).collect();
                prop_assert_eq!(found, model);
            }
            (model, done) => prop_assert!(false, "model: {:?}, import: {:?}", model, done.map(|d| d.tree)),
        }
    }
}
