//! Distributions of the store as package managers and installers read them: `GET v1/distros`, and each file beneath
//! `v1/distros/NAME/` by its path on the medium.
//!
//! ```text
//!  path ── decoded once ──> name, parts ──> opened lately? else its list of files ──> file ──> chunks, piece by piece
//! ```
//!
//! A path is looked up among those of the distribution and nowhere else: there is nothing that it could lead out of.

use super::answer::{self, CHANGING, Entity, failed};
use super::object::{blocking, most};
use super::{Shared, access};
use crate::distro::{Distro, Listed, Part, Tree};
use crate::error::{Error, Result};
use crate::store::{DISTRO_PREFIX, Store};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// What every path begins with.
const FRONT: &str = "/v1/distros/";
/// Distributions whose lists of files are in memory.
const OPEN: usize = 4;
/// Largest piece: chunks of one block lie side by side, and each time the block is opened for all that are in it.
const LARGEST: usize = 1 << 20;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/v1/distros", get(list)).route("/v1/distros/{name}/{*path}", get(file))
}

/// The distributions that were asked for lately; the last one is at the end.
#[derive(Default)]
pub(super) struct Opened(Mutex<Vec<(String, u64, Slot)>>);

/// Empty until the first who asked has read the list; the others wait for that.
type Slot = Arc<Mutex<Option<Arc<Tree>>>>;

impl Opened {
    /// The newest version of a distribution.
    fn tree(&self, store: &Store, name: &str) -> Result<Arc<Tree>> {
        let missing = || Error::not_found("there is no such distribution");
        let generation = store.live_head(&format!("{DISTRO_PREFIX}{name}"))?.ok_or_else(missing)?;
        let slot = self.slot(name, generation);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*slot {
            return Ok(tree.clone());
        }
        let tree = Arc::new(Tree::of(&Distro::open(store, name)?)?);
        *slot = Some(tree.clone());
        Ok(tree)
    }

    fn slot(&self, name: &str, generation: u64) -> Slot {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = opened.iter().position(|(n, g, _)| n == name && *g == generation);
        let entry = found.map(|at| opened.remove(at));
        // Of a name the newest version is enough: who reads another one has it.
        opened.retain(|(n, _, _)| n != name);
        if opened.len() == OPEN {
            opened.remove(0);
        }
        let (name, generation, slot) = entry.unwrap_or_else(|| (name.to_owned(), generation, Slot::default()));
        opened.push((name, generation, slot.clone()));
        slot
    }
}

/// Tells which distributions there are.
async fn list(State(shared): State<Arc<Shared>>, method: Method, headers: HeaderMap) -> Response {
    let listed = blocking(&shared, |store| {
        let found = Distro::list(store)?;
        Ok(json!({ "distros": found.iter().map(told).collect::<Vec<_>>() }).to_string())
    });
    let text = match listed.await {
        Ok(text) => text,
        Err(e) => return failed(&e),
    };
    let (size, etag) = (text.len() as u64, answer::etag(text.as_bytes()));
    let entity = Entity { size, modified: 0, etag, caching: CHANGING, kind: "application/json" };
    let part = match entity.wanted(&headers) {
        Ok(part) => part,
        Err(answer) => return *answer,
    };
    let bytes = Bytes::from(text).slice(part.first as usize..(part.first + part.length) as usize);
    entity.answer(part, if method == Method::HEAD { Body::empty() } else { Body::from(bytes) })
}

/// What everybody may know of a distribution: not where it came from, which may be a directory of this machine.
fn told(found: &Listed) -> Value {
    let d = &found.distribution;
    let keys = d.keys.iter().map(|k| json!({ "fingerprint": k.info.fingerprint, "user": k.info.user, "file": k.file }));
    let repositories = d.repositories.iter();
    let repositories =
        repositories.map(|r| json!({ "id": r.id, "path": r.path, "packages": r.packages, "size": r.size }));
    json!({
        "name": found.name, "title": d.title, "id": d.id, "version": d.version, "arch": d.arch, "added": found.added,
        "image": found.image, "size": found.size, "repositories": repositories.collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
    })
}

/// Gives a file of a distribution.
async fn file(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let head = *request.method() == Method::HEAD;
    let Some((name, path)) = request.uri().path().strip_prefix(FRONT).and_then(parse) else {
        return access::text(StatusCode::NOT_FOUND, "there is no such file\n");
    };
    found(&shared, name, path, request.headers(), head).await.unwrap_or_else(|e| failed(&e))
}

async fn found(shared: &Arc<Shared>, name: String, path: Vec<u8>, headers: &HeaderMap, head: bool) -> Result<Response> {
    let (mine, kind) = (shared.clone(), kind(&path));
    let look = move |store: &Store| {
        let tree = mine.distros.tree(store, &name)?;
        let file = tree.file(&path).ok_or_else(|| Error::not_found("there is no such file"))?;
        let etag = format!("\"{}\"", &file.version().to_string()[..32]);
        let entity = Entity { size: file.size(), modified: 0, etag, caching: CHANGING, kind };
        Ok((tree, path, entity))
    };
    let (tree, path, entity) = blocking(shared, look).await?;
    let part = match entity.wanted(headers) {
        Ok(part) => part,
        Err(answer) => return Ok(*answer),
    };
    let body = match tree.file(&path) {
        Some(file) if !head => {
            let part = Some(file.part(part.first, part.length));
            answer::body(Reading { shared: shared.clone(), part }).await?
        }
        _ => Body::empty(),
    };
    Ok(entity.answer(part, body))
}

/// A file that is read.
struct Reading {
    shared: Arc<Shared>,
    /// `None` while it is with a thread that reads, and when that failed.
    part: Option<Part>,
}

impl answer::Source for Reading {
    fn is_at_end(&self) -> bool {
        self.part.as_ref().is_none_or(|p| p.left() == 0)
    }

    async fn next(&mut self) -> Result<Bytes> {
        let most = most(&self.shared, LARGEST);
        let Some(mut part) = self.part.take() else { return Ok(Bytes::new()) };
        let (part, bytes) = blocking(&self.shared, move |_| part.next(most).map(|bytes| (part, bytes))).await?;
        self.part = Some(part);
        Ok(Bytes::from(bytes))
    }
}

/// The name and the path of a file, from what stands behind [`FRONT`]. What clients write as `%` and two digits is meant to be
/// one character of a part; what would be another path, or none, is no file.
fn parse(path: &str) -> Option<(String, Vec<u8>)> {
    let mut parts = path.split('/').map(decode);
    let name = String::from_utf8(parts.next()??).ok()?;
    crate::store::name::check_name(&name).ok()?;
    let parts = parts.collect::<Option<Vec<_>>>()?;
    (!parts.is_empty()).then(|| (name, parts.join(&b'/')))
}

/// A part of a path; `None` of what cannot be one.
fn decode(part: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut out) = (part.bytes(), Vec::with_capacity(part.len()));
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push(if byte == b'%' { (digit()? << 4 | digit()?) as u8 } else { byte });
    }
    let sound = !matches!(&out[..], b"" | b"." | b"..") && !out.iter().any(|b| matches!(b, 0 | b'/'));
    sound.then_some(out)
}

fn kind(path: &[u8]) -> &'static str {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    match name.rsplit(|&b| b == b'.').next().unwrap_or_default() {
        b"rpm" => "application/x-rpm",
        b"xml" => "application/xml",
        b"treeinfo" | b"discinfo" | b"repo" | b"cfg" | b"asc" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once_and_leads_nowhere_else() {
        let of = |path: &str| parse(path).map(|(name, path)| format!("{name} {}", String::from_utf8_lossy(&path)));
        for (path, meant) in [
            ("r-9.4/a", "r-9.4 a"),
            ("r/BaseOS/Packages/g/gcc-c++-1%5e2~3.rpm", "r BaseOS/Packages/g/gcc-c++-1^2~3.rpm"),
            ("r/a%2525", "r a%25"),
            ("r/...", "r ..."),
        ] {
            assert_eq!(of(path).as_deref(), Some(meant), "{path}");
        }
        for path in [
            "",
            "r",
            "r/",
            "/a",
            "r//a",
            "r/a/",
            "r/a//b",
            "r/.",
            "r/..",
            "r/../a",
            "r/a/../b",
            "r/%2e%2e/a",
            "r/a%2fb",
            "r/a%00",
            "r/%",
            "r/%4",
            "r/%zz",
            "r/%+1",
            "../a",
            "%2e%2e/a",
            "r%2fa/b",
            ".r/a",
            "r%00/a",
            "HEAD/a",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn few_distributions_are_kept_and_of_each_one_version() {
        let opened = Opened::default();
        let first = opened.slot("a", 1);
        assert!(Arc::ptr_eq(&first, &opened.slot("a", 1)));
        assert!(!Arc::ptr_eq(&first, &opened.slot("a", 2)));
        assert_eq!(opened.0.lock().unwrap().len(), 1);
        let again = opened.slot("a", 2);
        for name in ["b", "c", "d", "e"] {
            opened.slot(name, 1);
        }
        assert_eq!(opened.0.lock().unwrap().len(), OPEN);
        assert!(!Arc::ptr_eq(&again, &opened.slot("a", 2)));
    }
}
