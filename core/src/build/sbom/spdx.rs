//! SPDX 2.3, <https://spdx.github.io/spdx-spec/v2.3/>.

use super::{Subject, namespace, number};
use crate::build::packages::Package;
use crate::sys::clock;
use serde::Serialize;
use std::collections::BTreeMap;

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: Creation,
    packages: Vec<Entry>,
    has_extracted_licensing_infos: Vec<License>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct Creation {
    created: String,
    creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    download_location: &'static str,
    files_analyzed: bool,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    supplier: String,
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<Reference>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct License {
    license_id: String,
    extracted_text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

pub(super) fn document(subject: &Subject, packages: &[Package]) -> Document {
    let namespace = namespace(subject, packages);
    // Packages write licences in words of their own: each text is a licence of the document.
    let mut texts: BTreeMap<&str, String> =
        packages.iter().filter_map(|p| Some((p.license.as_deref()?, String::new()))).collect();
    texts.values_mut().enumerate().for_each(|(n, id)| *id = format!("LicenseRef-{}", n + 1));
    let image = Entry {
        id: IMAGE.to_owned(),
        name: subject.name.clone(),
        version_info: subject.version.clone(),
        primary_package_purpose: "OPERATING-SYSTEM",
        ..Entry::unknown()
    };
    let entry = |(n, package): (usize, &Package)| Entry {
        id: id(n),
        name: package.name.clone(),
        version_info: package.evr(),
        license_declared: package
            .license
            .as_deref()
            .and_then(|l| texts.get(l))
            .map_or(UNKNOWN.to_owned(), Clone::clone),
        supplier: package.vendor.as_ref().map_or(UNKNOWN.to_owned(), |v| format!("Organization: {v}")),
        source_info: package.source.as_ref().map(|s| format!("built from {s}")),
        external_refs: vec![Reference {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: package.purl(namespace),
        }],
        ..Entry::unknown()
    };
    let relationship = |from: &str, kind, to: &str| Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type: kind,
        related_spdx_element: to.to_owned(),
    };
    let contained = (0..packages.len()).map(|n| relationship(IMAGE, "CONTAINS", &id(n)));
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: subject.name.clone(),
        document_namespace: format!("https://libcv.invalid/spdx/{}", number(subject, packages)),
        creation_info: Creation {
            created: clock::rfc3339(subject.created),
            creators: vec![format!("Tool: libcv-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages: std::iter::once(image).chain(packages.iter().enumerate().map(entry)).collect(),
        has_extracted_licensing_infos: {
            let license =
                |(text, id): (&&str, &String)| License { license_id: id.clone(), extracted_text: (*text).to_owned() };
            texts.iter().map(license).collect()
        },
        relationships: std::iter::once(relationship(DOCUMENT, "DESCRIBES", IMAGE)).chain(contained).collect(),
    }
}

/// By position: names of packages have characters that an identifier must not have.
fn id(n: usize) -> String {
    format!("SPDXRef-Package-{}", n + 1)
}

impl Entry {
    fn unknown() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            version_info: String::new(),
            download_location: UNKNOWN,
            files_analyzed: false,
            license_concluded: UNKNOWN,
            license_declared: UNKNOWN.to_owned(),
            copyright_text: UNKNOWN,
            supplier: UNKNOWN.to_owned(),
            primary_package_purpose: "LIBRARY",
            source_info: None,
            external_refs: Vec::new(),
        }
    }
}
