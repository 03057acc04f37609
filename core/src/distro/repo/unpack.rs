//! Metadata as it is stored becomes text, never more of it than is expected.
//!
//! ```text
//!  bytes ── gzip, zstd, xz, plain: by their first bytes ──> Text: counts what comes, in all and since the last event
//! ```

use crate::error::{Error, Result};
use liblzma::stream::Stream;
use std::io::{self, BufRead, BufReader, Read};

/// Most bytes of a metadata file as it is stored. The largest known, the file lists of Fedora, has 60 MiB.
pub(in crate::distro) const STORED_LIMIT: u64 = 256 << 20;
/// Most bytes of text.
const TEXT_LIMIT: u64 = 1 << 30;
/// Most bytes between two events of a parser, which keeps them in memory.
const EVENT_LIMIT: u64 = 16 << 20;
/// What a decoder may use; `xz -9` takes 65 MiB.
const MEMORY_LIMIT: u64 = 256 << 20;
/// The same as a power of two, for zstd: `--ultra -22` takes 27.
const WINDOW_LOG: u32 = 27;

/// Text that is decompressed while it is read.
pub(in crate::distro) struct Text<'b> {
    inner: Box<dyn BufRead + 'b>,
    left: u64,
    event: u64,
}

impl<'b> Text<'b> {
    /// Begins with bytes of any of the forms.
    ///
    /// # Errors
    /// `Unsupported` for bzip2.
    pub(in crate::distro) fn of(bytes: &'b [u8]) -> Result<Self> {
        let failed = |e: io::Error| Error::integrity("metadata cannot be decompressed").cause(e);
        let inner: Box<dyn BufRead + 'b> = match bytes {
            [0x1f, 0x8b, ..] => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(bytes))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(failed)?;
                decoder.window_log_max(WINDOW_LOG).map_err(failed)?;
                Box::new(BufReader::new(decoder))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                let stream = Stream::new_stream_decoder(MEMORY_LIMIT, 0);
                let stream = stream.map_err(|e| failed(io::Error::other(e)))?;
                Box::new(BufReader::new(liblzma::bufread::XzDecoder::new_stream(bytes, stream)))
            }
            [b'B', b'Z', b'h', ..] => return Err(Error::unsupported("metadata that bzip2 compressed is not read")),
            _ => Box::new(bytes),
        };
        Ok(Self { inner, left: TEXT_LIMIT, event: EVENT_LIMIT })
    }

    /// All of it, at most so many bytes.
    ///
    /// # Errors
    /// `Limit` when it is more; `Integrity` when it is damaged.
    pub(super) fn all(self, limit: u64) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let read = self.inner.take(limit + 1).read_to_end(&mut out);
        read.map_err(|e| Error::integrity("metadata cannot be decompressed").cause(e))?;
        if out.len() as u64 > limit {
            return Err(Error::limit(format!("a metadata file has more than {limit} bytes of text")));
        }
        Ok(out)
    }

    /// The next event may be as long as any.
    pub(in crate::distro) fn event(&mut self) {
        self.event = EVENT_LIMIT;
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Text<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 || self.event == 0 {
            let what = if self.left == 0 { "in all" } else { "in one piece" };
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("a metadata file has too much text {what}"),
            ));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.left = self.left.saturating_sub(n as u64);
        self.event = self.event.saturating_sub(n as u64);
        self.inner.consume(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use std::io::Write;

    #[test]
    fn each_form_is_told_by_its_first_bytes() {
        let text = b"<metadata/>".repeat(1000);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(&text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(&text).unwrap();
        let forms = [text.clone(), gz.finish().unwrap(), zstd::encode_all(&text[..], 3).unwrap(), xz.finish().unwrap()];
        for form in &forms {
            assert_eq!(Text::of(form).unwrap().all(1 << 20).unwrap(), text);
            assert_eq!(Text::of(form).unwrap().all(100).unwrap_err().kind(), ErrorKind::Limit);
        }
        // Cut off, none of the compressed ones is whole.
        for form in &forms[1..] {
            let e = Text::of(&form[..form.len() - 5]).unwrap().all(1 << 20).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Integrity);
        }
        assert_eq!(Text::of(b"BZh9").err().unwrap().kind(), ErrorKind::Unsupported);
    }
}
