//! How work is watched: a bar with rate and time left on a terminal, plain lines elsewhere, events as JSON lines.

use super::output::{Format, talk};
use crate::error::{Error, Result};
use crate::event::{Event, EventKind, Unit};
use crate::job::Listener;
use crate::units::human;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Where events are written.
pub(super) type Log = Arc<Mutex<dyn Write + Send>>;

/// Opens the file that events are appended to; `-` is stderr.
///
/// # Errors
/// `Io`.
pub(super) fn open_log(path: &Path) -> Result<Log> {
    if path == Path::new("-") {
        return Ok(Arc::new(Mutex::new(std::io::stderr())));
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    Ok(Arc::new(Mutex::new(file.map_err(|e| Error::io("open", path.display(), e))?)))
}

/// What listens to the work: `None` shows nothing and writes nothing.
pub(super) fn listener(format: Format, quiet: bool, log: Option<Log>) -> Option<Listener> {
    let shown = shown(format, quiet);
    let Some(log) = log else { return shown };
    Some(Box::new(move |e| {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // Events that cannot be written are no reason to stop the work.
        let _ = writeln!(log, "{}", e.to_json());
        drop(log);
        shown.iter().for_each(|s| s(e));
    }))
}

fn shown(format: Format, quiet: bool) -> Option<Listener> {
    if quiet {
        return None;
    }
    if std::io::stderr().is_terminal() {
        let bar = ProgressBar::new(0);
        return Some(Box::new(move |e| show_bar(&bar, e, format)));
    }
    let last = Mutex::new(Instant::now());
    Some(Box::new(move |e| {
        if e.kind == EventKind::Warning {
            talk(&warning(e, format));
        } else if e.kind == EventKind::Progress && format == Format::Text {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= LINE_EVERY {
                *last = Instant::now();
                talk(&line(e));
            }
        }
    }))
}

fn warning(e: &Event, format: Format) -> String {
    let text = e.message.as_deref().unwrap_or_default();
    match format {
        Format::Text => format!("warning: {text}"),
        Format::Json => json!({ "warning": { "message": text } }).to_string(),
    }
}

fn show_bar(bar: &ProgressBar, e: &Event, format: Format) {
    match e.kind {
        EventKind::Stage => {
            let total = e.total.unwrap_or(0);
            bar.set_length(total);
            bar.set_message(e.stage.unwrap_or_default());
            bar.set_style(style(e.unit, total));
            bar.reset();
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        EventKind::Progress => bar.set_position(e.done.unwrap_or(0)),
        EventKind::Warning => bar.suspend(|| talk(&warning(e, format))),
        EventKind::JobEnd => bar.finish_and_clear(),
        _ => {}
    }
}

fn style(unit: Option<Unit>, total: u64) -> ProgressStyle {
    let template = match (unit, total) {
        (Some(Unit::Bytes), 0) => "{msg:>10} {spinner} {bytes}  {bytes_per_sec}",
        (Some(Unit::Bytes), _) => "{msg:>10} [{bar:32}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
        (_, 0) => "{msg:>10} {spinner} {human_pos}  {per_sec}",
        _ => "{msg:>10} [{bar:32}] {human_pos} of {human_len}  {per_sec}  {eta} left",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// A progress event as a line of text.
fn line(e: &Event) -> String {
    let amount = |n: u64| match e.unit {
        Some(Unit::Bytes) => human(n),
        Some(Unit::Entries) => format!("{n} entries"),
        _ => n.to_string(),
    };
    let (done, total, rate) = (e.done.unwrap_or(0), e.total.unwrap_or(0), e.rate.unwrap_or(0));
    let mut out = format!("{}: {}", e.stage.unwrap_or("work"), amount(done));
    if total > 0 {
        out.push_str(&format!(" of {}", amount(total)));
    }
    if rate > 0 {
        out.push_str(&format!(", {}/s", amount(rate)));
        if total > done {
            out.push_str(&format!(", {} s left", (total - done) / rate));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Task;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let listener: Listener = Box::new(move |e| sink.lock().unwrap().push(e.clone()));
        let task = Task::new(crate::job::CancelToken::default(), Some(listener));
        task.stage("read", 4 << 30, Unit::Bytes);
        task.advance(1 << 30);
        let mut event = seen.lock().unwrap().pop().unwrap();
        event.rate = Some(512 << 20);
        assert_eq!(line(&event), "read: 1.0 GiB of 4.0 GiB, 512.0 MiB/s, 6 s left");
        (event.total, event.rate, event.unit) = (Some(0), Some(0), Some(Unit::Entries));
        assert_eq!(line(&event), "read: 1073741824 entries");
    }
}
