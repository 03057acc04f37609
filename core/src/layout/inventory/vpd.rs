//! What a SCSI disk says about itself: pages 80h (serial number) and 83h (identification) of its vital product data.
//!
//! The kernel keeps the pages as it got them from the disk, so nothing in them is trusted. Format: SPC-4, 7.8.5 and 7.8.15.
//!
//! ```text
//! page 83h  | type | 83h | length, 2 bytes | designator | designator | …
//! designator| code set | association, type | 0 | length | identifier …
//! ```

/// A name of the logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// IEEE registered and the like, as hexadecimal digits.
    Naa(String),
    /// EUI-64, as hexadecimal digits.
    Eui(String),
    /// Vendor, 8 characters with spaces, and what the vendor chose.
    T10(String),
    /// A name such as `iqn.…`.
    Scsi(String),
    /// Anything that the vendor chose.
    Vendor(String),
}

impl Name {
    /// In the form of the kernel's `wwid`; none of what is not unique in the world.
    pub(super) fn wwid(&self) -> Option<String> {
        Some(match self {
            Self::Naa(hex) => format!("naa.{hex}"),
            Self::Eui(hex) => format!("eui.{hex}"),
            Self::T10(text) => format!("t10.{text}"),
            Self::Scsi(text) => text.clone(),
            Self::Vendor(_) => return None,
        })
    }
}

/// The serial number of page 80h.
pub(super) fn serial(page: &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    let text = text(page.get(4..4 + length.min(page.len() - 4))?);
    (page[1] == 0x80 && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// The names of the logical unit in page 83h, in the order of the page.
pub(super) fn names(page: &[u8]) -> Vec<Name> {
    let mut found = Vec::new();
    let length = page.get(2..4).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    let mut rest = page.get(4..).unwrap_or_default();
    rest = &rest[..length.min(rest.len())];
    while let [code, kind, _, length, ..] = *rest {
        let Some(id) = rest.get(4..4 + usize::from(length)) else { break };
        rest = &rest[4 + usize::from(length)..];
        // Other associations name the port or the enclosure.
        if kind >> 4 & 3 != 0 || id.is_empty() {
            continue;
        }
        let value = if code & 15 == 1 { hex(id) } else { text(id) };
        found.push(match kind & 15 {
            0 => Name::Vendor(value),
            1 => Name::T10(value.trim_end().to_owned()),
            2 => Name::Eui(value.to_lowercase()),
            3 => Name::Naa(value.to_lowercase()),
            8 => Name::Scsi(value.trim_end().to_owned()),
            _ => continue,
        });
    }
    found
}

/// The model of an ATA disk, whole: the inquiry cuts it off after 16 characters.
pub(super) fn ata_model(names: &[Name]) -> Option<String> {
    names.iter().find_map(|n| match n {
        Name::T10(text) => {
            let model = text.strip_prefix("ATA     ")?.get(..40)?;
            Some(model.trim().to_owned()).filter(|m| !m.is_empty())
        }
        _ => None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_an_ata_disk() {
        let mut page = b"\x00\x83\x00\x00\x02\x00\x00\x04 S1 \x02\x01\x00\x44".to_vec();
        page.extend(format!("ATA     {:<40}{:<20}", "INTEL SSDSC2KB960G8", "PHYG001").bytes());
        page.extend(b"\x01\x03\x00\x08\x50\x00\xc5\x00\x94\xf7\xa1\x23");
        page.extend(b"\x01\x14\x00\x04\x00\x00\x00\x01");
        let length = u16::try_from(page.len() - 4).unwrap().to_be_bytes();
        page[2..4].copy_from_slice(&length);
        let found = names(&page);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(ata_model(&found).as_deref(), Some("INTEL SSDSC2KB960G8"));
        assert_eq!(found[2].wwid().as_deref(), Some("naa.5000c50094f7a123"));
        assert_eq!(serial(b"\x00\x80\x00\x06 ZA12 ").as_deref(), Some("ZA12"));
    }

    #[test]
    fn pages_cut_off_anywhere_do_no_harm() {
        let page = b"\x00\x83\x00\x18\x02\x00\x00\x08ZA1234AB\x01\x03\x00\x08\x50\x00\xc5\x00\x94\xf7\xa1\x23";
        for cut in 0..page.len() {
            let found = names(&page[..cut]);
            assert!(found.len() <= 1, "{cut}: {found:?}");
            let _ = serial(&page[..cut]);
        }
        assert_eq!(names(b"\x00\x83\xff\xff\x02\x00\x00\xffx"), []);
        assert_eq!(serial(b"\x00\x80\xff\xffx").as_deref(), Some("x"));
        assert_eq!(serial(b"\x00\x83\x00\x01x"), None);
    }
}
