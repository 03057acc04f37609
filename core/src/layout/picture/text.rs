//! Texts in a picture: made harmless, measured, cut and wrapped.
//!
//! Names come from disks. Characters that cannot be in XML, cannot be seen, or turn the direction of what stands beside
//! them become U+FFFD, which is seen. Nobody knows the font of who looks: widths are those of a wide one, and what matters
//! is clipped besides.

/// What stands for a character that is not shown.
const NOT_SHOWN: char = '\u{fffd}';

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

/// A text with nothing in it that hides, tampers with its neighbours, or is not allowed in XML.
pub(super) fn shown(text: &str) -> String {
    let mut marks = 0;
    let safe = |c: char| {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        // Many marks on one letter grow over the lines above and below.
        if marks > 2 || is_hidden(c) { NOT_SHOWN } else { c }
    };
    text.chars().map(safe).collect()
}

/// The same as content or attribute of an element.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in shown(text).chars() {
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

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xad | 0x61c | 0x115f | 0x1160 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0xe_0000..=0xe_0fff)
        // The last two of each plane are no characters; XML forbids those of the first.
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(u32::from(c), 0xfdd0..=0xfdef)
}

fn is_mark(c: char) -> bool {
    matches!(u32::from(c),
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5c7 | 0x610..=0x61a | 0x64b..=0x65f | 0xe31 | 0xe34..=0xe3a
        | 0xe47..=0xe4e | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f)
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
    let text = shown(text);
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
    for word in shown(text).split(' ') {
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
        assert_eq!(shown("größe ディスク"), "größe ディスク");
        let high = format!("a{}", "\u{301}".repeat(50));
        assert_eq!(shown(&high), format!("a\u{301}\u{301}{}", "\u{fffd}".repeat(48)));
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
