//! Which manifest of a layout: by name, and by the machine that it is for.

use super::document::{Descriptor, Index, Manifest, MediaType, Platform, REF_NAME, parse};
use super::layout::{INDEX, Layout};
use crate::error::{Error, Result};
use crate::image::FormatError;
use crate::sys::confined::show;

/// Deepest nesting of indexes.
const DEPTH_LIMIT: usize = 8;
/// Most images that an error lists.
const LISTED: usize = 20;

/// The manifest that is meant, with its descriptor.
///
/// # Errors
/// `NotFound` when there is none for the platform or of the name, `Invalid` when several could be meant.
pub(super) fn select(
    layout: &Layout,
    reference: Option<&str>,
    platform: Option<&str>,
) -> Result<(Descriptor, Manifest)> {
    let wanted = Wanted::parse(platform)?;
    let index: Index = parse(&layout.text(INDEX)?, INDEX)?;
    version(index.schema_version)?;
    let name = |d: &Descriptor| d.annotations.get(REF_NAME).cloned();
    let all = index.manifests;
    let named: Vec<&Descriptor> = match reference {
        Some(r) => all.iter().filter(|d| name(d).as_deref() == Some(r)).collect(),
        None => all.iter().collect(),
    };
    let fitting: Vec<&Descriptor> = named.iter().copied().filter(|d| wanted.fits(d)).collect();
    let chosen = match fitting[..] {
        [] if named.is_empty() => return Err(none(&format!("of the name \"{}\"", reference.unwrap_or("")), &all)),
        [] => return Err(none(&format!("for {wanted}"), &all)),
        // The same one under several names.
        [first, ref rest @ ..] if rest.iter().all(|d| d.digest == first.digest) => first,
        [..] => {
            return Err(Error::invalid(format!("the layout holds {} images that fit", fitting.len()))
                .hint(format!("name one of them: {}", list(&fitting))));
        }
    };
    let mut chosen = chosen.clone();
    for _ in 0..DEPTH_LIMIT {
        match MediaType::parse(&chosen.media_type)? {
            MediaType::Manifest => {
                let manifest: Manifest = chosen.read(layout, "a manifest")?;
                version(manifest.schema_version)?;
                return Ok((chosen, manifest));
            }
            MediaType::Index => {
                let index: Index = chosen.read(layout, "an index")?;
                version(index.schema_version)?;
                // The first that fits, as the specification says.
                let fits = index.manifests.iter().find(|d| wanted.fits(d));
                chosen = fits.cloned().ok_or_else(|| none(&format!("for {wanted}"), &index.manifests))?;
            }
            _ => return Err(Error::unsafe_input("an index leads to what is no manifest")),
        }
    }
    Err(FormatError::Limit { what: "the nesting of indexes", limit: DEPTH_LIMIT as u64 }.into())
}

fn version(n: u32) -> Result<()> {
    if n == 2 { Ok(()) } else { Err(FormatError::Unknown { what: "the image", feature: format!("schema {n}") }.into()) }
}

fn none(what: &str, there: &[Descriptor]) -> Error {
    let all: Vec<&Descriptor> = there.iter().collect();
    Error::not_found(format!("the layout holds no image {what}")).hint(format!("there are: {}", list(&all)))
}

/// The images, by name and platform.
fn list(images: &[&Descriptor]) -> String {
    let one = |d: &&Descriptor| {
        let name = d.annotations.get(REF_NAME).map_or("without a name", String::as_str);
        let platform = d.platform.as_ref().map(|p| format!(" ({}/{})", p.os, p.architecture)).unwrap_or_default();
        show(format!("{name}{platform}").as_bytes()).into_owned()
    };
    let mut all: Vec<String> = images.iter().take(LISTED).map(one).collect();
    if images.len() > LISTED {
        all.push("…".to_owned());
    }
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// The platform that is wanted.
struct Wanted {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Wanted {
    fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else {
            return Ok(Self {
                os: "linux".into(),
                architecture: architecture(std::env::consts::ARCH).into(),
                variant: None,
            });
        };
        let bad = || Error::invalid(format!("\"{text}\" is no platform")).hint("as linux/arm64 or linux/arm/v7");
        match text.split('/').collect::<Vec<_>>()[..] {
            [os, a] if ![os, a].contains(&"") => Ok(Self { os: os.into(), architecture: a.into(), variant: None }),
            [os, a, v] if ![os, a, v].contains(&"") => {
                Ok(Self { os: os.into(), architecture: a.into(), variant: Some(v.into()) })
            }
            _ => Err(bad()),
        }
    }

    /// What says nothing fits.
    fn fits(&self, d: &Descriptor) -> bool {
        let Some(Platform { architecture, os, variant }) = &d.platform else { return true };
        *os == self.os
            && *architecture == self.architecture
            && (self.variant.is_none() || variant.is_none() || *variant == self.variant)
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |v| write!(f, "/{v}"))
    }
}

/// The name that the images of containers have for an architecture.
pub(super) fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
