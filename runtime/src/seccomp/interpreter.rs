//! The kernel's side: what a program answers to a call.

use super::arch::Arch;
use crate::sys::seccomp::SockFilter;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    /// One of this program's own, by the number that it has here.
    pub(crate) fn own(number: libc::c_long, args: [u64; 6]) -> Call {
        let arch = Arch::NATIVE.audit();
        // No kernel has a call of more than 32 bits: one that is passed over by all rules.
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Call { number, arch, args }
    }

    /// `None`: seccomp knows no such place.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            0 => Some(self.number),
            4 => Some(self.arch),
            16..64 if offset.is_multiple_of(4) => {
                let argument = self.args[(offset as usize - 16) / 8];
                Some((argument >> (8 * (offset % 8))) as u32)
            }
            _ => None,
        }
    }
}

/// SECCOMP_RET_ALLOW and SECCOMP_RET_LOG of linux/seccomp.h.
const PASSED: [u32; 2] = [0x7fff_0000, 0x7ffc_0000];

/// Whether the call is made under this program, as if it were not there.
pub(crate) fn passes(program: &[SockFilter], call: &Call) -> bool {
    walk(program, call, &mut |_| ()).is_some_and(|answer| PASSED.contains(&answer))
}

/// What the kernel checks before it takes a program: every jump ends inside, every path in a return.
#[cfg(test)]
pub(super) fn check(program: &[SockFilter]) {
    assert!((1..=4096).contains(&program.len()), "{}", program.len());
    for (at, one) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match one.code {
            0x05 => assert!((one.k as usize) < left, "jump at {at}"),
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(usize::from(one.jt.max(one.jf)) < left, "branch at {at}");
            }
            0x20 => assert!(one.k.is_multiple_of(4) && one.k < 64, "load at {at}"),
            0x54 | 0x06 => {}
            code => panic!("instruction {code:#x} at {at}"),
        }
    }
    assert_eq!(program[program.len() - 1].code, 0x06);
}

/// The places in `struct seccomp_data` that the program loads from.
#[cfg(test)]
pub(super) fn loads(program: &[SockFilter], call: &Call) -> Vec<u32> {
    let mut places = Vec::new();
    walk(program, call, &mut |one| {
        places.extend((one.code == 0x20).then_some(one.k));
    });
    places
}

/// What the program answers, and how many instructions it took.
#[cfg(test)]
pub(super) fn run(program: &[SockFilter], call: &Call) -> (u32, usize) {
    let mut steps = 0;
    let answer = walk(program, call, &mut |_| steps += 1);
    (answer.unwrap(), steps)
}

/// `None`: no program of this room is like that.
fn walk(program: &[SockFilter], call: &Call, step: &mut dyn FnMut(SockFilter)) -> Option<u32> {
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let one = *program.get(at)?;
        at += 1;
        step(one);
        let mut branch = |holds: bool| at += usize::from(if holds { one.jt } else { one.jf });
        match one.code {
            0x20 => accumulator = call.word(one.k)?,
            0x54 => accumulator &= one.k,
            0x05 => at += one.k as usize,
            0x15 => branch(accumulator == one.k),
            0x25 => branch(accumulator > one.k),
            0x35 => branch(accumulator >= one.k),
            0x45 => branch(accumulator & one.k != 0),
            0x06 => return Some(one.k),
            _ => return None,
        }
    }
}
