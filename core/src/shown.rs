//! Texts as people may see them.
//!
//! Names come from disks, documents and archives of strangers. Characters that steer a terminal, cannot be seen, turn the
//! direction of what stands beside them, or cannot be in XML become U+FFFD, which is seen. Programs get the text as it is.

/// What stands for a character that is not shown.
const NOT_SHOWN: char = '\u{fffd}';

/// One line of text with nothing in it that hides, tampers with its neighbours, or is not allowed in XML.
pub(crate) fn line(text: &str) -> String {
    filtered(text, |_| false)
}

/// The same of several lines, whose ends and tabs stay.
pub(crate) fn text(text: &str) -> String {
    filtered(text, |c| c == '\n' || c == '\t')
}

fn filtered(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut marks = 0;
    let safe = |c: char| {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        // Many marks on one letter grow over the lines above and below.
        if marks > 2 || is_hidden(c) && !stays(c) { NOT_SHOWN } else { c }
    };
    text.chars().map(safe).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(line("a\0b\u{1b}[2Jc\nd\u{202e}e\u{ffff}f"), "a\u{fffd}b\u{fffd}[2Jc\u{fffd}d\u{fffd}e\u{fffd}f");
        assert_eq!(text("a\u{1b}]0;p\u{7}\n\tb\r\u{9b}c"), "a\u{fffd}]0;p\u{fffd}\n\tb\u{fffd}\u{fffd}c");
        assert_eq!(line("größe ディスク"), "größe ディスク");
        let high = format!("a{}", "\u{301}".repeat(50));
        assert_eq!(line(&high), format!("a\u{301}\u{301}{}", "\u{fffd}".repeat(48)));
    }
}
