//! CycloneDX 1.5, <https://cyclonedx.org/docs/1.5/json/>.

use super::{Subject, namespace, number};
use crate::build::packages::Package;
use crate::sys::clock;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<Supplier>,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Supplier {
    name: String,
}

/// By name and not as an expression: packages write licences in words of their own.
#[derive(Serialize)]
struct Choice {
    license: License,
}

#[derive(Serialize)]
struct License {
    name: String,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

impl Component {
    fn plain(kind: &'static str, name: &str, version: &str) -> Self {
        Self {
            kind,
            reference: None,
            supplier: None,
            name: name.to_owned(),
            version: version.to_owned(),
            licenses: Vec::new(),
            purl: None,
            properties: Vec::new(),
        }
    }
}

pub(super) fn document(subject: &Subject, packages: &[Package]) -> Document {
    let namespace = namespace(subject, packages);
    let mut image = Component::plain("operating-system", &subject.name, &subject.version);
    image.reference = Some(format!("image:{}", subject.version));
    let mut taken = BTreeSet::new();
    Document {
        bom_format: "CycloneDX",
        spec_version: "1.5",
        serial_number: number(subject, packages).urn().to_string(),
        version: 1,
        metadata: Metadata {
            timestamp: clock::rfc3339(subject.created),
            tools: Tools { components: vec![Component::plain("application", "libcv", env!("CARGO_PKG_VERSION"))] },
            component: image,
        },
        components: packages.iter().map(|p| component(p, namespace, &mut taken)).collect(),
    }
}

fn component(package: &Package, namespace: &str, taken: &mut BTreeSet<String>) -> Component {
    let purl = package.purl(namespace);
    let property = |name, value: &Option<String>| value.clone().map(|value| Property { name, value });
    // References are unique in a document, even where a damaged database has a package twice.
    let reference = taken.insert(purl.clone()).then(|| purl.clone());
    Component {
        reference,
        supplier: package.vendor.clone().map(|name| Supplier { name }),
        licenses: package.license.iter().map(|name| Choice { license: License { name: name.clone() } }).collect(),
        purl: Some(purl),
        properties: [
            property("libcv:source", &package.source),
            property("libcv:module", &package.module),
            property("libcv:header-sha256", &package.header_sha256),
        ]
        .into_iter()
        .flatten()
        .collect(),
        ..Component::plain("library", &package.name, &package.evr())
    }
}
