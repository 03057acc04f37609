//! A receiver of one session, without I/O: it gets time and datagrams, hands out stripes that are whole, and says what is to be sent.
//!
//! ```text
//!  joining ──> admitted: head ──> body ──> finishing ──> left
//!     │            │                           ^
//!     └── refused  └── detached, unreachable: the rest comes from mirrors, and it leaves
//! ```

mod stripes;

pub use stripes::Whole;

use super::shape::Shape;
use super::wire::{Announce, Header, Join, Keys, Kind, Message, Need, Report, Sync, runs};
use crate::error::Result;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stripes::{Fate, Stripes};

/// The first time between two requests to join, doubled each time.
const JOIN: Duration = Duration::from_millis(100);
const JOIN_MAX: Duration = Duration::from_secs(2);
/// Who hears nothing of what is sent looks whether the sender is there.
const ASK: Duration = Duration::from_millis(500);
/// How long nothing may come of what is sent, before the group is joined anew, and before multicast is given up.
const BLACK_HOLE: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_secs(3));
/// How long a sender that announces may not answer.
const UNANSWERED: Duration = Duration::from_secs(5);
/// A sender that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(10);
/// Symbols by which one may be late.
const LATE: u32 = 1 << 20;
/// How often a receiver says that it has ended, until the sender says that it knows.
const FAREWELLS: u32 = 12;
const FAREWELL: Duration = Duration::from_millis(50);
/// Parts of a list of needs: so many runs fit into a datagram.
const NEED_RUNS: usize = 130;

/// What a receiver is.
#[derive(Clone, Debug)]
pub struct Options {
    /// A random number that is this receiver.
    pub node: [u8; 16],
    /// What it is called.
    pub name: String,
    /// The largest datagram that its interface takes.
    pub datagram: u16,
    /// Whether it has mirrors to go to.
    pub has_mirrors: bool,
    /// Whether it has an older tree, and will say what it needs.
    pub has_base: bool,
    /// Bytes of stripes that are not whole.
    pub memory: usize,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The sender knows it.
    Admitted,
    /// The sender does not want it, and why.
    Refused(String),
    /// A stripe is whole.
    Whole(Whole),
    /// Nothing of what is sent arrives: the group should be joined anew.
    JoinAgain,
    /// Nothing of what is sent arrives, still.
    Unreachable,
    /// It is announced, and the sender does not answer.
    Unanswered,
    /// The sender says to go on by mirrors, and why.
    Detached(String),
    /// The sender has ended; whether it failed.
    Over(bool),
    /// The sender says nothing any more.
    Silent,
}

/// What its host knows of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Datagrams that the socket had no room for.
    pub dropped: u32,
    /// Bytes that wait to be applied.
    pub backlog: u64,
    /// Bytes that were applied in the last second.
    pub applied: u64,
    /// The disk is the limit.
    pub disk_bound: bool,
}

/// What came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Received {
    /// Symbols.
    pub symbols: u64,
    /// Symbols that were there already, or are not wanted.
    pub useless: u64,
    /// Symbols that had no room.
    pub no_room: u64,
    /// Datagrams that were damaged or forged.
    pub refused: u64,
    /// Stripes that were begun and given up for want of room.
    pub forgotten: u64,
    /// Stripes that were restored out of parity.
    pub restored: u64,
}

/// Whether what has the number `seq` was overtaken on its way by what had the number `last`. No network lets anything come so late as [`LATE`]: then the
/// last number was none of the sender's, which can be in a mode without a key.
fn is_old(seq: u32, last: u32) -> bool {
    (1..LATE).contains(&last.wrapping_sub(seq))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Joining {
        next: Instant,
        wait: Duration,
    },
    Admitted,
    /// It says that it is done, or that it leaves, so many times more.
    Leaving {
        done: bool,
        failed: bool,
        times: u32,
    },
    Left,
}

/// A receiver.
pub struct Receiver {
    keys: Keys,
    shape: Shape,
    options: Options,
    sender: SocketAddr,
    state: State,
    slot: u32,
    stripes: Stripes,
    /// The highest number of a symbol.
    seq: u32,
    sync: Sync,
    load: Load,
    needs: Vec<Need>,
    /// The part of them that the sender lacks.
    need: u32,
    next_need: Instant,
    next_report: Instant,
    heard: Instant,
    /// When something came that was sent to all, or it was admitted.
    arrived: Instant,
    /// When the sender answered.
    answered: Instant,
    asked: Instant,
    joined_again: bool,
    is_unreachable: bool,
    events: VecDeque<Event>,
    received: Received,
    random: u64,
}

impl Receiver {
    /// A receiver of what was announced from `sender`, which is where it answers.
    ///
    /// # Errors
    /// Of the format, when the announcement has no shape.
    pub fn new(
        keys: Keys,
        announce: &Announce,
        sender: SocketAddr,
        options: Options,
        now: Instant,
    ) -> Result<Self, crate::image::FormatError> {
        let shape = Shape::new(announce.symbol, announce.head, announce.body)?;
        let seed = options.node.iter().fold(keys.session().0, |h, b| h.rotate_left(9) ^ u64::from(*b));
        let mut receiver = Self {
            stripes: Stripes::new(shape, options.memory),
            state: State::Joining { next: now, wait: JOIN },
            slot: 0,
            seq: 0,
            sync: Sync::default(),
            load: Load::default(),
            needs: Vec::new(),
            need: 0,
            next_need: now,
            next_report: now,
            heard: now,
            arrived: now,
            answered: now,
            asked: now,
            joined_again: false,
            is_unreachable: false,
            events: VecDeque::new(),
            received: Received::default(),
            random: seed | 1,
            keys,
            shape,
            options,
            sender,
        };
        // A thousand that are switched on together do not ask together.
        let jitter = receiver.random(JOIN);
        receiver.state = State::Joining { next: now + jitter, wait: JOIN };
        Ok(receiver)
    }

    /// Up to `most`, and another time each time.
    fn random(&mut self, most: Duration) -> Duration {
        // xorshift64: it need not be good, and a simulation repeats it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        most.mul_f64((self.random >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// The cut.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Where answers go.
    #[must_use]
    pub fn sender(&self) -> SocketAddr {
        self.sender
    }

    /// What came.
    #[must_use]
    pub fn received(&self) -> Received {
        let (forgotten, restored) = self.stripes.counts();
        Received { forgotten, restored, ..self.received }
    }

    /// Whether each stripe that is wanted was handed out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stripes.is_complete()
    }

    /// Whether everything was sent once: what is lacking comes as repair.
    #[must_use]
    pub fn first_pass_is_over(&self) -> bool {
        self.sync.first_pass_over
    }

    /// Stripes that were handed out.
    #[must_use]
    pub fn whole(&self) -> u32 {
        self.stripes.whole()
    }

    /// Whether there is nothing more to say.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.state == State::Left
    }

    /// What happened since the last call.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What its host knows.
    pub fn set_load(&mut self, load: Load) {
        self.load = load;
    }

    /// Which blocks of the plan are wanted, as runs: blocks that are not, and after them blocks that are. `stripes` are those that hold any of them; all
    /// others of the body are wanted no more.
    pub fn need(&mut self, blocks: &[(u32, u32)], stripes: &dyn Fn(u32) -> bool, now: Instant) {
        (self.shape.head_stripes()..self.shape.stripes()).filter(|s| !stripes(*s)).for_each(|s| self.stripes.refuse(s));
        // Each part counts from block 0 on, so that any may come first.
        let mut at = 0u32;
        let mut parts: Vec<Vec<(u32, u32)>> = Vec::new();
        for (n, &(gap, run)) in blocks.iter().enumerate() {
            match parts.last_mut() {
                Some(part) if n % NEED_RUNS != 0 => part.push((gap, run)),
                _ => parts.push(vec![(at + gap, run)]),
            }
            at += gap + run;
        }
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let count = parts.len() as u32;
        let need =
            |(n, blocks): (usize, Vec<(u32, u32)>)| Need { slot: self.slot, part: n as u32, parts: count, blocks };
        self.needs = parts.into_iter().enumerate().map(need).collect();
        self.next_need = now;
    }

    /// What was handed out turned out wrong: it is to come again.
    pub fn again(&mut self, stripe: u32) {
        self.stripes.forget(stripe);
    }

    /// Its host takes nothing of what is sent to all, for want of room: that nothing arrives says nothing then.
    pub fn does_not_listen(&mut self, now: Instant) {
        self.arrived = now;
    }

    /// Memory that was handed out and is needed no more.
    pub fn recycle(&mut self, memory: Vec<u8>) {
        self.stripes.recycle(memory);
    }

    /// Everything is applied and read back; or it goes without, because the rest came from elsewhere (`done`) or it failed.
    pub fn leave(&mut self, done: bool, failed: bool, now: Instant) {
        if !matches!(self.state, State::Leaving { .. } | State::Left) {
            self.state = State::Leaving { done, failed, times: FAREWELLS };
            self.next_report = now;
        }
    }

    /// Takes a datagram, from either group or from the sender, and decrypts it where it is.
    ///
    /// # Errors
    /// `Bug` when the code of a stripe fails.
    pub fn handle(&mut self, datagram: &mut [u8], now: Instant) -> Result<()> {
        match Kind::of(datagram) {
            Some(Kind::Data) => return self.symbol(datagram, now),
            Some(_) => {}
            None => {
                self.received.refused += 1;
                return Ok(());
            }
        }
        match Message::decode(datagram, &self.keys) {
            Ok(Some(Message::Announce(announce))) => {
                self.heard = now;
                if announce.over {
                    self.over(announce.failed);
                }
            }
            Ok(Some(Message::Sync(sync))) => self.synced(sync, now),
            Ok(Some(Message::Admit(admit))) if admit.node == self.options.node => self.admitted(admit, now),
            Ok(Some(Message::Detach(detach))) if detach.slot == self.slot && self.state == State::Admitted => {
                self.events.push_back(Event::Detached(detach.reason));
            }
            // Of others.
            Ok(Some(_)) => {}
            // Of another session on this group. What says that it is of this one was damaged or forged.
            Ok(None) => {
                let own = (self.keys.mode(), self.keys.session());
                self.received.refused += u64::from(Message::envelope(datagram).is_ok_and(|of| of == own));
            }
            Err(_) => self.received.refused += 1,
        }
        Ok(())
    }

    fn symbol(&mut self, datagram: &mut [u8], now: Instant) -> Result<()> {
        let Some(data) = Header::open(&self.keys, datagram) else {
            self.received.refused += 1;
            return Ok(());
        };
        let header = data.header;
        if data.symbol.len() != self.shape.symbol() || !self.shape.has(header.stripe, header.symbol) {
            self.received.refused += 1;
            return Ok(());
        }
        (self.heard, self.arrived, self.joined_again) = (now, now, false);
        self.received.symbols += 1;
        self.seen(header.seq);
        match self.stripes.take(&header, data.symbol)? {
            Fate::Kept => {}
            Fate::Useless => self.received.useless += 1,
            Fate::NoRoom => self.received.no_room += 1,
            Fate::Whole(whole) => self.events.push_back(Event::Whole(whole)),
        }
        Ok(())
    }

    fn seen(&mut self, seq: u32) {
        if !is_old(seq, self.seq) {
            self.seq = seq;
        }
    }

    fn synced(&mut self, sync: Sync, now: Instant) {
        (self.heard, self.arrived, self.joined_again) = (now, now, false);
        self.seen(sync.seq);
        // One that was overtaken by a later one says nothing new.
        if !is_old(sync.seq, self.sync.seq) {
            let is_sooner = sync.interval < self.sync.interval;
            self.sync = Sync { position: sync.position.min(self.shape.stripes()), ..sync };
            if is_sooner {
                self.next_report = self.next_report.min(now + self.interval());
            }
        }
        if sync.over {
            self.over(false);
        }
    }

    fn over(&mut self, failed: bool) {
        if !matches!(self.state, State::Left) {
            self.state = State::Left;
            self.events.push_back(Event::Over(failed));
        }
    }

    fn admitted(&mut self, admit: super::wire::Admit, now: Instant) {
        self.heard = now;
        if admit.refused {
            if matches!(self.state, State::Joining { .. }) {
                self.state = State::Left;
                self.events.push_back(Event::Refused(admit.reason));
            }
            return;
        }
        if admit.parted && matches!(self.state, State::Leaving { .. }) {
            self.state = State::Left;
        }
        if matches!(self.state, State::Joining { .. }) {
            (self.state, self.arrived) = (State::Admitted, now);
            self.slot = admit.slot;
            self.needs.iter_mut().for_each(|n| n.slot = admit.slot);
            self.sync.interval = admit.interval;
            self.events.push_back(Event::Admitted);
            // Its time in the interval.
            let share = f64::from(admit.slot % 1000) / 1000.0;
            self.next_report = now + self.interval().mul_f64(share);
        }
        self.answered = now;
        if admit.need > self.need {
            (self.need, self.next_need) = (admit.need, now);
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_micros(u64::from(self.sync.interval)).max(Duration::from_millis(5))
    }

    /// What is to be sent to the sender now; `None` until [`Receiver::next_timeout`] or the next datagram.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let message = match self.state {
            State::Left => return None,
            State::Joining { .. } | State::Admitted if now.duration_since(self.heard) > SILENCE => {
                self.state = State::Left;
                self.events.push_back(Event::Silent);
                return None;
            }
            State::Joining { next, wait } => {
                if now.duration_since(self.asked) > UNANSWERED && !self.is_unreachable {
                    self.is_unreachable = true;
                    self.events.push_back(Event::Unanswered);
                }
                if now < next {
                    return None;
                }
                let jitter = self.random(wait / 2);
                self.state = State::Joining { next: now + wait + jitter, wait: (wait * 2).min(JOIN_MAX) };
                self.join()
            }
            State::Leaving { done, failed, times } => {
                if now < self.next_report {
                    return None;
                }
                let jitter = self.random(FAREWELL);
                self.next_report = now + FAREWELL + jitter;
                self.state = if times > 1 { State::Leaving { done, failed, times: times - 1 } } else { State::Left };
                Message::Report(Report { done, failed, leaves: !done, ..self.report() })
            }
            State::Admitted => self.as_admitted(now)?,
        };
        Some(message.encode(&self.keys))
    }

    fn as_admitted(&mut self, now: Instant) -> Option<Message> {
        // SYNC comes all the time. Who is answered, and gets none, is not reached by what is sent to all.
        let nothing = now.duration_since(self.arrived);
        let is_answered = self.answered > self.arrived;
        if is_answered && nothing > BLACK_HOLE.0 && !self.joined_again {
            self.joined_again = true;
            self.events.push_back(Event::JoinAgain);
        }
        if is_answered && nothing > BLACK_HOLE.1 && !self.is_unreachable {
            self.is_unreachable = true;
            self.events.push_back(Event::Unreachable);
        }
        if now >= self.next_need
            && let Some(need) = self.needs.get(self.need as usize)
        {
            self.next_need = now + JOIN;
            return Some(Message::Need(need.clone()));
        }
        if nothing > ASK && now.duration_since(self.asked) > ASK {
            self.asked = now;
            return Some(self.join());
        }
        if now < self.next_report {
            return None;
        }
        let interval = self.interval();
        let jitter = self.random(interval / 5);
        self.next_report = now.max(self.next_report + interval.mul_f64(0.9) + jitter);
        Some(Message::Report(self.report()))
    }

    fn join(&self) -> Message {
        Message::Join(Join {
            has_mirrors: self.options.has_mirrors,
            has_base: self.options.has_base,
            node: self.options.node,
            datagram: self.options.datagram,
            name: self.options.name.clone(),
        })
    }

    /// Stripes of which it can say what is lacking: of the body none before it knows what it needs of it.
    fn position(&self) -> u32 {
        let knows = !self.options.has_base || !self.needs.is_empty();
        self.sync.position.min(if knows { u32::MAX } else { self.shape.head_stripes() })
    }

    fn report(&self) -> Report {
        let Load { dropped, backlog, applied, disk_bound } = self.load;
        let kib = |bytes: u64| u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        Report {
            disk_bound,
            slot: self.slot,
            seq: self.seq,
            received: self.received.symbols as u32,
            whole: self.stripes.settled(),
            dropped,
            backlog: kib(backlog),
            applied: kib(applied),
            lacks: runs(self.stripes.lacks(self.position())),
            ..Report::default()
        }
    }

    /// When something is to be done although nothing comes.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Left => None,
            State::Joining { next, .. } => Some(next),
            State::Leaving { .. } => Some(self.next_report),
            State::Admitted => {
                let mut next = self.next_report.min(self.heard + SILENCE);
                if (self.need as usize) < self.needs.len() {
                    next = next.min(self.next_need);
                }
                Some(next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_old;

    #[test]
    fn a_number_that_was_made_up_does_not_stay() {
        assert!(is_old(7, 8) && is_old(u32::MAX, 3) && is_old(8, 1 << 20));
        assert!(!is_old(8, 8) && !is_old(9, 8) && !is_old(3, u32::MAX));
        // What comes in order after a number that is far ahead.
        assert!(!is_old(5_000, 4_000_000_000) && !is_old(5_000, 6_000_000));
    }
}
