//! What a node lets others ask (`docs/node-protocol.md` §3). What does not stand in it is refused.

use super::Action;
use crate::document::diagnostic::{Diagnostic, Position};
use crate::document::library::read_document;
use crate::document::reader::{Fields, Reader};
use crate::document::{Codes, Form, Node, node};
use crate::error::{Error, Result};
use crate::sign::Keyring;
use crate::store::Ref;
use std::path::{Path, PathBuf};
use wildmatch::WildMatch;

static FORM: Form = Form {
    schema: "cv.policy/v1",
    example: "policy",
    places: "nowhere",
    codes: Codes {
        unknown: "P001",
        text: "P002",
        twice: "P003",
        missing: "P004",
        value: "P005",
        schema: "P006",
        limit: "P007",
        name: "P008",
        base: "P010",
        circle: "P011",
    },
};

/// What a node lets others ask.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    capture: Option<CapturePolicy>,
    update: Option<UpdatePolicy>,
}

/// Captures that are allowed.
#[derive(Clone, Debug)]
pub(super) struct CapturePolicy {
    names: Vec<String>,
    pub(super) root: PathBuf,
    pub(super) exclude: Vec<String>,
}

/// Updates that are allowed.
#[derive(Clone, Debug)]
pub(super) struct UpdatePolicy {
    images: Vec<String>,
    /// One of these has signed the generation; without any, the server is believed.
    keys: Vec<PathBuf>,
    pub(super) root: PathBuf,
    pub(super) protect: Vec<String>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// `NotFound`, `Io`; `Invalid` or `Limit` with all diagnostics in `detail.diagnostics`.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_document(path, "policy")?;
        Self::parse(&bytes, path)
    }

    /// Reads a policy in YAML or JSON; files that it names lie beside `path`.
    ///
    /// # Errors
    /// As [`Policy::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let failed = |found: &[Diagnostic]| crate::document::diagnostic::to_error(&path.display().to_string(), found);
        let root = node::read(bytes, &FORM.codes).map_err(|d| failed(&[d]))?;
        let mut r = Reader::new(&FORM);
        let policy = decode(&mut r, &root, path.parent().unwrap_or(Path::new("")));
        if r.found.is_empty() { Ok(policy) } else { Err(failed(&r.found)) }
    }

    /// What a capture may be, if this node lets others ask for it.
    ///
    /// # Errors
    /// `Refused`.
    pub(super) fn capture(&self, name: &str) -> Result<&CapturePolicy> {
        let policy =
            self.capture.as_ref().ok_or_else(|| Error::refused("the policy of this node allows no captures"))?;
        allowed(&policy.names, name, "captures of").map(|()| policy)
    }

    /// What an update may be, if this node lets others ask for it.
    ///
    /// # Errors
    /// `Refused`; `Invalid` for what is no reference to a name.
    pub(super) fn update(&self, image: &str) -> Result<&UpdatePolicy> {
        let policy = self.update.as_ref().ok_or_else(|| Error::refused("the policy of this node allows no updates"))?;
        allowed(&policy.images, Ref::parse(image)?.name(), "updates to").map(|()| policy)
    }

    /// Whether it allows anything of this kind.
    ///
    /// # Errors
    /// As [`Policy::capture`] and [`Policy::update`].
    pub fn check(&self, action: &Action) -> Result<()> {
        match action {
            Action::Capture { name, .. } => self.capture(name).map(drop),
            Action::Update { image, .. } => self.update(image).map(drop),
        }
    }
}

impl UpdatePolicy {
    /// Whose signatures count, if any have to.
    pub(super) fn keys(&self) -> Result<Option<Keyring>> {
        if self.keys.is_empty() { Ok(None) } else { Keyring::read(&self.keys).map(Some) }
    }
}

fn allowed(patterns: &[String], name: &str, what: &str) -> Result<()> {
    if patterns.iter().any(|p| WildMatch::new(p).matches(name)) {
        return Ok(());
    }
    Err(Error::refused(format!("the policy of this node allows no {what} {}", crate::shown::line(name))))
}

fn decode(r: &mut Reader, root: &Node, beside: &Path) -> Policy {
    let Some(top) = r.fields(root, "", &["schema", "capture", "update"]) else { return Policy::default() };
    if let Some(schema) = r.required(&top, "schema").and_then(|n| r.text(n, "schema"))
        && schema != FORM.schema
    {
        let place = top.get("schema").map_or(Position::default(), |n| n.place);
        r.wrong(FORM.codes.schema, "schema", place, format!("the schema is not {}", FORM.schema));
    }
    let capture = top.get("capture").and_then(|n| r.fields(n, "capture", &["names", "root", "exclude"]));
    let capture = capture.map(|f| CapturePolicy {
        names: names(r, &f, "names"),
        root: directory(r, &f),
        exclude: r.one_or_more(&f, "exclude"),
    });
    let update = top.get("update").and_then(|n| r.fields(n, "update", &["images", "keys", "root", "protect"]));
    let update = update.map(|f| UpdatePolicy {
        images: names(r, &f, "images"),
        keys: r.one_or_more(&f, "keys").iter().map(|k| beside.join(k)).collect(),
        root: directory(r, &f),
        protect: r.one_or_more(&f, "protect"),
    });
    Policy { capture, update }
}

fn names(r: &mut Reader, fields: &Fields<'_>, key: &'static str) -> Vec<String> {
    r.required(fields, key);
    r.one_or_more(fields, key)
}

fn directory(r: &mut Reader, fields: &Fields<'_>) -> PathBuf {
    let root = PathBuf::from(r.optional_text(fields, "root").unwrap_or_else(|| "/".to_owned()));
    if !root.is_absolute() {
        let place = fields.get("root").map_or(fields.place, |n| n.place);
        r.wrong(FORM.codes.value, &fields.path("root"), place, "the root is an absolute path");
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn parse(text: &str) -> Result<Policy> {
        Policy::parse(text.as_bytes(), Path::new("/etc/libcv/policy.yaml"))
    }

    fn capture(name: &str) -> Action {
        Action::Capture { name: name.into(), tag: None, exclude: Vec::new(), max_size: None }
    }

    fn update(image: &str) -> Action {
        Action::Update { image: image.into(), dry_run: false, protect: Vec::new() }
    }

    #[test]
    fn what_does_not_stand_in_it_is_refused() {
        let none = parse("schema: cv.policy/v1\n").unwrap();
        let some = parse(
            "schema: cv.policy/v1\ncapture: {names: [login, 'test-*'], exclude: /scratch}\n\
             update: {images: ['rocky*'], keys: [site.pub], root: /srv/root}\n",
        )
        .unwrap();
        for action in [capture("login"), update("rocky9")] {
            assert_eq!(none.check(&action).unwrap_err().kind(), ErrorKind::Refused);
            some.check(&action).unwrap();
        }
        for action in [capture("test-7"), update("rocky9:good"), update("rocky9@3")] {
            some.check(&action).unwrap();
        }
        for action in [capture("logins"), capture("rocky9"), capture(""), update("login"), update("ubuntu:rocky")] {
            assert_eq!(some.check(&action).unwrap_err().kind(), ErrorKind::Refused, "{action:?}");
        }
        let (capture, update) = (some.capture.unwrap(), some.update.unwrap());
        assert_eq!((capture.root, capture.exclude), (PathBuf::from("/"), vec!["/scratch".to_owned()]));
        assert_eq!((update.root, update.keys), ("/srv/root".into(), vec![PathBuf::from("/etc/libcv/site.pub")]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, code) in [
            ("schema: cv.policy/v2", "P006"),
            ("capture: {names: [x]}", "P004"),
            ("schema: cv.policy/v1\ncaptures: {}", "P001"),
            ("schema: cv.policy/v1\ncapture: {}", "P004"),
            ("schema: cv.policy/v1\ncapture: yes", "P005"),
            ("schema: cv.policy/v1\nupdate: {images: [x], root: here}", "P005"),
            ("schema: [", "P002"),
            ("", "P005"),
        ] {
            let e = parse(text).unwrap_err();
            assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Invalid, &code.into()), "{text}: {e}");
        }
    }
}
