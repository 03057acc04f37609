//! A filter of system calls for what is confined: without it, whoever gets out of a chroot could make a user namespace, and be
//! root in it; and root's keyrings belong to no namespace at all.
//!
//! ```text
//!  architecture ─ native ──> number ─ refused ──────────> EPERM, or ENOSYS where programs then do without
//!        │                      └──── clone, unshare ──> NEWUSER? EPERM
//!        ├─ 32 bits ─> the same with its numbers
//!        └─ another ─> ENOSYS
//! ```
#![allow(unsafe_code)]

use rustix::io::Errno;

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERROR: u32 = 0x0005_0000;
/// Where the number, the architecture and the low half of the first argument are.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST: u32 = 16;

/// The numbers of one architecture.
struct Numbers {
    architecture: u32,
    /// Refused with `EPERM`.
    never: &'static [u32],
    /// Not there, as far as programs can see: they do without.
    absent: &'static [u32],
    /// Refused with `CLONE_NEWUSER`.
    clone: [u32; 2],
    /// Numbers from here on are those of another interface.
    end: u32,
}

#[cfg(target_arch = "x86_64")]
const TABLES: &[Numbers] = &[
    Numbers {
        architecture: 0xc000_003e,
        // setns, bpf, perf_event_open, userfaultfd
        never: &[308, 321, 298, 323],
        // add_key, request_key, keyctl, clone3 (whose flags a filter cannot see), io_uring_setup
        absent: &[248, 249, 250, 435, 425],
        clone: [56, 272],
        // x32
        end: 0x4000_0000,
    },
    Numbers {
        architecture: 0x4000_0003,
        never: &[346, 357, 336, 374],
        absent: &[286, 287, 288, 435, 425],
        clone: [120, 310],
        end: u32::MAX,
    },
];

#[cfg(target_arch = "aarch64")]
const TABLES: &[Numbers] = &[Numbers {
    architecture: 0xc000_00b7,
    never: &[268, 280, 241, 282],
    absent: &[217, 218, 219, 435, 425],
    clone: [220, 97],
    end: u32::MAX,
}];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const TABLES: &[Numbers] = &[];

/// The filter, ready to be installed after a fork.
#[derive(Debug)]
pub struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// Builds it. Empty on architectures that it has no numbers of.
    #[must_use]
    pub fn new() -> Self {
        if TABLES.is_empty() {
            return Self(Vec::new());
        }
        let mut out = vec![step(LOAD, ARCHITECTURE, 0, 0)];
        for table in TABLES {
            let inside = of(table);
            out.push(step(JUMP_IF_EQUAL, table.architecture, 0, u8::try_from(inside.len()).unwrap_or(u8::MAX)));
            out.extend(inside);
        }
        out.push(refuse(libc::ENOSYS));
        Self(out)
    }

    /// Installs it for the calling thread and what that becomes. Makes one system call.
    ///
    /// # Errors
    /// The errno: `EINVAL` of a kernel without filters.
    pub fn install(&self) -> Result<(), Errno> {
        if self.0.is_empty() {
            return Ok(());
        }
        let length = u16::try_from(self.0.len()).map_err(|_| Errno::INVAL)?;
        let program = libc::sock_fprog { len: length, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the kernel copies the steps, of which there are so many, and writes nothing.
        let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
        // SAFETY: the pointer is to the thread's own errno.
        if done == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() })) }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new()
    }
}

fn of(table: &Numbers) -> Vec<libc::sock_filter> {
    let mut out = vec![step(LOAD, NUMBER, 0, 0), step(JUMP_IF_AT_LEAST, table.end, 0, 1), refuse(libc::ENOSYS)];
    for (numbers, error) in [(table.never, libc::EPERM), (table.absent, libc::ENOSYS)] {
        for number in numbers {
            out.extend([step(JUMP_IF_EQUAL, *number, 0, 1), refuse(error)]);
        }
    }
    // For both, the flags are the first argument.
    let [clone, unshare] = table.clone;
    out.extend([
        step(JUMP_IF_EQUAL, clone, 2, 0),
        step(JUMP_IF_EQUAL, unshare, 1, 0),
        step(RETURN, ALLOW, 0, 0),
        step(LOAD, FIRST, 0, 0),
        step(JUMP_IF_ANY, libc::CLONE_NEWUSER as u32, 0, 1),
        refuse(libc::EPERM),
        step(RETURN, ALLOW, 0, 0),
    ]);
    out
}

fn refuse(errno: i32) -> libc::sock_filter {
    step(RETURN, ERROR | errno.unsigned_abs(), 0, 0)
}

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers, by the rules of the kernel's machine.
    fn answer(architecture: u32, number: u32, first: u32) -> u32 {
        let filter = Filter::new();
        let (mut at, mut value) = (0, 0);
        loop {
            let s = filter.0[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { s.jt } else { s.jf });
            match s.code {
                LOAD => value = [number, architecture, 0, 0, first][s.k as usize / 4],
                JUMP_IF_EQUAL => at += jump(value == s.k),
                JUMP_IF_AT_LEAST => at += jump(value >= s.k),
                JUMP_IF_ANY => at += jump(value & s.k != 0),
                RETURN => return s.k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn every_architecture_refuses_the_same_and_allows_the_rest() {
        let (eperm, enosys) = (ERROR | 1, ERROR | 38);
        for t in TABLES {
            t.never.iter().for_each(|n| assert_eq!(answer(t.architecture, *n, 0), eperm));
            t.absent.iter().for_each(|n| assert_eq!(answer(t.architecture, *n, 0), enosys));
            for n in t.clone {
                assert_eq!(answer(t.architecture, n, libc::CLONE_NEWUSER as u32 | 17), eperm);
                assert_eq!(answer(t.architecture, n, 17), ALLOW);
            }
            assert_eq!(answer(t.architecture, 1, libc::CLONE_NEWUSER as u32), ALLOW);
            assert_eq!(answer(t.architecture, t.end, 0), enosys);
        }
        assert_eq!(answer(1, 1, 0), enosys);
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn the_numbers_are_those_of_the_system() {
        let native = &TABLES[0];
        let wanted = [libc::SYS_setns, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd];
        assert_eq!(wanted.map(|n| n as u32), native.never);
        let wanted =
            [libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_clone3, libc::SYS_io_uring_setup];
        assert_eq!(wanted.map(|n| n as u32), native.absent);
        assert_eq!([libc::SYS_clone, libc::SYS_unshare].map(|n| n as u32), native.clone);
    }
}
