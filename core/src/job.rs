//! Jobs: long work with progress, events and cancellation.
//!
//! The work itself is an ordinary function that takes a [`Task`]: it asks `task.check()?` often enough that a cancel
//! takes effect within a tenth of a second, and reports with `task.stage`, `task.advance`, `task.warn`. Called with
//! [`Task::quiet`] it runs in the caller's thread. [`Job::spawn`] runs it in a thread of its own:
//!
//! ```text
//!            spawn ──> running ──> done(Ok | Err)
//!                        │ cancel: check() fails with Cancelled, the work cleans up, then done(Err)
//! ```

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventKind, Unit};
use crate::sys::clock;
use crate::sys::descriptor;
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// More threads than this are no use to anybody.
const THREADS_LIMIT: usize = 256;

/// Descriptors that a thread needs to be of use; a machine of many cores mostly allows 1,024 for all.
const DESCRIPTORS: usize = 16;

/// The number of threads for one that was asked for: 0 is one for each core; there are at most 256, and no more than
/// there are descriptors for.
#[must_use]
pub(crate) fn threads(wanted: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    affordable(if wanted == 0 { cores } else { wanted }, descriptor::left())
}

fn affordable(threads: usize, descriptors: usize) -> usize {
    threads.min(THREADS_LIMIT).min(descriptors / DESCRIPTORS).max(1)
}

/// The first error of several threads; the others end as soon as they look.
#[derive(Default)]
pub(crate) struct Failure {
    failed: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Failure {
    /// Keeps an error, if it is the first one.
    pub(crate) fn set(&self, e: Error) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
        // Now: who sees it gives up with an error of its own, which must not be the first.
        self.failed.store(true, Ordering::Release);
    }

    /// `Cancelled` once another thread has failed, and when the task is.
    pub(crate) fn check(&self, task: &Task) -> Result<()> {
        if self.failed.load(Ordering::Acquire) { Err(Error::cancelled()) } else { task.check() }
    }

    /// Runs `work` on so many threads at once, and gives the error that was first.
    pub(crate) fn on_threads(&self, threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
        std::thread::scope(|s| {
            let spawn = |_| s.spawn(|| work().unwrap_or_else(|e| self.set(e)));
            let handles: Vec<_> = (0..threads.max(1)).map(spawn).collect();
            for h in handles {
                h.join().unwrap_or_else(|_| self.set(Error::new(ErrorKind::Bug, "a thread panicked")));
            }
        });
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Events that a slow reader may leave unread; what comes beyond is left out, but for the last one.
const QUEUE_LIMIT: usize = 1024;
/// The shortest time between two progress events: at most four a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Called with each event, from the threads that do the work. It must not block.
pub type Listener = Box<dyn Fn(&Event) + Send + Sync>;

/// Asks a running job to end; cheap to clone, safe from any thread or signal-handling thread.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks for the end. The work returns [`ErrorKind::Cancelled`] after it has cleaned up.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type Report = Arc<Mutex<Option<Value>>>;

/// What work sees of its job: cancellation and a place to report to.
pub struct Task {
    id: String,
    cancel: CancelToken,
    listener: Option<Listener>,
    /// Where a job keeps what [`Task::report`] said last.
    report: Option<Report>,
    state: Mutex<Reporting>,
    done: AtomicU64,
    total: AtomicU64,
}

struct Reporting {
    seq: u64,
    stage: Option<&'static str>,
    unit: Unit,
    stage_began: Instant,
    last_progress: Option<Instant>,
    reported: u64,
    warnings: Vec<String>,
}

impl Task {
    /// A task that nobody watches.
    #[must_use]
    pub fn quiet() -> Self {
        Self::new(CancelToken::default(), None)
    }

    /// A task with this cancel token and listener.
    #[must_use]
    pub fn new(cancel: CancelToken, listener: Option<Listener>) -> Self {
        let state = Reporting {
            seq: 0,
            stage: None,
            unit: Unit::Bytes,
            stage_began: Instant::now(),
            last_progress: None,
            reported: 0,
            warnings: Vec::new(),
        };
        Self {
            id: format!("j-{:08x}", clock::random_u64() >> 32),
            cancel,
            listener,
            report: None,
            state: Mutex::new(state),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
        }
    }

    /// The id of the job.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The token that cancels this task.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Goes on, or ends the work.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] once the job was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Begins a stage of `total` units (0: not known).
    pub fn stage(&self, name: &'static str, total: u64, unit: Unit) {
        let mut s = self.lock();
        s.stage = Some(name);
        s.unit = unit;
        s.stage_began = Instant::now();
        s.last_progress = None;
        s.reported = 0;
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.emit(&mut s, EventKind::Stage, |e| e.total = Some(total));
    }

    /// Adds `n` units to what is done; an event follows at most four times a second.
    pub fn advance(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        if self.listener.is_none() {
            return;
        }
        // Workers never wait for each other just to report.
        let Ok(mut s) = self.state.try_lock() else { return };
        if s.last_progress.is_none_or(|t| t.elapsed() >= PROGRESS_EVERY) {
            self.progress(&mut s, done);
        }
    }

    fn progress(&self, s: &mut Reporting, done: u64) {
        s.last_progress = Some(Instant::now());
        let total = self.total.load(Ordering::Relaxed);
        let done = if total > 0 { done.min(total) } else { done }.max(s.reported);
        s.reported = done;
        let millis = u64::try_from(s.stage_began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let rate = done.saturating_mul(1000).checked_div(millis).unwrap_or(0);
        self.emit(s, EventKind::Progress, |e| {
            (e.done, e.total, e.rate) = (Some(done), Some(total), Some(rate));
        });
    }

    /// Says something that a person should read; the work goes on.
    pub fn warn(&self, message: impl Into<String>) {
        let message = message.into();
        let mut s = self.lock();
        self.emit(&mut s, EventKind::Warning, |e| e.message = Some(message.clone()));
        if s.warnings.len() < QUEUE_LIMIT {
            s.warnings.push(message);
        }
    }

    /// A line for the log.
    pub fn log(&self, message: impl Into<String>) {
        let message = message.into();
        self.emit(&mut self.lock(), EventKind::Log, |e| e.message = Some(message));
    }

    /// Says what the result looks like so far, for who asks the job ([`Job::report`]). It is no event: of those a thousand may wait for
    /// somebody to read them, and a report may be large.
    pub fn report(&self, so_far: &impl Serialize) {
        if let Some(report) = &self.report {
            *report.lock().unwrap_or_else(PoisonError::into_inner) = serde_json::to_value(so_far).ok();
        }
    }

    /// The warnings so far (the first 1,024).
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.lock().warnings.clone()
    }

    fn start(&self, what: &str) {
        self.emit(&mut self.lock(), EventKind::JobStart, |e| e.message = Some(what.to_owned()));
    }

    fn end(&self, outcome: &Result<()>) {
        let mut s = self.lock();
        let done = self.done.load(Ordering::Relaxed);
        if s.stage.is_some() && outcome.is_ok() {
            self.progress(&mut s, done);
        }
        self.emit(&mut s, EventKind::JobEnd, |e| {
            e.code = Some(outcome.as_ref().err().map_or(0, |x| x.kind().code()));
            e.message = outcome.as_ref().err().map(ToString::to_string);
        });
    }

    /// Runs `work` as one whole job in this thread: `job.start`, the work's events, `job.end`.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn run<T>(&self, what: &str, work: impl FnOnce(&Task) -> Result<T>) -> Result<T> {
        self.start(what);
        let result = work(self);
        match result {
            Ok(v) => {
                self.end(&Ok(()));
                Ok(v)
            }
            Err(e) => {
                let shadow = Err(Error::new(e.kind(), e.message()));
                self.end(&shadow);
                Err(e)
            }
        }
    }

    fn emit(&self, s: &mut Reporting, kind: EventKind, fill: impl FnOnce(&mut Event)) {
        let Some(listener) = &self.listener else { return };
        s.seq += 1;
        let mut event = Event {
            seq: s.seq,
            ts: clock::now_rfc3339_millis(),
            job: self.id.clone(),
            kind,
            stage: s.stage,
            done: None,
            total: None,
            unit: (kind == EventKind::Progress || kind == EventKind::Stage).then_some(s.unit),
            rate: None,
            message: None,
            code: None,
        };
        fill(&mut event);
        listener(&event);
    }

    fn lock(&self) -> MutexGuard<'_, Reporting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that runs in a thread of its own.
#[must_use = "a job that is dropped is cancelled and waited for"]
pub struct Job<T> {
    id: String,
    cancel: CancelToken,
    report: Report,
    shared: Arc<Shared<T>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    events: VecDeque<Event>,
    /// Events that were handed out: they are numbered then, so that what was left out makes no gap.
    given: u64,
    outcome: Option<Result<T>>,
    finished: bool,
}

impl<T: Send + 'static> Job<T> {
    /// Starts `work` in a thread; `what` names it in `job.start`.
    ///
    /// # Errors
    /// `Io` when no thread can be made.
    pub fn spawn(what: &str, work: impl FnOnce(&Task) -> Result<T> + Send + 'static) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { events: VecDeque::new(), given: 0, outcome: None, finished: false }),
            changed: Condvar::new(),
        });
        let (cancel, sink, out) = (CancelToken::default(), shared.clone(), shared.clone());
        let (mut task, report) = (Task::new(cancel.clone(), Some(Box::new(move |e| sink.push(e)))), Report::default());
        task.report = Some(report.clone());
        let (id, what) = (task.id().to_owned(), what.to_owned());
        let thread = std::thread::Builder::new()
            .name(id.clone())
            .spawn(move || {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.run(&what, work)));
                let outcome = caught.unwrap_or_else(|p| {
                    let e = Error::new(ErrorKind::Bug, panic_text(p.as_ref()));
                    task.end(&Err(Error::new(ErrorKind::Bug, e.message())));
                    Err(e)
                });
                let mut s = out.lock();
                (s.outcome, s.finished) = (Some(outcome), true);
                drop(s);
                out.changed.notify_all();
            })
            .map_err(|e| Error::io("start", "a thread", e))?;
        Ok(Self { id, cancel, report, shared, thread: Some(thread) })
    }

    /// The id, as events carry it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The token that cancels this job.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Asks the work to end; [`Job::wait`] then gives `Cancelled`, unless the work was faster.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether the work has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shared.lock().finished
    }

    /// The next event, waiting up to `timeout`. `None` when there is none in time, or none will come any more.
    #[must_use]
    pub fn next_event(&self, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        let mut s = self.shared.lock();
        loop {
            if let Some(mut e) = s.events.pop_front() {
                s.given += 1;
                e.seq = s.given;
                return Some(e);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if s.finished || left.is_zero() {
                return None;
            }
            s = self.shared.changed.wait_timeout(s, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What the result looks like so far, of work that says so: who sends to many nodes does, once a second. `None` before that, and of
    /// other work. What was said last stays when the work has ended, however it did.
    #[must_use]
    pub fn report(&self) -> Option<Value> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits up to `timeout` for the end; true when the work has ended.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let s = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(s, timeout, |s| !s.finished);
        waited.unwrap_or_else(PoisonError::into_inner).0.finished
    }

    /// Waits for the end and gives the result, once.
    ///
    /// # Errors
    /// What the work returned; `Misuse` when the result was already taken.
    pub fn wait(&self) -> Result<T> {
        let s = self.shared.lock();
        let waited = self.shared.changed.wait_while(s, |s| !s.finished);
        let taken = waited.unwrap_or_else(PoisonError::into_inner).outcome.take();
        taken.unwrap_or_else(|| Err(Error::new(ErrorKind::Misuse, "the result of this job was already taken")))
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event. Where nobody reads, the queue stays bounded and the work never blocks: progress takes the place
    /// of older progress, everything else is left out, and the end always comes.
    fn push(&self, event: &Event) {
        let mut s = self.lock();
        if s.events.len() >= QUEUE_LIMIT && event.kind != EventKind::JobEnd {
            if let Some(last) = s.events.back_mut().filter(|e| e.kind == event.kind && e.kind == EventKind::Progress) {
                last.clone_from(event);
            }
            return;
        }
        s.events.push_back(event.clone());
        drop(s);
        self.changed.notify_all();
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!("a bug in libcv: {}", text.unwrap_or_else(|| "a panic without a text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_of_several_threads_ends_the_others() {
        let (failure, task, number) = (Failure::default(), Task::quiet(), AtomicU64::new(0));
        let e = failure.on_threads(4, || match number.fetch_add(1, Ordering::Relaxed) {
            2 => Err(Error::invalid("the cause")),
            // For ever, but for the failure.
            _ => loop {
                failure.check(&task)?;
                std::thread::yield_now();
            },
        });
        assert_eq!(e.unwrap_err().message(), "the cause");
        let panicked = Failure::default().on_threads(2, || -> Result<()> { panic!("for the test") });
        assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Bug);
        Failure::default().on_threads(0, || Ok(())).unwrap();
    }

    #[test]
    fn there_are_no_more_threads_than_descriptors_for_them() {
        assert!((1..=THREADS_LIMIT).contains(&threads(usize::MAX)) && threads(0) >= 1);
        for (wanted, left, given) in [(64, 960, 60), (8, 960, 8), (64, 10, 1), (usize::MAX, usize::MAX, THREADS_LIMIT)]
        {
            assert_eq!(affordable(wanted, left), given);
        }
    }

    #[test]
    fn events_have_no_gap_and_one_end() {
        let job = Job::spawn("count", |t| {
            t.stage("read", 10, Unit::Bytes);
            for _ in 0..10 {
                t.advance(1);
            }
            Ok(7)
        })
        .unwrap();
        let mut events = Vec::new();
        while let Some(e) = job.next_event(Duration::from_secs(5)) {
            events.push(e);
        }
        assert_eq!(job.wait().unwrap(), 7);
        assert_eq!(job.wait().unwrap_err().kind(), ErrorKind::Misuse);
        for (i, e) in events.iter().enumerate() {
            assert_eq!(e.seq, i as u64 + 1);
        }
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::JobEnd).count(), 1);
        assert_eq!(events.last().unwrap().code, Some(0));
        let last = events.iter().rev().find(|e| e.kind == EventKind::Progress).unwrap();
        assert_eq!((last.done, last.total), (Some(10), Some(10)));
    }

    #[test]
    fn a_reader_that_never_reads_costs_bounded_memory_and_sees_no_gap() {
        let job = Job::spawn("talk", |t| {
            for i in 0..5 * QUEUE_LIMIT {
                t.warn(i.to_string());
                t.log("more");
            }
            Ok(())
        })
        .unwrap();
        job.wait().unwrap();
        let mut events = Vec::new();
        while let Some(e) = job.next_event(Duration::ZERO) {
            events.push(e);
        }
        assert_eq!(events.len(), QUEUE_LIMIT + 1);
        assert!(events.iter().enumerate().all(|(i, e)| e.seq == i as u64 + 1));
        assert_eq!(events.last().unwrap().kind, EventKind::JobEnd);
    }

    #[test]
    fn the_last_report_is_kept() {
        let job = Job::spawn("report", |t| {
            (1..=3).for_each(|n| t.report(&n));
            Err::<(), _>(Error::invalid("for the test"))
        })
        .unwrap();
        job.wait().unwrap_err();
        assert_eq!(job.report(), Some(3.into()));
        let silent = Job::spawn("silent", |_| Ok(())).unwrap();
        silent.wait().unwrap();
        assert_eq!(silent.report(), None);
        Task::quiet().report(&1);
    }

    #[test]
    fn cancel_and_panic_are_errors() {
        let job: Job<()> = Job::spawn("loop", |t| {
            loop {
                t.check()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        })
        .unwrap();
        job.cancel();
        assert_eq!(job.wait().unwrap_err().kind(), ErrorKind::Cancelled);
        let job: Job<()> = Job::spawn("bad", |_| panic!("on purpose")).unwrap();
        assert_eq!(job.wait().unwrap_err().kind(), ErrorKind::Bug);
    }
}
