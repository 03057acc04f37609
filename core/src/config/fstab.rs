//! The file systems table, `fstab(5)`: lines are replaced, everything else keeps its bytes.

use super::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of the table, keyed by its mount point; a swap area, which has none, by what is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FstabLine {
    /// What is mounted: `UUID=…`, a device, a host's export.
    pub spec: String,
    /// Mount point, absolute; `none` for swap.
    pub file: String,
    /// Type of the file system.
    pub fstype: String,
    /// Mount options.
    #[serde(default = "defaults")]
    pub options: String,
    /// For `dump`.
    #[serde(default)]
    pub dump: u8,
    /// Order of `fsck`.
    #[serde(default)]
    pub pass: u8,
}

fn defaults() -> String {
    "defaults".to_owned()
}

impl FstabLine {
    /// Checks every field.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let fields = [
            ("fstab-line.spec", &self.spec),
            ("fstab-line.file", &self.file),
            ("fstab-line.fstype", &self.fstype),
            ("fstab-line.options", &self.options),
        ];
        for (field, value) in fields {
            super::action::no_nul(value)?;
            if value.is_empty() || value.chars().any(char::is_control) {
                return Err(ConfigError::field(field, format!("\"{}\"", value.escape_debug())));
            }
        }
        if self.fstype.contains(' ') || self.options.contains(' ') {
            return Err(ConfigError::field("fstab-line.options", "a type or option has no space"));
        }
        if self.dump > 9 || self.pass > 9 {
            return Err(ConfigError::field("fstab-line.pass", "dump and pass are 0 to 9"));
        }
        if self.file == "/" || self.is_swap() {
            return Ok(());
        }
        super::action::path("fstab-line.file", &self.file)
    }

    fn is_swap(&self) -> bool {
        self.fstype == "swap" && !self.file.starts_with('/')
    }

    pub(super) fn key(&self) -> &str {
        if self.is_swap() { &self.spec } else { &self.file }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self { spec, file, fstype, options, dump, pass } = self;
        let (spec, file) = (escape(spec), escape(file));
        format!("{spec} {file} {fstype} {options} {dump} {pass}\n").into_bytes()
    }
}

/// A line of the file: its bytes with the line end, and what it says unless it is a comment or unreadable.
struct Line {
    raw: Vec<u8>,
    says: Option<FstabLine>,
}

/// Sets one line.
pub(super) fn set(text: &[u8], line: &FstabLine) -> Vec<u8> {
    let mut table = read(text);
    place(&mut table, line);
    write(&table)
}

/// Sets these lines and takes out every other one that names a disk of the machine that was captured.
pub(super) fn replace(text: &[u8], lines: &[FstabLine]) -> Vec<u8> {
    let mut table = read(text);
    table.retain(|old| {
        old.says.as_ref().is_none_or(|s| !names_a_disk(s) || lines.iter().any(|new| new.key() == s.key()))
    });
    lines.iter().for_each(|line| place(&mut table, line));
    write(&table)
}

/// In place of the line with the same key, else before the first mount beneath it, else at the end.
fn place(table: &mut Vec<Line>, line: &FstabLine) {
    let same = |old: &Line| old.says.as_ref().is_some_and(|s| s.key() == line.key());
    let new = || Line { raw: line.to_bytes(), says: Some(line.clone()) };
    if let Some(first) = table.iter().position(same) {
        // A second line would be mounted over the first.
        let mut n = 0;
        table.retain(|old| {
            n += 1;
            n <= first + 1 || !same(old)
        });
        if table[first].says.as_ref() != Some(line) {
            table[first] = new();
        }
        return;
    }
    let beneath = |file: &str| match line.file.as_str() {
        "/" => file.len() > 1 && file.starts_with('/'),
        dir => file.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/')),
    };
    let at = table.iter().position(|old| old.says.as_ref().is_some_and(|s| !s.is_swap() && beneath(&s.file)));
    table.insert(at.unwrap_or(table.len()), new());
}

/// Whether a line is bound to a disk, and so to one machine. Optical and floppy drives and zram are on every machine.
fn names_a_disk(line: &FstabLine) -> bool {
    let everywhere = ["/dev/sr", "/dev/cdrom", "/dev/dvd", "/dev/fd", "/dev/zram", "/dev/ram"];
    let spec = line.spec.trim_matches('"');
    let tag = spec.split_once('=').is_some_and(|(tag, _)| {
        ["UUID", "LABEL", "PARTUUID", "PARTLABEL", "ID"].iter().any(|t| t.eq_ignore_ascii_case(tag))
    });
    tag || spec.starts_with("/dev/") && !everywhere.iter().any(|d| spec.starts_with(d))
}

fn read(text: &[u8]) -> Vec<Line> {
    let mut lines: Vec<Line> =
        text.split_inclusive(|&c| c == b'\n').map(|raw| Line { raw: raw.to_vec(), says: parse(raw) }).collect();
    if let Some(last) = lines.last_mut().filter(|l| !l.raw.ends_with(b"\n")) {
        last.raw.push(b'\n');
    }
    lines
}

fn write(table: &[Line]) -> Vec<u8> {
    table.iter().flat_map(|l| &l.raw).copied().collect()
}

fn parse(raw: &[u8]) -> Option<FstabLine> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut fields = text.split([' ', '\t', '\n', '\r']).filter(|f| !f.is_empty());
    let spec = unescape(fields.next().filter(|f| !f.starts_with('#'))?);
    let file = unescape(fields.next()?);
    let fstype = fields.next().map_or_else(|| "auto".to_owned(), unescape);
    let options = fields.next().map_or_else(defaults, unescape);
    let mut number = || fields.next().map_or(Some(0), |f| f.parse().ok());
    let (dump, pass) = (number().unwrap_or(0), number().unwrap_or(0));
    let file = if file.len() > 1 { file.trim_end_matches('/').to_owned() } else { file };
    Some(FstabLine { spec, file, fstype, options, dump, pass })
}

fn escape(field: &str) -> String {
    let mut out = String::new();
    for (i, c) in field.chars().enumerate() {
        match c {
            ' ' => out.push_str("\\040"),
            '\\' => out.push_str("\\134"),
            '#' if i == 0 => out.push_str("\\043"),
            c => out.push(c),
        }
    }
    out
}

fn unescape(field: &str) -> String {
    let bytes = field.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).filter(|d| d.iter().all(|c| (b'0'..b'8').contains(c)));
        match (bytes[at], digits) {
            (b'\\', Some(&[a, b, c])) if a < b'4' => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                at += 4;
            }
            (c, _) => {
                out.push(c);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(spec: &str, file: &str, fstype: &str) -> FstabLine {
        let options = defaults();
        FstabLine { spec: spec.into(), file: file.into(), fstype: fstype.into(), options, dump: 0, pass: 0 }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    const CAPTURED: &str = "# made by anaconda\n\
        UUID=1111   /          xfs   defaults 0 0\n\
        UUID=2222   /boot      xfs   defaults 0 0\n\
        /dev/mapper/rl-swap none swap defaults 0 0\n\
        # scratch\n\
        tmpfs       /tmp       tmpfs nosuid\n\
        head:/home  /home      nfs   _netdev 0 0\n\
        /srv/a      /srv/b     none  bind\n\
        /dev/sr0    /media/cd  auto  noauto\n\
        garbage";

    #[test]
    fn a_layout_replaces_the_disks_and_nothing_else() {
        let new =
            [line("UUID=aaaa", "/", "ext4"), line("UUID=cccc", "/var", "ext4"), line("UUID=bbbb", "none", "swap")];
        let once = replace(CAPTURED.as_bytes(), &new);
        assert_eq!(
            text(once.clone()),
            "# made by anaconda\n\
             UUID=aaaa / ext4 defaults 0 0\n\
             # scratch\n\
             tmpfs       /tmp       tmpfs nosuid\n\
             head:/home  /home      nfs   _netdev 0 0\n\
             /srv/a      /srv/b     none  bind\n\
             /dev/sr0    /media/cd  auto  noauto\n\
             garbage\n\
             UUID=cccc /var ext4 defaults 0 0\n\
             UUID=bbbb none swap defaults 0 0\n"
        );
        assert_eq!(replace(&once, &new), once);
    }

    #[test]
    fn an_equal_line_keeps_its_bytes() {
        let old = b"tmpfs\t/tmp/  tmpfs   defaults\n";
        assert_eq!(set(old, &line("tmpfs", "/tmp", "tmpfs")), old);
    }

    #[test]
    fn a_parent_comes_before_what_is_mounted_beneath() {
        let old = b"a:/x /var/log nfs defaults 0 0\n";
        assert_eq!(
            text(set(old, &line("UUID=1", "/var", "ext4"))),
            "UUID=1 /var ext4 defaults 0 0\na:/x /var/log nfs defaults 0 0\n"
        );
        let twice = b"a:/x /v nfs\nb:/x /v nfs\nc:/x /w nfs\n";
        assert_eq!(text(set(twice, &line("c:/x", "/v", "nfs"))), "c:/x /v nfs defaults 0 0\nc:/x /w nfs\n");
    }

    #[test]
    fn odd_names_are_escaped() {
        let odd = line("LABEL=my disk", "/mnt/a b\\c", "ext4");
        let made = set(b"", &odd);
        assert_eq!(text(made.clone()), "LABEL=my\\040disk /mnt/a\\040b\\134c ext4 defaults 0 0\n");
        assert_eq!(set(&made, &odd), made);
        for bad in [line("", "/", "x"), line("a\nb", "/", "x"), line("a", "/../x", "x"), line("a", "b", "x")] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
