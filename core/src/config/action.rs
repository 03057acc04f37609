//! The actions: what may be asked for, and the rules of each field.

use super::ConfigError;
use super::fstab::FstabLine;
use crate::sys::confined::show;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest file that an action writes or edits.
pub(super) const FILE_LIMIT: u64 = 16 << 20;
/// Most actions in one go.
pub(super) const ACTION_LIMIT: usize = 4096;
const PATH_LIMIT: usize = 4095;
const NAME_LIMIT: usize = 255;

/// One change to the root of a target. In JSON: `{"hostname": "n1"}`, `{"link": {"path": …, "target": …}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A file has this content.
    WriteFile(WriteFile),
    /// A symbolic link has this target.
    Link(Link),
    /// The file systems table has this line; it replaces the one for the same mount point.
    FstabLine(FstabLine),
    /// The lines of the machine that was captured give way to these.
    Fstab(Fstab),
    /// The machine has this host name.
    Hostname(String),
    /// The machine has this machine-id.
    MachineId(MachineId),
    /// A user has this password hash.
    PasswordHash(PasswordHash),
    /// A systemd unit is enabled.
    EnableUnit(EnableUnit),
}

/// See [`Action::WriteFile`]. What is left out is kept of the file that is there; a new one is `0644`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WriteFile {
    /// Absolute path in the root. A link at its end is replaced, never written through.
    pub path: String,
    /// All of its bytes.
    pub content: Content,
    /// Permissions, in JSON as octal text: `"0640"`.
    #[serde(default, with = "octal", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mode: Option<u32>,
    /// Numeric owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Numeric group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// See [`Action::Link`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Link {
    /// Absolute path in the root.
    pub path: String,
    /// Text of the link, relative or absolute.
    pub target: String,
}

/// See [`Action::Fstab`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fstab {
    /// The mounts of the layout. Every other line that names a disk goes; comments and other lines stay.
    pub lines: Vec<FstabLine>,
}

/// See [`Action::MachineId`]. In JSON `"empty"`, `"fresh"`, `"ensure"` or 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum MachineId {
    /// An empty file: the machine makes one at its first boot.
    Empty,
    /// A new random one, whatever is there. The only action that a second run does not find done.
    Fresh,
    /// A new random one unless a valid one is there.
    Ensure,
    /// This one: 32 lower-case hex digits, not all zero.
    Given(String),
}

/// See [`Action::PasswordHash`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PasswordHash {
    /// A user that is in `/etc/shadow`.
    pub user: String,
    /// A hash as `crypt` makes it (`$y$…`, `$6$…`); `!` or `*` allow no password.
    pub hash: Secret,
}

/// See [`Action::EnableUnit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EnableUnit {
    /// Full name, such as `sshd.service` or `getty@tty1.service`.
    pub unit: String,
    /// A unit that wants it, where its own `[Install]` section does not say so or is to be overruled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_by: Option<String>,
}

/// Bytes of a file; in JSON text, or `{"base64": …}` where they are no text. Debug shows only the length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Content(Vec<u8>);

/// A text that Debug does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields, expecting = "a content is a text or {\"base64\": …}")]
enum Wire {
    Text(String),
    Bytes { base64: String },
}

impl Action {
    /// Reads a JSON array of actions.
    ///
    /// # Errors
    /// `Invalid` with line and column when it is none. Fields are checked later, by [`Action::check`].
    pub fn parse_list(json: &str) -> crate::Result<Vec<Self>> {
        serde_json::from_str(json).map_err(|e| {
            crate::Error::invalid("the actions cannot be read as JSON")
                .hint("a list such as [{\"hostname\": \"n1\"}]")
                .fact("line", e.line())
                .fact("column", e.column())
                .cause(e)
        })
    }

    /// The name, as JSON has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WriteFile(_) => "write-file",
            Self::Link(_) => "link",
            Self::FstabLine(_) => "fstab-line",
            Self::Fstab(_) => "fstab",
            Self::Hostname(_) => "hostname",
            Self::MachineId(_) => "machine-id",
            Self::PasswordHash(_) => "password-hash",
            Self::EnableUnit(_) => "enable-unit",
        }
    }

    /// Checks every field, without any root.
    ///
    /// # Errors
    /// The field and its rule.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::WriteFile(f) => {
                path("write-file.path", &f.path)?;
                if f.content.bytes().len() as u64 > FILE_LIMIT {
                    return Err(ConfigError::Limit { what: f.path.clone(), limit: FILE_LIMIT });
                }
                if f.mode.is_some_and(|m| m > 0o7777) {
                    return Err(ConfigError::field("write-file.mode", "it is at most 07777"));
                }
                // chown(-1) means "leave it".
                let none = |id: Option<u32>| id == Some(u32::MAX);
                if none(f.uid) || none(f.gid) {
                    return Err(ConfigError::field("write-file.uid", "4294967295 is no owner"));
                }
                Ok(())
            }
            Self::Link(l) => {
                path("link.path", &l.path)?;
                if l.target.is_empty() || l.target.len() > PATH_LIMIT {
                    return Err(ConfigError::field("link.target", "it has 1 to 4095 bytes"));
                }
                no_nul(&l.target)
            }
            Self::FstabLine(l) => l.check(),
            Self::Fstab(f) => {
                f.lines.iter().try_for_each(FstabLine::check)?;
                let mut keys: Vec<_> = f.lines.iter().map(FstabLine::key).collect();
                keys.sort_unstable();
                match keys.windows(2).find(|w| w[0] == w[1]) {
                    Some(w) => Err(ConfigError::field("fstab.lines", format!("{} stands twice", w[0]))),
                    None => Ok(()),
                }
            }
            Self::Hostname(name) => hostname(name),
            Self::MachineId(MachineId::Given(id)) if !is_machine_id(id.as_bytes()) => {
                Err(ConfigError::field("machine-id", "it is empty, fresh, ensure or 32 lower-case hex digits"))
            }
            Self::MachineId(_) => Ok(()),
            Self::PasswordHash(p) => {
                let odd = |c: char| c.is_control() || c.is_whitespace() || c == ':' || c == '/';
                if p.user.is_empty() || p.user.len() > 256 || p.user.contains(odd) || p.user.starts_with('-') {
                    return Err(ConfigError::field("password-hash.user", format!("\"{}\"", p.user.escape_debug())));
                }
                // The value must not come into the message.
                if is_hash(p.hash.expose()) {
                    return Ok(());
                }
                Err(ConfigError::field("password-hash.hash", "it has the form $id$salt$hash, or is ! or *"))
            }
            Self::EnableUnit(u) => {
                unit_name("enable-unit.unit", &u.unit)?;
                u.wanted_by.iter().try_for_each(|w| unit_name("enable-unit.wanted-by", w))
            }
        }
    }
}

impl Content {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl TryFrom<Wire> for Content {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        match wire {
            Wire::Text(t) => Ok(Self(t.into_bytes())),
            Wire::Bytes { base64 } => BASE64.decode(base64).map(Self).map_err(|_| "the content is not base64"),
        }
    }
}

impl From<Content> for Wire {
    fn from(content: Content) -> Self {
        match String::from_utf8(content.0) {
            Ok(text) => Self::Text(text),
            Err(e) => Self::Bytes { base64: BASE64.encode(e.as_bytes()) },
        }
    }
}

impl JsonSchema for Content {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Content".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Wire::json_schema(generator)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl TryFrom<String> for MachineId {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        let id = match text.as_str() {
            "empty" => Self::Empty,
            "fresh" => Self::Fresh,
            "ensure" => Self::Ensure,
            _ => Self::Given(text),
        };
        Action::MachineId(id.clone()).check().map(|()| id)
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> Self {
        match id {
            MachineId::Empty => "empty".to_owned(),
            MachineId::Fresh => "fresh".to_owned(),
            MachineId::Ensure => "ensure".to_owned(),
            MachineId::Given(id) => id,
        }
    }
}

/// An absolute path without `.`, `..`, empty components or NUL, within the limits.
pub(super) fn path(field: &'static str, path: &str) -> Result<(), ConfigError> {
    let bad = |rule| Err(ConfigError::Unsafe { path: show(path.as_bytes()).into_owned(), rule });
    no_nul(path)?;
    let Some(inner) = path.strip_prefix('/') else { return bad("a path is absolute within the root") };
    if inner.is_empty() {
        return bad("the root itself is no target");
    }
    if path.len() > PATH_LIMIT || inner.split('/').any(|c| c.len() > NAME_LIMIT) {
        return Err(ConfigError::field(field, "a path has at most 4095 bytes, a name 255"));
    }
    for component in inner.split('/') {
        match component {
            "" => return bad("a path has no empty component"),
            "." | ".." => return bad("a path has no component . or .."),
            c if c.starts_with(super::journal::PREFIX) => return bad("names with .cv- belong to libcv"),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn no_nul(text: &str) -> Result<(), ConfigError> {
    if text.contains('\0') {
        return Err(ConfigError::Unsafe { path: show(text.as_bytes()).into_owned(), rule: "a path holds no NUL byte" });
    }
    Ok(())
}

/// RFC 1123, and short enough for the kernel's 64 bytes.
fn hostname(name: &str) -> Result<(), ConfigError> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if name.len() <= 64 && name.split('.').all(label) {
        return Ok(());
    }
    let why = format!("\"{}\" is not made of letters, digits and hyphens as RFC 1123 says", name.escape_debug());
    Err(ConfigError::field("hostname", why))
}

pub(super) fn is_machine_id(id: &[u8]) -> bool {
    id.len() == 32 && id.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) && id.iter().any(|&c| c != b'0')
}

/// The shape that `crypt` gives: `$id$…$…` in its alphabet; nothing that could begin another field or line.
fn is_hash(hash: &str) -> bool {
    if hash == "!" || hash == "*" {
        return true;
    }
    let parts: Vec<&str> = hash.split('$').collect();
    let word = |p: &&str| !p.is_empty() && p.bytes().all(|c| c.is_ascii_alphanumeric() || b"./=,+_-".contains(&c));
    // An empty salt is legal ($y$j9T$$…), an empty hash is not.
    parts.len() >= 4
        && hash.len() <= 512
        && parts[0].is_empty()
        && parts[1].len() <= 16
        && parts[2..].iter().all(|p| p.is_empty() || word(p))
        && word(&parts[1])
        && parts.last().is_some_and(word)
        || is_bcrypt(&parts)
}

/// `$2b$12$` and 53 characters of salt and hash in one.
fn is_bcrypt(parts: &[&str]) -> bool {
    matches!(parts, ["", id, cost, rest] if id.starts_with('2') && cost.len() == 2 && rest.len() == 53
        && rest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'.' || c == b'/'))
}

const UNIT_KINDS: [&str; 11] =
    ["service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice", "scope", "device"];

/// A unit's full name, as systemd allows it.
pub(super) fn unit_name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    let fits = name.rsplit_once('.').is_some_and(|(stem, kind)| {
        UNIT_KINDS.contains(&kind)
            && !stem.is_empty()
            && !stem.starts_with('@')
            && name.len() <= NAME_LIMIT
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b":-_.\\@".contains(&c))
    });
    if fits {
        return Ok(());
    }
    Err(ConfigError::field(field, format!("\"{}\" is not the full name of a unit", name.escape_debug())))
}

mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(mode: &Option<u32>, s: S) -> Result<S::Ok, S::Error> {
        match mode {
            Some(m) => s.collect_str(&format_args!("{m:04o}")),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
        let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
        let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|c| (b'0'..b'8').contains(&c));
        let mode = u32::from_str_radix(&text, 8).ok().filter(|_| digits);
        mode.map(Some).ok_or_else(|| D::Error::custom(format!("\"{text}\" is not an octal mode such as \"0640\"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn kind(json: &str) -> ErrorKind {
        let action: Action = serde_json::from_str(json).unwrap();
        Error::from(action.check().unwrap_err()).kind()
    }

    #[test]
    fn json_comes_back() {
        let all = r#"[{"write-file":{"path":"/etc/a","content":"x","mode":"0640","uid":1}},
            {"write-file":{"path":"/etc/b","content":{"base64":"/wA="}}},
            {"link":{"path":"/etc/l","target":"../usr"}},
            {"fstab-line":{"spec":"UUID=1","file":"/","fstype":"ext4","options":"defaults","dump":0,"pass":1}},
            {"fstab":{"lines":[]}},{"hostname":"n1"},{"machine-id":"empty"},
            {"password-hash":{"user":"root","hash":"!"}},{"enable-unit":{"unit":"a.service"}}]"#;
        let actions: Vec<Action> = serde_json::from_str(all).unwrap();
        assert_eq!(serde_json::to_value(&actions).unwrap(), serde_json::from_str::<serde_json::Value>(all).unwrap());
        actions.iter().for_each(|a| a.check().unwrap());
        for bad in [
            r#"{"link":{"path":"/a","target":"b","more":1}}"#,
            r#"{"write-file":{"path":"/a","content":{"base64":"AA==","x":1}}}"#,
            r#"{"write-file":{"path":"/a","content":{"base64":"?"}}}"#,
            r#"{"write-file":{"path":"/a","content":"","mode":"0888"}}"#,
            r#"{"machine-id":"0000"}"#,
            r#"{"reboot":true}"#,
        ] {
            assert!(serde_json::from_str::<Action>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unsafe_paths_are_refused() {
        for path in ["etc/x", "", "/", "/etc/../x", "/./x", "/etc//x", "/etc/x/", "/a\\u0000b", "/etc/.cv-1"] {
            let json = format!(r#"{{"write-file":{{"path":"{path}","content":""}}}}"#);
            assert_eq!(kind(&json), ErrorKind::UnsafeInput, "{path}");
        }
        assert_eq!(kind(r#"{"link":{"path":"/a","target":"a\u0000"}}"#), ErrorKind::UnsafeInput);
    }

    #[test]
    fn every_field_has_rules() {
        for bad in [
            r#"{"hostname":""}"#,
            r#"{"hostname":"-a"}"#,
            r#"{"hostname":"a..b"}"#,
            r#"{"hostname":"a_b"}"#,
            r#"{"hostname":"a\nb"}"#,
            r#"{"password-hash":{"user":"a:b","hash":"!"}}"#,
            r#"{"password-hash":{"user":"root","hash":"secret"}}"#,
            r#"{"password-hash":{"user":"root","hash":""}}"#,
            r#"{"password-hash":{"user":"root","hash":"$6$a$b:0:0"}}"#,
            r#"{"password-hash":{"user":"root","hash":"$6$a$b\nx::0"}}"#,
            r#"{"password-hash":{"user":"root","hash":"$6$a$"}}"#,
            r#"{"enable-unit":{"unit":"../../etc/x.service"}}"#,
            r#"{"enable-unit":{"unit":"sshd"}}"#,
            r#"{"enable-unit":{"unit":"a.service","wanted-by":"x/y.target"}}"#,
            r#"{"link":{"path":"/a","target":""}}"#,
        ] {
            assert_eq!(kind(bad), ErrorKind::Invalid, "{bad}");
        }
        let long = format!(r#"{{"hostname":"{}.{}"}}"#, "a".repeat(60), "b".repeat(10));
        assert_eq!(kind(&long), ErrorKind::Invalid);
        for good in ["$6$salt$hash", "$y$j9T$salt$ha./sh", "$y$j9T$$hash", "$6$rounds=5000$s$h", "*", "!"] {
            assert!(is_hash(good), "{good}");
        }
        assert!(is_hash(&format!("$2b$12${}", "a".repeat(53))));
    }

    #[test]
    fn secrets_are_not_shown() {
        let action: Action =
            serde_json::from_str(r#"{"password-hash":{"user":"root","hash":"$1$topsecret"}}"#).unwrap();
        let error = Error::from(action.check().unwrap_err());
        assert!(!format!("{action:?} {error:?} {}", error.to_json()).contains("topsecret"));
        let file = Action::WriteFile(WriteFile {
            path: "/etc/munge/munge.key".into(),
            content: "topsecret".into(),
            mode: None,
            uid: None,
            gid: None,
        });
        assert!(!format!("{file:?}").contains("topsecret"));
    }
}
