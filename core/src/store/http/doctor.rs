//! What is wrong with servers of a store, found out by asking each of them alone.
//!
//! ```text
//!  name ──> answer, TLS, clock ──> store.json ──> HEADs against releases ──> CURRENT ──> ranges ──> speed ──> one block, chunk by chunk
//!     a check that fails ends those that need it; the others go on
//! ```

use super::exchange::{Answer, Want, Watch, ask};
use super::{HttpOptions, pool};
use crate::error::{ErrorKind, Result};
use crate::image::Hash;
use crate::image::block::BlockOpener;
use crate::image::pack;
use crate::job::Task;
use crate::store::index::{SEGMENT_LIMIT, Segment};
use crate::store::locate::{CURRENT, segment_key};
use crate::store::{STORE_FILE, Store, pack_key};
use crate::sys::clock;
use crate::web::{Fault, Url, agent};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

/// A clock that is further away is told; beyond the second, certificates and announcements may not hold.
const CLOCK: (i64, i64) = (2_000, 600_000);
/// Names and segments that are looked at.
const MOST: usize = 200;
/// How the rate is measured: requests of so many bytes, for so long, and no more than so many bytes.
const RATE: (usize, Duration, u64) = (2 << 20, Duration::from_secs(3), 64 << 20);

/// `name`, `answer`, `clock`, `store`, `names`, `index`, `ranges`, `speed` and `chunk` are the checks.
pub use crate::finding::{Finding, Verdict};

/// What is known of a server.
#[derive(Clone, Debug, Serialize)]
pub struct Examined {
    /// Its address.
    pub url: String,
    /// The uuid of its store.
    pub store: Option<String>,
    /// Bytes in a second, from one connection.
    pub rate: Option<u64>,
    /// Milliseconds that its clock is ahead of this machine's.
    pub clock: Option<i64>,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Examined {
    /// The worst of its findings.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Finding::worst(&self.findings)
    }
}

/// Examines the server of `options` and its mirrors, each alone, in their order.
///
/// # Errors
/// `Invalid` when files of certificates or keys are none; `Cancelled`. What is wrong with a server is no error.
pub fn examine(options: &HttpOptions, task: &Task) -> Result<Vec<Examined>> {
    options.check()?;
    let mut out: Vec<Examined> = Vec::new();
    for (url, _) in options.all() {
        task.check()?;
        let alone = HttpOptions { url: url.clone(), mirrors: Vec::new(), web: options.web.clone() };
        let client = agent(&options.web, pool::PACE, url.is_secure())?;
        let mut patient = Patient { url, options: alone, client, task, found: Vec::new(), out: None };
        patient.examine()?;
        let mut examined = patient.end();
        if let (Some(uuid), Some(first)) = (&examined.store, out.iter().find_map(|e| e.store.clone()))
            && *uuid != first
        {
            let message =
                format!("it has the store {uuid}, and the one before it {first}: they are no mirrors of each other");
            examined.findings.push(Finding { check: "store", verdict: Verdict::Bad, message });
        }
        out.push(examined);
    }
    Ok(out)
}

/// A server that is examined.
struct Patient<'t> {
    url: Url,
    options: HttpOptions,
    client: ureq::Agent,
    task: &'t Task,
    found: Vec<Finding>,
    out: Option<Examined>,
}

impl Patient<'_> {
    fn say(&mut self, check: &'static str, verdict: Verdict, message: impl Into<String>) {
        self.found.push(Finding { check, verdict, message: message.into() });
    }

    fn end(self) -> Examined {
        let empty = Examined { url: self.url.to_string(), store: None, rate: None, clock: None, findings: Vec::new() };
        Examined { findings: self.found, ..self.out.unwrap_or(empty) }
    }

    fn ask(&self, key: &str, want: Want) -> Result<Answer, Fault> {
        ask(&self.client, &self.url.join(key), want, &Watch::default(), Vec::new())
    }

    fn examine(&mut self) -> Result<()> {
        let mut examined =
            Examined { url: self.url.to_string(), store: None, rate: None, clock: None, findings: Vec::new() };
        if self.name()
            && self.answer(&mut examined)
            && let Some(store) = self.store(&mut examined)
        {
            self.task.check()?;
            self.names(&store);
            self.task.check()?;
            if let Some((id, segment)) = self.index(&store)
                && self.ranges(&id)
            {
                examined.rate = self.rate(&store, &segment)?;
                self.chunk(&store, &id, &segment);
            }
        }
        self.out = Some(examined);
        Ok(())
    }

    fn name(&mut self) -> bool {
        let began = Instant::now();
        match (self.url.host(), self.url.port()).to_socket_addrs() {
            Ok(found) => {
                let all: Vec<String> = found.map(|a| a.ip().to_string()).collect::<BTreeSet<_>>().into_iter().collect();
                let slow = began.elapsed() > Duration::from_secs(1);
                let took =
                    if slow { format!(", which took {} ms", began.elapsed().as_millis()) } else { String::new() };
                let verdict = if slow { Verdict::Warning } else { Verdict::Ok };
                self.say("name", verdict, format!("{} is {}{took}", self.url.host(), all.join(", ")));
                true
            }
            Err(e) => {
                self.say("name", Verdict::Bad, format!("{} cannot be found: {e}", self.url.host()));
                false
            }
        }
    }

    fn answer(&mut self, examined: &mut Examined) -> bool {
        let (began, before) = (Instant::now(), clock::now());
        let answer = self.ask(STORE_FILE, Want::Whole(64 << 10));
        let took = began.elapsed();
        match answer {
            Ok(answer) => {
                let tls = if self.url.is_secure() { ", its certificate is believed" } else { ", without TLS" };
                self.say("answer", Verdict::Ok, format!("it answers in {} ms{tls}", took.as_millis()));
                let here = before.0 * 1000 + i64::from(before.1 / 1_000_000);
                if let Some(there) = answer.date {
                    // Its time has whole seconds, and is that of somewhere between question and answer.
                    let off = there - here;
                    let far = if off > 0 { off - took.as_millis() as i64 } else { off + 1000 };
                    examined.clock = Some(off);
                    let verdict = match far.abs() {
                        n if n > CLOCK.1 => Verdict::Bad,
                        n if n > CLOCK.0 => Verdict::Warning,
                        _ => Verdict::Ok,
                    };
                    let text = if verdict == Verdict::Ok { "as here".into() } else { format!("{} s off", off / 1000) };
                    self.say("clock", verdict, format!("its clock is {text}"));
                } else {
                    self.say("clock", Verdict::Warning, "it does not tell its time");
                }
                true
            }
            Err(fault) => {
                self.say("answer", Verdict::Bad, format!("{STORE_FILE}: {fault}"));
                false
            }
        }
    }

    fn store(&mut self, examined: &mut Examined) -> Option<Store> {
        match Store::open_http(&self.options) {
            Ok(store) => {
                examined.store = Some(store.uuid().to_owned());
                self.say("store", Verdict::Ok, format!("it has the store {}", store.uuid()));
                Some(store)
            }
            Err(e) => {
                self.say("store", Verdict::Bad, e.message());
                None
            }
        }
    }

    /// Whether each HEAD names a generation that is there, and no later one is.
    fn names(&mut self, store: &Store) {
        let names = match store.refs().names() {
            Ok(names) => names,
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                return self.say(
                    "names",
                    Verdict::Ok,
                    "it cannot list, as static servers cannot: names are opened one by one",
                );
            }
            Err(e) => return self.say("names", Verdict::Bad, e.message()),
        };
        let mut wrong = 0;
        for name in names.iter().take(MOST) {
            let said = store.refs().said(name).ok().flatten();
            let highest = store.refs().generations(name).ok().and_then(|g| g.last().copied());
            let (verdict, what) = match (said, highest) {
                (Some(said), Some(highest)) if said == highest => continue,
                (Some(0), _) | (None, _) => (
                    Verdict::Warning,
                    "its HEAD is damaged or missing: readers that cannot list do not find it".to_owned(),
                ),
                (Some(said), highest) if highest.is_none_or(|h| said > h) => {
                    (Verdict::Bad, format!("its HEAD says {said}, and that generation is not there"))
                }
                (Some(said), highest) => (
                    Verdict::Warning,
                    format!("its HEAD says {said}, and there is generation {}", highest.unwrap_or(0)),
                ),
            };
            wrong += 1;
            self.say("names", verdict, format!("{name}: {what}"));
        }
        if wrong == 0 {
            self.say(
                "names",
                Verdict::Ok,
                format!("{} names, each with the HEAD of its newest generation", names.len().min(MOST)),
            );
        }
    }

    /// Whether the segments that CURRENT names are there and whole; the first with a pack, and that pack.
    fn index(&mut self, store: &Store) -> Option<(Hash, Segment)> {
        let names = match store.current() {
            Ok(names) => names,
            Err(e) => {
                self.say("index", Verdict::Bad, format!("{CURRENT}: {}", e.message()));
                return None;
            }
        };
        let (mut bad, mut first) = (0, None);
        for name in names.iter().take(MOST) {
            let read = store.blobs().get(&segment_key(name), SEGMENT_LIMIT);
            match read.and_then(|bytes| Ok(Segment::decode(&bytes, |_| true)?)) {
                Ok(segment) if first.is_none() && !segment.packs.is_empty() => {
                    first = Some((segment.packs[0], segment));
                }
                Ok(_) => {}
                Err(e) => {
                    bad += 1;
                    self.say("index", Verdict::Bad, format!("segment {}…: {}", &name[..8], e.message()));
                }
            }
        }
        if bad == 0 {
            self.say("index", Verdict::Ok, format!("{} segments, as {CURRENT} says", names.len().min(MOST)));
        }
        first
    }

    fn ranges(&mut self, id: &Hash) -> bool {
        let key = pack_key(id);
        let (verdict, message) = match self.ask(&key, Want::Range(0, pack::MAGIC.len())) {
            Ok(answer) if answer.bytes == pack::MAGIC => (Verdict::Ok, "it gives ranges".to_owned()),
            Ok(_) => (Verdict::Bad, format!("{key} does not begin as a pack does")),
            Err(fault) => (Verdict::Bad, format!("{key}: {fault}")),
        };
        self.say("ranges", verdict, message);
        verdict == Verdict::Ok
    }

    /// Bytes in a second, from one connection.
    fn rate(&mut self, store: &Store, segment: &Segment) -> Result<Option<u64>> {
        let (step, most, limit) = RATE;
        let (began, mut bytes) = (Instant::now(), 0u64);
        'packs: for id in &segment.packs {
            let key = pack_key(id);
            let size = store.blobs().size(&key).ok().flatten().unwrap_or(0);
            let mut at = 0;
            while at < size {
                self.task.check()?;
                if began.elapsed() > most || bytes > limit {
                    break 'packs;
                }
                let length = step.min((size - at) as usize);
                match self.ask(&key, Want::Range(at, length)) {
                    Ok(answer) => bytes += answer.bytes.len() as u64,
                    Err(fault) => {
                        self.say("speed", Verdict::Bad, format!("{key}: {fault}"));
                        return Ok(None);
                    }
                }
                at += length as u64;
            }
        }
        let rate = (bytes as f64 / began.elapsed().as_secs_f64().max(1e-6)) as u64;
        self.say("speed", Verdict::Ok, format!("{}/s from one connection", crate::units::human(rate)));
        Ok(Some(rate))
    }

    /// Whether the first block of a pack holds what the index says.
    fn chunk(&mut self, store: &Store, id: &Hash, segment: &Segment) {
        let at = pack::MAGIC.len() as u32;
        let of_block = |p: &&(Hash, crate::store::index::Place)| p.1.pack == 0 && p.1.offset == at;
        let expected: BTreeSet<Hash> = segment.records.iter().filter(of_block).map(|(hash, _)| *hash).collect();
        let Some((_, place)) = segment.records.iter().find(of_block) else { return };
        let mut seen = BTreeSet::new();
        let read = store.blobs().get_span(&pack_key(id), at.into(), place.stored as usize, Vec::new());
        let opened = read.and_then(|bytes| {
            BlockOpener::new()?.open(&bytes, |hash, _| {
                seen.insert(hash);
                Ok(())
            })
        });
        let (verdict, message) = match opened {
            Ok(_) if expected.is_subset(&seen) => {
                (Verdict::Ok, format!("{} chunks have the content of their names", seen.len()))
            }
            Ok(_) => (Verdict::Bad, "a block has other chunks than the index says".to_owned()),
            Err(e) => (Verdict::Bad, format!("a block is damaged: {}", e.message())),
        };
        self.say("chunk", verdict, message);
    }
}
