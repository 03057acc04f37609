//! Segments of the index that were fetched: whoever opens an image reads them once for its pages and once for its content.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept at most; what comes after that is fetched each time.
const ROOM: usize = 32 << 20;

/// Objects that never change, by their keys.
#[derive(Default)]
pub(super) struct Kept(Mutex<Objects>);

#[derive(Default)]
struct Objects {
    by_key: HashMap<String, Arc<Vec<u8>>>,
    /// Bytes of all.
    used: usize,
}

impl Kept {
    pub(super) fn get(&self, key: &str) -> Option<Arc<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_key.get(key).cloned()
    }

    pub(super) fn put(&self, key: &str, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Objects { by_key, used } = &mut *kept;
        if *used + bytes.len() <= ROOM && !by_key.contains_key(key) {
            *used += bytes.len();
            by_key.insert(key.to_owned(), Arc::new(bytes.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_not_kept() {
        let kept = Kept::default();
        kept.put("a", &vec![1; ROOM - 10]);
        kept.put("b", &[2; 11]);
        kept.put("c", &[3; 10]);
        assert_eq!(kept.get("a").map(|b| b.len()), Some(ROOM - 10));
        assert_eq!((kept.get("b"), kept.get("c").as_deref()), (None, Some(&vec![3; 10])));
    }
}
