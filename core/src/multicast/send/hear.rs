//! What receivers say, and what follows from it.

use super::receivers::{Receiver, Standing};
use super::{Sender, State, To};
use crate::multicast::wire::{Admit, Detach, Join, Message, Need, Report};
use std::net::SocketAddr;
use std::time::Instant;

/// Parity that a receiver may ask for, whatever else was sent.
const CLAIM: u64 = 2048;

impl Sender {
    /// Takes a datagram that came to the unicast port.
    pub fn handle(&mut self, datagram: &[u8], from: SocketAddr, now: Instant) {
        match Message::decode(datagram, &self.keys) {
            Ok(Some(Message::Join(join))) => self.joins(&join, from, now),
            Ok(Some(Message::Report(report))) => self.reports(report, from, now),
            Ok(Some(Message::Need(need))) => self.needs(&need, from, now),
            _ => self.sent.refused += 1,
        }
    }

    fn joins(&mut self, join: &Join, from: SocketAddr, now: Instant) {
        if self.is_ending() {
            return;
        }
        let before = self.receivers.all().len();
        let needed = self.datagram();
        let mut refused = (usize::from(join.datagram) < needed)
            .then(|| format!("datagrams of {needed} bytes do not pass its interface, which takes {}", join.datagram));
        let slot = if refused.is_none() { self.receivers.join(join, from, now) } else { None };
        if slot.is_none() {
            refused.get_or_insert_with(|| "there are too many receivers".to_owned());
        }
        if self.receivers.all().len() > before && !join.has_base {
            self.wanted.fill(true);
        }
        // One that has ended asks for nothing: that was recorded and sent again.
        if slot.and_then(|s| self.receivers.get_mut(s)).is_some_and(|r| r.is_open()) {
            self.state = match self.state {
                State::Waiting(since) => State::Waiting(since.or(Some(now))),
                _ => State::Sending,
            };
        }
        let slot = slot.unwrap_or(u32::MAX);
        let needs = self.receivers.get_mut(slot).map_or(0, |r| r.needs);
        self.answer(from, join.node, slot, needs, refused);
    }

    fn answer(&mut self, to: SocketAddr, node: [u8; 16], slot: u32, need: u32, refused: Option<String>) {
        let interval = self.interval().as_micros() as u32;
        let ended = |r: &Receiver| matches!(r.standing, Standing::Done | Standing::Failed);
        let parted = self.receivers.all().get(slot as usize).is_some_and(ended);
        let admit = Admit {
            refused: refused.is_some(),
            parted,
            node,
            slot,
            interval,
            need,
            reason: refused.unwrap_or_default(),
        };
        self.say(To::One(to), Message::Admit(admit));
    }

    fn reports(&mut self, mut report: Report, from: SocketAddr, now: Instant) {
        // Nobody has seen what was not sent. Without a key somebody may have told a receiver so, who has seen everything then.
        if report.seq > self.seq {
            self.sent.refused += 1;
            report.seq = self.seq;
        }
        let Some(receiver) = self.receivers.get_mut(report.slot) else { return };
        if receiver.address != from || !receiver.heard(&report, now) {
            return;
        }
        self.sent.reports += 1;
        // Nobody waits for those that are not open; and laggards are served when the others are done.
        let (is_open, node) = (receiver.is_open(), receiver.node);
        // It has not heard of it, or does not care.
        let receiver_is_detached = receiver.standing == Standing::Detached;
        if report.done || report.leaves || report.failed {
            self.answer(from, node, report.slot, 0, None);
            return;
        }
        let counts = receiver.standing == Standing::Receiving
            || !self.receivers.all().iter().any(|r| r.standing == Standing::Receiving);
        if receiver_is_detached {
            self.detach(report.slot);
        }
        if !is_open || !counts {
            return;
        }
        if matches!(self.state, State::Lingering(_)) {
            self.state = State::Sending;
        }
        if !self.first_pass_is_over() && self.claims_too_much(report.slot) {
            return;
        }
        let (mut stripe, mut claimed) = (0u32, 0);
        for d in &report.lacks {
            stripe = stripe.saturating_add(d.gap);
            // Nothing is lacking yet of what was not sent yet.
            let end = stripe.saturating_add(d.run).min(self.position.0);
            claimed +=
                (stripe..end).map(|s| u64::from(self.repair.lacks(&self.shape, s, d.lacks, report.seq))).sum::<u64>();
            stripe = stripe.saturating_add(d.run);
        }
        if let Some(receiver) = self.receivers.get_mut(report.slot) {
            receiver.claimed += claimed;
        }
    }

    /// Whether more than a third of what is sent is for the sake of this one only, while others wait for the rest of the first pass.
    fn claims_too_much(&self, slot: u32) -> bool {
        let others = || self.receivers.all().iter().enumerate().any(|(n, r)| n != slot as usize && r.is_open());
        self.receivers.all().get(slot as usize).is_some_and(|r| r.claimed > CLAIM + u64::from(self.seq) / 3) && others()
    }

    /// Tells a receiver that nobody waits for that it should go on elsewhere.
    pub(super) fn detach(&mut self, slot: u32) {
        if let Some(r) = self.receivers.get_mut(slot).filter(|r| r.has_mirrors) {
            r.standing = Standing::Detached;
            let reason = "it receives less than what the others do".to_owned();
            let to = To::One(r.address);
            self.say(to, Message::Detach(Detach { slot, reason }));
        }
    }

    fn needs(&mut self, need: &Need, from: SocketAddr, now: Instant) {
        let Some(receiver) = self.receivers.get_mut(need.slot).filter(|r| r.address == from) else { return };
        receiver.last_heard = now;
        let is_next = receiver.will_need && need.part == receiver.needs;
        if is_next {
            receiver.needs += 1;
            receiver.will_need = receiver.needs < need.parts;
        }
        let (node, answer) = (receiver.node, receiver.needs);
        self.answer(from, node, need.slot, answer, None);
        if !is_next {
            return;
        }
        let mut block = 0usize;
        for &(gap, run) in &need.blocks {
            let from = block.saturating_add(gap as usize);
            block = from.saturating_add(run as usize);
            let Some(blocks) = self.plan.blocks().get(from..block.min(self.plan.blocks().len())) else { break };
            for b in blocks {
                let stripes = self.shape.of_body(b.bytes.clone());
                self.wanted[stripes.start as usize..stripes.end as usize].fill(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Hash;
    use crate::multicast::plan::BodyPlan;
    use crate::multicast::send::{Options, Rate, Stage, Transmit};
    use crate::multicast::shape::Shape;
    use crate::multicast::wire::{Announce, Keys, Mode, Session, runs};
    use std::time::Duration;

    fn announce() -> Announce {
        Announce {
            over: false,
            failed: false,
            time: 0,
            image: Hash([1; 32]),
            head: 1000,
            body: 60_000_000,
            symbol: 1456,
            port: 1,
            data: ([239, 192, 67, 87].into(), 7787),
            expected: 2,
            name: "node".into(),
        }
    }

    fn keys() -> Keys {
        Keys::new(Mode::Crc, None, Session(1)).unwrap()
    }

    fn sender(now: Instant) -> Sender {
        let shape = Shape::new(1456, 1000, 60_000_000).unwrap();
        let mut plan = BodyPlan::default();
        (0..60).for_each(|n| plan.add(1_000_000, vec![n]));
        let options = Options { announce: announce(), rate: Rate::Fixed(100_000_000), wait: Duration::ZERO };
        Sender::new(keys(), shape, plan, options, now).unwrap()
    }

    fn from(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 7))
    }

    fn join(n: u8) -> Vec<u8> {
        let join = Join { node: [n; 16], datagram: 1472, name: format!("n{n}"), has_mirrors: false, has_base: false };
        Message::Join(join).encode(&keys())
    }

    /// Somebody sends again what he heard; and somebody tells a receiver of symbols that were never sent.
    #[test]
    fn what_is_replayed_or_made_up_parts_no_receiver_from_the_sender() {
        let mut now = Instant::now();
        let mut sender = sender(now);
        [0, 1].iter().for_each(|n| sender.handle(&join(*n), from(*n), now));
        now += Duration::from_millis(500);
        sender.handle(&join(0), from(66), now);
        let report = Report { seq: 4_000_000_000, received: 7, ..Report::default() };
        sender.handle(&Message::Report(report).encode(&keys()), from(0), now);
        let first = &sender.receivers.all()[0];
        assert_eq!((first.address, first.report.received, first.report.seq), (from(0), 7, sender.seq));
        assert_eq!(sender.sent().refused, 1);
        // One that was silent may come from elsewhere.
        now += Duration::from_secs(3);
        sender.handle(&join(0), from(66), now);
        assert_eq!(sender.receivers.all()[0].address, from(66));
    }

    /// One of two receivers says of each stripe that it lacks half of it; the other one lacks nothing.
    #[test]
    fn who_claims_losses_costs_at_most_a_third_of_the_first_pass() {
        let mut now = Instant::now();
        let mut sender = sender(now);
        [0, 1].iter().for_each(|n| sender.handle(&join(*n), from(*n), now));
        let mut seq = 0;
        let goes_on = |sender: &Sender| matches!(sender.stage(), Stage::Waiting | Stage::FirstPass);
        while goes_on(&sender) {
            while goes_on(&sender)
                && let Some(transmit) = sender.poll(now)
            {
                if let Transmit::Symbols(burst) = transmit {
                    seq = burst.seq + burst.symbols.len() as u32 - 1;
                }
            }
            let passed = sender.position.0;
            for (slot, lacks) in [(0, 0), (1, 512)] {
                let report =
                    Report { slot, seq, received: seq, lacks: runs((0..passed).map(|_| lacks)), ..Report::default() };
                sender.handle(&Message::Report(report).encode(&keys()), from(slot as u8), now);
            }
            now += Duration::from_millis(20);
        }
        let sent = sender.sent();
        // The head has one symbol, and comes again for each of its reports.
        let repair = sent.parity + sent.again;
        assert!((2_000..2_048 + seq as u64 / 3 + 4_096).contains(&repair), "{sent:?}");
    }
}
