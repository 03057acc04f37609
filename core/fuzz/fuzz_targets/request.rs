//! Invariant: any path is an object that readers need or none, and names nothing outside of the store; any range lies within its
//! object; any address that is read is written as it is read again.
#![no_main]
use libcv::server::key::{Key, may_list};
use libcv::server::range::{Wanted, parse};
use libcv::store::http::MirrorOf;
use libcv::web::Url;
use libfuzzer_sys::fuzz_target;

const PLACES: [&str; 7] = ["store.json", "packs/", "idx/", "images/", "refs/", "tags/", "blobs/"];

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Some(Key { key, .. }) = Key::parse(&text) {
        assert_eq!(key, text);
        assert!(PLACES.iter().any(|p| key.starts_with(p)) && key != "idx/BAD");
        assert!(
            key.split('/').all(|part| !matches!(part, "" | "." | "..")) && key.bytes().all(|b| b.is_ascii_graphic())
        );
    }
    if may_list(&text) {
        assert!(text.split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
    for size in [0, 1, 1000, u64::MAX] {
        for header in [text.as_ref(), &format!("bytes={text}")] {
            if let Wanted::Part(first, length) = parse(header, size) {
                assert!(length > 0 && first.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
    for address in [text.as_ref(), &format!("http://{text}")] {
        if let Ok(url) = Url::parse(address) {
            assert_eq!(Url::parse(&url.to_string()).expect("an address"), url);
            assert!(!url.host().is_empty() && url.port() > 0 && !url.authority().contains('@'));
            assert!(url.join("a/b").ends_with("/a/b"));
        }
        let _ = address.parse::<MirrorOf>();
    }
});
