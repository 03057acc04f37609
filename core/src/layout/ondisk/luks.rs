//! Headers of LUKS1 and LUKS2. Keys, salts and digests are not looked at.
//!
//! ```text
//! LUKS1   | header 592 | key slots ............ | data
//! LUKS2   | header 4 KiB, JSON | the same again, "SKUL" | key slots | data
//!           └── header size, 16 KiB to 4 MiB ──┘
//! ```
//!
//! Big endian. Sources: "LUKS1 On-Disk Format Specification" 1.2.3, "LUKS2 On-Disk Format Specification" 1.1.1.

use super::Fields;
use crate::layout::place::Place;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use std::io;

/// The first header.
pub const MAGIC: &[u8; 6] = b"LUKS\xba\xbe";
/// The second header of LUKS2.
pub const SECONDARY_MAGIC: &[u8; 6] = b"SKUL\xba\xbe";
/// Where the second header may stand: the sizes that the first, with its JSON, may have.
pub const SECONDARY: [u64; 9] =
    [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
const BINARY: usize = 4096;
const SECTOR: u64 = 512;
/// LUKS2 has 32 of each; what is beyond is not read.
const LIST_LIMIT: usize = 32;
/// A TPM has so many.
const REGISTERS: u32 = 24;

/// How a key slot makes a key of a passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// PBKDF2, which needs no memory.
    Pbkdf2 {
        /// The hash.
        hash: String,
        /// How often.
        iterations: u64,
    },
    /// Argon2: the boot loader or an old machine may not have the memory for it.
    Argon2 {
        /// `argon2i` or `argon2id`.
        variant: String,
        /// How often.
        time: u64,
        /// How much memory, in bytes.
        memory: u64,
        /// In how many threads.
        cpus: u64,
    },
    /// Something else, by its name.
    Other(String),
}

/// A key slot that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyslot {
    /// Its number.
    pub id: u32,
    /// How it makes a key.
    pub kdf: Kdf,
}

/// Something that can open a key slot without somebody typing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: u32,
    /// Its type: `systemd-tpm2`, `clevis`, `luks2-keyring`.
    pub kind: String,
    /// The key slots that it opens.
    pub keyslots: Vec<u32>,
    /// The registers of the TPM that a `systemd-tpm2` is bound to.
    pub pcrs: Vec<u32>,
}

impl Token {
    /// Whether it is the TPM that opens them, as systemd enrols it.
    #[must_use]
    pub fn is_tpm2(&self) -> bool {
        self.kind == "systemd-tpm2"
    }
}

/// An encrypted volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 or 2.
    pub version: u16,
    /// Where the header that was read stands: 0, or where the second one is, when the first is damaged.
    pub offset: u64,
    /// Where the second header stands or should stand; LUKS1 has none.
    pub secondary: Option<u64>,
    /// Its identity.
    pub uuid: String,
    /// Its label, of LUKS2.
    pub label: Option<String>,
    /// Its subsystem, of LUKS2: another label.
    pub subsystem: Option<String>,
    /// Counts changes, of LUKS2.
    pub sequence: u64,
    /// Cipher and mode: `aes-xts-plain64`.
    pub cipher: String,
    /// The size of a sector of encrypted data.
    pub sector: u32,
    /// Where the encrypted data begins in the place.
    pub data_offset: u64,
    /// The key slots that are used.
    pub keyslots: Vec<Keyslot>,
    /// Its tokens.
    pub tokens: Vec<Token>,
}

impl Header {
    /// Whether every key slot that is used needs Argon2.
    #[must_use]
    pub fn needs_argon2(&self) -> bool {
        !self.keyslots.is_empty() && self.keyslots.iter().all(|k| matches!(k.kdf, Kdf::Argon2 { .. }))
    }
}

/// Reads the header of an encrypted volume, if there is one; a LUKS2 header whose sum is wrong gives way to its copy.
///
/// # Errors
/// Of the device.
pub fn read(place: &Place<'_>) -> io::Result<Option<Header>> {
    let Some(head) = place.bytes(0, 592)? else { return Ok(None) };
    if head.starts_with(MAGIC) && Fields(&head).be16(6) == 1 {
        return Ok(Some(first_version(&head)));
    }
    let mut best: Option<Header> = None;
    for offset in std::iter::once(0).chain(SECONDARY) {
        // With one header read, the other can only be in one place.
        let elsewhere = best.as_ref().is_some_and(|b| b.secondary != Some(offset));
        if elsewhere {
            continue;
        }
        let found = second_version(place, offset)?;
        best = match (best, found) {
            (Some(a), Some(b)) if b.sequence > a.sequence => Some(b),
            (a, b) => a.or(b),
        };
    }
    Ok(best)
}

fn first_version(head: &[u8]) -> Header {
    const ENABLED: u32 = 0x00ac_71f3;
    let f = Fields(head);
    let hash = f.text(72, 32);
    let slots = (0..8u32).map(|id| (id, 208 + 48 * id as usize)).filter(|(_, at)| f.be32(*at) == ENABLED);
    Header {
        version: 1,
        offset: 0,
        secondary: None,
        uuid: f.text(168, 40),
        label: None,
        subsystem: None,
        sequence: 0,
        cipher: format!("{}-{}", f.text(8, 32), f.text(40, 32)),
        sector: 512,
        data_offset: u64::from(f.be32(104)) * SECTOR,
        keyslots: slots
            .map(|(id, at)| Keyslot { id, kdf: Kdf::Pbkdf2 { hash: hash.clone(), iterations: f.be32(at + 4).into() } })
            .collect(),
        tokens: Vec::new(),
    }
}

fn second_version(place: &Place<'_>, offset: u64) -> io::Result<Option<Header>> {
    let Some(binary) = place.bytes(offset, BINARY)? else { return Ok(None) };
    let f = Fields(&binary);
    let magic = if offset == 0 { MAGIC } else { SECONDARY_MAGIC };
    let size = f.be64(8);
    let right = binary.starts_with(magic)
        && f.be16(6) == 2
        && f.be64(256) == offset
        && SECONDARY.contains(&size)
        && (offset == 0 || offset == size);
    let (true, Ok(length)) = (right, usize::try_from(size)) else { return Ok(None) };
    let Some(mut whole) = place.bytes(offset, length)? else { return Ok(None) };
    let text = |at: usize, length: usize| Some(f.text(at, length)).filter(|t| !t.is_empty());
    whole[448..512].fill(0);
    let sum = match f.text(72, 32).as_str() {
        "sha256" => Sha256::digest(&whole).to_vec(),
        "sha512" => Sha512::digest(&whole).to_vec(),
        // Nobody is known to write others.
        _ => return Ok(None),
    };
    if binary[448..448 + sum.len()] != sum[..] {
        return Ok(None);
    }
    let end = whole[BINARY..].iter().position(|b| *b == 0).map_or(whole.len(), |n| BINARY + n);
    let json: Value = serde_json::from_slice(&whole[BINARY..end]).unwrap_or_default();
    let (cipher, sector, data_offset) = segment(&json);
    Ok(Some(Header {
        version: 2,
        offset,
        secondary: Some(size),
        uuid: f.text(168, 40),
        label: text(24, 48),
        subsystem: text(208, 48),
        sequence: f.be64(16),
        cipher,
        sector,
        data_offset,
        keyslots: numbered(&json["keyslots"]).map(|(id, slot)| Keyslot { id, kdf: kdf(&slot["kdf"]) }).collect(),
        tokens: numbered(&json["tokens"]).map(|(id, token)| self::token(id, token)).collect(),
    }))
}

/// Cipher, sector size and begin of the first encrypted segment.
fn segment(json: &Value) -> (String, u32, u64) {
    let crypt = numbered(&json["segments"]).find(|(_, s)| s["type"] == "crypt").map(|(_, s)| s);
    let crypt = crypt.unwrap_or(&Value::Null);
    let sector = crypt["sector_size"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(512);
    (word(&crypt["encryption"]), sector, decimal(&crypt["offset"]))
}

fn kdf(json: &Value) -> Kdf {
    let number = |key: &str| json[key].as_u64().unwrap_or(0);
    match word(&json["type"]).as_str() {
        "pbkdf2" => Kdf::Pbkdf2 { hash: word(&json["hash"]), iterations: number("iterations") },
        variant @ ("argon2i" | "argon2id") => Kdf::Argon2 {
            variant: variant.to_owned(),
            time: number("time"),
            // In KiB on the disk.
            memory: number("memory").saturating_mul(1024),
            cpus: number("cpus"),
        },
        other => Kdf::Other(other.to_owned()),
    }
}

fn token(id: u32, json: &Value) -> Token {
    let list = |key: &str| json[key].as_array().into_iter().flatten().take(LIST_LIMIT);
    let keyslots = list("keyslots").filter_map(|s| s.as_str()?.parse().ok()).collect();
    let register = |n: &Value| n.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n < REGISTERS);
    Token { id, kind: word(&json["type"]), keyslots, pcrs: list("tpm2-pcrs").filter_map(register).collect() }
}

/// The entries of an object whose keys are numbers, in their order.
fn numbered(json: &Value) -> impl Iterator<Item = (u32, &Value)> {
    let entries = json.as_object().into_iter().flatten();
    let mut entries: Vec<(u32, &Value)> = entries.filter_map(|(k, v)| Some((k.parse().ok()?, v))).collect();
    entries.sort_by_key(|(id, _)| *id);
    entries.into_iter().take(LIST_LIMIT)
}

fn word(json: &Value) -> String {
    json.as_str().unwrap_or_default().replace(char::is_control, "?")
}

/// Numbers of 64 bits are texts in the JSON of LUKS2.
fn decimal(json: &Value) -> u64 {
    json.as_str().and_then(|t| t.parse().ok()).or(json.as_u64()).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A volume whose headers have the right sums.
    pub(crate) fn second(json: &str, sequences: (u64, u64), size: u64) -> Vec<u8> {
        let length = usize::try_from(size).unwrap();
        let mut disk = vec![0u8; 3 * length];
        for (offset, sequence, magic) in [(0, sequences.0, MAGIC), (length, sequences.1, SECONDARY_MAGIC)] {
            let header = &mut disk[offset..offset + length];
            header[..6].copy_from_slice(magic);
            header[6..8].copy_from_slice(&2u16.to_be_bytes());
            header[8..16].copy_from_slice(&size.to_be_bytes());
            header[16..24].copy_from_slice(&sequence.to_be_bytes());
            header[24..29].copy_from_slice(b"label");
            header[72..78].copy_from_slice(b"sha256");
            header[168..204].copy_from_slice(b"5a5a5a5a-0000-4000-8000-000000000001");
            header[256..264].copy_from_slice(&(offset as u64).to_be_bytes());
            header[BINARY..BINARY + json.len()].copy_from_slice(json.as_bytes());
            let sum = Sha256::digest(&*header);
            header[448..480].copy_from_slice(&sum);
        }
        disk
    }

    const JSON: &str = r#"{"keyslots": {"10": {"kdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000}},
        "2": {"kdf": {"type": "argon2id", "time": 4, "memory": 1024, "cpus": 2}}},
        "tokens": {"0": {"type": "systemd-tpm2", "keyslots": ["2", "x"], "tpm2-pcrs": [7, 24, "x", 14]}},
        "segments": {"0": {"type": "crypt", "offset": "16777216", "encryption": "aes-xts-plain64", "sector_size": 4096}}}"#;

    #[test]
    fn the_second_version_is_read() {
        let disk = second(JSON, (3, 3), 0x4000);
        let header = read(&Place::whole(&disk)).unwrap().unwrap();
        assert_eq!((header.version, header.offset, header.secondary), (2, 0, Some(0x4000)));
        assert_eq!((header.label.as_deref(), header.subsystem.as_deref()), (Some("label"), None));
        assert_eq!((header.cipher.as_str(), header.sector, header.data_offset), ("aes-xts-plain64", 4096, 16 << 20));
        assert_eq!(header.keyslots.iter().map(|k| k.id).collect::<Vec<_>>(), [2, 10]);
        assert_eq!(
            header.keyslots[0].kdf,
            Kdf::Argon2 { variant: "argon2id".into(), time: 4, memory: 1 << 20, cpus: 2 }
        );
        assert_eq!(header.tokens, [Token { id: 0, kind: "systemd-tpm2".into(), keyslots: vec![2], pcrs: vec![7, 14] }]);
        assert!(!header.needs_argon2());
    }

    #[test]
    fn the_copy_steps_in() {
        for size in SECONDARY {
            let mut disk = second(JSON, (3, 3), size);
            disk[30] ^= 1;
            let header = read(&Place::whole(&disk)).unwrap().unwrap();
            assert_eq!((header.offset, header.secondary), (size, Some(size)));
            disk[usize::try_from(size).unwrap()] ^= 1;
            assert_eq!(read(&Place::whole(&disk)).unwrap(), None);
        }
        // The younger one counts.
        assert_eq!(read(&Place::whole(&second(JSON, (3, 4), 0x8000))).unwrap().unwrap().offset, 0x8000);
        assert_eq!(read(&Place::whole(&second(JSON, (5, 4), 0x8000))).unwrap().unwrap().offset, 0);
    }

    #[test]
    fn the_first_version_is_read() {
        let mut disk = vec![0u8; 4096];
        disk[..6].copy_from_slice(MAGIC);
        disk[7] = 1;
        disk[8..11].copy_from_slice(b"aes");
        disk[40..51].copy_from_slice(b"xts-plain64");
        disk[72..78].copy_from_slice(b"sha256");
        disk[104..108].copy_from_slice(&4096u32.to_be_bytes());
        disk[168..172].copy_from_slice(b"uuid");
        disk[256..260].copy_from_slice(&0x00ac_71f3u32.to_be_bytes());
        disk[260..264].copy_from_slice(&77u32.to_be_bytes());
        let header = read(&Place::whole(&disk)).unwrap().unwrap();
        assert_eq!((header.version, header.cipher.as_str(), header.data_offset), (1, "aes-xts-plain64", 2 << 20));
        let kdf = Kdf::Pbkdf2 { hash: "sha256".into(), iterations: 77 };
        assert_eq!(header.keyslots, [Keyslot { id: 1, kdf }]);
        assert_eq!(read(&Place::new(&disk, 0, 100)).unwrap(), None);
    }

    proptest! {
        /// Any JSON in a header whose sum is right is read, within the limits.
        #[test]
        fn any_json_is_read(text in "[\\[\\]{}\":,0-9a-z]{0,300}") {
            let header = read(&Place::whole(&second(&text, (1, 1), 0x4000))).unwrap().unwrap();
            prop_assert!(header.keyslots.len() <= LIST_LIMIT && header.tokens.len() <= LIST_LIMIT);
        }

        /// Any bytes behind the magic number: the reader answers.
        #[test]
        fn any_header_is_read(body in proptest::collection::vec(any::<u8>(), 586), version in 0u8..4) {
            let mut disk = vec![0u8; 32 << 10];
            disk[..6].copy_from_slice(MAGIC);
            disk[6..592].copy_from_slice(&body);
            disk[6..8].copy_from_slice(&[0, version]);
            prop_assert_eq!(read(&Place::whole(&disk)).unwrap().is_some(), version == 1);
        }
    }
}
