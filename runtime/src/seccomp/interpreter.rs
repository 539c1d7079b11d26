//! The kernel's side, for tests: it takes a program as the kernel does, and runs it on a call.

use crate::sys::seccomp::SockFilter;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let argument = self.args[(offset as usize - 16) / 8];
                (argument >> (8 * (offset % 8))) as u32
            }
            _ => panic!("a load from {offset}"),
        }
    }
}

/// What the kernel checks before it takes a program: every jump ends inside, every path in a return.
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
pub(super) fn loads(program: &[SockFilter], call: &Call) -> Vec<u32> {
    let mut places = Vec::new();
    walk(program, call, &mut |one| {
        places.extend((one.code == 0x20).then_some(one.k));
    });
    places
}

/// What the program answers, and how many instructions it took.
pub(super) fn run(program: &[SockFilter], call: &Call) -> (u32, usize) {
    let mut steps = 0;
    let answer = walk(program, call, &mut |_| steps += 1);
    (answer, steps)
}

fn walk(program: &[SockFilter], call: &Call, step: &mut dyn FnMut(SockFilter)) -> u32 {
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let one = program[at];
        at += 1;
        step(one);
        let mut branch = |holds: bool| at += usize::from(if holds { one.jt } else { one.jf });
        match one.code {
            0x20 => accumulator = call.word(one.k),
            0x54 => accumulator &= one.k,
            0x05 => at += one.k as usize,
            0x15 => branch(accumulator == one.k),
            0x25 => branch(accumulator > one.k),
            0x35 => branch(accumulator >= one.k),
            0x45 => branch(accumulator & one.k != 0),
            0x06 => return one.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}
