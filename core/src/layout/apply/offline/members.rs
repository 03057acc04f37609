//! Members of arrays as the kernel would have made them: superblocks and bitmaps that say that all is in step.
//!
//! It is: what is written to an array goes to all its copies, and everything else on its members is zeros. So a kernel
//! that assembles it has nothing to copy, whatever the document says about `sync`.

use super::stack::unsupported;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::ondisk::Piece;
use crate::layout::ondisk::md::write::{Array, Member};
use crate::layout::ondisk::md::{self, Version};
use crate::layout::plan::{Plan, PlannedArray};
use crate::layout::spec::{Bitmap, Level, Metadata, Raid10Layout};
use crate::layout::token;

/// Refuses an array that is not made without the kernel.
///
/// # Errors
/// `Unsupported` (F230); `Invalid` when its numbers do not go together.
pub(super) fn check(plan: &Plan, array: &PlannedArray) -> Result<()> {
    let name = format!("raid/{}", array.id);
    let refuse = |what: &str| Err(unsupported(&format!("{name} {what}")));
    if array.level.has_parity() {
        return refuse(&format!("has level {}", array.level));
    }
    if array.layout.is_some_and(|l| l.kind != 'n') {
        return refuse("has far copies");
    }
    if array.spares > 0 {
        return refuse("has spares");
    }
    if array.level == Level::Raid0 {
        let mut sizes: Vec<u64> = array.members.iter().map(|m| plan.glance(*m).size).collect();
        sizes.dedup();
        // A larger member goes on alone where the others end; and what mdadm leaves free at the end is not what is here.
        if sizes.len() > 1 || array.metadata == Metadata::V1_0 {
            return refuse("is striped over unequal members, or with metadata 1.0");
        }
    }
    pieces(plan, array, 0).map(drop)
}

/// What is written to each member: bytes and where they belong on it.
///
/// # Errors
/// `Invalid` when the numbers do not go together.
pub(super) fn pieces(plan: &Plan, array: &PlannedArray, created: u64) -> Result<Vec<Vec<Piece>>> {
    let active = array.members.len();
    let raid_disks =
        u16::try_from(active).map_err(|_| Error::limit(format!("raid/{} has too many members", array.id)))?;
    let made = Array {
        uuid: array.uuid,
        name: format!("any:{}", array.name),
        version: match array.metadata {
            Metadata::V1_0 => Version::V1_0,
            Metadata::V1_2 => Version::V1_2,
        },
        level: md::Level::from_number(i32::try_from(array.level.number()).unwrap_or(i32::MAX)),
        layout: array.layout.map_or(0, near),
        chunk: array.chunk.unwrap_or(0),
        raid_disks,
        member_size: if array.level == Level::Raid0 { 0 } else { array.component },
        data_offset: array.data_offset,
        bitmap: array.bitmap == Bitmap::Internal,
        clean: true,
        created,
    };
    let member = |(role, device)| {
        let path = format!("raid.{}.members#{role}", array.id);
        made.member(&Member { role, uuid: token::uuid(&plan.seed, &path), size: plan.glance(device).size })
    };
    (0..raid_disks).zip(array.members.iter().copied()).map(member).collect()
}

/// Near copies as a superblock has them: one far one, which is the thing itself.
fn near(layout: Raid10Layout) -> u32 {
    1 << 8 | layout.copies
}

/// Whether a member is read as it was meant.
///
/// # Errors
/// `Integrity` (A408) when it is not.
pub(super) fn verify(array: &PlannedArray, member: &dyn crate::layout::device::ReadAt, name: &str) -> Result<()> {
    let found = md::read(&crate::layout::place::Place::whole(member)).map_err(|e| Error::io("read", name, e))?;
    let right = |s: &md::Superblock| s.uuid == array.uuid && s.clean && s.present() == array.members.len();
    if found.as_ref().is_some_and(right) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Integrity, format!("{name} is not the member of raid/{} that was made", array.id))
        .fact("code", "A408"))
}
