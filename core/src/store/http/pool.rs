//! The mirrors of a store, and who of them is asked. Each request goes to one, by chance and by weight; when it takes too
//! long a second one is asked as well, and the first that gives what fits ends it.
//!
//! ```text
//!  fetch ──> choose ──> attempt, in a thread of its own ──> proof ──> the others are abandoned
//!              ^            │ a fault: noted, set back; the next one
//!              └────────────┤ nothing in time: the next one, beside it
//! ```
//!
//! It fails only when none of them can give it.

use super::exchange::{Answer, Want, Watch, ask};
use super::mirror::{Mirror, Standing};
use super::options::HttpOptions;
use super::patience::{self, Patience};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use crate::web::{Fault, Pace, agent};
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) const PACE: Pace =
    Pace { connect: Duration::from_secs(10), silence: Duration::from_secs(20), whole: Duration::from_secs(3600) };
/// How often one mirror is asked for one thing.
const TRIES: u32 = 4;
/// How many are asked for the same at a time. Who has been silent for long does not count.
const AT_ONCE: usize = 2;
/// A mirror whose rate is under this share of the median is asked less.
const SLOW: f64 = 0.25;
/// Notes that nobody has read yet.
const NOTES: usize = 1024;
/// Who gave something wrong of an object is not asked for it for so long.
const SHUNNED: Duration = Duration::from_secs(120);
/// Who gave what is kept in mind for so many ranges.
const GIVERS: usize = 1024;

/// The mirrors.
pub(super) struct Pool {
    mirrors: Vec<Arc<Mirror>>,
    patience: Patience,
    /// Nobody waits for anything any more.
    closed: Arc<Watch>,
    notes: Mutex<VecDeque<String>>,
    givers: Mutex<VecDeque<Given>>,
    /// Mirrors that gave something wrong of a key.
    shunned: Mutex<HashMap<String, HashMap<usize, Instant>>>,
}

/// A range that a mirror gave.
struct Given {
    key: String,
    offset: u64,
    end: u64,
    mirror: usize,
}

/// The state of one fetch.
struct Fetch {
    is_probe: bool,
    tries: Vec<u32>,
    /// Why each mirror is not asked any more.
    over: Vec<Option<Fault>>,
    running: Vec<Attempt>,
    /// For the first attempt.
    memory: Vec<u8>,
}

struct Attempt {
    mirror: usize,
    is_trial: bool,
    began: Instant,
    watch: Arc<Watch>,
    /// Bytes that had come when it was looked at last.
    had: u64,
}

impl Attempt {
    /// Whether it needs only a little more time; looked at after each wait.
    fn is_coming(&mut self, want: Want) -> bool {
        let received = self.watch.received.load(Ordering::Relaxed);
        let before = std::mem::replace(&mut self.had, received);
        patience::is_coming(want, before, received)
    }
}

impl Fetch {
    /// Whether somebody has not got it.
    fn is_missing(&self) -> bool {
        self.over.contains(&Some(Fault::Missing))
    }

    /// How long those that are asked have been.
    fn waited(&self) -> Duration {
        self.running.iter().map(|a| a.began.elapsed()).max().unwrap_or_default()
    }
}

/// What one server has not got is not there when the others say nothing for so long. Names are probed for, and mostly in vain; a block
/// that is not there is the end of the work.
fn missing_after(is_probe: bool) -> Duration {
    Duration::from_secs(if is_probe { 1 } else { 10 })
}

/// Whether nobody would wonder if it was not there. Segments of the index are named by hints, which anybody may have sent; without them
/// the packs tell.
fn is_probe(key: &str, want: Want) -> bool {
    want == Want::Head || ["refs/", "tags/", "idx/"].iter().any(|d| key.starts_with(d))
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(super) fn new(options: &HttpOptions) -> Result<Self> {
        let mut mirrors = Vec::new();
        for (url, weight) in options.all() {
            let client = agent(&options.web, PACE, url.is_secure())?;
            mirrors.push(Arc::new(Mirror::new(url, weight, client)));
        }
        Ok(Self {
            mirrors,
            patience: Patience::default(),
            closed: Arc::default(),
            notes: Mutex::default(),
            givers: Mutex::default(),
            shunned: Mutex::default(),
        })
    }

    /// What ends all requests when it is abandoned.
    #[cfg(feature = "server")]
    pub(super) fn closer(&self) -> Arc<Watch> {
        self.closed.clone()
    }

    /// The addresses, for people.
    pub(super) fn place(&self) -> String {
        self.mirrors.first().map(|m| m.url.to_string()).unwrap_or_default()
    }

    /// What happened since the last call, oldest first.
    pub(super) fn take_notes(&self) -> Vec<String> {
        lock(&self.notes).drain(..).collect()
    }

    fn note(&self, text: String) {
        let mut notes = lock(&self.notes);
        if notes.len() == NOTES {
            notes.pop_front();
        }
        notes.push_back(text);
    }

    /// Gets an object, or a part of one, from whoever has it; `fits` says whether it is that.
    ///
    /// # Errors
    /// `NotFound` when those that answer have not got it; `Integrity`, `Limit`, `Denied`, `Network` when none can give it.
    pub(super) fn fetch(&self, key: &str, want: Want, fits: &dyn Fn(&[u8]) -> bool) -> Result<Answer> {
        self.fetch_into(key, want, fits, Vec::new())
    }

    /// As [`Pool::fetch`]; `memory` may be used for it.
    ///
    /// # Errors
    /// As [`Pool::fetch`].
    pub(super) fn fetch_into(
        &self,
        key: &str,
        want: Want,
        fits: &dyn Fn(&[u8]) -> bool,
        memory: Vec<u8>,
    ) -> Result<Answer> {
        let shunned = lock(&self.shunned).get(key).cloned().unwrap_or_default();
        let over = |n| shunned.get(&n).is_some_and(|until| *until > Instant::now()).then_some(Fault::Wrong);
        let mut fetch = Fetch {
            is_probe: is_probe(key, want),
            tries: vec![0; self.mirrors.len()],
            over: (0..self.mirrors.len()).map(over).collect(),
            running: Vec::new(),
            memory,
        };
        let (to, results) = crossbeam_channel::unbounded();
        let patience = self.patience(want);
        loop {
            if self.closed.abandoned.load(Ordering::Relaxed) {
                return Err(Error::cancelled());
            }
            if fetch.running.is_empty() {
                match self.choose(&fetch, want) {
                    Choice::Ask(n) => self.start(n, key, want, &mut fetch, &to)?,
                    Choice::Wait(until) => {
                        std::thread::sleep(until.saturating_duration_since(Instant::now()).min(patience::LEAST));
                        continue;
                    }
                    Choice::Nobody => return Err(self.explain(key, &fetch.over)),
                }
            }
            // Who was set back before is not trusted with much time.
            let on_trial = fetch.running.iter().all(|a| a.is_trial);
            let patience = if on_trial { patience.min(patience::UNKNOWN) } else { patience };
            let (n, result): (usize, Result<Answer, Fault>) = match results.recv_timeout(patience) {
                Ok(done) => done,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::new(ErrorKind::Bug, "nobody is asked")),
                Err(RecvTimeoutError::Timeout) => {
                    if fetch.is_missing() && fetch.waited() > missing_after(fetch.is_probe) {
                        self.abandon(&fetch.running, key, want, Duration::ZERO);
                        return Err(self.explain(key, &fetch.over));
                    }
                    let is_coming =
                        fetch.running.iter_mut().filter_map(|a| a.is_coming(want).then_some(())).count() > 0;
                    let hopeful = fetch.running.iter().filter(|a| a.began.elapsed() < patience::LOADED).count();
                    if !is_coming
                        && hopeful < AT_ONCE
                        && let Choice::Ask(n) = self.choose(&fetch, want)
                    {
                        self.start(n, key, want, &mut fetch, &to)?;
                    }
                    continue;
                }
            };
            let Some(at) = fetch.running.iter().position(|a| a.mirror == n) else { continue };
            let attempt = fetch.running.swap_remove(at);
            let took = attempt.began.elapsed();
            let result = result.and_then(|a| if fits(&a.bytes) { Ok(a) } else { Err(Fault::Wrong) });
            match result {
                Ok(answer) => {
                    self.mirrors[n].succeeded(answer.bytes.len() as u64, took);
                    self.patience.learn(want, took);
                    for (mirror, _) in self.mirrors.iter().zip(&fetch.over).filter(|(_, f)| **f == Some(Fault::Missing))
                    {
                        self.note(told(mirror, key, &Fault::Missing, None));
                    }
                    self.abandon(&fetch.running, key, want, took);
                    if let Want::Range(offset, length) = want {
                        self.remember(key, offset, length, n);
                    }
                    return Ok(answer);
                }
                Err(fault) => self.blame(n, key, fault, &mut fetch),
            }
        }
    }

    /// Asks every mirror, and gives what each says that answers; those that take long are not waited for.
    ///
    /// # Errors
    /// As [`Pool::fetch`], when none answers.
    pub(super) fn ask_all(&self, key: &str, limit: u64, fits: &dyn Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let want = Want::Whole(limit);
        if self.mirrors.len() == 1 {
            return Ok(vec![self.fetch(key, want, fits)?.bytes]);
        }
        let count = self.mirrors.len();
        let (tries, over) = (vec![0; count], vec![None; count]);
        let mut fetch = Fetch { is_probe: false, tries, over, running: Vec::new(), memory: Vec::new() };
        let (to, results) = crossbeam_channel::unbounded();
        let now = Instant::now();
        for (n, mirror) in self.mirrors.iter().enumerate() {
            if mirror.standing(now) == Standing::Good {
                self.start(n, key, want, &mut fetch, &to)?;
            }
        }
        let (mut said, mut first, mut until) = (Vec::new(), Duration::ZERO, None::<Instant>);
        while !fetch.running.is_empty() {
            let wait = until.map_or(PACE.connect, |u| u.saturating_duration_since(Instant::now()));
            let Ok((n, result)) = results.recv_timeout(wait) else { break };
            let Some(at) = fetch.running.iter().position(|a| a.mirror == n) else { continue };
            let took = fetch.running.swap_remove(at).began.elapsed();
            match result.and_then(|a| if fits(&a.bytes) { Ok(a.bytes) } else { Err(Fault::Wrong) }) {
                Ok(bytes) => {
                    self.mirrors[n].succeeded(0, took);
                    self.patience.learn(want, took);
                    if until.is_none() {
                        first = took;
                        until = Some(Instant::now() + patience::for_the_others(took));
                    }
                    said.push(bytes);
                }
                Err(fault) => self.blame(n, key, fault, &mut fetch),
            }
        }
        self.abandon(&fetch.running, key, want, first);
        // With its patience, and its error.
        if said.is_empty() { Ok(vec![self.fetch(key, want, fits)?.bytes]) } else { Ok(said) }
    }

    /// Says that what was read of `key` at `offset` is not what it should be; whether somebody else can be asked.
    pub(super) fn disown(&self, key: &str, offset: u64) -> bool {
        let giver = lock(&self.givers)
            .iter()
            .rev()
            .find(|g| g.key == key && (g.offset..g.end).contains(&offset))
            .map(|g| g.mirror);
        let Some(n) = giver else { return false };
        let now = Instant::now();
        let mut shunned = lock(&self.shunned);
        let of_key = shunned.entry(key.to_owned()).or_default();
        of_key.retain(|_, until| *until > now);
        // It gave this before that was known of it: the others are asked now.
        if of_key.contains_key(&n) {
            return true;
        }
        // Who is the last one left is asked again: it may be whole by then.
        if of_key.len() + 1 == self.mirrors.len() {
            return false;
        }
        of_key.insert(n, now + SHUNNED);
        let back = self.mirrors[n].failed(&Fault::Wrong, now);
        self.note(told(&self.mirrors[n], key, &Fault::Wrong, back));
        true
    }

    fn remember(&self, key: &str, offset: u64, length: usize, mirror: usize) {
        let mut givers = lock(&self.givers);
        if givers.len() == GIVERS {
            givers.pop_front();
        }
        givers.push_back(Given { key: key.to_owned(), offset, end: offset + length as u64, mirror });
    }

    fn blame(&self, n: usize, key: &str, fault: Fault, fetch: &mut Fetch) {
        let back = self.mirrors[n].failed(&fault, Instant::now());
        // What is nowhere is no failure: names are probed for.
        if !fault.is_missing() {
            self.note(told(&self.mirrors[n], key, &fault, back));
        }
        fetch.tries[n] += 1;
        if !fault.may_pass() || fetch.tries[n] == TRIES {
            fetch.over[n] = Some(fault);
        }
    }

    /// Those that were asked as well, where another one took so long.
    fn abandon(&self, running: &[Attempt], key: &str, want: Want, other: Duration) {
        for attempt in running {
            attempt.watch.abandoned.store(true, Ordering::Relaxed);
            let mirror = &self.mirrors[attempt.mirror];
            let waited = attempt.began.elapsed();
            // Of what nobody knows the length of it may be in the middle.
            let in_the_middle =
                want.bytes() == 0 && patience::is_coming(want, 0, attempt.watch.received.load(Ordering::Relaxed));
            // One that was asked a moment ago had no chance yet.
            if patience::is_late(waited, other) && !in_the_middle {
                let back = mirror.overtaken(want.bytes(), waited, Instant::now());
                self.note(told(mirror, key, &Fault::Late(format!("nothing in {} ms", waited.as_millis())), back));
            } else {
                mirror.undecided();
            }
        }
    }

    fn start(
        &self,
        n: usize,
        key: &str,
        want: Want,
        fetch: &mut Fetch,
        to: &Sender<(usize, Result<Answer, Fault>)>,
    ) -> Result<()> {
        let mirror = self.mirrors[n].clone();
        // Alone it is abandoned when all is.
        let watch = if self.mirrors.len() == 1 { self.closed.clone() } else { Arc::default() };
        let is_trial = mirror.begin();
        fetch.running.push(Attempt { mirror: n, is_trial, began: Instant::now(), watch: watch.clone(), had: 0 });
        let (url, to, memory) = (mirror.url.join(key), to.clone(), std::mem::take(&mut fetch.memory));
        // Alone there is nobody to ask as well: it can be asked right here.
        if self.mirrors.len() == 1 {
            let _ = to.send((n, ask(&mirror.agent, &url, want, &watch, memory)));
            return Ok(());
        }
        std::thread::Builder::new()
            .name("libcv-http".into())
            .stack_size(256 << 10)
            .spawn(move || _ = to.send((n, ask(&mirror.agent, &url, want, &watch, memory))))
            .map(drop)
            .map_err(|e| Error::io("start", "a thread", e))
    }

    /// Who is asked next: by chance, of those that are good; when there are none, of those that come back first.
    fn choose(&self, fetch: &Fetch, want: Want) -> Choice {
        let now = Instant::now();
        let unheard = |n: &usize| !self.mirrors[*n].has_answered();
        let can = |n: &usize| fetch.over[*n].is_none() && fetch.running.iter().all(|a| a.mirror != *n);
        let candidates: Vec<usize> = (0..self.mirrors.len()).filter(can).collect();
        let (mut good, mut slow, mut first, mut tried) =
            (Vec::new(), None::<(bool, Instant, usize)>, None::<Instant>, None);
        for &n in &candidates {
            match self.mirrors[n].standing(now) {
                Standing::Good => good.push(n),
                Standing::Slow(until) => {
                    first = Some(first.map_or(until, |f| f.min(until)));
                    // Who has never answered may never.
                    let this = (unheard(&n), until, n);
                    slow = Some(slow.map_or(this, |s| s.min(this)));
                }
                Standing::Back(until) => first = Some(first.map_or(until, |f| f.min(until))),
                Standing::OnTrial => tried = Some(n),
            }
        }
        if let Some(n) = self.by_weight(&good) {
            return Choice::Ask(n);
        }
        match (first, tried) {
            _ if candidates.is_empty() => Choice::Nobody,
            // Those that are set back are not waited for to hear the same; but who has answered before may have what others, which are
            // behind, have not got yet.
            _ if fetch.is_missing() && (want == Want::Head || fetch.is_probe && candidates.iter().all(unheard)) => {
                Choice::Nobody
            }
            // Where all were slow it is the load.
            _ if slow.is_some() => slow.map_or(Choice::Nobody, |(_, _, n)| Choice::Ask(n)),
            // What does not pass soon is asked now: there is nobody else.
            (Some(until), _) if until > now + Duration::from_secs(5) => {
                let soonest = candidates.into_iter().min_by_key(|&n| fetch.tries[n]);
                soonest.map_or(Choice::Nobody, Choice::Ask)
            }
            (Some(until), _) => Choice::Wait(until),
            (None, Some(n)) => Choice::Ask(n),
            (None, None) => Choice::Nobody,
        }
    }

    fn by_weight(&self, good: &[usize]) -> Option<usize> {
        let mut rates: Vec<f64> = good.iter().filter_map(|&n| self.mirrors[n].rate()).collect();
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).copied().unwrap_or(0.0);
        let weight = |n: usize| {
            let mirror = &self.mirrors[n];
            let slow = mirror.rate().is_some_and(|r| r < SLOW * median);
            mirror.weight * if slow { SLOW * SLOW } else { 1.0 }
        };
        let sum: f64 = good.iter().map(|&n| weight(n)).sum();
        let mut at = sum * (clock::random_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let chosen = good.iter().copied().find(|&n| {
            at -= weight(n);
            at < 0.0
        });
        chosen.or(good.last().copied())
    }

    /// How long one is waited for before another one is asked as well.
    fn patience(&self, want: Want) -> Duration {
        if self.mirrors.len() == 1 {
            return Duration::from_secs(3600);
        }
        self.patience.of(want, self.mirrors.iter().filter_map(|m| m.rate()).reduce(f64::max))
    }

    /// Why nobody could give it.
    fn explain(&self, key: &str, over: &[Option<Fault>]) -> Error {
        let faults: Vec<&Fault> = over.iter().flatten().collect();
        let has = |f: fn(&Fault) -> bool| faults.iter().any(|x| f(x));
        let kind = if has(|f| *f == Fault::Wrong) {
            ErrorKind::Integrity
        } else if has(Fault::is_missing) {
            ErrorKind::NotFound
        } else if has(|f| *f == Fault::TooLong) {
            ErrorKind::Limit
        } else if has(|f| matches!(f, Fault::Denied(_))) {
            ErrorKind::Denied
        } else {
            ErrorKind::Network
        };
        let why =
            |(mirror, fault): (&Arc<Mirror>, &Option<Fault>)| fault.as_ref().map(|f| format!("{}: {f}", mirror.url));
        let why: Vec<String> = self.mirrors.iter().zip(over).filter_map(why).collect();
        Error::new(kind, format!("{key} cannot be had from {}", why.join("; ")))
            .fact("object", key)
            .fact("mirrors", why)
    }
}

/// What is done next.
enum Choice {
    Ask(usize),
    /// All are set back until then.
    Wait(Instant),
    Nobody,
}

/// A failed attempt, for whoever watches.
fn told(mirror: &Mirror, key: &str, fault: &Fault, back: Option<Duration>) -> String {
    let back = back.map(|b| format!("; set back for {} ms", b.as_millis())).unwrap_or_default();
    format!("{}: {key}: {fault}{back}", mirror.url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Url;

    fn pool(mirrors: usize) -> Pool {
        let mut options = HttpOptions::new(Url::parse("http://127.0.0.1:1").unwrap());
        options.mirrors = (1..mirrors).map(|n| format!("http://127.0.0.1:{}", n + 1).parse().unwrap()).collect();
        Pool::new(&options).unwrap()
    }

    #[test]
    fn of_what_a_mirror_gave_before_it_was_known_to_be_wrong_all_is_asked_for_again() {
        let (pool, key) = (pool(3), "packs/ab/abc.pack");
        // Two ranges on their way at a time, both from the same one.
        pool.remember(key, 0, 10, 1);
        pool.remember(key, 10, 10, 1);
        assert!(pool.disown(key, 3) && pool.disown(key, 13));
        assert!(!pool.disown(key, 20), "nobody gave that");
        pool.remember(key, 0, 10, 0);
        assert!(pool.disown(key, 0));
        // The last one that is left.
        pool.remember(key, 0, 10, 2);
        assert!(!pool.disown(key, 0));
    }

    #[test]
    fn what_is_probed_for_is_not_waited_for() {
        let pool = pool(2);
        // One has not got it, the other one is set back.
        pool.mirrors[1].failed(&Fault::Unreachable("x".into()), Instant::now());
        let choice = |key: &str, want| {
            let over = vec![Some(Fault::Missing), None];
            let is_probe = is_probe(key, want);
            pool.choose(&Fetch { is_probe, tries: vec![1, 0], over, running: Vec::new(), memory: Vec::new() }, want)
        };
        assert!(matches!(choice("refs/node/0000000000000002", Want::Whole(9)), Choice::Nobody));
        assert!(matches!(choice("idx/abc.idx", Want::Whole(9)), Choice::Nobody));
        assert!(matches!(choice("packs/ab/abc.pack", Want::Head), Choice::Nobody));
        assert!(matches!(choice("packs/ab/abc.pack", Want::Range(0, 9)), Choice::Wait(_)));
        assert!(matches!(choice("images/abc.cvm", Want::Whole(9)), Choice::Wait(_)));
        // It has answered before: it may know of a generation that the other one has not got yet.
        pool.mirrors[1].succeeded(0, Duration::ZERO);
        pool.mirrors[1].failed(&Fault::Unreachable("x".into()), Instant::now());
        assert!(matches!(choice("refs/node/0000000000000002", Want::Whole(9)), Choice::Wait(_)));
        assert!(matches!(choice("refs/node/0000000000000002", Want::Head), Choice::Nobody));
    }

    #[test]
    fn where_all_were_slow_nobody_is_waited_for() {
        let pool = pool(3);
        let choose = |over| {
            let fetch = Fetch { is_probe: false, tries: vec![0; 3], over, running: Vec::new(), memory: Vec::new() };
            pool.choose(&fetch, Want::Range(0, 9))
        };
        pool.mirrors[0].overtaken(0, Duration::from_secs(1), Instant::now());
        pool.mirrors[1].succeeded(0, Duration::ZERO);
        pool.mirrors[1].overtaken(0, Duration::from_secs(2), Instant::now());
        assert!(matches!(choose(vec![None; 3]), Choice::Ask(2)), "there is one that was not slow");
        pool.mirrors[2].failed(&Fault::Unreachable("x".into()), Instant::now());
        assert!(matches!(choose(vec![None; 3]), Choice::Ask(1)), "it has answered before");
        assert!(matches!(choose(vec![None, Some(Fault::Missing), None]), Choice::Ask(0)));
        assert!(matches!(choose(vec![Some(Fault::Wrong), Some(Fault::Missing), None]), Choice::Wait(_)));
    }
}
