//! Templates: texts with `{{ NAME }}` where something of the build belongs.
//!
//! There are a few names and nothing else: no conditions, no loops, no expressions. What needs more is a script's work.

use std::collections::BTreeMap;

/// The names, and what stands for them.
pub const VARIABLES: [(&str, &str); 7] = [
    ("distro", "the name of the distribution in the store, such as rocky-9.4"),
    ("system", "its kind and release, such as el9 or debian12"),
    ("release", "its release, such as 9.4"),
    ("arch", "the architecture, such as x86_64"),
    ("role", "the name of the role"),
    ("image", "the name of the image"),
    ("version", "the version of libcv"),
];

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
    /// Braces that are not closed.
    Open(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push(Piece::Text(before));
        match after.split_once("}}") {
            Some((name, after)) if !name.contains(['\n', '{']) => {
                out.push(Piece::Name(name.trim()));
                rest = after;
            }
            _ => {
                out.push(Piece::Open(after.lines().next().unwrap_or_default()));
                rest = after;
            }
        }
    }
    out.push(Piece::Text(rest));
    out
}

/// What is wrong with a template: the line, and the name that is not known; `None` where braces are not closed.
#[must_use]
pub(super) fn faults(text: &str) -> Vec<(usize, Option<String>)> {
    let mut line = 1;
    let mut out = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(t) => line += t.matches('\n').count(),
            Piece::Name(name) if VARIABLES.iter().any(|(known, _)| *known == name) => {}
            Piece::Name(name) => out.push((line, Some(name.chars().take(60).collect()))),
            Piece::Open(_) => out.push((line, None)),
        }
    }
    out
}

/// The text with its names filled in. A name without a value stays empty.
#[must_use]
pub fn fill(text: &str, values: &BTreeMap<&str, String>) -> String {
    let of = |piece: &Piece<'_>| match piece {
        Piece::Text(t) => (*t).to_owned(),
        Piece::Name(name) => values.get(name).cloned().unwrap_or_default(),
        Piece::Open(_) => "{{".to_owned(),
    };
    pieces(text).iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        let values = BTreeMap::from([("distro", "rocky-9.4".to_owned()), ("role", "node".to_owned())]);
        assert_eq!(fill("a {{ distro }}\n{{role}}{{arch}}.\n", &values), "a rocky-9.4\nnode.\n");
        assert_eq!(fill("no braces { } }}", &values), "no braces { } }}");
        assert_eq!(fill("left {{ open\n}}", &values), "left {{ open\n}}");
    }

    #[test]
    fn what_is_not_known_is_found() {
        assert_eq!(faults("{{ distro }} {{role}}\n"), []);
        assert_eq!(faults("a\nb {{ dirsto }}\n{{ x\n"), [(2, Some("dirsto".to_owned())), (3, None)]);
    }
}
