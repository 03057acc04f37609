//! The receivers of a session, as the sender knows them.

use super::repair::is_after;
use crate::multicast::wire::{Join, Report};
use serde::Serialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Most receivers. Part of the protocol.
const RECEIVERS: usize = 65_536;
/// Reports of one receiver that are looked at in a second.
const REPORTS: u32 = 200;
/// Symbols after which a loss can be told.
const TELLING: u32 = 200;
/// A receiver that loses more is in trouble.
pub(super) const TROUBLE: f64 = 0.25;
/// What it gets then, of what others get; where all lose much, nobody is behind.
const LITTLE: f64 = 0.8;
/// One that loses less is well again.
const WELL: f64 = 0.05;
/// After so long a silence a receiver may have another address.
const MOVES: Duration = Duration::from_secs(2);
/// How long it may be.
const TROUBLE_FOR: Duration = Duration::from_millis(600);

/// How it stands with a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It receives.
    Receiving,
    /// It receives, and nobody waits for it.
    Laggard,
    /// It was sent to its mirrors.
    Detached,
    /// It has said nothing for long.
    Lost,
    /// It has everything, applied; read back, too, where it was asked to verify.
    Done,
    /// It gave up.
    Failed,
}

/// What came between two reports.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measure {
    /// The last symbol before.
    pub(super) since: u32,
    /// Symbols in a second.
    pub(super) rate: f64,
    /// Share of the symbols that were lost.
    pub(super) loss: f64,
}

/// One receiver.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub(super) node: [u8; 16],
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) has_mirrors: bool,
    /// It has an older tree and has not said yet all that it needs.
    pub(super) will_need: bool,
    /// Parts of its needs that came.
    pub(super) needs: u32,
    pub(super) standing: Standing,
    pub(super) last_heard: Instant,
    pub(super) report: Report,
    pub(super) reports: u64,
    /// What was sent for its sake only, before what others wait for.
    pub(super) claimed: u64,
    /// Share of the symbols that it lost, lately; and its slow minimum.
    pub(super) loss: f64,
    pub(super) floor: Option<f64>,
    /// Symbols in a second that come to it.
    pub(super) rate: f64,
    /// The last time that both were measured.
    pub(super) lately: Measure,
    /// What `loss` and `rate` were measured from.
    measured: (u32, u32, Instant),
    trouble_since: Option<Instant>,
    /// Reports in this second.
    budget: (Instant, u32),
}

impl Receiver {
    fn new(join: &Join, address: SocketAddr, now: Instant) -> Self {
        Self {
            node: join.node,
            name: join.name.clone(),
            address,
            has_mirrors: join.has_mirrors,
            will_need: join.has_base,
            needs: 0,
            standing: Standing::Receiving,
            last_heard: now,
            report: Report::default(),
            reports: 0,
            claimed: 0,
            loss: 0.0,
            floor: None,
            rate: 0.0,
            lately: Measure::default(),
            measured: (0, 0, now),
            trouble_since: None,
            budget: (now, 0),
        }
    }

    /// Whether anybody waits for it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Receiving | Standing::Laggard)
    }

    /// Takes a report; whether it is to be looked at.
    pub(super) fn heard(&mut self, report: &Report, now: Instant) -> bool {
        if now.duration_since(self.budget.0) >= Duration::from_secs(1) {
            self.budget = (now, 0);
        }
        self.budget.1 += 1;
        if self.budget.1 > REPORTS || is_after(self.report.seq, report.seq) {
            return false;
        }
        // What it lacks is looked at once, and may be long.
        (self.last_heard, self.report) = (now, Report { lacks: Vec::new(), ..*report });
        self.reports += 1;
        self.standing = match self.standing {
            Standing::Done => Standing::Done,
            _ if report.done => Standing::Done,
            _ if report.failed || report.leaves => Standing::Failed,
            Standing::Lost => Standing::Receiving,
            other => other,
        };
        self.measure(now);
        true
    }

    fn measure(&mut self, now: Instant) {
        let (seq, received, at) = self.measured;
        let (sent, time) = (self.report.seq.wrapping_sub(seq), now.duration_since(at));
        if sent < TELLING && (sent < 30 || time < Duration::from_millis(200)) {
            return;
        }
        self.measured = (self.report.seq, self.report.received, now);
        let came = f64::from(self.report.received.wrapping_sub(received));
        let rate = came / time.as_secs_f64().max(0.004);
        // What was sent before it joined is no loss.
        if self.reports == 1 {
            return;
        }
        let loss = (1.0 - came / f64::from(sent)).clamp(0.0, 1.0);
        self.lately = Measure { since: seq, rate, loss };
        self.loss += 0.3 * (loss - self.loss);
        self.floor = Some(match self.floor {
            None => loss,
            Some(floor) => floor + if loss < floor { 0.3 } else { 0.005 } * (loss - floor),
        });
        self.rate += if self.rate == 0.0 { 1.0 } else { 0.4 } * (rate - self.rate);
    }
}

/// All of them; a slot is a position.
#[derive(Default)]
pub(super) struct Receivers {
    all: Vec<Receiver>,
    slots: HashMap<[u8; 16], u32>,
}

impl Receivers {
    /// Admits a receiver, or knows it again, from wherever it comes now; its slot. `None` when there are too many.
    pub(super) fn join(&mut self, join: &Join, from: SocketAddr, now: Instant) -> Option<u32> {
        if let Some(&slot) = self.slots.get(&join.node) {
            let known = &mut self.all[slot as usize];
            // A request that somebody recorded and sends again moves nobody who is heard of where it is, and brings nobody back: reports do.
            if known.address == from {
                known.last_heard = now;
            } else if now.duration_since(known.last_heard) >= MOVES {
                known.address = from;
            }
            return Some(slot);
        }
        if self.all.len() == RECEIVERS {
            return None;
        }
        let slot = self.all.len() as u32;
        self.slots.insert(join.node, slot);
        self.all.push(Receiver::new(join, from, now));
        Some(slot)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Receiver> {
        self.all.get_mut(slot as usize)
    }

    pub(super) fn all(&self) -> &[Receiver] {
        &self.all
    }

    pub(super) fn count(&self, which: impl Fn(&Receiver) -> bool) -> usize {
        self.all.iter().filter(|r| which(r)).count()
    }

    /// Those whose loss and speed count: not the slow ones, as long as there are others.
    pub(super) fn useful(&self) -> impl Iterator<Item = &Receiver> {
        let only_laggards = !self.all.iter().any(|r| r.standing == Standing::Receiving);
        self.all.iter().filter(move |r| r.is_open() && (only_laggards || r.standing == Standing::Receiving))
    }

    /// Nobody waits for those who have been silent for so long.
    pub(super) fn lose(&mut self, silence: Duration, now: Instant) {
        for r in self.all.iter_mut().filter(|r| r.is_open() && now.duration_since(r.last_heard) > silence) {
            r.standing = Standing::Lost;
        }
    }

    /// Who loses much and gets little, for some time, while half of the others are well, is a laggard, until it loses little; the slots of
    /// those that have become some.
    pub(super) fn find_laggards(&mut self, now: Instant) -> Vec<u32> {
        let mut rates: Vec<f64> = self.all.iter().filter(|r| r.is_open() && r.reports > 3).map(|r| r.rate).collect();
        rates.sort_by(f64::total_cmp);
        let Some(usual) = rates.get(rates.len().saturating_sub(1) * 2 / 3).copied() else { return Vec::new() };
        let open = self.count(Receiver::is_open);
        let well = self.count(|r| r.is_open() && r.loss <= TROUBLE);
        for r in self.all.iter_mut().filter(|r| r.standing == Standing::Laggard && r.loss < WELL) {
            (r.standing, r.trouble_since) = (Standing::Receiving, None);
        }
        let mut found = Vec::new();
        for (slot, r) in self.all.iter_mut().enumerate().filter(|(_, r)| r.standing == Standing::Receiving) {
            if r.loss <= TROUBLE || r.rate >= LITTLE * usual || well * 2 < open {
                r.trouble_since = None;
            } else if now.duration_since(*r.trouble_since.get_or_insert(now)) > TROUBLE_FOR {
                r.standing = Standing::Laggard;
                found.push(slot as u32);
            }
        }
        found
    }
}
