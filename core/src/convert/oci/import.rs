//! An image of containers becomes an image: its layers one over the other.

use super::document::{Config, DOCUMENT_LIMIT, LAYER_LIMIT, MediaType, Run, Saved, parse};
use super::layer;
use super::layout::{Layout, SAVED};
use super::select::select;
use super::{Digest, differs};
use crate::convert::bring::{ImportOptions, Imported, Origin, Tree, bring};
use crate::convert::tar::{Limits, Reader};
use crate::error::{Error, Result};
use crate::image::FormatError;
use crate::job::Task;
use crate::store::Store;
use crate::sys::confined::show;
use serde_json::json;
use std::io::Read;

/// A layer that is to be read.
struct Layer {
    /// Its file in the layout.
    file: Vec<u8>,
    size: Option<u64>,
    /// Digest of the file, where it is said.
    blob: Option<Digest>,
    /// Digest of the plain archive.
    plain: Digest,
}

/// Imports the image of `layout` that the options mean.
///
/// # Errors
/// `Integrity` for a wrong digest or size or what cannot be parsed, `UnsafeInput` when something breaks a rule, `Limit`
/// when it is too large, `Unsupported` for blobs that are not read; `NotFound` and `Invalid` when no image, or several,
/// could be meant.
pub(in crate::convert) fn import(
    store: &Store,
    layout: &Layout,
    name: &str,
    options: &ImportOptions,
    task: &Task,
) -> Result<Imported> {
    let (layers, oci, format) =
        if layout.has(super::layout::INDEX) { of_layout(layout, options)? } else { of_saved(layout, options)? };
    let origin = Origin { format, layers: layers.len() as u64, oci: Some(oci) };
    bring(store, name, origin, options, task, |tree| {
        let mut limits = options.limits;
        for (layer, n) in layers.iter().zip(1..) {
            add(layout, layer, &mut limits, tree).map_err(|e| e.fact("layer", n))?;
        }
        Ok(())
    })
}

fn add(layout: &Layout, layer: &Layer, limits: &mut Limits, tree: &mut Tree<'_, '_>) -> Result<()> {
    let (blob, actual) = layout.open(&layer.file)?;
    if layer.size.is_some_and(|size| size != actual) {
        return Err(Error::integrity(format!("{} has not the size that is said of it", show(&layer.file)))
            .fact("expected", layer.size)
            .fact("actual", actual));
    }
    let read = layer::read(blob, |pieces| {
        let mut reader = Reader::new(pieces, *limits).open_end();
        tree.layer(&mut reader)?;
        *limits = reader.remaining();
        Ok(())
    })?;
    if let Some(expected) = layer.blob.filter(|d| *d != read.blob) {
        return Err(differs("a layer", &expected, &read.blob));
    }
    if read.plain != layer.plain {
        return Err(differs("the plain archive of a layer", &layer.plain, &read.plain));
    }
    Ok(())
}

type Found = (Vec<Layer>, serde_json::Value, &'static str);

fn of_layout(layout: &Layout, options: &ImportOptions) -> Result<Found> {
    let (descriptor, manifest) = select(layout, options.reference.as_deref(), options.platform.as_deref())?;
    if MediaType::parse(&manifest.config.media_type)? != MediaType::Config {
        return Err(Error::unsafe_input("the config of the image is of another type"));
    }
    let config: Config = manifest.config.read(layout, "a config")?;
    let plain = plain_layers(&config, manifest.layers.len())?;
    let one = |(d, plain): (&super::document::Descriptor, Digest)| {
        if MediaType::parse(&d.media_type)? != MediaType::Layer {
            return Err(Error::unsafe_input("a layer of the image is of another type"));
        }
        let blob = Digest::parse(&d.digest)?;
        let file = format!("blobs/sha256/{}", blob.hex()).into_bytes();
        Ok(Layer { file, size: Some(d.size), blob: Some(blob), plain })
    };
    let layers = manifest.layers.iter().zip(plain).map(one).collect::<Result<Vec<_>>>()?;
    Ok((layers, facts(&config, Some(&descriptor.digest)), "oci"))
}

/// What `docker save` wrote before it wrote layouts: names instead of digests, but for the plain layers.
fn of_saved(layout: &Layout, options: &ImportOptions) -> Result<Found> {
    let all: Vec<Saved> = parse(&layout.text(SAVED)?, SAVED)?;
    let named = |s: &Saved| match &options.reference {
        None => true,
        Some(wanted) => s.repo_tags.iter().flatten().any(|t| t == wanted),
    };
    let fitting: Vec<&Saved> = all.iter().filter(|s| named(s)).collect();
    let saved = match fitting[..] {
        [one] => one,
        [] => return Err(Error::not_found("the archive holds no such image")),
        _ => {
            let tags: Vec<String> = all.iter().flat_map(|s| s.repo_tags.clone().unwrap_or_default()).collect();
            let hint = format!("name one of them: {}", show(tags.join(", ").as_bytes()));
            return Err(Error::invalid(format!("the archive holds {} images", fitting.len())).hint(hint));
        }
    };
    let (file, size) = layout.open(saved.config.as_bytes())?;
    if size > DOCUMENT_LIMIT {
        return Err(FormatError::Limit { what: "a config", limit: DOCUMENT_LIMIT }.into());
    }
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).map_err(|e| Error::io("read", "the config", e))?;
    // Its name is its digest.
    let stem = saved.config.rsplit('/').next().unwrap_or_default();
    let said = Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem));
    let actual = Digest::of(&bytes);
    if let Some(expected) = said.filter(|d| *d != actual) {
        return Err(differs("a config", &expected, &actual));
    }
    let config: Config = parse(&bytes, "a config")?;
    let plain = plain_layers(&config, saved.layers.len())?;
    let one = |(file, plain): (&String, Digest)| Layer { file: file.clone().into(), size: None, blob: None, plain };
    let layers = saved.layers.iter().zip(plain).map(one).collect();
    Ok((layers, facts(&config, None), "docker"))
}

/// The digests of the plain layers, as many as there are layers.
fn plain_layers(config: &Config, layers: usize) -> Result<Vec<Digest>> {
    if !matches!(&config.os[..], "" | "linux") {
        let os = show(config.os.as_bytes()).into_owned();
        return Err(Error::unsupported(format!("the image is for {os}, not for Linux")));
    }
    if layers > LAYER_LIMIT {
        return Err(FormatError::Limit { what: "the number of layers", limit: LAYER_LIMIT as u64 }.into());
    }
    if config.rootfs.diff_ids.len() != layers {
        return Err(Error::unsafe_input(format!(
            "the manifest has {layers} layers, the config {}",
            config.rootfs.diff_ids.len()
        )));
    }
    config.rootfs.diff_ids.iter().map(|d| Digest::parse(d)).collect()
}

/// What the image says beside its tree.
fn facts(config: &Config, digest: Option<&String>) -> serde_json::Value {
    let mut facts = json!({
        "architecture": show(config.architecture.as_bytes()),
        "config": config.config.as_ref().map(Run::to_fact),
        "os": show(config.os.as_bytes()),
    });
    if let Some(digest) = digest {
        facts["digest"] = digest.clone().into();
    }
    facts
}
