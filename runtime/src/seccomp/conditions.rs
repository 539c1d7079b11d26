//! The rules of one call that has conditions: which one counts, and its instructions.

use std::cmp::Ordering;

use super::assembler::{Assembler, Compare, Target};
use super::rules::{Action, Condition, Test};

/// Conditions that all have to hold, by argument, and what happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// Two rules of a call that cannot both be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

/// Puts the cases of a call in the order in which they are tried; the first that holds counts.
///
/// It matters where cases with different actions overlap. There it is libseccomp's order, which does not go by the
/// order in the profile: conditions on later arguments come first, for one argument equality before less before greater
/// and of those the narrower ones, else the larger value.
///
/// # Errors
/// As libseccomp: a case that is the same as an earlier one, or wider by its last conditions, with another action. One
/// that is narrower than an earlier one has no effect.
pub(super) fn arrange(cases: &mut Vec<Case>) -> Result<(), Contradiction> {
    let Some(first) = cases.first() else {
        return Ok(());
    };
    if cases.iter().all(|case| case.action == first.action) {
        return Ok(());
    }
    let mut kept: Vec<Case> = Vec::with_capacity(cases.len());
    for case in cases.drain(..) {
        let wider = |earlier: &Case| case.conditions.starts_with(&earlier.conditions);
        let narrower = |earlier: &Case| earlier.conditions.starts_with(&case.conditions);
        if kept
            .iter()
            .any(|earlier| wider(earlier) && !narrower(earlier))
        {
            continue;
        }
        if kept
            .iter()
            .any(|earlier| earlier.action != case.action && narrower(earlier))
        {
            return Err(Contradiction);
        }
        kept.push(case);
    }
    *cases = kept;
    cases.sort_by(|a, b| {
        for (a, b) in a.conditions.iter().zip(&b.conditions) {
            let order = precedence(b).cmp(&precedence(a));
            if order != Ordering::Equal {
                return order;
            }
        }
        a.conditions.len().cmp(&b.conditions.len())
    });
    Ok(())
}

/// The larger, the earlier.
fn precedence(condition: &Condition) -> (u8, u8, u64) {
    let (kind, value) = match condition.test {
        Test::Equal | Test::NotEqual => (3, condition.value),
        Test::Less | Test::LessOrEqual => (2, !condition.value),
        Test::Greater | Test::GreaterOrEqual => (1, condition.value),
    };
    (condition.index, kind, value)
}

/// The instructions of a call's cases. None of them holds: `default`.
pub(super) fn assemble(
    assembler: &mut Assembler,
    cases: &[Case],
    default: Action,
    is_64: bool,
) -> Target {
    let mut next = Target::Return(default);
    for case in cases.iter().rev() {
        let mut holds = Target::Return(case.action);
        for condition in case.conditions.iter().rev() {
            holds = match is_64 {
                true => test_64(assembler, condition, holds, next),
                false => test_32(assembler, condition, holds, next),
            };
        }
        next = holds;
    }
    next
}

/// The lower and the higher half of a value.
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// `seccomp_data.args[index]`, its lower half: the machine is little-endian.
fn offset(index: u8) -> u32 {
    16 + 8 * u32::from(index)
}

/// A test as one of those that BPF has, and whether yes and no change places for it.
fn plain(test: Test) -> (Compare, bool) {
    match test {
        Test::Equal => (Compare::Equal, false),
        Test::NotEqual => (Compare::Equal, true),
        Test::Greater => (Compare::Greater, false),
        Test::LessOrEqual => (Compare::Greater, true),
        Test::GreaterOrEqual => (Compare::GreaterOrEqual, false),
        Test::Less => (Compare::GreaterOrEqual, true),
    }
}

fn test_32(to: &mut Assembler, condition: &Condition, yes: Target, no: Target) -> Target {
    let (compare, swapped) = plain(condition.test);
    let (yes, no) = if swapped { (no, yes) } else { (yes, no) };
    let word = Word {
        offset: offset(condition.index),
        mask: halves(condition.mask).0,
    };
    word.test(to, compare, halves(condition.value).0, yes, no)
}

fn test_64(to: &mut Assembler, condition: &Condition, yes: Target, no: Target) -> Target {
    let (compare, swapped) = plain(condition.test);
    let (yes, no) = if swapped { (no, yes) } else { (yes, no) };
    let (low_value, high_value) = halves(condition.value);
    let (low_mask, high_mask) = halves(condition.mask);
    let low = Word {
        offset: offset(condition.index),
        mask: low_mask,
    };
    let high = Word {
        offset: offset(condition.index) + 4,
        mask: high_mask,
    };
    let equal = low.test(to, compare, low_value, yes, no);
    if compare == Compare::Equal {
        return high.test(to, Compare::Equal, high_value, equal, no);
    }
    // The higher half decides unless it is the same.
    match high_value {
        0 => high.test(to, Compare::Equal, 0, equal, yes),
        u32::MAX => high.test(to, Compare::Equal, u32::MAX, equal, no),
        _ => {
            let same = to.branch(Compare::Equal, high_value, equal, no);
            high.test(to, Compare::Greater, high_value, yes, Target::To(same))
        }
    }
}

/// A half of an argument.
struct Word {
    offset: u32,
    mask: u32,
}

impl Word {
    fn test(
        &self,
        to: &mut Assembler,
        compare: Compare,
        value: u32,
        yes: Target,
        no: Target,
    ) -> Target {
        // Nothing of it is compared.
        if self.mask == 0 {
            return yes;
        }
        to.branch(compare, value, yes, no);
        if self.mask != u32::MAX {
            to.and(self.mask);
        }
        Target::To(to.load(self.offset))
    }
}
