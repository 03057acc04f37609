//! Which cause explains what arrives and what does not.
//!
//! ```text
//!  unicast   broadcast   all hosts   control   far   data     what explains it
//!     x          x           x          x       x      x      nothing is wrong
//!                                       at another interface  the wrong one was named
//!     x                                         x             a router: TTL 1 does not pass it
//!                                       at the card only      a firewall of the host, or its check of ways back
//!     x          x           x                                snooping: the switch does not know that there is a member
//!     x          x                                            all multicast is filtered
//!     x                                                       another network, or VLAN
//!     x          x           x          x       x             snooping or a filter, by group or port
//! ```

use super::judge::Case;
use super::phase::{FAR, Phase, SMALL};
use crate::finding::{Finding, Verdict};
use crate::multicast::wire::Told;

/// Whether the control group arrives, or why not.
pub(super) fn control(case: &Case<'_>) -> Finding {
    let (who, port, count) = (case.who, case.port, case.count(Phase::Control));
    let bad = |check, message: String| Finding::new(check, Verdict::Bad, message);
    if count.received > 0 {
        let lost = SMALL.saturating_sub(count.received);
        return match lost {
            0..=2 => Finding::new("control", Verdict::Ok, "the control group arrives, with TTL 1"),
            _ => Finding::new(
                "loss",
                Verdict::Warning,
                format!(
                    "{lost} of {SMALL} datagrams to the control group are lost, at a rate of next to nothing: a bad cable, Wi-Fi, or a loop"
                ),
            ),
        };
    }
    if count.elsewhere > 0 {
        let there = &case.told.elsewhere;
        return bad(
            "interface",
            format!(
                "multicast arrives at {who} by {there}, not by the interface that was named: give --interface {there}"
            ),
        );
    }
    let (broadcast, local) = (case.got(Phase::Broadcast), case.got(Phase::Local));
    if case.got(Phase::Far) {
        let hops = FAR.saturating_sub(case.count(Phase::Far).ttl);
        return bad(
            "router",
            format!(
                "multicast arrives only with a larger TTL: {hops} routers lie between the sender and {who}, and with TTL 1 it passes none; \
                 send from the network of the receivers"
            ),
        );
    }
    if case.told.card[0] > 0 {
        return at_the_card(case.told, who, port);
    }
    let look = if case.told.looks {
        ""
    } else {
        " (as root it can tell whether it arrives at the card: a firewall at the receiver looks the same)"
    };
    if local {
        let asks = if case.told.querier {
            format!(
                ", though somebody asks for members: what {who} answers (IGMP) does not get to the switch, or the switch drops groups that it was not \
                 told of"
            )
        } else {
            ", and nobody asks for members: switch a querier on, or snooping off".to_owned()
        };
        return bad(
            "snooping",
            format!(
                "all hosts of the link are reached and the control group is not: a switch with IGMP snooping does not know that {who} is a \
                 member{asks}{look}"
            ),
        );
    }
    if broadcast {
        return bad(
            "multicast",
            format!(
                "broadcast arrives at {who} and no multicast does: a switch filters it. IGMP snooping without a querier (switch a querier on, or \
                 snooping off), unknown multicast that is not flooded, or storm control{look}"
            ),
        );
    }
    if !case.told.near {
        return bad(
            "router",
            format!(
                "neither broadcast nor multicast arrives at {who}, and the sender is in another network: a router lies in between, which TTL 1 does not pass"
            ),
        );
    }
    bad(
        "multicast",
        format!(
            "neither broadcast nor multicast arrives at {who}: another VLAN than that of the sender, the wrong interface at one of them, or a \
             firewall{look}"
        ),
    )
}

/// It arrives at the card, and goes no further.
pub(super) fn at_the_card(told: &Told, who: &str, port: u16) -> Finding {
    let (check, why) = if told.reverse > 0 {
        let why = "its kernel drops it, because by its routes an answer would go by another interface; correct the route to the sender, or set \
                   net.ipv4.conf.all.rp_filter and that of the interface to 2";
        ("rp_filter", why.to_owned())
    } else {
        let next = port.wrapping_add(1);
        (
            "firewall",
            format!("its firewall drops it; let UDP to ports {port} and {next} in (nft list ruleset shows the rules)"),
        )
    };
    Finding::new(check, Verdict::Bad, format!("multicast arrives at the card of {who} and goes no further: {why}"))
}

/// Whether the data group arrives, or why not.
pub(super) fn data(case: &Case<'_>) -> Finding {
    let (who, count) = (case.who, case.count(Phase::Data));
    let port = case.port.wrapping_add(1);
    let bad = |check, message: String| Finding::new(check, Verdict::Bad, message);
    match count.received {
        0 if count.elsewhere > 0 => bad(
            "interface",
            format!(
                "the data group arrives at {who} by {}, the control group by the interface that was named",
                case.told.elsewhere
            ),
        ),
        0 if case.told.card[1] > 0 => bad(
            "firewall",
            format!(
                "the data group arrives at the card of {who} and goes no further: its firewall lets the port of the control group in and not the next one; let UDP to port {port} in"
            ),
        ),
        0 => bad(
            "snooping",
            format!(
                "the control group arrives at {who}, and the data group does not: a switch knows only some members (IGMP snooping without a \
                 querier, a full table of groups), or a filter passes one group or port only; the data groups are the 32 after the control group, \
                 at port {port}"
            ),
        ),
        n if n + 2 < SMALL => Finding::new(
            "loss",
            Verdict::Warning,
            format!("{} of {SMALL} datagrams to the data group are lost, at a rate of next to nothing", SMALL - n),
        ),
        _ => Finding::new("data", Verdict::Ok, "the data group arrives"),
    }
}
