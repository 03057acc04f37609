//! Compression around an archive: told by the first bytes when reading, chosen when writing.

use crate::error::{Error, Result};
use std::io::{BufReader, Chain, Cursor, Read, Write};

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd.
    #[default]
    Zstd,
    /// gzip.
    Gzip,
}

/// What is compressed in a way that libcv does not read, with the program that does.
const OTHERS: [(&[u8], &str, &str); 5] = [
    (b"\xfd7zXZ\0", "xz", "xz -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
    (b"LZIP", "lzip", "lzip -dc"),
    (b"PK\x03\x04", "zip", "bsdtar -cf - @-"),
];
const PEEK: usize = 6;

type Input<R> = Chain<Cursor<Vec<u8>>, R>;

/// The plain bytes of an archive.
pub struct Decoder<R: Read>(Inner<R>);

enum Inner<R: Read> {
    Plain(Input<R>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Input<R>>>>),
    Gzip(Box<flate2::read::MultiGzDecoder<BufReader<Input<R>>>>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// `Unsupported` for a compression that libcv does not read; what `input` returns.
    pub fn new(mut input: R) -> Result<Self> {
        let mut front = Vec::with_capacity(PEEK);
        (&mut input).take(PEEK as u64).read_to_end(&mut front).map_err(|e| Error::io("read", "the archive", e))?;
        if let Some((_, name, program)) = OTHERS.iter().find(|(magic, ..)| front.starts_with(magic)) {
            return Err(Error::unsupported(format!("the archive is compressed with {name}"))
                .hint(format!("decompress it first: {program}")));
        }
        let zstd = front.starts_with(b"\x28\xb5\x2f\xfd") || matches!(front[..], [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        let gzip = front.starts_with(b"\x1f\x8b");
        let input = Cursor::new(front).chain(input);
        Ok(Self(if zstd {
            let input = BufReader::with_capacity(128 << 10, input);
            let decoder = zstd::stream::read::Decoder::with_buffer(input);
            Inner::Zstd(Box::new(decoder.map_err(|e| Error::io("decompress", "the archive", e))?))
        } else if gzip {
            Inner::Gzip(Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(128 << 10, input))))
        } else {
            Inner::Plain(input)
        }))
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(r) => r.read(buf),
            Inner::Zstd(r) => r.read(buf),
            Inner::Gzip(r) => r.read(buf),
        }
    }
}

/// Compresses an archive.
pub struct Encoder<W: Write>(Out<W>);

enum Out<W: Write> {
    Plain(W),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
    Gzip(Box<flate2::write::GzEncoder<W>>),
}

impl<W: Write> Encoder<W> {
    /// Compresses into `out`; `level` 0 is the usual one.
    ///
    /// # Errors
    /// `Invalid` for a level that there is not.
    pub fn new(out: W, compression: Compression, level: i32) -> Result<Self> {
        let bad = |e| Error::invalid(format!("there is no compression level {level}")).cause(e);
        Ok(Self(match compression {
            Compression::None => Out::Plain(out),
            Compression::Zstd => {
                let mut e = zstd::stream::write::Encoder::new(out, level).map_err(bad)?;
                e.include_checksum(true).map_err(bad)?;
                Out::Zstd(Box::new(e))
            }
            Compression::Gzip => {
                let level = u32::try_from(level).ok().filter(|l| *l <= 9);
                let level = level.ok_or_else(|| Error::invalid("gzip has the levels 1 to 9"))?;
                let level = if level == 0 { 6 } else { level };
                // Neither name nor time, so that the same archive has the same bytes.
                Out::Gzip(Box::new(flate2::write::GzEncoder::new(out, flate2::Compression::new(level))))
            }
        }))
    }

    /// Writes the end.
    ///
    /// # Errors
    /// What the output returns.
    pub fn finish(self) -> std::io::Result<W> {
        match self.0 {
            Out::Plain(w) => Ok(w),
            Out::Zstd(e) => e.finish(),
            Out::Gzip(e) => e.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match &mut self.0 {
            Out::Plain(w) => w.write(buf),
            Out::Zstd(w) => w.write(buf),
            Out::Gzip(w) => w.write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.0 {
            Out::Plain(w) => w.flush(),
            Out::Zstd(w) => w.flush(),
            Out::Gzip(w) => w.flush(),
        }
    }
}
