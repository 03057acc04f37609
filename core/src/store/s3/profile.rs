//! Profiles of `~/.aws/config` and `~/.aws/credentials`: sections with `key = value`. What is indented belongs to a nested
//! setting and is passed over.

use std::collections::HashMap;

/// The settings of one profile; what the file of credentials says counts more.
pub(super) type Profile = HashMap<String, String>;

/// Reads a profile from the texts of both files. `None` when neither has it.
pub(super) fn find(name: &str, config: &str, credentials: &str) -> Option<Profile> {
    let long = format!("profile {name}");
    let in_config = section(config, |s| s == long || (s == name && name == "default"));
    let in_credentials = section(credentials, |s| s == name);
    match (in_config, in_credentials) {
        (None, None) => None,
        (first, second) => Some(first.into_iter().chain(second).flatten().collect()),
    }
}

fn section(text: &str, wanted: impl Fn(&str) -> bool) -> Option<Profile> {
    let (mut found, mut inside) = (None::<Profile>, false);
    for line in text.lines() {
        let nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if nested || line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            let words: Vec<&str> = name.split_whitespace().collect();
            inside = wanted(&words.join(" "));
            if inside {
                found.get_or_insert_default();
            }
        } else if inside && let Some((key, value)) = line.split_once('=') {
            found.get_or_insert_default().insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_comes_from_both_files() {
        let config = "[default]\nregion = eu-west-1\n# note\n[profile  lab]\nregion=garage\nendpoint_url = http://lab:3900\n\
                      s3 =\n  region = nested\n[profile lab2]\nregion = other\n";
        let credentials =
            "[default]\naws_access_key_id = A\n\n[lab]\nAWS_Access_Key_Id = B\naws_secret_access_key = s/e=c\n";
        let lab = find("lab", config, credentials).unwrap();
        let get = |key: &str| lab.get(key).map(String::as_str);
        assert_eq!((get("region"), get("endpoint_url")), (Some("garage"), Some("http://lab:3900")));
        assert_eq!((get("aws_access_key_id"), get("aws_secret_access_key")), (Some("B"), Some("s/e=c")));
        assert_eq!(find("default", config, credentials).unwrap().len(), 2);
        assert_eq!(find("lab2", config, "").unwrap()["region"], "other");
        assert_eq!(find("nobody", config, credentials), None);
        assert_eq!(find("lab", "[lab]\nregion = x\n", ""), None, "in config a section is called `profile`");
        assert!(find("x", "[profile x]", "").unwrap().is_empty());
    }
}
