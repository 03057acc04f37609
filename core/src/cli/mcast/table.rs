//! A session as a table: on a terminal again and again, at the end once.

use crate::cli::output::Format;
use crate::error::{Error, ErrorKind, Result};
use crate::multicast::drive::{SendReport, Watch};
use crate::multicast::send::{Seen, Stage, Standing};
use crate::shown;
use crate::units::human;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Receivers that are shown while it goes on: those that have the least.
const SHOWN: usize = 20;

/// What a terminal on stderr shows while it goes on, and what stands in a file for others: the report so far, whole at any moment.
pub(super) fn watch(file: Option<PathBuf>, format: Format, quiet: bool) -> Option<Watch> {
    let is_shown = is_drawn(format, quiet);
    if !is_shown && file.is_none() {
        return None;
    }
    let lines = AtomicUsize::new(0);
    Some(Watch::new(move |report| {
        // Neither is worth ending a session for.
        let _ = file.as_ref().map(|f| put(f, report));
        if is_shown {
            let mut text = Vec::new();
            let _ = live(report, &mut text);
            let up = lines.swap(text.iter().filter(|b| **b == b'\n').count(), Ordering::Relaxed);
            let back = if up > 0 { format!("\x1b[{up}F\x1b[J") } else { String::new() };
            let _ = io::stderr().lock().write_all(&[back.as_bytes(), &text].concat());
        }
    }))
}

/// Refuses a file that could not be written, before hours of work.
pub(super) fn can_put(file: &Path) -> Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    std::fs::File::create(&part)
        .and_then(|_| std::fs::remove_file(&part))
        .map_err(|e| Error::io("write", file.display(), e))
}

/// Writes a report whole into a file: who reads it sees the one or the other.
pub(super) fn put(file: &Path, report: &SendReport) -> Result<()> {
    let text = serde_json::to_vec_pretty(report)
        .map_err(|e| Error::new(ErrorKind::Bug, "a report that cannot be written").cause(e))?;
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, file))
        .map_err(|e| Error::io("write", file.display(), e))
}

/// Whether a table is drawn, and the bar is not.
pub(super) fn is_drawn(format: Format, quiet: bool) -> bool {
    !quiet && format == Format::Text && io::stderr().is_terminal()
}

fn live(report: &SendReport, w: &mut dyn Write) -> io::Result<()> {
    let mut receivers: Vec<&Seen> = report.receivers.iter().collect();
    receivers.sort_by_key(|r| (r.standing == Standing::Done, r.whole));
    heading(w)?;
    receivers.iter().take(SHOWN).try_for_each(|r| line(report, r, w))?;
    if receivers.len() > SHOWN {
        writeln!(w, "… and {} that have more", receivers.len() - SHOWN)?;
    }
    let stage = match report.stage {
        Stage::Waiting => "waiting for receivers",
        Stage::FirstPass => "first pass",
        Stage::Repair => "repair",
        Stage::Lingering => "nobody wants anything",
        Stage::Over => "over",
    };
    let by = report.limited_by.as_ref().map_or(String::new(), |name| format!(", limited by {}", shown::line(name)));
    writeln!(w, "{stage}: {}/s{by}; {}", human((report.rate / 8.0) as u64), sums(report))
}

/// All receivers.
pub(super) fn all(report: &SendReport, w: &mut dyn Write) -> io::Result<()> {
    if !report.receivers.is_empty() {
        heading(w)?;
    }
    report.receivers.iter().try_for_each(|r| line(report, r, w))?;
    writeln!(w, "{}", sums(report))?;
    let (done, known) = (report.done(), report.receivers.len());
    writeln!(w, "{done} of {known} nodes have {} bytes, in {:.1} s", report.bytes, report.seconds)
}

fn heading(w: &mut dyn Write) -> io::Result<()> {
    writeln!(w, "{:24} {:10} {:>5} {:>7} {:>12} {:>11} {:>8}", "node", "", "has", "loses", "gets", "waits", "dropped")
}

fn line(report: &SendReport, r: &Seen, w: &mut dyn Write) -> io::Result<()> {
    let standing = format!("{:?}", r.standing).to_lowercase();
    let has = f64::from(r.whole) * 100.0 / f64::from(report.stripes.max(1));
    let (gets, waits) = (format!("{}/s", human((r.rate / 8.0) as u64)), human(u64::from(r.backlog) << 10));
    let name = shown::line(&r.name);
    writeln!(w, "{name:24} {standing:10} {has:4.0} % {:5.1} % {gets:>12} {waits:>11} {:8}", r.loss * 100.0, r.dropped)
}

fn sums(report: &SendReport) -> String {
    let sent = &report.sent;
    let repair = (sent.parity + sent.again) as f64 * 100.0 / (sent.first.max(1)) as f64;
    format!("{} symbols, {repair:.1} % more for repair, {} reports, {} refused", sent.first, sent.reports, sent.refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multicast::send::Sent;

    #[test]
    fn those_that_have_the_least_are_shown() {
        let seen = |n: u32| Seen {
            name: format!("n{n:02}"),
            standing: if n == 0 { Standing::Done } else { Standing::Receiving },
            whole: n,
            loss: 0.012,
            rate: 8e6,
            backlog: 2048,
            dropped: 3,
        };
        let report = SendReport {
            image: "0".repeat(64),
            stage: Stage::FirstPass,
            rate: 800e6,
            limited_by: Some("n07".into()),
            stripes: 40,
            bytes: 1 << 30,
            seconds: 1.5,
            sent: Sent { first: 1000, parity: 10, again: 15, reports: 7, ..Sent::default() },
            receivers: (0..30).map(seen).collect(),
        };
        let mut text = Vec::new();
        live(&report, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 1 + SHOWN + 2);
        assert_eq!(lines[1], "n01                      receiving     2 %   1.2 %  976.5 KiB/s     2.0 MiB        3");
        assert_eq!(lines[21], "… and 10 that have more");
        assert_eq!(
            lines[22],
            "first pass: 95.3 MiB/s, limited by n07; 1000 symbols, 2.5 % more for repair, 7 reports, 0 refused"
        );
        let mut text = Vec::new();
        all(&report, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 33);
        assert!(text.ends_with("1 of 30 nodes have 1073741824 bytes, in 1.5 s\n"), "{text}");
    }
}
