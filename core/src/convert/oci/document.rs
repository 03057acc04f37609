//! The documents of an OCI image, as far as libcv has a use for them: what else they hold is passed over when reading.

use super::Digest;
use super::layout::Layout;
use crate::error::{Error, Result};
use crate::image::FormatError;
use crate::sys::confined::show;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

/// Longest index, manifest or config.
pub(super) const DOCUMENT_LIMIT: u64 = 8 << 20;
/// Most layers of an image.
pub(super) const LAYER_LIMIT: usize = 4096;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The name of an image in a layout.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYERS: [&str; 3] = [
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Index,
    Manifest,
    Config,
    Layer,
}

impl MediaType {
    /// What this name means; compressions of layers are told by their bytes.
    ///
    /// # Errors
    /// `Unsupported` for everything else: encrypted layers, those that lie elsewhere, artefacts that are no images.
    pub(super) fn parse(name: &str) -> Result<Self> {
        let layer = |rest: &str| matches!(rest, "" | "+gzip" | "+zstd");
        match name {
            INDEX | DOCKER_INDEX => Ok(Self::Index),
            MANIFEST | DOCKER_MANIFEST => Ok(Self::Manifest),
            CONFIG | DOCKER_CONFIG => Ok(Self::Config),
            _ if name.strip_prefix(LAYER).is_some_and(layer) || DOCKER_LAYERS.contains(&name) => Ok(Self::Layer),
            _ => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
                let e = Error::unsupported(format!("a blob of type \"{name}\" is not read"));
                Err(match &name {
                    n if n.ends_with("+encrypted") => e.hint("decrypt the image first, as with skopeo copy"),
                    n if n.contains("nondistributable") || n.contains(".foreign.") => {
                        e.hint("the layer lies elsewhere and is not part of the image")
                    }
                    _ => e,
                })
            }
        }
    }
}

/// Where a blob is, what it is, and how it is verified.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    // In the order in which they are written, as by the other programs.
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

impl Descriptor {
    pub(super) fn new(media_type: impl Into<String>, digest: &Digest, size: u64) -> Self {
        let (media_type, digest) = (media_type.into(), digest.to_string());
        Self { media_type, digest, size, annotations: BTreeMap::new(), platform: None }
    }

    /// The document it describes, verified.
    pub(super) fn read<T: DeserializeOwned>(&self, layout: &Layout, what: &'static str) -> Result<T> {
        let digest = Digest::parse(&self.digest)?;
        if self.size > DOCUMENT_LIMIT {
            return Err(FormatError::Limit { what, limit: DOCUMENT_LIMIT }.into());
        }
        let mut bytes = Vec::new();
        let mut blob = layout.blob(&digest, Some(self.size))?;
        blob.read_to_end(&mut bytes).map_err(|e| Error::io("read", &self.digest, e))?;
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(super::differs(what, &digest, &actual));
        }
        parse(&bytes, what)
    }
}

/// Reads a document.
///
/// # Errors
/// `Integrity` when it is not the JSON that it should be.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::integrity(format!("{what} cannot be read: {e}")).cause(e))
}

/// Which machines an image is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variant: Option<String>,
}

/// `index.json`, or an index in a blob.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// A manifest: config and layers, the lowest first.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// A config.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variant: Option<String>,
    #[serde(default)]
    pub(super) config: Option<Run>,
    pub(super) rootfs: RootFs,
    #[serde(default, skip_serializing_if = "Vec::is_empty", skip_deserializing)]
    pub(super) history: Vec<History>,
}

/// The digests of the plain layers.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) diff_ids: Vec<String>,
}

/// How a layer came to be: for people.
#[derive(Serialize)]
pub(super) struct History {
    pub(super) created: String,
    pub(super) created_by: String,
    pub(super) comment: String,
}

/// What a container of the image would run: kept as a fact, and given back by an export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Run {
    // In the order of their names, which is the canonical order of the JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exposed_ports: Option<BTreeMap<String, Empty>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) volumes: Option<BTreeMap<String, Empty>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) working_dir: Option<String>,
}

/// `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Empty {}

impl Run {
    /// As a fact of an image, whose texts have no escapes but `\xHH`.
    pub(super) fn to_fact(&self) -> Value {
        each_text(&serde_json::to_value(self).unwrap_or_default(), &|text| show(text.as_bytes()).into_owned())
    }

    /// What a fact of an image says.
    pub(super) fn from_fact(fact: &Value) -> Option<Self> {
        serde_json::from_value(each_text(fact, &plain)).ok()
    }
}

/// The same value with other texts.
fn each_text(value: &Value, f: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => f(text).into(),
        Value::Array(items) => items.iter().map(|v| each_text(v, f)).collect(),
        Value::Object(fields) => fields.iter().map(|(k, v)| (f(k), each_text(v, f))).collect(),
        other => other.clone(),
    }
}

/// What [`show`] made a text of.
fn plain(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                out.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => out.extend_from_slice(part.as_bytes()),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An image of an archive of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) layers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_config_come_back_through_a_fact() {
        let text = "a\\b \"c\"\nd\u{e9}\u{7f}\\x41";
        let texts = || Some(vec![text.to_owned()]);
        let labels = Some(BTreeMap::from([(text.to_owned(), text.to_owned())]));
        let run = Run { cmd: texts(), env: texts(), labels, ..Run::default() };
        let fact = run.to_fact();
        // As the format of images has them: no escapes but that of a quote, and of bytes.
        let json = fact.to_string().replace("\\\"", "").replace("\\\\x", "");
        assert!(!json.contains('\\'), "{json}");
        assert_eq!(Run::from_fact(&fact), Some(run));
        assert_eq!(Run::from_fact(&Value::Null), None);
    }
}
