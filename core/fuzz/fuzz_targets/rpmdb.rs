//! Invariant: any bytes in the package database give a package with a name and a version, or an error; never a panic. The
//! same of dpkg's status, and of what dnf says.
#![no_main]
use libcv::build::dnflog::Log;
use libcv::build::root::{Line, Stream};
use libcv::build::rpmdb::header::Header;
use libcv::build::{deb, packages::Package};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::parse(bytes)
        && let Ok(Some(package)) = header.package()
    {
        shown(&package);
    }
    deb::parse(bytes).unwrap_or_default().iter().for_each(shown);
    let mut log = Log::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let (stream, text) = line.strip_prefix('!').map_or((Stream::Out, line), |rest| (Stream::Err, rest));
        log.hear(&Line { stream, text: text.to_owned() });
    }
    let _ = log.verdict(1, &[]);
});

fn shown(package: &Package) {
    assert!(package.purl("x").starts_with("pkg:") && package.to_string().len() > 2);
}
