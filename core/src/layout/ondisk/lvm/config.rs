//! LVM's configuration language, as its metadata uses it: sections, and names with a text, a number or a list.
//!
//! ```text
//! name { .. }        name = "text"        name = -5        name = ["pv0", 0]        # comment
//! ```

use super::text::On;

/// How deep sections may be nested; real ones need four.
const DEPTH_LIMIT: usize = 16;
const SECTOR: u64 = 512;

/// Reads a whole text.
pub(super) fn read(text: &[u8]) -> Result<Section, String> {
    Reader { text, at: 0 }.section(0).map(Section)
}

/// What a name stands for.
pub(super) enum Value {
    Number(i64),
    Text(String),
    List(Vec<Value>),
    Section(Section),
}

/// Names and values in the order of the text.
pub(super) struct Section(Vec<(String, Value)>);

impl Section {
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        if let Some(Value::Text(text)) = self.value(key) { Some(text) } else { None }
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        if let Some(Value::Number(n)) = self.value(key) { u64::try_from(*n).ok() } else { None }
    }

    /// A number of sectors, in bytes.
    pub(super) fn sectors(&self, key: &str) -> Option<u64> {
        self.number(key)?.checked_mul(SECTOR)
    }

    /// A list of texts; a single one is a list, too.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let values = match self.value(key) {
            Some(Value::List(values)) => values.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        values.iter().filter_map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None }).collect()
    }

    /// A list in which names and extents take turns; `None` when it is another one, or empty.
    pub(super) fn areas(&self, key: &str) -> Option<Vec<On>> {
        let Some(Value::List(values)) = self.value(key) else { return None };
        let pairs = values.chunks(2).map(|pair| match pair {
            [Value::Text(volume), Value::Number(extent)] => {
                Some(On { volume: volume.clone(), extent: u64::try_from(*extent).ok()? })
            }
            _ => None,
        });
        pairs.collect::<Option<Vec<On>>>().filter(|on| !on.is_empty())
    }

    pub(super) fn sub(&self, key: &str) -> Option<&Self> {
        if let Some(Value::Section(s)) = self.value(key) { Some(s) } else { None }
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|(name, v)| if let Value::Section(s) = v { Some((name.as_str(), s)) } else { None })
    }
}

/// Reads the language from front to back.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Names and values up to the closing brace, or at depth 0 to the end.
    fn section(&mut self, depth: usize) -> Result<Vec<(String, Value)>, String> {
        if depth > DEPTH_LIMIT {
            return Err("the metadata is nested too deeply".to_owned());
        }
        let mut found = Vec::new();
        loop {
            match self.next() {
                None if depth == 0 => return Ok(found),
                None => return Err("the metadata ends within a section".to_owned()),
                Some(b'}') if depth > 0 => {
                    self.at += 1;
                    return Ok(found);
                }
                Some(_) => {}
            }
            let name = self.name()?;
            let value = match self.next() {
                Some(b'{') => {
                    self.at += 1;
                    Value::Section(Section(self.section(depth + 1)?))
                }
                Some(b'=') => {
                    self.at += 1;
                    self.value(depth)?
                }
                _ => return Err(self.wrong("a value or a section")),
            };
            found.push((name, value));
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_LIMIT {
            return Err("the metadata is nested too deeply".to_owned());
        }
        match self.next() {
            Some(b'"') => self.quoted().map(Value::Text),
            Some(b'[') => {
                self.at += 1;
                let mut list = Vec::new();
                loop {
                    match self.next() {
                        Some(b']') => break,
                        Some(b',') if !list.is_empty() => self.at += 1,
                        _ => list.push(self.value(depth + 1)?),
                    }
                }
                self.at += 1;
                Ok(Value::List(list))
            }
            Some(b'-' | b'0'..=b'9') => {
                let digits = self.take(|b| matches!(b, b'-' | b'0'..=b'9'));
                digits.parse().map(Value::Number).map_err(|_| self.wrong("a number"))
            }
            _ => Err(self.wrong("a value")),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        if self.next() == Some(b'"') {
            return self.quoted();
        }
        let name = self.take(|b| b.is_ascii_alphanumeric() || b"_-+./@#".contains(&b));
        if name.is_empty() { Err(self.wrong("a name")) } else { Ok(name) }
    }

    /// Text in quotes, in which a backslash stands before quotes and backslashes.
    fn quoted(&mut self) -> Result<String, String> {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    out.extend(self.text.get(self.at));
                }
                Some(b) => out.push(*b),
                None => return Err("the metadata ends within a text".to_owned()),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn take(&mut self, is: impl Fn(u8) -> bool) -> String {
        let from = self.at;
        while self.text.get(self.at).is_some_and(|b| is(*b)) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[from..self.at]).into_owned()
    }

    /// The next byte that is neither space nor in a comment.
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at)? {
                b if b.is_ascii_whitespace() => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                b => return Some(*b),
            }
        }
    }

    fn wrong(&self, wanted: &str) -> String {
        let line = self.text[..self.at.min(self.text.len())].iter().filter(|b| **b == b'\n').count() + 1;
        format!("line {line} of the metadata lacks {wanted}")
    }
}
