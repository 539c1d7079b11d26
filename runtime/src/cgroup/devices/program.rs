//! The program that the kernel runs at each open(2) and mknod(2) of a device (`struct bpf_cgroup_dev_ctx` of linux/bpf.h):
//! 1 lets it happen, 0 makes it EPERM.
//!
//! An allowance counts when it covers all that is asked for (read and write, for O_RDWR); a denial counts when it covers
//! any of it, or else asking for more would be the way around it.

use std::collections::BTreeMap;

use super::rules::{Kind, Rules, Which, access};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::bpf::Insn;

// Operations of linux/bpf_common.h and linux/bpf.h, on 32 bits.
pub(super) const LOAD: u8 = 0x61;
pub(super) const SET: u8 = 0xb4;
pub(super) const COPY: u8 = 0xbc;
pub(super) const SHIFT_LEFT: u8 = 0x64;
pub(super) const OR: u8 = 0x4c;
pub(super) const JUMP: u8 = 0x05;
pub(super) const JUMP_IF_EQUAL: u8 = 0x16;
pub(super) const JUMP_IF_ANY_BIT: u8 = 0x46;
pub(super) const EXIT: u8 = 0x95;

// Registers, by what is in them.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
/// Access in the upper 16 bits, kind in the lower.
const WHAT: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
/// Major and minor, as the kernel's own dev_t has them.
const NUMBER: u8 = 5;

/// A minor has 20 bits, a major 12 (MINORBITS of linux/kdev_t.h).
const MINOR_BITS: u32 = 20;
const MAJORS: u32 = 1 << 12;
const ACCESS_SHIFT: u32 = 16;

/// BPF_DEVCG_DEV_*.
pub(super) fn kind_bit(kind: Kind) -> u32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
}

/// Translates.
pub(super) fn compile(rules: &Rules) -> Result<Vec<Insn>> {
    let mut program = Program::default();
    program.push(SET, RESULT, 0, u32::from(!rules.allow));
    if !rules.exceptions.is_empty() {
        program.push_load(WHAT, 0);
        program.push_load(MAJOR, 4);
        program.push_load(MINOR, 8);
        program.push(COPY, NUMBER, MAJOR, 0);
        program.push(SHIFT_LEFT, NUMBER, 0, MINOR_BITS);
        program.push(OR, NUMBER, MINOR, 0);
    }
    for (kind, other) in [(Kind::Char, Kind::Block), (Kind::Block, Kind::Char)] {
        let mut groups: BTreeMap<u8, Vec<&Which>> = BTreeMap::new();
        for (which, bits) in &rules.exceptions {
            if which.kind == kind {
                groups.entry(*bits).or_default().push(which);
            }
        }
        if groups.is_empty() {
            continue;
        }
        let other_kind = program.push(JUMP_IF_ANY_BIT, WHAT, 0, kind_bit(other));
        // What covers most is asked for most.
        for (bits, group) in groups.iter().rev() {
            let elsewhere = if rules.allow {
                program.push_over_next(JUMP_IF_ANY_BIT, WHAT, shifted(*bits));
                Some(program.push(JUMP, 0, 0, 0))
            } else {
                let not_covered = access::ALL & !bits;
                (not_covered != 0)
                    .then(|| program.push(JUMP_IF_ANY_BIT, WHAT, 0, shifted(not_covered)))
            };
            let all = program.match_any_of(group);
            match elsewhere {
                Some(jump) => program.land(jump)?,
                // Nothing is left for the others, and the kernel takes no program with code that is never reached.
                None if all => break,
                None => {}
            }
        }
        program.land(other_kind)?;
    }
    program.push(SET, RESULT, 0, u32::from(rules.allow));
    for jump in std::mem::take(&mut program.to_the_end) {
        program.land(jump)?;
    }
    program.push(EXIT, 0, 0, 0);
    Ok(program.code)
}

fn shifted(bits: u8) -> u32 {
    u32::from(bits) << ACCESS_SHIFT
}

#[derive(Default)]
struct Program {
    code: Vec<Insn>,
    /// Jumps to the last instruction, past the setting of the result that holds without an exception.
    to_the_end: Vec<usize>,
}

impl Program {
    /// Gives its place.
    fn push(&mut self, code: u8, to: u8, from: u8, immediate: u32) -> usize {
        self.code.push(Insn {
            code,
            registers: from << 4 | to,
            offset: 0,
            immediate: immediate.cast_signed(),
        });
        self.code.len() - 1
    }

    fn push_load(&mut self, to: u8, offset: i16) {
        let at = self.push(LOAD, to, CONTEXT, 0);
        self.code[at].offset = offset;
    }

    fn push_over_next(&mut self, code: u8, register: u8, immediate: u32) {
        let at = self.push(code, register, 0, immediate);
        self.code[at].offset = 1;
    }

    /// Goes to the end if the device is of one of these sets, and tells whether every device of the kind is.
    fn match_any_of(&mut self, group: &[&Which]) -> bool {
        if group
            .iter()
            .any(|it| it.major.is_none() && it.minor.is_none())
        {
            let jump = self.push(JUMP, 0, 0, 0);
            self.to_the_end.push(jump);
            return true;
        }
        for which in group {
            let (register, value) = match (which.major, which.minor) {
                (Some(major), None) => (MAJOR, major),
                (None, Some(minor)) => (MINOR, minor),
                // No device has such numbers.
                (Some(major), Some(minor)) if major >= MAJORS || minor >> MINOR_BITS != 0 => {
                    continue;
                }
                (Some(major), Some(minor)) => (NUMBER, major << MINOR_BITS | minor),
                (None, None) => continue,
            };
            let jump = self.push(JUMP_IF_EQUAL, register, 0, value);
            self.to_the_end.push(jump);
        }
        false
    }

    /// Lets a jump end at the place where the next instruction goes.
    fn land(&mut self, jump: usize) -> Result<()> {
        let distance = self.code.len() - jump - 1;
        let too_far = |_| Error::new(ErrorKind::InvalidConfig, "too many device rules");
        self.code[jump].offset = i16::try_from(distance).map_err(too_far)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::rules;
    use super::super::rules::{MOST_RULES, Rule};
    use super::*;

    /// What the kernel does with it.
    fn run(program: &[Insn], kind: Kind, numbers: (u32, u32), bits: u8) -> bool {
        let context = [kind_bit(kind) | shifted(bits), numbers.0, numbers.1];
        let mut registers = [0u32; 11];
        let mut at = 0;
        loop {
            let insn = program[at];
            let (to, from) = (
                usize::from(insn.registers & 15),
                usize::from(insn.registers >> 4),
            );
            let immediate = insn.immediate.cast_unsigned();
            at += 1;
            let jump = match insn.code {
                LOAD => {
                    assert_eq!(from, usize::from(CONTEXT));
                    registers[to] = context[usize::try_from(insn.offset).unwrap() / 4];
                    false
                }
                SET => {
                    registers[to] = immediate;
                    false
                }
                COPY => {
                    registers[to] = registers[from];
                    false
                }
                SHIFT_LEFT => {
                    registers[to] <<= immediate;
                    false
                }
                OR => {
                    registers[to] |= registers[from];
                    false
                }
                JUMP => true,
                JUMP_IF_EQUAL => registers[to] == immediate,
                JUMP_IF_ANY_BIT => registers[to] & immediate != 0,
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x} at {at}"),
            };
            if jump {
                assert!(insn.offset >= 0, "only forwards");
                at += usize::try_from(insn.offset).unwrap();
            }
        }
    }

    fn matches(which: &Which, kind: Kind, (major, minor): (u32, u32)) -> bool {
        which.kind == kind
            && which.major.is_none_or(|it| it == major)
            && which.minor.is_none_or(|it| it == minor)
    }

    /// The normal form, read plainly.
    fn plain(rules: &Rules, kind: Kind, numbers: (u32, u32), bits: u8) -> bool {
        let mut matching = rules
            .exceptions
            .iter()
            .filter(|(which, _)| matches(which, kind, numbers));
        match rules.allow {
            true => !matching.any(|(_, denied)| denied & bits != 0),
            false => matching.any(|(_, allowed)| bits & !allowed == 0),
        }
    }

    /// The list, read plainly, for one kind of access: the last rule that has something to say has it.
    fn in_order(list: &[Rule], kind: Kind, numbers: (u32, u32), bit: u8) -> bool {
        let says = |rule: &&Rule| {
            rule.which
                .is_none_or(|which| matches(&which, kind, numbers) && rule.access & bit != 0)
        };
        list.iter().rev().find(says).is_some_and(|rule| rule.allow)
    }

    /// Else the kernel refuses it. Jumps lead forwards only.
    fn all_is_reached(program: &[Insn]) -> bool {
        let mut reached = vec![false; program.len() + 1];
        reached[0] = true;
        for (at, insn) in program.iter().enumerate() {
            if matches!(insn.code, JUMP | JUMP_IF_EQUAL | JUMP_IF_ANY_BIT) {
                reached[at + 1 + usize::try_from(insn.offset).unwrap()] |= reached[at];
            }
            reached[at + 1] |= reached[at] && !matches!(insn.code, JUMP | EXIT);
        }
        reached[..program.len()].iter().all(|one| *one)
    }

    #[test]
    fn what_covers_all_of_a_kind_leaves_no_rest() {
        for list in [
            &["+c *:* rwm", "+c 1:3 r"][..],
            &["+c *:* rwm", "+b *:* rwm", "+b 1:3 r"],
            &["+c *:* rw", "+c 1:3 r"],
            &["+a", "-c *:* rwm", "-c 1:3 r"],
        ] {
            let program = compile(&rules(list).unwrap()).unwrap();
            assert!(all_is_reached(&program), "{list:?}");
        }
    }

    const KINDS: [Kind; 2] = [Kind::Block, Kind::Char];
    const NUMBERS: [u32; 6] = [0, 1, 3, 136, 4095, 1 << 19];

    /// Every kind, number and access that the rules could tell apart.
    fn each(mut check: impl FnMut(Kind, (u32, u32), u8)) {
        for kind in KINDS {
            for major in NUMBERS.into_iter().filter(|major| *major < MAJORS) {
                for minor in NUMBERS {
                    for bits in 0..=access::ALL {
                        check(kind, (major, minor), bits);
                    }
                }
            }
        }
    }

    /// xorshift64.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % limit
        }

        fn number(&mut self) -> Option<u32> {
            (self.below(3) != 0).then(|| NUMBERS[self.below(NUMBERS.len())])
        }

        fn rule(&mut self) -> Rule {
            let which = Which {
                kind: KINDS[self.below(2)],
                major: self.number(),
                minor: self.number(),
            };
            Rule {
                allow: self.below(3) != 0,
                which: (self.below(12) != 0).then_some(which),
                access: 1 + self.below(7) as u8,
            }
        }
    }

    #[test]
    fn random_lists_mean_the_same_in_all_forms() {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let (mut normal, mut refused) = (0, 0);
        while normal < 1500 {
            let length = dice.below(12);
            let list: Vec<Rule> = (0..length).map(|_| dice.rule()).collect();
            let mut rules = Rules::default();
            if list.iter().any(|rule| rules.add(rule).is_err()) {
                refused += 1;
                continue;
            }
            normal += 1;
            let program = compile(&rules).unwrap();
            assert!(all_is_reached(&program), "{list:?}");
            each(|kind, numbers, bits| {
                let allowed = run(&program, kind, numbers, bits);
                let case = || format!("{list:?} {kind:?} {numbers:?} {bits}");
                // `plain` has an access of nothing (access(2) with F_OK) allowed where anything is.
                assert_eq!(allowed, plain(&rules, kind, numbers, bits), "{}", case());
                if bits.count_ones() == 1 {
                    let listed = in_order(&list, kind, numbers, bits);
                    // With all allowed, a denial may stand though a later rule has a wildcard.
                    assert!(allowed == listed || rules.allow && listed, "{}", case());
                }
            });
        }
        assert!(refused > 0);
    }

    #[test]
    fn a_denial_of_a_part_denies_the_whole() {
        let program = compile(&rules(&["+a", "-c 10:229 w"]).unwrap()).unwrap();
        let ask = |bits| run(&program, Kind::Char, (10, 229), bits);
        assert!(ask(access::READ) && ask(access::MKNOD) && ask(0));
        assert!(!ask(access::WRITE) && !ask(access::READ | access::WRITE));
    }

    #[test]
    fn an_allowance_of_a_part_is_none_of_the_whole() {
        let program = compile(&rules(&["+c 10:229 r", "+c 10:* w"]).unwrap()).unwrap();
        let ask = |bits| run(&program, Kind::Char, (10, 229), bits);
        assert!(ask(access::READ) && ask(access::WRITE));
        assert!(!ask(access::READ | access::WRITE));
    }

    #[test]
    fn numbers_that_no_device_has_match_none() {
        let list = ["+c 4096:3 rwm", "+c 1:1048576 rwm", "+c 4294967295:* rwm"];
        let program = compile(&rules(&list).unwrap()).unwrap();
        each(|kind, numbers, bits| assert!(!run(&program, kind, numbers, bits)));
    }

    #[test]
    fn programs_are_short() {
        let length = |list: &[&str]| compile(&rules(list).unwrap()).unwrap().len();
        assert_eq!(length(&["+a"]), 3);
        assert_eq!(length(&[]), 3);
        // One instruction for a device with exact numbers.
        assert_eq!(
            length(&["+c 1:3 rwm", "+c 1:5 rwm"]),
            length(&["+c 1:3 rwm"]) + 1
        );
    }

    #[test]
    fn the_longest_list_has_a_program() {
        let mut rules = Rules::default();
        for number in 0..MOST_RULES as u32 {
            let rule = Rule {
                allow: true,
                which: Some(Which {
                    kind: KINDS[number as usize % 2],
                    major: Some(number % MAJORS),
                    minor: Some(number),
                }),
                access: 1 + (number % 7) as u8,
            };
            rules.add(&rule).unwrap();
        }
        assert!(compile(&rules).unwrap().len() < MOST_RULES + 64);
    }
}
