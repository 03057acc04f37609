//! What words are made of: packages, units, accounts, locales, paths.

use schemars::JsonSchema;
use serde::Serialize;

/// What SELinux does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Selinux {
    /// It forbids.
    Enforcing,
    /// It complains.
    Permissive,
    /// It is off.
    Disabled,
}

impl Selinux {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 3] =
        [("enforcing", Self::Enforcing), ("permissive", Self::Permissive), ("disabled", Self::Disabled)];
}

/// What becomes of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// It starts with the system.
    Enabled,
    /// It does not.
    Disabled,
    /// Nothing starts it.
    Masked,
}

impl UnitState {
    /// All of them, by the keys of a document.
    pub const KEYS: [(&str, Self); 3] =
        [("enable", Self::Enabled), ("disable", Self::Disabled), ("mask", Self::Masked)];

    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Masked => "masked",
        }
    }
}

/// For what is left out of a written document when it is as it would be without.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

/// Kinds of units.
const UNIT_KINDS: [&str; 7] = [".service", ".socket", ".target", ".timer", ".path", ".mount", ".automount"];
/// The longest name of a unit.
const UNIT_LIMIT: usize = 255;
/// Where time zones begin, apart from those that are a word of their own.
pub(crate) const ZONES: [&str; 11] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
    "Etc",
];
/// Time zones without a region that are in use.
pub(crate) const LONE_ZONES: [&str; 4] = ["UTC", "GMT", "Zulu", "Universal"];

fn begins_and_has(text: &str, limit: usize, first: &str, more: &str) -> bool {
    (1..=limit).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || first.contains(c))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// Whether it can name a package: also with version, release, architecture, as the package managers write them.
pub(crate) fn is_package(text: &str) -> bool {
    begins_and_has(text, 200, "", "._+-~:^")
}

/// Whether it can name packages, with `*` and `?`.
pub(crate) fn is_package_pattern(text: &str) -> bool {
    begins_and_has(text, 200, "*?", "._+-~:^*?") && text.chars().any(|c| c.is_ascii_alphanumeric())
}

/// Whether it can be the id of a group, or an environment.
pub(crate) fn is_group(text: &str) -> bool {
    begins_and_has(text, 128, "", "._+-")
}

/// Whether it can name a document, a repository, a script.
pub(crate) fn is_name(text: &str) -> bool {
    begins_and_has(text, 64, "", "._-")
}

/// Whether it can name a user or a group of users.
pub(crate) fn is_account(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
}

/// The full name of a unit: without an ending it is a service.
pub(crate) fn unit(text: &str) -> Option<String> {
    let name = match UNIT_KINDS.iter().any(|k| text.ends_with(k)) {
        true => text.to_owned(),
        false => format!("{text}.service"),
    };
    let stem = UNIT_KINDS.iter().find_map(|k| name.strip_suffix(k))?;
    let good = begins_and_has(stem, UNIT_LIMIT - 16, "_", "_.:@-\\") && stem.matches('@').count() <= 1;
    good.then_some(name)
}

/// Whether it is a language, with or without a country: `de`, `en_US`, `sr@latin`.
pub(crate) fn is_language(text: &str) -> bool {
    let (text, modifier) = text.split_once('@').unwrap_or((text, "x"));
    let (language, country) = text.split_once('_').unwrap_or((text, "XX"));
    (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_lowercase())
        && country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && (1..=16).contains(&modifier.len())
        && modifier.bytes().all(|b| b.is_ascii_lowercase())
}

/// Whether it is a locale: `en_US.UTF-8`, `C.UTF-8`, `C`.
pub(crate) fn is_locale(text: &str) -> bool {
    let (plain, modifier) = text.split_once('@').unwrap_or((text, "x"));
    let (language, charset) = plain.split_once('.').unwrap_or((plain, "UTF-8"));
    let charset = begins_and_has(charset, 32, "", "-");
    charset && is_language(&format!("aa@{modifier}")) && (matches!(language, "C" | "POSIX") || is_language(language))
}

/// Whether it may be a time zone; whether there is one only the new tree knows.
pub(crate) fn is_timezone(text: &str) -> bool {
    let known = match text.split_once('/') {
        Some((region, _)) => ZONES.contains(&region),
        None => LONE_ZONES.contains(&text),
    };
    known && text.split('/').all(|part| begins_and_has(part, 32, "", "_+-"))
}

/// Whether it is one word on a kernel's command line that means the same to GRUB.
pub(crate) fn is_kernel_word(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() && !"'\"\\$;{}<>|&#`".contains(c))
}

/// Whether it is a path from the root, in its only form, that leads nowhere else.
pub(crate) fn is_clean_path(text: &str) -> bool {
    let clean = |p: &str| !matches!(p, "" | "." | "..") && p.len() <= 255;
    text.len() <= 1024
        && !text.contains(char::is_control)
        && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(clean))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of them takes, and what it does not.
    #[test]
    fn words_are_known_by_their_letters() {
        type Is = fn(&str) -> bool;
        let cases: [(Is, &[&str], &[&str]); 9] = [
            (
                is_package,
                &["bash", "bash-5.1.8-6.el9.x86_64", "libc6:amd64", "g++", "389-ds"],
                &["", "-bash", "a b", "a/b", "@core", "a*"],
            ),
            (is_package_pattern, &["kernel*", "*-debug", "a?c"], &["*", "", "a/*", "-x"]),
            (is_account, &["root", "_apt", "u-1"], &["", "Root", "1u", "a.b", "a:b"]),
            (is_language, &["de", "en_US", "sr@latin", "nds"], &["", "german", "en_us", "EN", "en_USA"]),
            (is_locale, &["en_US.UTF-8", "C.UTF-8", "C", "de_DE@euro"], &["", "english", "en_US.", "C.UTF 8"]),
            (
                is_timezone,
                &["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+1"],
                &["", "Europe", "Europe/", "Europ/Berlin", "Europe/../x"],
            ),
            (is_kernel_word, &["quiet", "console=ttyS0,115200n8"], &["", "a b", "a\"b", "$x"]),
            (
                is_clean_path,
                &["/etc/motd", "/a"],
                &["", "/", "etc", "/a/", "/a//b", "/../a", "/a/..", "/a/./b", "/a\nb"],
            ),
            (is_group, &["core", "minimal-environment"], &["@core", "^x", ""]),
        ];
        for (is, good, bad) in cases {
            good.iter().for_each(|t| assert!(is(t), "{t:?}"));
            bad.iter().for_each(|t| assert!(!is(t), "{t:?}"));
        }
    }

    #[test]
    fn a_unit_without_ending_is_a_service() {
        assert_eq!(unit("sshd").as_deref(), Some("sshd.service"));
        assert_eq!(unit("getty@tty1.service").as_deref(), Some("getty@tty1.service"));
        assert_eq!(unit("fstrim.timer").as_deref(), Some("fstrim.timer"));
        for bad in ["", ".service", "a b", "a/b.service", "a@b@c.service", &"x".repeat(300)] {
            assert_eq!(unit(bad), None, "{bad}");
        }
    }
}
