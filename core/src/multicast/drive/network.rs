//! The thread of a receiver that hears: datagrams go to the machine, what becomes whole to those who apply it.

use super::assembly::{Assembly, Ready};
use super::feed::{Orders, Shared};
use crate::multicast::plan::BodyPlan;
use crate::multicast::receive::{Event, Load, Received, Receiver};
use crate::multicast::wire::Header;
use crate::sys::datagrams::{Datagrams, gather};
use crate::sys::udp::Interface;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes of stripes that are whole, and of whose blocks something is lacking.
const HELD: usize = 32 << 20;
/// Who has a mirror waits no longer than that for repair of which nothing comes.
const STALL: Duration = Duration::from_secs(1);
/// How long it naps when nothing comes. To be woken for each datagram would cost more than the datagram.
pub(super) const NAP: Duration = Duration::from_micros(500);

/// Where the data group is heard.
pub(super) struct Membership {
    pub(super) interface: Interface,
    pub(super) group: SocketAddr,
}

/// The thread that hears.
pub(super) struct Network {
    pub(super) receiver: Receiver,
    pub(super) assembly: Assembly,
    /// Of the control group, of the data group, and of its own.
    pub(super) sockets: [UdpSocket; 3],
    pub(super) membership: Membership,
    pub(super) shared: Arc<Shared>,
    pub(super) plan: Arc<BodyPlan>,
    pub(super) has_mirror: bool,
    pub(super) has_base: bool,
    /// When the last stripe was whole, since it is known what is wanted.
    pub(super) progress: Option<Instant>,
    /// Datagrams that the socket of the data group had no room for.
    pub(super) dropped: u32,
    /// How the work ended, since it is said.
    pub(super) done: Option<bool>,
    /// When the load was measured, bytes taken then, and in a second.
    pub(super) applied: (Instant, u64, u64),
}

impl Network {
    /// Hears and answers until there is nothing more to say.
    pub(super) fn run(mut self) -> Received {
        let (mut datagrams, mut ready) = (Datagrams::default(), Vec::new());
        while !self.receiver.has_left() {
            let mut came = false;
            for n in 0..self.sockets.len() {
                // Beyond what may wait the kernel drops, and the sender hears of it. Until the sender has answered, the kernel keeps what comes: whoever
                // recorded a session and sends it again cannot answer.
                let listens = || self.shared.is_answered.load(Ordering::Relaxed) && self.has_room();
                if n != 1 || listens() {
                    came |= self.hear(n, &mut datagrams);
                } else {
                    self.receiver.does_not_listen(Instant::now());
                }
            }
            self.events(&mut ready);
            self.orders(&mut ready);
            for r in ready.drain(..) {
                if let Some(block) = self.shared.put(r) {
                    self.assembly.again(block).for_each(|s| self.receiver.again(s));
                }
            }
            self.load();
            self.stalls();
            while let Some(datagram) = self.receiver.poll(Instant::now()) {
                // What does not go out is said again.
                let _ = self.sockets[2].send_to(&datagram, self.receiver.sender());
            }
            if !came {
                std::thread::sleep(NAP);
            }
        }
        self.events(&mut ready);
        self.shared.end("the session ended too early".to_owned());
        self.receiver.received()
    }

    /// Whether more of the data is taken: there has to be room for what is whole, also while nobody knows yet what it is.
    fn has_room(&self) -> bool {
        let waits_for_plan = self.assembly.has_head() && self.plan.blocks().is_empty();
        self.shared.has_room() && !(waits_for_plan && self.assembly.bytes() >= self.shared.room())
    }

    /// Takes what a socket has, but not for too long.
    fn hear(&mut self, n: usize, datagrams: &mut Datagrams) -> bool {
        // An error is that of a datagram that was sent: the sender has gone, which SYNC tells, or its silence.
        let came = datagrams.take(&self.sockets[n]).unwrap_or(false);
        if came {
            let now = Instant::now();
            // Symbols go to the data group; elsewhere they would be heard too early.
            let is_heard = |d: &[u8]| n == 1 || Header::session(d).is_none();
            if let Err(e) = datagrams.each(|d| if is_heard(d) { self.receiver.handle(d, now) } else { Ok(()) }) {
                self.shared.end(e.to_string());
            }
        }
        if n == 1 {
            self.dropped = datagrams.dropped();
        }
        came
    }

    fn events(&mut self, ready: &mut Vec<Ready>) {
        while let Some(event) = self.receiver.event() {
            match event {
                Event::Whole(whole) => {
                    self.progress = self.progress.map(|_| Instant::now());
                    self.assembly.take(whole, ready, &|| self.shared.spare());
                    self.assembly.done().for_each(|memory| self.receiver.recycle(memory));
                    self.assembly.shrink(HELD).into_iter().for_each(|s| self.receiver.again(s));
                }
                Event::Refused(reason) => {
                    self.shared.is_answered.store(true, Ordering::Relaxed);
                    self.shared.end(format!("the sender refuses: {reason}"));
                }
                Event::Over(failed) => {
                    self.shared.is_past.store(true, Ordering::Relaxed);
                    let why = if failed { "the sender gave up" } else { "the session ended before everything was here" };
                    self.shared.end(why.to_owned());
                }
                Event::Silent => self.shared.end("the sender says nothing any more".to_owned()),
                Event::Unreachable => self.shared.end(
                    "multicast_unreachable: nothing that is sent to the group arrives: is there an IGMP querier, a firewall, another VLAN?"
                        .to_owned(),
                ),
                Event::Unanswered => self.shared.end(
                    "multicast_unreachable: a session is announced, and its sender does not answer: is there a firewall in between, or has it ended?"
                        .to_owned(),
                ),
                Event::Detached(reason) => self.shared.end(format!("the sender says to go to mirrors: {reason}")),
                Event::JoinAgain => self.join_again(),
                Event::Admitted => self.shared.is_answered.store(true, Ordering::Relaxed),
            }
        }
    }

    /// A switch may have forgotten that somebody here listens: to leave and to join tells it.
    fn join_again(&mut self) {
        // Both at once would be one membership, and no news.
        let Membership { interface, group } = &self.membership;
        if let Ok(nothing) = interface.open(group.is_ipv6(), 1) {
            self.sockets[1] = nothing;
        }
        match interface.join(*group) {
            Ok(socket) => {
                gather(&socket);
                self.sockets[1] = socket;
            }
            Err(e) => self.shared.end(format!("multicast_unreachable: the group cannot be joined anew: {e}")),
        }
    }

    /// Only these blocks are wanted.
    fn need(&mut self, blocks: &[usize]) {
        let shape = *self.receiver.shape();
        let mut stripes = vec![false; shape.stripes() as usize];
        let (mut runs, mut next) = (Vec::<(u32, u32)>::new(), 0);
        for &n in blocks {
            let of_block = shape.of_body(self.plan.blocks()[n].bytes.clone());
            stripes[of_block.start as usize..of_block.end as usize].fill(true);
            match runs.last_mut() {
                Some((_, run)) if n == next => *run += 1,
                _ => runs.push(((n - next) as u32, 1)),
            }
            next = n + 1;
        }
        self.progress = Some(Instant::now());
        self.assembly.only(blocks);
        self.receiver.need(&runs, &|s| stripes[s as usize], Instant::now());
    }

    fn orders(&mut self, ready: &mut Vec<Ready>) {
        let Orders { plan, needs, wrong } = self.shared.orders();
        if let Some(plan) = plan {
            self.plan = plan.clone();
            self.assembly.plan(plan, ready);
            self.progress = (!self.has_base).then(Instant::now);
        }
        if let Some(needs) = needs {
            self.need(&needs);
        }
        for block in wrong {
            self.assembly.again(block).for_each(|s| self.receiver.again(s));
        }
        if self.done.is_none() && self.shared.given_up.load(Ordering::Relaxed) {
            let done = self.shared.applied.load(Ordering::Relaxed);
            self.done = Some(done);
            self.receiver.leave(done, !done, Instant::now());
        }
    }

    /// The last few blocks come from a mirror when that is quicker than to wait for repair.
    fn stalls(&self) {
        let waits = self.receiver.first_pass_is_over() && !self.receiver.is_complete() && self.shared.has_room();
        if waits && self.has_mirror && self.progress.is_some_and(|p| p.elapsed() > STALL) {
            self.shared.end("what is lacking does not come".to_owned());
        }
    }

    fn load(&mut self) {
        let (backlog, taken) = self.shared.load();
        let (since, before, _) = self.applied;
        let time = since.elapsed();
        if time >= Duration::from_secs(1) {
            let in_a_second = ((taken - before) as f64 / time.as_secs_f64()) as u64;
            self.applied = (Instant::now(), taken, in_a_second);
        }
        let disk_bound = !self.has_room();
        self.receiver.set_load(Load { dropped: self.dropped, backlog, applied: self.applied.2, disk_bound });
    }
}
