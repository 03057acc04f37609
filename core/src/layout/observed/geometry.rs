//! What superblocks and metadata say about arrays and volumes: what they are, and how they are read without the kernel.

use super::source::{Deal, Joined, Source, Stretch, Striped};
use super::{Node, Volume};
use crate::layout::ondisk::lvm::text::{self, Mapping};
use crate::layout::ondisk::md;
use crate::layout::spec::VolumeKind;
use std::collections::HashMap;
use std::rc::Rc;

/// Reads an array without the kernel.
pub(super) fn array(first: &md::Superblock, members: &[(Node, Source, md::Superblock)]) -> Option<Source> {
    let at = |place: u32| {
        let role = md::Role::Active(u16::try_from(place).ok()?);
        members.iter().find(|(_, _, s)| s.role == role && s.recovery.is_none())
    };
    let data = |place: u32| {
        let (_, source, s) = at(place)?;
        let length = if first.member_size == 0 { s.data_size } else { s.data_size.min(first.member_size) };
        Some(Rc::new(Stretch::new(source, s.data_offset, length)) as Source)
    };
    if first.reshaping || first.raid_disks == 0 || first.raid_disks > 4096 {
        return None;
    }
    let count = u64::from(first.raid_disks);
    let all: Vec<Option<Source>> = (0..first.raid_disks).map(data).collect();
    let (near, far) = (u64::from(first.layout & 0xff), u64::from(first.layout >> 8 & 0xff));
    let whole = |bytes: u64| bytes.checked_div(first.chunk).map_or(0, |n| n.saturating_mul(first.chunk));
    let used = whole(first.member_size);
    let (deal, size) = match first.level {
        md::Level::Raid(1) => return all.into_iter().flatten().next(),
        md::Level::Linear => return Some(Rc::new(Joined(all.into_iter().collect::<Option<Vec<_>>>()?))),
        md::Level::Raid(0) => {
            // Where members differ, what the smallest has not is dealt out to the others; it is not read here.
            let least = all.iter().map(|m| m.as_ref().map_or(0, |m| whole(m.size()))).min()?;
            (Deal::Stripes, least.saturating_mul(count))
        }
        md::Level::Raid(5) if first.layout == 2 => (Deal::LeftSymmetric(1), used.saturating_mul(count.checked_sub(1)?)),
        md::Level::Raid(6) if first.layout == 2 => (Deal::LeftSymmetric(2), used.saturating_mul(count.checked_sub(2)?)),
        md::Level::Raid(10) if near > 0 && far > 0 => {
            let deal = match (near, far, first.layout >> 16 & 1) {
                (_, 1, _) => Deal::Near(near),
                (1, far, 1) => Deal::Offset(far),
                (1, _, 0) => Deal::Stripes,
                _ => return None,
            };
            let chunks = used.checked_div(first.chunk)?.checked_div(far)?.saturating_mul(count) / near;
            (deal, chunks.saturating_mul(first.chunk))
        }
        _ => return None,
    };
    Some(Rc::new(Striped::new(deal, first.chunk, size, all)?))
}

/// A volume as its group describes it.
pub(super) fn volume(group: &text::VolumeGroup, logical: &text::Logical) -> Volume {
    let mappings: Vec<&Mapping> = logical.segments.iter().map(|s| &s.mapping).collect();
    let striped = |m: &Mapping| match m {
        Mapping::Striped { stripe, on } => Some((u32::try_from(on.len()).unwrap_or(0), *stripe)),
        _ => None,
    };
    let first = mappings.first().copied();
    let alike = mappings.iter().all(|m| Some(striped(m)) == first.map(striped));
    let other = |m: &Mapping| match m {
        Mapping::Linear(_) | Mapping::Striped { .. } | Mapping::ThinPool { .. } => None,
        Mapping::Thin { origin, .. } => origin.as_ref().map(|_| "thin snapshot".to_owned()),
        Mapping::Raid { level, .. } => Some(level.clone()),
        Mapping::Cache { .. } => Some("cache".to_owned()),
        Mapping::CachePool { .. } => Some("cache-pool".to_owned()),
        Mapping::Other(kind) => Some(kind.clone()),
    };
    let kind = match (mappings.iter().find_map(|m| other(m)), first) {
        (Some(other), _) => Err(other),
        (None, None) => Err("nothing".to_owned()),
        (None, Some(_)) if !alike => Err("several kinds of segments".to_owned()),
        (None, Some(Mapping::ThinPool { .. })) => Ok(VolumeKind::ThinPool),
        (None, Some(Mapping::Thin { .. })) => Ok(VolumeKind::Thin),
        (None, Some(_)) => Ok(VolumeKind::Linear),
    };
    let (chunk, metadata) = match first {
        Some(Mapping::ThinPool { chunk, metadata, .. }) => {
            (Some(*chunk), group.volume(metadata).map_or(0, text::Logical::extents))
        }
        _ => (None, 0),
    };
    let pool = match first {
        Some(Mapping::Thin { pool, .. }) => Some(pool.clone()),
        _ => None,
    };
    Volume {
        name: logical.name.clone(),
        uuid: logical.uuid.clone(),
        kind,
        extents: logical.extents(),
        stripes: first.and_then(striped),
        chunk,
        metadata,
        pool,
        size: group.size_of(logical),
        tags: logical.tags.clone(),
        active: None,
    }
}

/// Reads a volume without the kernel: linear and striped ones.
pub(super) fn mapped(
    group: &text::VolumeGroup,
    logical: &text::Logical,
    sources: &HashMap<&str, (Source, u64)>,
) -> Option<Source> {
    let stretch = |on: &text::On, extents: u64| -> Option<Source> {
        let (source, start) = sources.get(on.volume.as_str())?;
        let at = on.extent.checked_mul(group.extent_size)?.checked_add(*start)?;
        Some(Rc::new(Stretch::new(source, at, extents.checked_mul(group.extent_size)?)))
    };
    let mut parts = Vec::new();
    for segment in &logical.segments {
        parts.push(match &segment.mapping {
            Mapping::Linear(on) => stretch(on, segment.extents)?,
            Mapping::Striped { stripe, on } => {
                let each = segment.extents.checked_div(on.len() as u64)?;
                let members = on.iter().map(|o| stretch(o, each)).collect();
                let size = segment.extents.checked_mul(group.extent_size)?;
                Rc::new(Striped::new(Deal::Stripes, *stripe, size, members)?)
            }
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| Rc::new(Joined(parts)) as Source)
}
