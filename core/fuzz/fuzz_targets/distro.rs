//! Invariant: any medium is listed with clean paths and every extent inside, or refused; any metadata or key is read or
//! refused; nothing panics, and memory stays small.
//!
//! The first byte says what the rest is. Of a medium the empty sectors before the descriptors are left out; the seed is
//! `genisoimage -R -J -no-pad` of three files.
#![no_main]
use libcv::distro::iso::Listing;
use libcv::distro::treeinfo::{DiscInfo, TreeInfo, beneath};
use libcv::distro::{MediaSum, parse_keys, repo};
use libcv::image::path;
use libcv::job::Task;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 8 {
        0 => medium(bytes),
        1 => {
            for variant in TreeInfo::parse(bytes).map(|t| t.variants).unwrap_or_default() {
                if let Ok(inside) = beneath("", &variant.repository) {
                    path::check(inside.as_bytes()).expect("a path beneath is clean");
                }
            }
        }
        2 => drop(repo::parse_repomd(bytes)),
        3 => {
            for package in repo::parse_primary(bytes).unwrap_or_default() {
                path::check(package.location.as_bytes()).expect("a place of a package is clean");
            }
        }
        4 => drop(repo::parse_comps(bytes)),
        5 => drop(repo::parse_modules(bytes)),
        6 => drop(parse_keys(bytes)),
        _ => {
            let _ = MediaSum::parse(bytes);
            let _ = DiscInfo::parse(bytes);
        }
    }
});

fn medium(bytes: &[u8]) {
    let medium = [&vec![0; 16 * 2048], bytes].concat();
    let Ok(found) = Listing::read(&medium.as_slice(), &Task::quiet()) else { return };
    for (name, file) in found.files {
        path::check(&name).expect("a path is clean");
        assert!(file.extents.iter().all(|(at, n)| at + n <= medium.len() as u64));
    }
}
