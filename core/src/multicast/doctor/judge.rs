//! From counts to findings: which cause explains what arrives and what does not.

use super::phase::{Phase, Step};
use super::{quality, reach};
use crate::finding::{Finding, Verdict};
use crate::multicast::wire::{Count, Told};

/// Time between two questions for members, as usual, and some more.
const QUERY: u16 = 130;

/// Everything that is known of a receiver.
pub(super) struct Case<'c> {
    /// What it counted.
    pub(super) told: &'c Told,
    /// What was sent, as far as this end knows.
    pub(super) steps: &'c [Step],
    /// Phases that are over.
    pub(super) reached: u8,
    /// Bytes of the largest packet that the interface of the sender takes.
    pub(super) mtu: u32,
    /// Whether the sender has heard it by unicast.
    pub(super) heard: bool,
    /// The port of the control group.
    pub(super) port: u16,
    /// Who asks for members, if this end knows more than that somebody does.
    pub(super) queriers: &'c str,
    /// How this end calls the receiver: `this host` or `the receiver`.
    pub(super) who: &'static str,
}

impl Case<'_> {
    pub(super) fn count(&self, phase: Phase) -> Count {
        self.told.count(phase.number())
    }

    pub(super) fn got(&self, phase: Phase) -> bool {
        self.count(phase).received > 0
    }

    fn is_over(&self, phase: Phase) -> bool {
        self.reached > phase.number()
    }
}

/// The findings, in the order in which one would look.
pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut out = Vec::new();
    if case.is_over(Phase::Far) {
        out.push(unicast(case));
        out.extend(subnet(case));
        out.push(reach::control(case));
    } else {
        let message = "the sender was heard, and ended before it had sent anything that is counted: start it again";
        out.push(Finding::new("sender", Verdict::Bad, message));
    }
    if case.is_over(Phase::Data) && case.got(Phase::Control) {
        out.push(reach::data(case));
    }
    if case.got(Phase::Data) {
        out.extend(quality::judge(case));
    }
    out.extend(standing(case.told, case.queriers));
    out
}

/// What can be told without a sender: membership, and questions for it.
pub(super) fn standing(told: &Told, queriers: &str) -> Vec<Finding> {
    membership(told).into_iter().chain([querier(told, queriers)]).collect()
}

fn unicast(case: &Case<'_>) -> Finding {
    let (who, port) = (case.who, case.told.port);
    let bad = |message| Finding::new("unicast", Verdict::Bad, message);
    match (case.got(Phase::Direct), case.heard) {
        (true, true) => Finding::new("unicast", Verdict::Ok, "unicast passes both ways"),
        (false, true) => bad(format!(
            "the sender hears {who}, and what it answers by unicast does not arrive: a firewall at {who} or on the way drops UDP from \
             the sender (here to port {port}); let answers in, as a stateful firewall does"
        )),
        (true, false) => bad(format!(
            "what the sender sends by unicast arrives, and what {who} answers does not get there: a firewall at the sender or on the way \
             drops UDP; let in what comes from the receivers, to any port above 1023"
        )),
        (false, false) => bad(format!(
            "no unicast passes between the sender and {who}, in either direction: a firewall, or no route; try ping between the two"
        )),
    }
}

fn subnet(case: &Case<'_>) -> Option<Finding> {
    let message = format!(
        "the address of the sender is of no network of the interface of {}: another interface may be meant, or a router lies in between",
        case.who
    );
    (!case.told.near).then(|| Finding::new("subnet", Verdict::Warning, message))
}

fn membership(told: &Told) -> Option<Finding> {
    let message = "the system forgot during this time that the interface is a member of the group: something took the interface down or set it up anew \
                   (journalctl, ip monitor)";
    told.forgotten.then(|| Finding::new("membership", Verdict::Bad, message))
}

fn querier(told: &Told, queriers: &str) -> Finding {
    let Told { seconds, querier, looks, .. } = told;
    if *querier {
        let who = if queriers.is_empty() { "somebody" } else { queriers };
        return Finding::new("querier", Verdict::Ok, format!("{who} asks for members of groups"));
    }
    let message = match (looks, seconds) {
        (false, _) => "who asks for members of groups can be seen by root only".to_owned(),
        (true, s) if *s < QUERY => format!(
            "nobody asked for members of groups in {s} s; usually it is every 125 s, so give --seconds {QUERY} to be sure. A switch with IGMP \
             snooping and without a querier stops forwarding groups after about 260 s"
        ),
        (true, s) => format!(
            "nobody asked for members of groups in {s} s: there is no querier. That is well without IGMP snooping; a switch with it stops \
             forwarding groups after about 260 s: switch a querier on at a switch or router of this network"
        ),
    };
    Finding::new("querier", Verdict::Warning, message)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::phase::{SMALL, rates, steady};
    use super::*;

    pub(in crate::multicast::doctor) fn steps() -> Vec<Step> {
        steady(1500, false).into_iter().chain(rates(1472, Some(1000))).collect()
    }

    /// A receiver that got everything.
    pub(in crate::multicast::doctor) fn told() -> Told {
        let ttl = |s: &Step| if s.phase == Phase::Far.number() { 32 } else { 1 };
        let count = |s: &Step| Count {
            phase: s.phase,
            received: s.of,
            ttl: ttl(s),
            longest: s.length.into(),
            micros: 300_000,
            ..Count::default()
        };
        Told {
            querier: true,
            looks: true,
            near: true,
            mtu: 1500,
            port: 40_000,
            seconds: 10,
            card: [SMALL, SMALL],
            name: "n1".into(),
            counts: steps().iter().map(count).collect(),
            ..Told::default()
        }
    }

    pub(in crate::multicast::doctor) fn without(mut told: Told, phases: &[Phase]) -> Told {
        told.counts.retain(|c| !phases.iter().any(|p| p.number() == c.phase));
        told
    }

    pub(in crate::multicast::doctor) fn judged(told: &Told, heard: bool) -> Vec<Finding> {
        let steps = steps();
        let reached = steps.len() as u8;
        judge(&Case { told, steps: &steps, reached, mtu: 1500, heard, port: 7786, queriers: "", who: "the receiver" })
    }

    /// The checks that are not well.
    pub(in crate::multicast::doctor) fn wrong(told: &Told, heard: bool) -> Vec<(&'static str, Verdict)> {
        let found = judged(told, heard).into_iter().filter(|f| f.verdict != Verdict::Ok);
        found.map(|f| (f.check, f.verdict)).collect()
    }

    #[test]
    fn each_cause_has_its_finding() {
        use Phase::{Broadcast, Control, Data, Direct, Far, Local, Size};
        let (well, dark) = (told(), |mut t: Told| {
            t.card = [0, 0];
            t
        });
        let groups = [Control, Far, Data, Size];
        let all = [Broadcast, Local, Control, Far, Data, Size];
        let bad = |check| vec![(check, Verdict::Bad)];
        let elsewhere = Count { phase: Control.number(), elsewhere: SMALL, ..Count::default() };
        let mut moved = without(dark(well.clone()), &all);
        moved.counts.push(elsewhere);
        moved.elsewhere = "eth1".into();
        let apart = Told { near: false, ..without(dark(well.clone()), &all) };
        for (name, told, heard, expected) in [
            ("healthy", well.clone(), true, vec![]),
            ("unicast to the receiver", without(well.clone(), &[Direct]), true, bad("unicast")),
            ("unicast to the sender", well.clone(), false, bad("unicast")),
            ("unicast", without(well.clone(), &[Direct]), false, bad("unicast")),
            ("wrong interface", moved, true, bad("interface")),
            (
                "router with multicast",
                without(dark(well.clone()), &[Broadcast, Local, Control, Data, Size]),
                true,
                bad("router"),
            ),
            ("router", apart, true, vec![("subnet", Verdict::Warning), ("router", Verdict::Bad)]),
            ("firewall", without(well.clone(), &all), true, bad("firewall")),
            ("way back", Told { reverse: 3, ..without(well.clone(), &all) }, true, bad("rp_filter")),
            ("snooping", without(dark(well.clone()), &groups), true, bad("snooping")),
            ("filter", without(dark(well.clone()), &[&groups[..], &[Local]].concat()), true, bad("multicast")),
            ("VLAN", without(dark(well.clone()), &all), true, bad("multicast")),
            (
                "snooping by group",
                Told { card: [SMALL, 0], ..without(well.clone(), &[Data, Size]) },
                true,
                bad("snooping"),
            ),
            ("firewall by port", without(well.clone(), &[Data, Size]), true, bad("firewall")),
            ("membership", Told { forgotten: true, ..well.clone() }, true, bad("membership")),
            ("no querier", Told { querier: false, ..well.clone() }, true, vec![("querier", Verdict::Warning)]),
            ("another network", Told { near: false, ..well }, true, vec![("subnet", Verdict::Warning)]),
        ] {
            assert_eq!(wrong(&told, heard), expected, "{name}");
        }
    }

    #[test]
    fn what_was_not_tried_is_not_judged() {
        let (told, steps) = (Told { near: true, ..Told::default() }, steps());
        let case = |reached| {
            let case = Case {
                told: &told,
                steps: &steps,
                reached,
                mtu: 1500,
                heard: true,
                port: 7786,
                queriers: "",
                who: "x",
            };
            judge(&case).into_iter().map(|f| f.check).collect::<Vec<_>>()
        };
        assert_eq!(case(0), ["sender", "querier"]);
        assert_eq!(case(5), ["unicast", "multicast", "querier"]);
    }

    #[test]
    fn how_long_was_listened_is_told() {
        let said = |seconds, looks| {
            let told = Told { querier: false, seconds, looks, ..told() };
            judged(&told, true).into_iter().find(|f| f.check == "querier").unwrap().message
        };
        assert!(said(10, true).contains("--seconds 130") && !said(130, true).contains("--seconds"));
        assert!(said(10, false).contains("root"));
        let few = Count { phase: Phase::Control.number(), received: 9, ..Count::default() };
        let mut lossy = without(told(), &[Phase::Control]);
        lossy.counts.push(few);
        assert_eq!(wrong(&lossy, true), [("loss", Verdict::Warning)]);
    }
}
