//! Whether any assignment of disks to sets would do, after the one in order has failed.

use std::collections::VecDeque;

/// Work beyond this is not worth a better hint.
const EFFORT: usize = 50_000_000;

/// Whether every set can have as many disks as it needs at least: `sets` with their number and the disks that fit.
///
/// Augmenting paths between sets and disks: a set that lacks a disk takes one from another that can take a third.
pub(super) fn is_possible(sets: &[(usize, Vec<usize>)], disks: usize) -> bool {
    let wanted: usize = sets.iter().map(|(n, _)| *n).sum();
    if wanted > disks || wanted.saturating_mul(sets.len()).saturating_mul(disks) > EFFORT {
        return false;
    }
    let mut owner: Vec<Option<usize>> = vec![None; disks];
    for (set, (number, _)) in sets.iter().enumerate() {
        for _ in 0..*number {
            if !augment(set, sets, &mut owner) {
                return false;
            }
        }
    }
    true
}

/// Gives one more disk to `set`, moving others between sets if need be.
fn augment(set: usize, sets: &[(usize, Vec<usize>)], owner: &mut [Option<usize>]) -> bool {
    // For each disk the set that came to it, for each set the disk it would give away.
    let mut came: Vec<Option<usize>> = vec![None; owner.len()];
    let mut gives: Vec<Option<usize>> = vec![None; sets.len()];
    let mut todo = VecDeque::from([set]);
    while let Some(at) = todo.pop_front() {
        for disk in &sets[at].1 {
            if came[*disk].is_some() || owner[*disk] == Some(set) {
                continue;
            }
            came[*disk] = Some(at);
            match owner[*disk] {
                Some(other) if gives[other].is_none() => {
                    gives[other] = Some(*disk);
                    todo.push_back(other);
                }
                Some(_) => {}
                None => {
                    let mut free = Some(*disk);
                    while let Some(disk) = free {
                        let taker = came[disk];
                        owner[disk] = taker;
                        free = taker.filter(|t| *t != set).and_then(|t| gives[t]);
                    }
                    return true;
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_move_between_sets() {
        assert!(is_possible(&[(1, vec![0, 1]), (1, vec![0])], 2));
        assert!(!is_possible(&[(2, vec![0, 1]), (1, vec![0])], 2));
        assert!(is_possible(&[(2, vec![0, 1, 2]), (1, vec![0, 1]), (1, vec![3, 0])], 4));
        assert!(!is_possible(&[(1, vec![])], 3));
    }

    /// Small cases against all assignments there are.
    #[test]
    fn it_agrees_with_trying_everything() {
        let mut state = 7u32;
        let mut random = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % n
        };
        let (mut yes, mut no) = (0, 0);
        for _ in 0..2000 {
            let disks = 1 + random(5) as usize;
            let sets: Vec<(usize, Vec<usize>)> = (0..1 + random(3))
                .map(|_| (random(3) as usize, (0..disks).filter(|_| random(2) == 0).collect()))
                .collect();
            let found = is_possible(&sets, disks);
            assert_eq!(found, brute(&sets, disks, &mut vec![None; disks], 0), "{sets:?} {disks}");
            *(if found { &mut yes } else { &mut no }) += 1;
        }
        assert!(yes > 200 && no > 200, "{yes} {no}");
    }

    fn brute(sets: &[(usize, Vec<usize>)], disks: usize, owner: &mut Vec<Option<usize>>, at: usize) -> bool {
        if at == disks {
            let has = |set: usize| owner.iter().filter(|o| **o == Some(set)).count();
            return sets.iter().enumerate().all(|(s, (n, _))| has(s) >= *n);
        }
        let mut choices: Vec<Option<usize>> = vec![None];
        choices.extend(sets.iter().enumerate().filter(|(_, (_, fits))| fits.contains(&at)).map(|(s, _)| Some(s)));
        choices.into_iter().any(|choice| {
            owner[at] = choice;
            brute(sets, disks, owner, at + 1)
        })
    }
}
