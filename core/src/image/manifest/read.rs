//! Bytes become a manifest; nothing is believed.

use super::*;
use crate::image::leb::Reader;
use crate::image::{FormatError, page, path};

impl Manifest {
    /// Reads a manifest from its whole file.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > BYTE_LIMIT {
            return Err(FormatError::Limit { what: "a manifest", limit: BYTE_LIMIT as u64 });
        }
        let mut r = Reader::new("manifest", bytes);
        r.magic(MAGIC, VERSION)?;
        let (mut out, mut last, mut seen) = (Self::default(), None, 0);
        while r.left() > 0 {
            let tag = r.leb()?;
            if last.is_some_and(|l| tag <= l) {
                return r.bad("its fields are not in ascending order");
            }
            last = Some(tag);
            let value = r.str(FIELD_LIMIT, "a field of a manifest")?;
            match tag {
                TAG_PAGES => out.pages = read_pages(value)?,
                TAG_TOTALS => out.totals = read_totals(value)?,
                TAG_POLICY => out.policy = Some(read_json(value)?),
                TAG_FACTS => out.facts = Some(read_json(value)?),
                TAG_PARENT => {
                    let mut r = Reader::new("parent of a manifest", value);
                    out.parent = Some(r.hash()?);
                    r.end()?;
                }
                TAG_NAMES => out.names = Some(read_json(value)?),
                TAG_LAYOUT => out.layout = Some(value.to_vec()),
                t if t % 2 == 1 => {
                    return Err(FormatError::Unknown { what: "manifest", feature: format!("critical field {t}") });
                }
                _ => {}
            }
            seen += u32::from(tag == TAG_PAGES || tag == TAG_TOTALS);
        }
        if seen != 2 {
            return r.bad("the page table or the totals are missing");
        }
        if out.totals.rows != out.pages.iter().map(|p| u64::from(p.rows)).sum::<u64>() {
            return r.bad("the rows of its pages do not add up to the totals");
        }
        Ok(out)
    }
}

fn read_pages(value: &[u8]) -> Result<Vec<PageRef>, FormatError> {
    let mut r = Reader::new("page table", value);
    let count = r.count(PAGE_LIMIT, "the number of pages")?;
    let mut pages: Vec<PageRef> = Vec::with_capacity(count.min(value.len() / 35 + 1));
    let mut rows = 0;
    for _ in 0..count {
        let first = r.str(path::PATH_LIMIT, "a path")?.to_vec();
        path::check(&first)?;
        if pages.last().is_some_and(|p| path::compare(&p.first, &first).is_ge()) {
            return r.bad("its pages are not in path order");
        }
        let hash = r.hash()?;
        let n = r.leb_max(page::ROW_LIMIT as u64, "the number of rows of a page")? as u32;
        let bytes = r.leb_max(page::BYTE_LIMIT as u64, "a page")? as u32;
        if n == 0 || bytes == 0 {
            return r.bad("a page is empty");
        }
        rows += u64::from(n);
        pages.push(PageRef { first, hash, rows: n, bytes });
    }
    r.end()?;
    if rows > ROW_LIMIT {
        return Err(FormatError::Limit { what: "the number of rows of an image", limit: ROW_LIMIT });
    }
    if pages.first().is_none_or(|p| !p.first.is_empty()) {
        return r.bad("the first row is not the root");
    }
    Ok(pages)
}

fn read_totals(value: &[u8]) -> Result<Totals, FormatError> {
    let mut r = Reader::new("totals", value);
    let mut next = || r.leb();
    let t = Totals {
        rows: next()?,
        directories: next()?,
        files: next()?,
        links: next()?,
        special: next()?,
        groups: next()?,
        size: next()?,
        data: next()?,
    };
    r.end()?;
    Ok(t)
}

fn read_json(value: &[u8]) -> Result<Value, FormatError> {
    let bad = FormatError::malformed("manifest", "a JSON field is not the canonical form of an object");
    let parsed: Value = serde_json::from_slice(value).map_err(|_| bad.clone())?;
    if !parsed.is_object() || parsed.to_string().as_bytes() != value { Err(bad) } else { Ok(parsed) }
}
