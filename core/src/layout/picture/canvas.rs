//! The SVG itself: few kinds of elements, each written in one place.

use super::text::{self, Face};
use std::fmt::Write as _;

/// What all texts are written in: the font of the system, wherever that is.
const FONTS: &str = "system-ui, 'Segoe UI', 'DejaVu Sans', 'Noto Sans', Helvetica, Arial, sans-serif";

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Area {
    pub(super) const fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }
}

/// The names of its parts, which no other picture on a page has.
pub(super) struct Ids {
    prefix: String,
}

impl Ids {
    pub(super) fn new(token: &str) -> Self {
        let safe: String = token.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Self { prefix: format!("cv-{safe}") }
    }

    fn of(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }
}

/// What is drawn so far.
pub(super) struct Canvas<'a> {
    ids: &'a Ids,
    out: String,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(ids: &'a Ids) -> Self {
        Self { ids, out: String::new() }
    }

    /// Another one, to be put onto this one when its height is known.
    pub(super) fn sheet(&self) -> Self {
        Self::new(self.ids)
    }

    pub(super) fn put(&mut self, sheet: &Canvas<'_>) {
        self.out.push_str(&sheet.out);
    }

    /// A text whose baseline begins at a point.
    pub(super) fn text(&mut self, x: u32, y: u32, face: Face, text: &str) {
        self.anchored(x, y, "", face, text);
    }

    /// A text that ends at a point.
    pub(super) fn text_to(&mut self, x: u32, y: u32, face: Face, text: &str) {
        self.anchored(x, y, " text-anchor=\"end\"", face, text);
    }

    /// A text around a point.
    pub(super) fn text_around(&mut self, x: u32, y: u32, face: Face, text: &str) {
        self.anchored(x, y, " text-anchor=\"middle\"", face, text);
    }

    fn anchored(&mut self, x: u32, y: u32, anchor: &str, face: Face, text: &str) {
        if text.is_empty() {
            return;
        }
        let (size, ink, text) = (face.size, face.ink, text::escaped(text));
        let bold = if face.bold { " font-weight=\"700\"" } else { "" };
        let _ = writeln!(
            self.out,
            "<text x=\"{x}\" y=\"{y}\"{anchor} font-size=\"{size}\"{bold} fill=\"{ink}\">{text}</text>"
        );
    }

    /// A text in as many lines as it takes, each `height` under the last; gives the baseline of the last one.
    pub(super) fn lines(&mut self, x: u32, y: u32, face: Face, text: &str, room: u32, height: u32) -> u32 {
        let mut at = y;
        for (n, line) in text::wrap(text, face, room).iter().enumerate() {
            at = if n == 0 { y } else { at + height };
            self.text(x, at, face, line);
        }
        at
    }

    pub(super) fn rect(&mut self, area: Area, radius: u32, fill: &str, stroke: &str) {
        self.framed(area, radius, fill, &format!("stroke=\"{stroke}\""));
    }

    /// A rectangle with a frame of its own kind, as attributes.
    pub(super) fn framed(&mut self, area: Area, radius: u32, fill: &str, frame: &str) {
        let Area { x, y, width, height } = area;
        let _ = writeln!(
            self.out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\" fill=\"{fill}\" {frame}/>"
        );
    }

    pub(super) fn filled(&mut self, area: Area, fill: &str) {
        self.framed(area, 0, fill, "stroke=\"none\"");
    }

    /// What is lost.
    pub(super) fn hatched(&mut self, area: Area) {
        let fill = format!("url(#{})", self.ids.of("lost"));
        self.filled(area, &fill);
    }

    /// An arrow downwards.
    pub(super) fn arrow(&mut self, x: u32, from: u32, to: u32) {
        let (head, left, right) = (to - 9, x - 7, x + 7);
        let _ = writeln!(
            self.out,
            "<path d=\"M{x} {from}V{head}\" stroke=\"#52606d\" stroke-width=\"3\" fill=\"none\"/>\n\
             <path d=\"M{left} {head}H{right}L{x} {to}Z\" fill=\"#52606d\"/>"
        );
    }

    /// A box with a text that appears under the pointer. Nothing that is drawn inside, from 0 0 on, gets out of it.
    pub(super) fn boxed(&mut self, area: Area, tip: &str, draw: impl FnOnce(&mut Self)) {
        let Area { x, y, width, height } = area;
        let tip = text::escaped(tip);
        let _ = writeln!(
            self.out,
            "<g><title>{tip}</title>\n\
             <svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" overflow=\"hidden\">"
        );
        draw(self);
        self.out.push_str("</svg></g>\n");
    }

    /// All of it as a document with a ground of its own: a page may be dark.
    pub(super) fn document(self, width: u32, height: u32, title: &str, description: &str) -> String {
        let (name, about, lost) = (self.ids.of("title"), self.ids.of("about"), self.ids.of("lost"));
        let title = text::escaped(title);
        let lines: Vec<String> = description.lines().map(text::escaped).collect();
        let (description, body) = (lines.join("\n"), self.out);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{name} {about}\" direction=\"ltr\" \
             font-family=\"{FONTS}\">\n\
             <title id=\"{name}\">{title}</title>\n\
             <desc id=\"{about}\">{description}</desc>\n\
             <defs><pattern id=\"{lost}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect width=\"8\" height=\"8\" fill=\"#fdeeec\"/>\
             <rect width=\"2\" height=\"8\" fill=\"#e59a93\"/></pattern></defs>\n\
             <rect width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"#ffffff\" stroke=\"#cfd6de\"/>\n\
             {body}</svg>\n"
        )
    }
}
