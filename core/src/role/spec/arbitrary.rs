//! Documents for property tests, as JSON: every one is right in itself, and together they use every key of the schema.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Names that two documents have in common often enough.
const PACKAGES: [&str; 6] = ["bash", "chrony", "kernel", "lvm2", "openssh-server", "tmux"];
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me";

/// Any part.
fn part() -> impl Strategy<Value = Map<String, Value>> {
    (names(), scalars(), objects()).prop_map(|(names, scalars, objects)| {
        let all = names.into_iter().chain(scalars).chain(objects);
        all.filter(|(_, v)| !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty())).collect()
    })
}

fn names() -> impl Strategy<Value = Vec<(String, Value)>> {
    let packages = || btree_set(select(&PACKAGES[..]), 0..4);
    let units =
        btree_map(select(&["sshd.service", "chronyd.service", "fstrim.timer", "x@1.socket"][..]), 0..3usize, 0..3);
    let words = vec(select(&["quiet", "console=tty0", "console=ttyS0,115200n8", "mitigations=off"][..]), 0..4);
    let languages = btree_set(select(&["de", "en_US", "sr@latin"][..]), 0..2);
    let paths = btree_set(select(&["/var/lib/x/*", "/var/log/x", "/etc/x/y?"][..]), 0..2);
    (packages(), packages(), packages(), units, words, languages, paths.clone(), paths).prop_map(
        |(packages, groups, failures, units, words, languages, remove, truncate)| {
            let of = |state: usize| units.iter().filter(|(_, s)| **s == state).map(|(u, _)| *u).collect::<Vec<_>>();
            let mut seen = std::collections::BTreeSet::new();
            let words: Vec<_> = words.into_iter().filter(|w| seen.insert(*w)).collect();
            vec![
                ("packages".into(), json!(packages)),
                ("groups".into(), json!(groups)),
                ("exclude".into(), json!(["never-*"])),
                ("allow_scriptlet_failures".into(), json!(failures)),
                ("units".into(), json!({"enable": of(0), "disable": of(1), "mask": of(2)})),
                ("kernel_args".into(), json!(words)),
                ("languages".into(), json!(languages)),
                ("generalise".into(), json!({"remove": remove, "truncate": truncate})),
            ]
        },
    )
}

fn scalars() -> impl Strategy<Value = Vec<(String, Value)>> {
    let text = |all: &'static [&'static str]| option::of(select(all));
    (
        text(&["minimal-environment", "server"]),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        text(&["enforcing", "permissive", "disabled"]),
        text(&["UTC", "Europe/Berlin"]),
        text(&["C.UTF-8", "en_US.UTF-8"]),
        option::of(0u64..1 << 32),
    )
        .prop_map(|(environment, weak, docs, selinux, timezone, locale, epoch)| {
            vec![
                ("environment".into(), json!(environment)),
                ("weak_deps".into(), json!(weak)),
                ("docs".into(), json!(docs)),
                ("selinux".into(), json!(selinux)),
                ("timezone".into(), json!(timezone)),
                ("locale".into(), json!(locale)),
                ("epoch".into(), json!(epoch)),
            ]
        })
}

fn objects() -> impl Strategy<Value = Vec<(String, Value)>> {
    let text = "[ -z|~äß\n]{0,20}";
    let content = prop_oneof![
        text.prop_map(|t| json!({"content": t})),
        text.prop_map(|t| json!({"template": format!("{t} {{{{ role }}}}")})),
        Just(json!({"content": {"base64": "/wA="}})),
    ];
    let file = (content, option::of(select(&["0600", "755"][..])), option::of(select(&["root", "0:0", "u:g"][..])));
    let files = btree_map(select(&["/etc/motd", "/etc/a b", "/srv/x.y/z"][..]), file, 0..3);
    let user = (option::of(any::<bool>()), vec(select(&["wheel", "adm"][..]), 0..3), any::<bool>(), "[a-z ]{0,8}");
    let users = btree_map(select(&["me", "svc", "root"][..]), user, 0..3);
    let scripts = btree_map(select(&["a", "b"][..]), (option::of(1..86400u32), any::<bool>(), "[ -~\n]{0,20}"), 0..2);
    let modules = btree_map(select(&["nodejs", "php"][..]), select(&["18", "20/minimal"][..]), 0..2);
    let repositories = btree_map(select(&["epel", "site"][..]), (option::of(1..99u32), any::<bool>()), 0..2);
    (files, users, scripts, modules, repositories).prop_map(|(files, users, scripts, modules, repositories)| {
        let files = files.into_iter().map(|(path, (content, mode, owner))| {
            let mut file = content;
            file["path"] = path.into();
            mode.into_iter().for_each(|m| file["mode"] = m.into());
            owner.into_iter().for_each(|o| file["owner"] = o.into());
            file
        });
        let users = users.into_iter().map(|(name, (system, groups, key, comment))| {
            let id = if name == "me" { 1000 } else { 1001 };
            let mut user = json!({"name": name, "groups": groups, "comment": comment});
            user["uid"] = if name == "root" { 0.into() } else { id.into() };
            user["home"] = "/home/x".into();
            user["shell"] = "/bin/sh".into();
            user["gid"] = id.into();
            system.into_iter().for_each(|s| user["system"] = s.into());
            if key {
                user["keys"] = json!([KEY]);
            }
            user
        });
        let scripts = scripts.into_iter().map(|(name, (limit, net, run))| {
            let mut script = json!({"name": name, "run": format!("true {run}"), "net": net});
            limit.into_iter().for_each(|l| script["time_limit"] = format!("{l}s").into());
            script
        });
        let repositories = repositories.into_iter().map(|(name, (priority, deb))| {
            let key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxx\n-----END PGP PUBLIC KEY BLOCK-----\n";
            let mut repository = json!({"name": name, "url": "https://example.org/x/$basearch", "key": key});
            priority.into_iter().for_each(|p| repository["priority"] = p.into());
            if deb {
                repository["suite"] = "bookworm".into();
                repository["components"] = json!(["main"]);
            }
            repository
        });
        vec![
            ("files".into(), Value::Array(files.collect())),
            ("users".into(), Value::Array(users.collect())),
            ("scripts".into(), Value::Array(scripts.collect())),
            ("modules".into(), modules.iter().map(|(n, s)| format!("{n}:{s}")).collect()),
            ("repositories".into(), Value::Array(repositories.collect())),
        ]
    })
}

/// Any document that is right in itself and extends no other.
pub fn document() -> impl Strategy<Value = Value> {
    let selectors = select(&["el", "el9", "deb", "debian12", "ubuntu24.04"][..]);
    (part(), btree_map(selectors, part(), 0..3), option::of("[ -~]{0,20}")).prop_map(|(part, special, description)| {
        let mut document =
            Map::from_iter([("schema".to_owned(), json!("cv.role/v1")), ("name".to_owned(), json!("any"))]);
        document.extend(part);
        description.into_iter().for_each(|d| drop(document.insert("description".into(), d.into())));
        if !special.is_empty() {
            document.insert("for".into(), json!(special));
        }
        Value::Object(document)
    })
}
