//! Signatures of suites, as gpgv sees them.
//!
//! ```text
//!  keys ──> a keyring of their own ──> gpgv --status-fd 1 InRelease, or Release.gpg Release ──> verdict
//! ```
//!
//! A suite is signed by several keys at once, old and new: one that is known is enough, as for apt.

use crate::distro::document::Key;
use crate::distro::key;
use crate::error::{Error, Result};
use crate::job::Task;
use crate::sys::program::{Call, Program};
use crate::sys::scratch::Scratch;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// Hashes that do not count, by their OpenPGP numbers: MD5, SHA-1, RIPEMD-160.
const WEAK: [&str; 3] = ["1", "2", "3"];

/// What is signed.
pub(super) enum Signed<'b> {
    /// An `InRelease`.
    Inline(&'b [u8]),
    /// A `Release`, and its `Release.gpg`.
    Detached(&'b [u8], &'b [u8]),
}

/// Checks the signature with these keys.
///
/// # Errors
/// `Unsupported` when gpgv is not installed; `Integrity` when no key has signed it; `Cancelled`.
pub(super) fn check(signed: &Signed<'_>, keys: &[Key], suite: &str, task: &Task) -> Result<()> {
    Program::Gpgv.find()?;
    let dir = Scratch::new(&std::env::temp_dir(), "cv-keys")?;
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).map_err(|e| Error::io("write", path.display(), e)).map(|()| path)
    };
    let texts: Vec<_> = keys.iter().map(|k| key::binary(k.text.as_bytes())).collect::<Result<_>>()?;
    let keyring = put("keyring.gpg", &texts.concat())?;
    let mut call = Call::new(Program::Gpgv).args(["--status-fd", "1", "--homedir"]).arg(dir.path());
    call = call.arg("--keyring").arg(keyring).limit(LIMIT);
    call = match signed {
        Signed::Inline(bytes) => call.arg(put("InRelease", bytes)?),
        Signed::Detached(bytes, signature) => call.arg(put("Release.gpg", signature)?).arg(put("Release", bytes)?),
    };
    // It is not 0 when one of several keys is not known.
    let output = call.run_whatever(&|| task.check().is_err())?;
    match verdict(&String::from_utf8_lossy(&output.stdout)) {
        None => Ok(()),
        Some(why) => {
            let known: Vec<_> = keys.iter().map(|k| k.info.fingerprint.clone()).collect();
            Err(Error::integrity(format!("the suite {suite} is not to be trusted: {why}")).fact("expected", known))
        }
    }
}

/// What gpgv says, and why it is not enough; `None` when all is well.
fn verdict(status: &str) -> Option<String> {
    let lines: Vec<Vec<&str>> = status
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] "))
        .map(|line| line.split(' ').collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    let found = |what: &str| lines.iter().find(|words| words[0] == what);
    let second = |words: &Vec<&str>| words.get(1).copied().unwrap_or("?").to_owned();
    if let Some(words) = found("BADSIG") {
        return Some(format!("it is not what the key {} signed", second(words)));
    }
    // Each signature begins with NEWSIG. VALIDSIG is also said of expired keys, so that it has to have GOODSIG beside it; its
    // eighth value is the hash.
    let mut weak = false;
    for one in lines.split(|words| words[0] == "NEWSIG") {
        let of = |what: &str| one.iter().find(|words| words[0] == what);
        match of("GOODSIG").and(of("VALIDSIG")).and_then(|words| words.get(8)) {
            Some(hash) if !WEAK.contains(hash) => return None,
            Some(_) => weak = true,
            None => {}
        }
    }
    if weak {
        return Some("its signature uses a hash that does not count any more".to_owned());
    }
    let others = [
        ("EXPKEYSIG", "the key is expired:"),
        ("REVKEYSIG", "the key is revoked:"),
        ("EXPSIG", "the signature is expired, by"),
        ("NO_PUBKEY", "it is signed by another key,"),
        ("ERRSIG", "its signature cannot be checked, by"),
    ];
    let told = others.iter().find_map(|(what, text)| found(what).map(|words| format!("{text} {}", second(words))));
    Some(told.unwrap_or_else(|| "it has no signature".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::verdict;

    const GOOD: &str = "[GNUPG:] NEWSIG\n[GNUPG:] KEY_CONSIDERED AB 0\n[GNUPG:] GOODSIG AB Me\n\
        [GNUPG:] VALIDSIG FF 2026-07-11 1783765000 0 4 0 1 8 01 FF\n";

    #[test]
    fn each_answer_of_gpgv_is_understood() {
        let unknown = "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG CD 1 8 01 1783765000 9 -\n[GNUPG:] NO_PUBKEY CD\n";
        assert_eq!(verdict(GOOD), None);
        assert_eq!(verdict(&format!("{unknown}{GOOD}")), None);
        assert_eq!(verdict(unknown).unwrap(), "it is signed by another key, CD");
        assert_eq!(
            verdict(&GOOD.replace("1 8 01", "1 2 01")).unwrap(),
            "its signature uses a hash that does not count any more"
        );
        assert_eq!(verdict(&format!("{GOOD}[GNUPG:] BADSIG EF You\n")).unwrap(), "it is not what the key EF signed");
        assert_eq!(verdict(&GOOD.replace("GOODSIG", "EXPKEYSIG")).unwrap(), "the key is expired: AB");
        for none in ["", "gpgv: Good signature\n", "[GNUPG:] NODATA 1\n", "[GNUPG:] GOODSIG AB x\n"] {
            assert_eq!(verdict(none).unwrap(), "it has no signature", "{none}");
        }
    }
}
