//! The metadata of a volume group as text, for groups that need no kernel to be made: linear and striped volumes.

use super::text::{Logical, Mapping, On, Segment, VolumeGroup};
use crate::error::{Error, Result};
use std::fmt::Write;

const SECTOR: u64 = 512;
/// LVM's own limit.
const NAME_LIMIT: usize = 127;

/// Who wrote it, and when.
#[derive(Clone, Debug)]
pub struct Written {
    /// What for, in a sentence.
    pub description: String,
    /// On which host.
    pub host: String,
    /// Seconds since 1970.
    pub time: u64,
}

impl Default for Written {
    fn default() -> Self {
        Self { description: "made by libcv".to_owned(), host: "localhost".to_owned(), time: 0 }
    }
}

/// The text.
///
/// # Errors
/// `Unsupported` for other segments than linear and striped ones; `Invalid` when names or numbers cannot be.
pub fn export(group: &VolumeGroup, written: &Written) -> Result<String> {
    check(group)?;
    let mut out = Text::default();
    out.line("contents = \"Text Format Volume Group\"");
    out.line("version = 1");
    out.value("description", &written.description);
    out.value("creation_host", &written.host);
    out.line(&format!("creation_time = {}", written.time));
    out.open(&group.name);
    out.value("id", &group.uuid);
    out.line(&format!("seqno = {}", group.seqno));
    out.line("format = \"lvm2\"");
    out.list("status", &group.status);
    out.line("flags = []");
    if !group.tags.is_empty() {
        out.list("tags", &group.tags);
    }
    out.line(&format!("extent_size = {}", group.extent_size / SECTOR));
    out.line("max_lv = 0\nmax_pv = 0\nmetadata_copies = 0");
    out.open("physical_volumes");
    for volume in &group.physical {
        out.open(&volume.name);
        out.value("id", &volume.uuid);
        out.value("device", &volume.device);
        out.list("status", &volume.status);
        out.line("flags = []");
        out.line(&format!("dev_size = {}", volume.size / SECTOR));
        out.line(&format!("pe_start = {}", volume.start / SECTOR));
        out.line(&format!("pe_count = {}", volume.extents));
        out.close();
    }
    out.close();
    if !group.logical.is_empty() {
        out.open("logical_volumes");
        for volume in &group.logical {
            out.volume(volume)?;
        }
        out.close();
    }
    out.close();
    Ok(out.text)
}

/// Names that LVM takes, sizes in sectors, segments one after the other.
fn check(group: &VolumeGroup) -> Result<()> {
    let wrong = |text: String| Err(Error::invalid(format!("volume group {}: {text}", group.name)));
    let good = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-+.".contains(&b);
        !name.is_empty()
            && name.len() <= NAME_LIMIT
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !matches!(name, "." | "..")
    };
    let words = group.tags.iter().chain(&group.status);
    let words = words.chain(group.logical.iter().flat_map(|l| l.tags.iter().chain(&l.status)));
    if let Some(tag) = words.into_iter().find(|t| t.is_empty() || t.contains(['"', '\\', '\n', '\0'])) {
        return wrong(format!("\"{tag}\" is neither a tag nor a state"));
    }
    let names = std::iter::once(&group.name).chain(group.physical.iter().map(|p| &p.name));
    if let Some(bad) = names.chain(group.logical.iter().map(|l| &l.name)).find(|n| !good(n)) {
        return wrong(format!("\"{bad}\" is not a name that LVM takes"));
    }
    let ids = std::iter::once(&group.uuid).chain(group.physical.iter().map(|p| &p.uuid));
    if let Some(bad) = ids.chain(group.logical.iter().map(|l| &l.uuid)).find(|id| !super::is_uuid(id)) {
        return wrong(format!("\"{bad}\" is not a UUID of LVM"));
    }
    if group.extent_size == 0 || !group.extent_size.is_multiple_of(SECTOR) {
        return wrong(format!("{} is not the size of an extent", group.extent_size));
    }
    for volume in &group.logical {
        let mut next = 0u64;
        for segment in &volume.segments {
            if segment.start != next || segment.extents == 0 {
                return wrong(format!("the segments of {} leave gaps", volume.name));
            }
            next = next.saturating_add(segment.extents);
        }
    }
    Ok(())
}

/// Lines with their indentation.
#[derive(Default)]
struct Text {
    text: String,
    depth: usize,
}

impl Text {
    fn line(&mut self, lines: &str) {
        for line in lines.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{}{line}", "\t".repeat(self.depth));
        }
    }

    fn value(&mut self, key: &str, text: &str) {
        self.line(&format!("{key} = \"{}\"", escaped(text)));
    }

    fn list(&mut self, key: &str, words: &[String]) {
        let words: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
        self.line(&format!("{key} = [{}]", words.join(", ")));
    }

    fn open(&mut self, name: &str) {
        self.line(&format!("{name} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.line("}");
    }

    fn volume(&mut self, volume: &Logical) -> Result<()> {
        self.open(&volume.name);
        self.value("id", &volume.uuid);
        self.list("status", &volume.status);
        self.line("flags = []");
        if !volume.tags.is_empty() {
            self.list("tags", &volume.tags);
        }
        self.line(&format!("segment_count = {}", volume.segments.len()));
        for (number, segment) in volume.segments.iter().enumerate() {
            self.segment(number + 1, segment, &volume.name)?;
        }
        self.close();
        Ok(())
    }

    fn segment(&mut self, number: usize, segment: &Segment, volume: &str) -> Result<()> {
        let (on, stripe) = match &segment.mapping {
            Mapping::Linear(on) => (std::slice::from_ref(on), 0),
            Mapping::Striped { stripe, on } => (on.as_slice(), *stripe),
            _ => {
                let text = format!("{volume} is neither linear nor striped, which is all that is made without LVM");
                return Err(Error::unsupported(text).hint("use the kernel backend"));
            }
        };
        if on.is_empty() || !segment.extents.is_multiple_of(on.len() as u64) || (on.len() > 1) != (stripe > 0) {
            return Err(Error::invalid(format!("the stripes of {volume} do not fit its extents")));
        }
        self.open(&format!("segment{number}"));
        self.line(&format!("start_extent = {}\nextent_count = {}", segment.start, segment.extents));
        self.line(&format!("type = \"striped\"\nstripe_count = {}", on.len()));
        if on.len() > 1 {
            self.line(&format!("stripe_size = {}", stripe / SECTOR));
        }
        let areas: Vec<String> = on.iter().map(|On { volume, extent }| format!("\"{volume}\", {extent}")).collect();
        self.line(&format!("stripes = [{}]", areas.join(", ")));
        self.close();
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    text.replace(['\n', '\0'], " ").replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::super::text::{parse, tests::group};
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn words_cannot_end_their_quotes() {
        let written = Written { description: "a \"b\" \\\n}".into(), host: "h\"".into(), time: 5 };
        let text = export(&group(), &written).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), group());
    }

    #[test]
    fn what_lvm_would_not_take_is_refused() {
        let refused = |change: &dyn Fn(&mut VolumeGroup)| {
            let mut bad = group();
            change(&mut bad);
            export(&bad, &Written::default()).unwrap_err().kind()
        };
        assert_eq!(refused(&|g| g.name = "a b".into()), ErrorKind::Invalid);
        assert_eq!(refused(&|g| g.logical[0].name = "-x".into()), ErrorKind::Invalid);
        assert_eq!(refused(&|g| g.uuid = "v\nv".into()), ErrorKind::Invalid);
        assert_eq!(refused(&|g| g.tags[0] = "\"".into()), ErrorKind::Invalid);
        assert_eq!(refused(&|g| g.extent_size = 100), ErrorKind::Invalid);
        assert_eq!(refused(&|g| g.logical[0].segments[1].start = 1), ErrorKind::Invalid);
        assert_eq!(refused(&|g| g.logical[1].segments[0].extents = 3), ErrorKind::Invalid);
        assert_eq!(
            refused(&|g| g.logical[0].segments[0].mapping = Mapping::Other("zero".into())),
            ErrorKind::Unsupported
        );
    }
}
