//! How well arrives what arrives: lengths, rates, order.

use super::judge::Case;
use super::phase::{Phase, Step, WIRE};
use crate::finding::{Finding, Verdict};
use crate::multicast::wire::Count;

/// Loss that is none, in thousandths, and loss that repair gets along with.
const LOSS: (u64, u64) = (30, 120);
/// Kilobits in a second that are too few to send images.
const SLOW: u64 = 50_000;

/// The findings.
pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut out = Vec::new();
    let size = Phase::Size.number();
    if case.reached > size {
        out.push(length(case));
    }
    if case.reached > size + 1 {
        out.extend(rates(case));
    }
    out.extend(copies(case));
    out
}

fn length(case: &Case<'_>) -> Finding {
    let (who, mtu) = (case.who, case.mtu);
    let sent = case.steps.iter().find(|s| s.phase == Phase::Size.number()).map_or(0, |s| u32::from(s.length));
    // A receiver that got none of the longest knows what was sent from the MTU.
    let headers = if sent > 0 && mtu <= 9000 { mtu.saturating_sub(sent).min(48) } else { 28 };
    let expected = sent.max(mtu.min(9000).saturating_sub(headers.max(28)));
    let longest = case.count(Phase::Size).longest;
    if longest >= expected {
        return Finding::new("mtu", Verdict::Ok, format!("datagrams of all lengths arrive, up to {longest} bytes"));
    }
    let (got, own) = (longest + 28, case.told.mtu);
    let message = match longest {
        0 => format!(
            "nothing arrives that is longer than 100 bytes (the sender has an MTU of {mtu}): a filter by length, or a tunnel"
        ),
        _ if own < mtu => format!(
            "packets of up to {got} bytes arrive, the sender sends up to {mtu}: its MTU is {mtu}, that of {who} is {own}; set both to the same"
        ),
        _ => format!(
            "packets of up to {got} bytes arrive, the sender sends up to {mtu}: a switch or a tunnel on the way passes no longer ones; allow them \
             there, or set the MTU of the sender to {got}"
        ),
    };
    Finding::new("mtu", Verdict::Bad, message)
}

/// What is lost of a step, in thousandths: on the network, and at the host.
fn losses(step: &Step, count: &Count) -> (u64, u64) {
    let of = u64::from(step.of).max(1);
    let missing = of.saturating_sub(count.received.into());
    let host = missing.min(count.dropped.into());
    ((missing - host) * 1000 / of, host * 1000 / of)
}

fn rates(case: &Case<'_>) -> Vec<Finding> {
    let steps: Vec<&Step> = case.steps.iter().filter(|s| s.rate > 0 && s.phase < case.reached).collect();
    let lost: Vec<(&Step, (u64, u64))> = steps.iter().map(|s| (*s, losses(s, &case.told.count(s.phase)))).collect();
    let mut out = Vec::new();
    let Some((fastest, _)) = lost.last() else { return out };
    out.push(match lost.iter().position(|(_, (net, _))| *net > LOSS.0) {
        None => Finding::new("rate", Verdict::Ok, format!("up to {} Mbit/s nothing is lost on the way", fastest.rate / 1000)),
        Some(0) if is_even(&lost) => {
            let mean = lost.iter().map(|(_, (net, _))| net).sum::<u64>() / lost.len() as u64;
            let verdict = if mean > LOSS.1 { Verdict::Bad } else { Verdict::Warning };
            let message = format!(
                "{}.{} % are lost at any rate: a bad cable or port, Wi-Fi, or a loop; look at the counts of errors of the ports on the way",
                mean / 10,
                mean % 10
            );
            Finding::new("loss", verdict, message)
        }
        Some(first) => limit(case, &lost, first),
    });
    let worst = lost.iter().filter(|(_, (_, host))| *host > LOSS.0).min_by_key(|(s, _)| s.rate);
    out.extend(worst.map(|(step, (_, host))| {
        let message = format!(
            "at {} Mbit/s {} had no room or time for {} % of what arrived: raise net.core.rmem_max to 16777216 and net.core.netdev_max_backlog, \
             and see what keeps its processors busy",
            step.rate / 1000,
            case.who,
            host / 10
        );
        Finding::new("host", Verdict::Warning, message)
    }));
    out
}

/// Whether about as much is lost at the lowest rate as at the highest.
fn is_even(lost: &[(&Step, (u64, u64))]) -> bool {
    let (low, high) = (lost.first().map_or(0, |l| l.1.0), lost.iter().map(|l| l.1.0).max().unwrap_or(0));
    high < low * 2 + 50
}

/// Loss begins at a rate.
fn limit(case: &Case<'_>, lost: &[(&Step, (u64, u64))], first: usize) -> Finding {
    let (step, (net, _)) = lost[first];
    let clean = lost[..first].last().map_or(0, |(s, _)| s.rate / 1000);
    // What passes, by the time that it took to come.
    let passes = |s: &Step| {
        let count = case.told.count(s.phase);
        let nominal = u64::from(s.rate) * u64::from(count.received) / u64::from(s.of).max(1);
        let bits = u64::from(count.received) * u64::from(u32::from(s.length) + WIRE) * 8;
        let seen = if count.micros > 50_000 { bits * 1000 / u64::from(count.micros) } else { nominal };
        (nominal.min(seen), u64::from(count.received) * 1_000_000 / u64::from(count.micros.max(300_000)))
    };
    let (kbit, packets) = lost[first..].iter().map(|(s, _)| passes(s)).max().unwrap_or_default();
    let verdict = if kbit < SLOW { Verdict::Bad } else { Verdict::Warning };
    let begins = if clean > 0 { format!("up to {clean} Mbit/s nothing is lost, ") } else { String::new() };
    Finding::new(
        "rate",
        verdict,
        format!(
            "{begins}at {} Mbit/s {} %; about {}.{} Mbit/s or {packets} packets a second pass: storm control of a switch (it counts multicast as \
             broadcast), a slower link on the way, or small buffers; lift the limit, or send with --rate {}Mbit",
            step.rate / 1000,
            net / 10,
            kbit / 1000,
            kbit % 1000 / 100,
            (kbit * 9 / 10_000).max(1)
        ),
    )
}

/// What comes twice, or in another order.
fn copies(case: &Case<'_>) -> Vec<Finding> {
    let groups = |c: &&Count| c.phase >= Phase::Control.number();
    let sum = |of: fn(&Count) -> u32| case.told.counts.iter().filter(groups).map(|c| u64::from(of(c))).sum::<u64>();
    let (received, twice, later) = (sum(|c| c.received), sum(|c| c.duplicates), sum(|c| c.reordered));
    let part = |n: u64| n * 1000 / received.max(1);
    let mut out = Vec::new();
    if part(twice) > 10 {
        let message = format!(
            "{} % come twice: there are two ways between the hosts (a loop without spanning tree, a bond that the switch does not know of)",
            part(twice) / 10
        );
        out.push(Finding::new("duplicates", Verdict::Warning, message));
    }
    if part(later) > 10 {
        let message = format!(
            "{} % come in another order than they were sent: several ways; it costs some repair",
            part(later) / 10
        );
        out.push(Finding::new("order", Verdict::Warning, message));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::judge::tests::{judged, steps, told, wrong};
    use super::*;
    use crate::multicast::wire::Told;

    /// The counts of phases, changed.
    fn with(mut told: Told, change: impl Fn(&Step, &mut Count)) -> Told {
        for (count, step) in told.counts.iter_mut().zip(steps()) {
            change(&step, count);
        }
        told
    }

    fn message(told: &Told, check: &str) -> String {
        judged(told, true).into_iter().find(|f| f.check == check).unwrap().message
    }

    #[test]
    fn a_shorter_path_is_told() {
        let short = |longest: u32| {
            with(told(), move |s, c| {
                if s.phase == Phase::Size.number() {
                    c.longest = longest;
                }
            })
        };
        assert_eq!(wrong(&short(1372), true), [("mtu", Verdict::Bad)]);
        assert!(message(&short(1372), "mtu").contains("up to 1400 bytes arrive"));
        assert!(message(&Told { mtu: 1400, ..short(1372) }, "mtu").contains("is 1400; set both"));
        assert!(message(&short(0), "mtu").contains("a filter by length"));
    }

    #[test]
    fn loss_is_told_apart() {
        let rate = |of: fn(&Step) -> (u32, u32)| {
            with(told(), move |s, c| {
                if s.rate > 0 {
                    (c.received, c.dropped) = of(s);
                }
            })
        };
        // 2,000 packets a second, as storm control lets through; 30 times that; a host that is too slow; a bad cable, and a worse one.
        let storm = rate(|s| (s.of.min(600), 0));
        assert_eq!(wrong(&storm, true), [("rate", Verdict::Bad)]);
        let said = message(&storm, "rate");
        assert!(
            said.contains("up to 10 Mbit/s nothing is lost, at 100 Mbit/s 75 %; about 24.2 Mbit/s or 2000 packets"),
            "{said}"
        );
        assert!(said.contains("--rate 21Mbit"), "{said}");
        assert_eq!(wrong(&rate(|s| (s.of.min(18_000), 0)), true), [("rate", Verdict::Warning)]);
        assert_eq!(wrong(&rate(|s| (s.of.min(5000), s.of - s.of.min(5000))), true), [("host", Verdict::Warning)]);
        assert_eq!(wrong(&rate(|s| (s.of * 19 / 20, 0)), true), [("loss", Verdict::Warning)]);
        assert_eq!(wrong(&rate(|s| (s.of * 7 / 10, 0)), true), [("loss", Verdict::Bad)]);
        assert_eq!(wrong(&rate(|s| (s.of - s.of / 50, 0)), true), []);
    }

    #[test]
    fn copies_and_order_are_told() {
        let double = with(told(), |_, c| c.duplicates = c.received);
        assert_eq!(wrong(&double, true), [("duplicates", Verdict::Warning)]);
        let mixed = with(told(), |_, c| c.reordered = c.received / 10);
        assert_eq!(wrong(&mixed, true), [("order", Verdict::Warning)]);
    }
}
