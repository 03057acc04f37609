//! The secret that a client shows to a server, as it stands in a file.

use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest file.
const LIMIT: u64 = 4096;

/// The secret in a file, without white space around it; `-` is standard input.
///
/// # Errors
/// `Io`, `NotFound`; `Invalid` when the file is empty, too long, or has more than one line.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>> {
    let shown = || path.display().to_string();
    let failed = |e| Error::io("read", shown(), e);
    let mut text = Zeroizing::new(String::new());
    if path.as_os_str() == "-" {
        std::io::stdin().take(LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(path).map_err(failed)?.take(LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    }
    let secret = text.trim();
    if secret.is_empty() || text.len() as u64 > LIMIT || secret.contains(char::is_whitespace) {
        return Err(Error::invalid(format!("{} holds no secret", shown())).hint("it has one line"));
    }
    Ok(Zeroizing::new(secret.to_owned()))
}
