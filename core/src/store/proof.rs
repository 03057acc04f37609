//! What an object has to be by its name. A mirror that sends something else is found out before anybody reads it; what lies
//! in packs is proved later, by the names of the chunks.

use super::release::SignedRelease;
use super::sealed::has_sum;
use super::{image_key, is_store_file};
use crate::image::Hash;

/// Whether these bytes can be the whole object of this key.
pub(super) fn fits(key: &str, bytes: &[u8]) -> bool {
    let mut parts = key.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("store.json"), None, ..) => is_store_file(bytes),
        (Some("images"), Some(_), None, _) => key == image_key(&Hash::of(bytes)),
        (Some("idx"), Some("CURRENT"), None, _) => lines(bytes).is_some(),
        (Some("idx"), Some(name), None, _) => {
            name.strip_suffix(".idx").is_none_or(|hash| Hash::of(bytes).to_string() == hash)
        }
        (Some("refs"), Some(name), Some(generation), None) if is_number(generation) => SignedRelease::decode(bytes)
            .is_ok_and(|s| s.release.name == name && format!("{:016}", s.release.generation) == generation),
        (Some("refs"), Some(_), Some(tombstone), None) if tombstone.ends_with(".removed") => bytes.is_empty(),
        (Some("tags"), Some(_), Some(_), Some(number)) if is_number(number) => has_sum(bytes),
        (Some("blobs"), Some(_), Some(_), None) => has_sum(bytes),
        _ => true,
    }
}

/// The segments that a CURRENT names.
pub(super) fn lines(bytes: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines().all(|l| l.parse::<Hash>().is_ok()).then(|| text.lines().map(str::to_owned).collect())
}

fn is_number(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::release::Reason;
    use crate::store::{Release, sealed};

    #[test]
    fn an_object_is_what_its_name_says() {
        let manifest = image_key(&Hash::of(b"m"));
        assert!(fits(&manifest, b"m") && !fits(&manifest, b"n"));
        let segment = format!("idx/{}.idx", Hash::of(b"s"));
        assert!(fits(&segment, b"s") && !fits(&segment, b"t"));
        assert!(fits("idx/CURRENT", format!("{}\n", Hash::of(b"s")).as_bytes()) && fits("idx/CURRENT", b""));
        assert!(!fits("idx/CURRENT", b"<html>") && !fits("idx/CURRENT", &[0xff]));
        assert!(!fits("store.json", b"{}"));
        let release = Release {
            created: "2026-03-01T12:00:00Z".into(),
            generation: 3,
            image: Some(Hash::of(b"i")),
            name: "n".into(),
            reason: Reason::Capture,
            store: "u".into(),
            tree: Some(Hash::of(b"t")),
        };
        let bytes = SignedRelease::new(release, None).encode();
        assert!(fits("refs/n/0000000000000003", &bytes));
        // Of another generation, of another name, changed.
        assert!(!fits("refs/n/0000000000000004", &bytes) && !fits("refs/m/0000000000000003", &bytes));
        assert!(!fits("refs/n/0000000000000003", &bytes[1..]));
        assert!(fits("refs/n/0000000000000003.removed", b"") && !fits("refs/n/0000000000000003.removed", b"<html>"));
        let tag = sealed::seal("tag", &1);
        assert!(fits("tags/n/t/0000000000000001", &tag) && !fits("tags/n/t/0000000000000001", &tag[2..]));
        assert!(fits("packs/ab/x.pack", b"anything"));
    }
}
