//! Instructions of classic BPF, put together from the last to the first.
//!
//! Jumps only go forwards, so what an instruction jumps to is there already when it is written, and the distance is
//! known: a target further away than a conditional jump reaches (255 instructions) gets a stepping stone first.

use super::rules::Action;
use crate::sys::seccomp::SockFilter;

// Instruction codes of linux/bpf_common.h.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// `seccomp_data.nr`.
pub(super) const NUMBER: u32 = 0;
/// `seccomp_data.arch`.
pub(super) const ARCH: u32 = 4;

/// The farthest that a conditional jump goes.
const REACH: usize = 255;

/// A place in the program: how many instructions are behind it, and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Where a jump goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The end, with this answer.
    Return(Action),
    /// Another instruction.
    To(Label),
}

/// What the accumulator is compared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Greater,
    GreaterOrEqual,
}

/// A program that grows towards its first instruction.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last one first.
    reversed: Vec<SockFilter>,
    /// The return of each action that was written last.
    returns: Vec<(Action, Label)>,
}

impl Assembler {
    pub(super) fn new() -> Assembler {
        Assembler {
            reversed: Vec::with_capacity(512),
            returns: Vec::with_capacity(8),
        }
    }

    pub(super) fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD_WORD, 0, 0, offset)
    }

    pub(super) fn and(&mut self, mask: u32) -> Label {
        self.push(AND, 0, 0, mask)
    }

    /// Goes to `yes` if the accumulator compares so with `value`, to `no` if not.
    pub(super) fn branch(
        &mut self,
        compare: Compare,
        value: u32,
        yes: Target,
        no: Target,
    ) -> Label {
        let code = match compare {
            Compare::Equal => JUMP_EQUAL,
            Compare::Greater => JUMP_GREATER,
            Compare::GreaterOrEqual => JUMP_GREATER_OR_EQUAL,
        };
        // A stone on the way to `no` moves `yes` one further away.
        let yes = self.reachable(yes, REACH - 1);
        let no = self.reachable(no, REACH);
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(code, jt, jf, value)
    }

    /// An instruction that can be gone on to from the next one in front.
    pub(super) fn enter(&mut self, target: Target) -> Label {
        match target {
            Target::To(label) if self.distance(label) == 0 => label,
            Target::To(label) => self.jump(label),
            Target::Return(action) => self.write_return(action),
        }
    }

    /// The whole program.
    pub(super) fn finish(mut self) -> Vec<SockFilter> {
        self.reversed.reverse();
        self.reversed
    }

    /// How many instructions one that is written now would skip to get to `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    /// A place within reach that leads to `target`.
    fn reachable(&mut self, target: Target, reach: usize) -> Label {
        match target {
            Target::To(label) if self.distance(label) <= reach => label,
            Target::To(label) => self.jump(label),
            Target::Return(action) => {
                let written = self.returns.iter().find(|(other, _)| *other == action);
                match written {
                    Some(&(_, label)) if self.distance(label) <= reach => label,
                    _ => self.write_return(action),
                }
            }
        }
    }

    fn write_return(&mut self, action: Action) -> Label {
        let label = self.push(RETURN, 0, 0, action);
        match self.returns.iter_mut().find(|(other, _)| *other == action) {
            Some((_, last)) => *last = label,
            None => self.returns.push((action, label)),
        }
        label
    }

    fn jump(&mut self, label: Label) -> Label {
        let distance = self.distance(label) as u32;
        self.push(JUMP, 0, 0, distance)
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(SockFilter { code, jt, jf, k });
        Label(self.reversed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::interpreter::{Call, check, run};
    use super::*;

    /// What the program answers to the calls 5 and 6.
    fn answers(assembler: Assembler) -> [Action; 2] {
        let program = assembler.finish();
        check(&program);
        [5, 6].map(|number| {
            let (arch, args) = (0, [0; 6]);
            run(&program, &Call { number, arch, args }).0
        })
    }

    /// So many instructions that change nothing.
    fn fill(assembler: &mut Assembler, count: usize) {
        for _ in 0..count {
            assembler.load(NUMBER);
        }
    }

    #[test]
    fn every_distance_is_reached() {
        for between in [0, 1, 253, 254, 255, 256, 257, 511, 600, 3000] {
            for behind in [0, 1, 254, 255, 256, 600] {
                for compare in [Compare::Equal, Compare::Greater] {
                    let mut assembler = Assembler::new();
                    let far = Target::To(assembler.enter(Target::Return(7)));
                    fill(&mut assembler, between);
                    let near = Target::To(assembler.enter(Target::Return(9)));
                    fill(&mut assembler, behind);
                    let (yes, no, wanted) = match compare {
                        Compare::Equal => (far, near, [7, 9]),
                        _ => (near, far, [7, 9]),
                    };
                    assembler.branch(compare, 5, yes, no);
                    assembler.load(NUMBER);
                    assert_eq!(answers(assembler), wanted, "{between} {behind} {compare:?}");
                }
            }
        }
    }

    #[test]
    fn a_return_that_is_out_of_reach_is_written_again() {
        for (between, returns) in [(10, 2), (252, 2), (300, 4)] {
            let mut assembler = Assembler::new();
            for action in [7, 9] {
                assembler.enter(Target::Return(action));
            }
            fill(&mut assembler, between);
            let (yes, no) = (Target::Return(7), Target::Return(9));
            assembler.branch(Compare::Equal, 5, yes, no);
            assembler.load(NUMBER);
            let program = &assembler.reversed;
            let count = program.iter().filter(|one| one.code == RETURN).count();
            assert_eq!(count, returns, "{between}");
            assert_eq!(answers(assembler), [7, 9]);
        }
    }
}
