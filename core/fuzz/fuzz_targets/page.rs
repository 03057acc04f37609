//! Invariant: any bytes give rows or an error, never a panic; rows that come out encode to the same bytes again unless
//! the writer would cut the page elsewhere.
#![no_main]
use libcv::image::page::{PageWriter, decode, decode_list, encode_list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(items) = decode_list(bytes, bytes.len() / 34) {
        assert_eq!(encode_list(&items), bytes);
    }
    let Ok(rows) = decode(bytes) else { return };
    let mut writer = PageWriter::default();
    let mut pages = Vec::new();
    for row in &rows {
        pages.extend(writer.add(row).expect("a row that was read can be written"));
    }
    pages.extend(writer.finish());
    if pages.len() == 1 {
        assert_eq!(pages[0].bytes, bytes);
    }
    let again: Vec<_> = pages.iter().flat_map(|p| decode(&p.bytes).expect("what was written can be read")).collect();
    assert_eq!(again, rows);
});
