//! Which members of an array work in it, and which do not: what the newest superblock says of them, and of an array that
//! runs what the kernel says.
//!
//! ```text
//! member   its own superblock   the newest one        is
//! a        place 0              a 0, b faulty         active
//! b        place 1              (a 0, b 1, older)     faulty: the array went on without it
//! b        b 1, a faulty        a 0, b faulty         faulty, and the array is split: each went on without the other
//! ```
//!
//! A member that failed says of itself that all is well: nothing is written to it any more. Pure.

use crate::layout::ondisk::md::{Role, Superblock};

/// What the kernel does with a member of an array that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It works in it, or waits there.
    Works,
    /// It is there and failed.
    Failed,
    /// The array runs without it.
    Absent,
}

/// What the members of an array are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Of each member, in their order, what it is; none of one that is outdated.
    pub(super) roles: Vec<Option<Role>>,
    /// Whether members went on without each other: nobody knows whose data are right.
    pub(super) split: bool,
}

/// Judges the members of one array. Members are written one after the other, and those that wait not every time: one
/// that is behind by one event is no older.
pub(super) fn judge(all: &[(&Superblock, Option<Use>)]) -> Judged {
    // The kernel writes to those that work, and knows best.
    let rank = |(s, used): &&(&Superblock, Option<Use>)| (*used == Some(Use::Works), place(s).is_some(), s.events);
    let Some((newest, _)) = all.iter().max_by_key(rank) else { return Judged { roles: Vec::new(), split: false } };
    let highest = all.iter().map(|(s, _)| s.events).max().unwrap_or(0);
    // By one that was written no earlier: whoever is behind does not know what came later.
    let leaves_out = |k: &Superblock, s: &Superblock| {
        place(k).is_some() && k.events >= s.events && k.roles.get(s.number as usize) != Some(&s.role)
    };
    let is_left_out =
        |s: &Superblock| place(s).is_some() && all.iter().any(|(k, _)| !std::ptr::eq(*k, s) && leaves_out(k, s));
    let roles = all.iter().map(|(s, used)| match used {
        Some(Use::Works) => Some(s.role),
        Some(Use::Failed) => Some(Role::Faulty),
        _ if s.role != Role::Spare && s.events.saturating_add(1) < highest => None,
        Some(Use::Absent) => Some(Role::Faulty),
        None if is_left_out(s) => Some(Role::Faulty),
        None => Some(s.role),
    });
    // By places: that somebody took the place of one that failed long ago, that one does not know.
    let went_on = |s: &Superblock| place(newest).is_some() && !s.roles.contains(&newest.role);
    let works = |used: Option<Use>| used == Some(Use::Works);
    let split = all.iter().any(|(s, used)| !works(*used) && is_left_out(s) && went_on(s));
    Judged { roles: roles.collect(), split }
}

/// The place of a member that holds data.
fn place(s: &Superblock) -> Option<u16> {
    if let Role::Active(place) = s.role { Some(place) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ondisk::md::write::{Array, Member};
    use crate::layout::ondisk::md::{self, Level, Version};
    use crate::layout::place::Place;
    use uuid::Uuid;

    const ACTIVE: [Role; 4] = [Role::Active(0), Role::Active(1), Role::Active(2), Role::Active(3)];

    /// The superblock of the member with this number, which says of the numbers 0, 1, .. what they are.
    fn member(number: u16, events: u64, roles: &[Role]) -> Superblock {
        let array = Array {
            uuid: Uuid::from_u128(1),
            name: "any:x".into(),
            version: Version::V1_2,
            level: Level::Raid(1),
            layout: 0,
            chunk: 0,
            raid_disks: 4,
            member_size: 1 << 20,
            data_offset: 1 << 20,
            bitmap: false,
            clean: true,
            created: 1,
        };
        let made = Member { role: number, uuid: Uuid::nil(), size: 2 << 20 };
        let mut disk = vec![0u8; 2 << 20];
        for (at, bytes) in array.member(&made).unwrap() {
            let at = usize::try_from(at).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let s = md::read(&Place::whole(&disk)).unwrap().unwrap();
        Superblock { events, role: roles[usize::from(number)], roles: roles.to_vec(), ..s }
    }

    fn judged(all: &[Superblock]) -> Judged {
        judge(&all.iter().map(|s| (s, None)).collect::<Vec<_>>())
    }

    fn roles(all: &[Option<Role>]) -> Judged {
        Judged { roles: all.to_vec(), split: false }
    }

    #[test]
    fn one_that_failed_is_none_that_works() {
        let (both, faulty) = (&ACTIVE[..2], Role::Faulty);
        let whole = [member(0, 20, both), member(1, 19, both)];
        assert_eq!(judged(&whole), roles(&[Some(ACTIVE[0]), Some(ACTIVE[1])]));
        // As mdadm --fail and --stop leave it: behind by one, and by more.
        let one = [ACTIVE[0], faulty];
        let failed = |events| [member(0, 20, &one), member(1, events, both)];
        assert_eq!(judged(&failed(19)), roles(&[Some(ACTIVE[0]), Some(faulty)]));
        assert_eq!(judged(&failed(20)), roles(&[Some(ACTIVE[0]), Some(faulty)]));
        assert_eq!(judged(&failed(18)), roles(&[Some(ACTIVE[0]), None]));
        let [left, right] = failed(20);
        assert_eq!(judged(&[right, left]), roles(&[Some(faulty), Some(ACTIVE[0])]));
        // While it runs the kernel knows before the superblocks do.
        let used = |second| judge(&[(&whole[0], Some(Use::Works)), (&whole[1], Some(second))]).roles[1];
        assert_eq!([Use::Works, Use::Failed, Use::Absent].map(used), [Some(ACTIVE[1]), Some(faulty), Some(faulty)]);
        let late = failed(20);
        assert_eq!(judge(&[(&late[0], Some(Use::Works)), (&late[1], Some(Use::Works))]).roles[1], Some(ACTIVE[1]));
        assert_eq!(judged(&[]), roles(&[]));
    }

    #[test]
    fn halves_that_went_on_alone_are_split() {
        let faulty = Role::Faulty;
        let halves = |other| judged(&[member(0, 20, &[ACTIVE[0], faulty]), member(1, other, &[faulty, ACTIVE[1]])]);
        for (other, roles) in
            [(20, [Some(faulty); 2]), (19, [Some(ACTIVE[0]), Some(faulty)]), (7, [Some(ACTIVE[0]), None])]
        {
            assert_eq!(halves(other), Judged { roles: roles.to_vec(), split: true });
        }
        // Two of four, and the two others.
        let (left, right) = ([ACTIVE[0], ACTIVE[1], faulty, faulty], [faulty, faulty, ACTIVE[2], ACTIVE[3]]);
        let four = [member(0, 9, &left), member(1, 9, &left), member(2, 9, &right), member(3, 9, &right)];
        assert!(judged(&four).split);
        // One half runs.
        let all: Vec<_> = four.iter().zip([Use::Works, Use::Works, Use::Absent, Use::Absent]).collect();
        let running = judge(&all.into_iter().map(|(s, used)| (s, Some(used))).collect::<Vec<_>>());
        let active = [Some(ACTIVE[0]), Some(ACTIVE[1])];
        assert_eq!(
            (&running.roles[..2], &running.roles[2..], running.split),
            (&active[..], &[Some(faulty); 2][..], true)
        );
    }

    /// Members that failed one after the other, and one that took a place.
    #[test]
    fn what_was_replaced_is_outdated_and_nothing_is_split() {
        let (all, faulty) = (&ACTIVE[..3], Role::Faulty);
        let (two, one) = ([ACTIVE[0], ACTIVE[1], faulty], [ACTIVE[0], faulty, faulty]);
        let in_turn = [member(0, 30, &one), member(1, 20, &two), member(2, 10, all)];
        assert_eq!(judged(&in_turn), roles(&[Some(ACTIVE[0]), None, None]));
        // Number 2 has the place of number 1 now, and is the newest.
        let replaced = [ACTIVE[0], faulty, ACTIVE[1]];
        let taken =
            [member(0, 29, &replaced), member(1, 10, &[ACTIVE[0], ACTIVE[1], faulty]), member(2, 30, &replaced)];
        assert_eq!(judged(&taken), roles(&[Some(ACTIVE[0]), None, Some(ACTIVE[1])]));
        // One that waits was not written for long.
        let spared = [ACTIVE[0], ACTIVE[1], Role::Spare];
        let waits = [member(0, 30, &spared), member(1, 30, &spared), member(2, 3, &spared)];
        assert_eq!(judged(&waits), roles(&[Some(ACTIVE[0]), Some(ACTIVE[1]), Some(Role::Spare)]));
    }
}
