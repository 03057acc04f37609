//! The sender, without I/O: it gets time and datagrams, and says what is to be sent.
//!
//! ```text
//!  waiting ──> sending: first pass, repair ──> lingering ──> closed
//!                 ^                                │    (ending: it is said five times)
//!                 └───────────── a join ───────────┘
//! ```

mod hear;
mod rate;
mod receivers;
mod repair;
mod seen;
mod transmit;

pub use rate::Rate;
pub use receivers::Standing;
pub use seen::{Seen, Sent, Stage};
pub use transmit::{Burst, To, Transmit};

use super::plan::BodyPlan;
use super::shape::Shape;
use super::wire::{Announce, DATA_HEADER, Keys, Message, Sync};
use crate::error::{Error, Result};
use rate::Pace;
use receivers::{Receiver, Receivers};
use repair::Repair;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most datagrams of one burst, and most bytes: below this rate, and above.
const BURST: usize = 40;
const BURST_BYTES: (usize, usize) = (24_000, 60_000);
const FAST: f64 = 2e9;
const SYNC: Duration = Duration::from_millis(20);
/// Whoever comes late waits so long for it.
const ANNOUNCE: Duration = Duration::from_millis(250);
/// The shortest time between two reports of a receiver, and how many of them all send in a second together.
const REPORT: Duration = Duration::from_millis(20);
const REPORTS: u32 = 1000;
/// A receiver that is silent for so long, or for five reports, is lost.
const SILENCE: Duration = Duration::from_millis(2500);
/// After the last one was done, when as many were expected, and when nobody knows.
const LINGER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// How long it is waited for what those with an older tree need.
const NEEDS: Duration = Duration::from_secs(10);
/// How often it is said that the session is over: nobody answers that.
const FAREWELLS: u32 = 5;
/// Between two looks at all receivers: not for each burst, there may be thousands of them.
const TICK: Duration = Duration::from_millis(5);
/// So many answers go out in a row, and so many wait; whoever gets none asks again.
const ANSWERS: (usize, usize) = (16, 8192);
/// The last symbol that has a number.
const SEQ_LIMIT: u32 = u32::MAX - 4096;

/// What a session is.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is announced. Its `time` is set when it is sent, its `over` at the end.
    pub announce: Announce,
    /// How fast.
    pub rate: Rate,
    /// How long it waits for receivers after the first one, when fewer than expected are there.
    pub wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For receivers, since the first one joined.
    Waiting(Option<Instant>),
    Sending,
    /// Nobody wants anything, since then.
    Lingering(Instant),
    /// It is said so many times more that it is over.
    Ending {
        failed: bool,
        times: u32,
    },
    Closed,
}

/// The sender.
pub struct Sender {
    keys: Keys,
    shape: Shape,
    options: Options,
    plan: Arc<BodyPlan>,
    state: State,
    receivers: Receivers,
    repair: Repair,
    pace: Pace,
    /// The first pass: the stripe and its next symbol.
    position: (u32, u16),
    /// Stripes that somebody needs.
    wanted: Vec<bool>,
    /// Since when it is waited for needs.
    needs_since: Option<Instant>,
    seq: u32,
    next_sync: Instant,
    next_announce: Instant,
    next_tick: Instant,
    /// When nobody wanted anything any more, for the last time.
    finished: Option<Instant>,
    /// Messages that go before anything else.
    answers: VecDeque<(To, Message)>,
    /// How many of them went out without anything in between.
    in_a_row: usize,
    sent: Sent,
}

impl Sender {
    /// A sender of what `plan` says, in this shape.
    ///
    /// # Errors
    /// `Bug` when plan and shape do not fit.
    pub fn new(
        keys: Keys,
        shape: Shape,
        plan: impl Into<Arc<BodyPlan>>,
        options: Options,
        now: Instant,
    ) -> Result<Self> {
        let plan = plan.into();
        if plan.bytes() != shape.body() {
            return Err(Error::new(crate::ErrorKind::Bug, "the plan is of another body"));
        }
        Ok(Self {
            state: State::Waiting(None),
            receivers: Receivers::default(),
            repair: Repair::new(&shape),
            pace: Pace::new(options.rate, now),
            position: (0, 0),
            wanted: vec![false; shape.stripes() as usize],
            needs_since: None,
            seq: 0,
            next_sync: now,
            next_announce: now,
            next_tick: now,
            finished: None,
            answers: VecDeque::new(),
            in_a_row: 0,
            sent: Sent::default(),
            keys,
            shape,
            options,
            plan,
        })
    }

    /// With what datagrams are made.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The cut.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The blocks of the body.
    #[must_use]
    pub fn plan(&self) -> &BodyPlan {
        &self.plan
    }

    /// What was sent.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// When nobody wanted anything any more.
    #[must_use]
    pub fn finished(&self) -> Option<Instant> {
        self.finished
    }

    /// Bits in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.pace.rate()
    }

    /// The receiver whose loss, or disk, keeps the rate from rising.
    #[must_use]
    pub fn limited_by(&self) -> Option<&str> {
        self.pace.limited_by()
    }

    /// Where it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Waiting(_) => Stage::Waiting,
            State::Sending if self.first_pass_is_over() => Stage::Repair,
            State::Sending => Stage::FirstPass,
            State::Lingering(_) => Stage::Lingering,
            State::Ending { .. } | State::Closed => Stage::Over,
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// The receivers.
    #[must_use]
    pub fn receivers(&self) -> Vec<Seen> {
        let bits = (self.shape.symbol() * 8) as f64;
        let seen = |r: &Receiver| Seen {
            name: r.name.clone(),
            standing: r.standing,
            whole: r.report.whole,
            loss: r.loss,
            rate: r.rate * bits,
            backlog: r.report.backlog,
            dropped: r.report.dropped,
        };
        // Who was killed and came again is one node.
        let is_back = |r: &Receiver| {
            let same =
                |o: &Receiver| o.standing != Standing::Lost && (&o.name, o.address.ip()) == (&r.name, r.address.ip());
            r.standing == Standing::Lost && self.receivers.all().iter().any(same)
        };
        self.receivers.all().iter().filter(|r| !is_back(r)).map(seen).collect()
    }

    /// Bytes of a datagram that carries a symbol.
    fn datagram(&self) -> usize {
        DATA_HEADER + self.keys.mode().data_check() + self.shape.symbol()
    }

    /// Between two reports of one receiver. Those that are done share it no more.
    fn interval(&self) -> Duration {
        let open = self.receivers.count(Receiver::is_open) as u32;
        let least = if self.first_pass_is_over() { REPORT / 4 } else { REPORT };
        least.max(Duration::from_secs(1) * open / REPORTS)
    }

    fn first_pass_is_over(&self) -> bool {
        self.position.0 == self.shape.stripes()
    }

    fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending { .. } | State::Closed)
    }

    /// What is to be sent now; `None` until [`Sender::next_timeout`] or the next datagram.
    pub fn poll(&mut self, now: Instant) -> Option<Transmit> {
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        if self.state == State::Closed {
            return None;
        }
        // Not before everything else: whoever asks all the time is not to keep others from what they wait for.
        if self.in_a_row < ANSWERS.0
            && let Some((to, message)) = self.answers.pop_front()
        {
            self.in_a_row += 1;
            return Some(self.message(to, message));
        }
        self.in_a_row = 0;
        if now >= self.next_announce {
            self.next_announce = now + if matches!(self.state, State::Ending { .. }) { SYNC } else { ANNOUNCE };
            let (over, failed) = match self.state {
                State::Ending { failed, .. } => (true, failed),
                _ => (false, false),
            };
            let announce = Announce { over, failed, ..self.options.announce.clone() };
            return Some(self.message(To::Control, Message::Announce(announce)));
        }
        if now >= self.next_sync {
            self.next_sync = now + SYNC;
            let sync = self.sync();
            if let State::Ending { failed, times } = self.state {
                self.state = if times > 1 { State::Ending { failed, times: times - 1 } } else { State::Closed };
            }
            return Some(self.message(To::Data, Message::Sync(sync)));
        }
        if self.state != State::Sending || now < self.pace.due() {
            return None;
        }
        let mut burst = self.next_burst(now)?;
        burst.seq = self.seq + 1;
        self.seq += u32::from(burst.symbols.end - burst.symbols.start);
        if burst.repair {
            self.repair.sent(&self.shape, &burst, self.seq);
        }
        self.pace.spend(burst.symbols.len(), self.datagram(), now);
        let counter = match (&burst.repair, &burst.again) {
            (false, _) => &mut self.sent.first,
            (true, false) => &mut self.sent.parity,
            (true, true) => &mut self.sent.again,
        };
        *counter += burst.symbols.len() as u64;
        Some(Transmit::Symbols(burst))
    }

    fn message(&mut self, to: To, message: Message) -> Transmit {
        self.sent.messages += 1;
        Transmit::Message(to, message)
    }

    fn sync(&self) -> Sync {
        Sync {
            first_pass_over: self.first_pass_is_over(),
            over: self.is_ending(),
            seq: self.seq,
            position: self.position.0,
            interval: self.interval().as_micros() as u32,
            receivers: self.receivers.count(Receiver::is_open) as u32,
            rate: (self.pace.rate() / 1000.0) as u32,
        }
    }

    /// What time brings: who is lost, who lags, whether it begins or ends.
    fn tick(&mut self, now: Instant) {
        self.receivers.lose(SILENCE.max(self.interval() * 5), now);
        let bytes = self.datagram();
        self.pace.follow(&self.receivers, bytes, self.seq, now);
        for slot in self.receivers.find_laggards(now) {
            self.detach(slot);
        }
        let expected = self.options.announce.expected as usize;
        let known = self.receivers.all().len();
        let ended = self.receivers.count(|r| matches!(r.standing, Standing::Done | Standing::Failed));
        let is_idle = self.receivers.count(Receiver::is_open) == 0;
        match self.state {
            State::Waiting(Some(since))
                if (expected > 0 && known >= expected) || now.duration_since(since) >= self.options.wait =>
            {
                self.state = State::Sending;
            }
            State::Sending if is_idle => (self.state, self.finished) = (State::Lingering(now), Some(now)),
            State::Lingering(since) => {
                let linger = if expected > 0 && ended >= expected { LINGER.0 } else { LINGER.1 };
                if now.duration_since(since) >= linger {
                    self.close(false, now);
                }
            }
            _ => {}
        }
    }

    /// Ends the session.
    pub fn close(&mut self, failed: bool, now: Instant) {
        if !self.is_ending() {
            self.state = State::Ending { failed, times: FAREWELLS };
            (self.next_announce, self.next_sync) = (now, now);
        }
    }

    fn say(&mut self, to: To, message: Message) {
        if self.answers.len() < ANSWERS.1 {
            self.answers.push_back((to, message));
        }
    }

    /// When something is to be done although nothing comes.
    #[must_use]
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if !self.answers.is_empty() {
            return Some(now);
        }
        let timers = self.next_announce.min(self.next_sync);
        match self.state {
            State::Closed => None,
            State::Sending if !self.is_out_of_work(now) => Some(timers.min(self.pace.due())),
            _ => Some(timers),
        }
    }

    fn is_out_of_work(&self, now: Instant) -> bool {
        self.repair.is_idle() && (self.first_pass_is_over() || self.waits_for_needs(now))
    }

    /// Whether the body waits for those who have not said yet what they need of it.
    fn waits_for_needs(&self, now: Instant) -> bool {
        let since = self.needs_since.unwrap_or(now);
        self.position == (self.shape.head_stripes(), 0)
            && now.duration_since(since) < NEEDS
            && self.wanted.contains(&false)
            && self.receivers.all().iter().any(|r| r.will_need && r.is_open())
    }

    fn next_burst(&mut self, now: Instant) -> Option<Burst> {
        if self.seq >= SEQ_LIMIT {
            self.close(true, now);
            return None;
        }
        let loss = self.receivers.useful().map(|r| r.loss).fold(0.0, f64::max).min(0.5);
        let (is_tail, head) = (self.first_pass_is_over(), self.shape.head_stripes());
        let room = self.burst();
        if let Some(burst) = self.repair.parity(&self.shape, room, loss, is_tail) {
            return Some(burst);
        }
        if let Some(burst) = self.repair.again(&self.shape, room, head) {
            return Some(burst);
        }
        self.first_pass(room, now).or_else(|| self.repair.again(&self.shape, room, u32::MAX))
    }

    /// Datagrams that go out together.
    fn burst(&self) -> u16 {
        let bytes = if self.pace.rate() < FAST { BURST_BYTES.0 } else { BURST_BYTES.1 };
        (bytes / self.datagram()).clamp(1, BURST) as u16
    }

    fn first_pass(&mut self, room: u16, now: Instant) -> Option<Burst> {
        if self.position == (self.shape.head_stripes(), 0) {
            self.needs_since.get_or_insert(now);
            if self.waits_for_needs(now) {
                return None;
            }
        }
        let head = self.shape.head_stripes();
        while !self.first_pass_is_over() && self.position.0 >= head && !self.wanted[self.position.0 as usize] {
            self.position = (self.position.0 + 1, 0);
        }
        if self.first_pass_is_over() {
            return None;
        }
        let (stripe, from) = self.position;
        let count = self.shape.symbols(stripe);
        let to = count.min(from + room);
        self.position = if to < count { (stripe, to) } else { (stripe + 1, 0) };
        if to == count && stripe < head {
            self.repair.ahead(stripe, count.div_ceil(4));
        }
        Some(Burst { stripe, symbols: from..to, seq: 0, repair: false, again: false })
    }
}
