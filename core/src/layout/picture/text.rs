//! Texts in a picture: made harmless, measured, cut and wrapped.
//!
//! Nobody knows the font of who looks: widths are those of a wide one, and what matters is clipped besides.

use crate::shown;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Face {
    pub(super) size: u32,
    pub(super) bold: bool,
    pub(super) ink: &'static str,
}

impl Face {
    pub(super) const fn plain(size: u32, ink: &'static str) -> Self {
        Self { size, bold: false, ink }
    }

    pub(super) const fn bold(size: u32, ink: &'static str) -> Self {
        Self { size, bold: true, ink }
    }
}

/// A text as content or attribute of an element.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in shown::line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The width in pixels that a text takes at most in the usual fonts.
pub(super) fn width(text: &str, face: Face) -> u32 {
    let thousandths: u64 = text.chars().map(|c| u64::from(advance(c))).sum();
    let bold = if face.bold { 112 } else { 100 };
    u32::try_from((thousandths * u64::from(face.size) * bold).div_ceil(100_000)).unwrap_or(u32::MAX)
}

/// Thousandths of the size of the font.
fn advance(c: char) -> u32 {
    match c {
        'i' | 'j' | 'l' | 'I' | '\'' | '|' | ' ' | '.' | ',' | ':' | ';' | '/' => 340,
        'f' | 't' | 'r' | '-' | '(' | ')' | '[' | ']' | '!' | '"' => 440,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '×' | '…' => 1000,
        'A'..='Z' => 760,
        ' '..='~' => 640,
        '\u{80}'..='\u{10ff}' => 800,
        '\u{1100}'..='\u{ffff}' => 1050,
        _ => 1350,
    }
}

/// A text that fits into `room` pixels: it, or its begin with an ellipsis; and whether it was cut.
pub(super) fn fit(text: &str, face: Face, room: u32) -> (String, bool) {
    let text = shown::line(text);
    if width(&text, face) <= room {
        return (text, false);
    }
    let mut kept = head(&text, face, room.saturating_sub(width("…", face)));
    // An ellipsis alone says nothing.
    if !kept.is_empty() {
        kept.push('…');
    }
    (kept, true)
}

/// Lines of up to `room` pixels; a word that is longer is broken.
pub(super) fn wrap(text: &str, face: Face, room: u32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in shown::line(text).split(' ') {
        let last = lines.last_mut().filter(|l| l.is_empty() || width(&format!("{l} {word}"), face) <= room);
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
        while let Some(line) = lines.pop() {
            let fitting = head(&line, face, room);
            if fitting.len() == line.len() || fitting.is_empty() {
                lines.push(line);
                break;
            }
            let rest = line[fitting.len()..].to_owned();
            lines.extend([fitting, rest]);
        }
    }
    lines
}

/// As much of the begin as fits.
fn head(text: &str, face: Face, room: u32) -> String {
    let mut sum = 0u64;
    let bold = if face.bold { 112 } else { 100 };
    let limit = u64::from(room) * 100_000;
    let fits = |c: &char| {
        sum += u64::from(advance(*c)) * u64::from(face.size) * bold;
        sum <= limit
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACE: Face = Face::plain(12, "#000000");

    #[test]
    fn nothing_gets_out_of_an_element() {
        assert_eq!(escaped("</text><script>&\"'"), "&lt;/text&gt;&lt;script&gt;&amp;&quot;&#39;");
        assert_eq!(escaped("a\0b\u{1b}c\nd\u{202e}e\u{ffff}f"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f");
    }

    #[test]
    fn what_is_cut_fits_and_what_is_wrapped_is_whole() {
        for text in ["short", "a rather long text of some words", "ディスクディスクディスクディスクディスクディスク"]
        {
            for room in [0, 5, 17, 60, 200, 1000] {
                let (cut, was_cut) = fit(text, FACE, room);
                assert!(width(&cut, FACE) <= room.max(1), "{cut} in {room}");
                assert_eq!(was_cut, cut != text);
                let lines = wrap(text, FACE, room.max(20));
                assert!(lines.iter().all(|l| width(l, FACE) <= room.max(20)), "{lines:?} in {room}");
                assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
            }
        }
    }
}
