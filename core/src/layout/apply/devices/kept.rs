//! What is kept and worked in, looked at once more before the first byte is written: whether it is what the plan saw, and
//! whether what is encrypted can be opened.
//!
//! ```text
//! Plan ┐  a volume that will be removed has another UUID      A401
//!      ├─ no secret that is given opens the kept header       F236
//! disks┘  else                                                on to the first write
//! ```
//!
//! The headers are read through whatever they lie on, whether that runs or not, and tried in a copy in memory.

use super::{Secrets, luks};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::observed::{Given, Observed, Source};
use crate::layout::plan::{Layer, Plan, PlannedCrypt, PlannedGroup};
use crate::layout::spec::Key;
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Programs make no larger ones: 4 MiB twice for the list of keys, 128 MiB for the keys.
const HEADER_LIMIT: u64 = 136 << 20;
/// What follows the header in the copy, so that there seems to be something encrypted.
const TAIL: u64 = 1 << 20;

/// Looks at what a plan keeps and works in.
///
/// # Errors
/// `Refused` (A401) when it is not what it was when the plan was made, (F236) when nothing opens it; `Unsupported` when
/// only the TPM would; of the disks, and of the program.
pub fn require(plan: &Plan, secrets: &Secrets, stop: &dyn Fn() -> bool) -> Result<()> {
    let crypts = plan.crypts().iter().enumerate();
    let opened: Vec<&PlannedCrypt> =
        crypts.filter(|(i, c)| c.kept && plan.is_started(Layer::Crypt(*i))).map(|(_, c)| c).collect();
    let groups: Vec<&PlannedGroup> = plan.groups().iter().filter(|g| !g.replaced.is_empty()).collect();
    if opened.is_empty() && groups.is_empty() {
        return Ok(());
    }
    let disks: Vec<Given> =
        plan.disks().iter().map(|d| Given { path: d.facts.path.clone(), sector: Some(d.facts.sector) }).collect();
    let (there, encrypted) = Observed::with_encrypted(&disks)?;
    groups.iter().try_for_each(|g| same_volumes(g, &there))?;
    opened.iter().try_for_each(|crypt| {
        let same = |uuid: &str| uuid.parse::<uuid::Uuid>().is_ok_and(|u| u == crypt.uuid);
        let found = there.crypts.iter().zip(&encrypted).find(|(c, _)| same(&c.header.uuid));
        let Some((is, source)) = found else {
            return Err(changed(&format!("luks/{}", crypt.id), "it is not there any more"));
        };
        opens(crypt, secrets, &copy(crypt, is.header.data_offset, source)?, stop)
    })
}

/// Whether the volumes that will be removed are those that the plan saw.
fn same_volumes(group: &PlannedGroup, there: &Observed) -> Result<()> {
    let is = there.groups.iter().find(|g| g.name == group.name);
    group.replaced.iter().try_for_each(|volume| {
        let uuid = is.and_then(|g| g.volumes.iter().find(|v| v.name == volume.name)).map(|v| v.uuid.as_str());
        same_volume(&group.name, &volume.name, &volume.uuid, uuid.unwrap_or("none"))
    })
}

/// Whether the volume of this name has the UUID that it had.
pub(super) fn same_volume(group: &str, name: &str, wanted: &str, is: &str) -> Result<()> {
    if is == wanted {
        return Ok(());
    }
    let e = changed(&format!("lvm/{group}/{name}"), "another volume has its name");
    Err(e.fact("expected", wanted).fact("actual", is))
}

/// What the plan keeps is another thing now.
fn changed(reference: &str, what: &str) -> Error {
    Error::refused(format!("{reference} is not as it was when the plan was made: {what}"))
        .hint("make a new plan")
        .fact("code", "A401")
}

/// The header of an encrypted device, in a memory that nobody else sees.
fn copy(crypt: &PlannedCrypt, length: u64, source: &Source) -> Result<File> {
    let name = format!("the header of luks/{}", crypt.id);
    if length > HEADER_LIMIT {
        return Err(Error::limit(format!("{name} is over {} MiB long", HEADER_LIMIT >> 20)));
    }
    let failed = |e: std::io::Error| Error::io("read", &name, e);
    let fd = rustix::fs::memfd_create("header", MemfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let mut file = File::from(fd);
    let mut piece = vec![0; 1 << 20];
    let (length, mut at) = (length.min(source.size()), 0);
    while at < length {
        let left = usize::try_from(length - at).unwrap_or(usize::MAX).min(piece.len());
        source.read_at(at, &mut piece[..left]).map_err(failed)?;
        file.write_all(&piece[..left]).map_err(failed)?;
        at += left as u64;
    }
    file.set_len(length + TAIL).map_err(failed)?;
    Ok(file)
}

/// Whether one of the secrets opens a header.
fn opens(crypt: &PlannedCrypt, secrets: &Secrets, header: &File, stop: &dyn Fn() -> bool) -> Result<()> {
    let path = format!("/proc/{}/fd/{}", std::process::id(), header.as_raw_fd());
    let names = crypt.keys.iter().filter_map(|key| if let Key::Secret(name) = key { Some(name) } else { None });
    let mut last = None;
    for name in names {
        match luks::test(Path::new(&path), secrets.get(name)?).run(stop) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Io => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    let Some(why) = last else { return Err(no_secret(crypt)) };
    Err(Error::refused(format!("luks/{} is kept, and none of the secrets that are given opens it", crypt.id))
        .hint("give the one that it was made with: --secret NAME=FILE; nothing was written")
        .fact("code", "F236")
        .cause(why))
}

/// Of a kept device that only the TPM opens.
pub(super) fn no_secret(crypt: &PlannedCrypt) -> Error {
    Error::unsupported(format!("luks/{} is kept, something is made in it, and it has no key but the TPM", crypt.id))
        .hint("give it a secret besides, for recovery")
        .fact("code", "F236")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::plan::Device;
    use std::process::{Command, Stdio};
    use std::rc::Rc;

    #[test]
    fn a_volume_that_was_swapped_is_told_by_its_uuid() {
        same_volume("v", "root", "a", "a").unwrap();
        for is in ["b", "none"] {
            let e = same_volume("v", "root", "a", is).unwrap_err();
            assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"A401".into()), "{e}");
        }
    }

    /// The header of a real device is tried in its copy, of which nothing but the header is read.
    #[test]
    fn secrets_are_tried_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk");
        File::create(&file).unwrap().set_len(24 << 20).unwrap();
        let options = ["--batch-mode", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let mut call = Command::new("/usr/sbin/cryptsetup");
        let call = call.arg("luksFormat").args(options).args(["--key-file", "-"]).arg(&file).stdin(Stdio::piped());
        let Ok(mut child) = call.spawn() else {
            println!("skipped: without cryptsetup no header is made");
            return;
        };
        child.stdin.take().unwrap().write_all(b"right").unwrap();
        assert!(child.wait().unwrap().success());
        let source: Source = Rc::new(std::fs::read(&file).unwrap());
        let crypt = |keys: &[&str]| PlannedCrypt {
            id: "c".into(),
            on: Device::Array(0),
            uuid: uuid::Uuid::nil(),
            label: None,
            keys: keys.iter().map(|k| Key::Secret((*k).to_owned())).collect(),
            options: Vec::new(),
            data_offset: 16 << 20,
            size: 0,
            sector: 512,
            for_grub: false,
            kept: true,
        };
        let mut secrets = Secrets::new();
        secrets.add("ref:a", b"wrong".to_vec()).unwrap();
        secrets.add("ref:b", b"right".to_vec()).unwrap();
        let header = copy(&crypt(&[]), 16 << 20, &source).unwrap();
        opens(&crypt(&["ref:a", "ref:b"]), &secrets, &header, &|| false).unwrap();
        let e = opens(&crypt(&["ref:a"]), &secrets, &header, &|| false).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"F236".into()), "{e:?}");
        let e = opens(&crypt(&[]), &secrets, &header, &|| false).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert_eq!(copy(&crypt(&[]), 1 << 40, &source).unwrap_err().kind(), ErrorKind::Limit);
    }
}
