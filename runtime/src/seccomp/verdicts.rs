//! From rules to a program: for each architecture the ranges of numbers that get the same answer, and a tree over them.

use super::Filter;
use super::arch::Arch;
use super::assembler::{ARCH, Assembler, Compare, NUMBER, Target};
use super::conditions::{self, Case};
use super::guard;
use super::rules::{Action, Condition, ENOSYS, KILL_THREAD, Test};
use crate::error::{Error, Result};
use crate::sys::seccomp::SockFilter;

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Always(Action),
    /// The cases in the order in which they are tried, and whether arguments have 64 bits.
    Depends(Vec<Case>, bool),
}

/// The numbers from here to the next range.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    from: u32,
    /// It has this number only.
    single: bool,
    verdict: Verdict,
}

/// The instructions of a filter.
pub(super) fn program(filter: &Filter) -> Result<Vec<SockFilter>> {
    let mut assembler = Assembler::new();
    let mut entries = Vec::with_capacity(filter.arches.len());
    // The last is written first, so the native architecture is the nearest.
    for &arch in filter.arches.iter().rev() {
        // X32 is a part of x86-64.
        if arch == Arch::X32 && filter.arches.contains(&Arch::X86_64) {
            continue;
        }
        let ranges = ranges(filter, arch)?;
        let root = tree(&mut assembler, &ranges, filter.default);
        let entry = match root {
            Target::Return(action) => Target::Return(action),
            Target::To(_) => {
                assembler.enter(root);
                Target::To(assembler.load(NUMBER))
            }
        };
        entries.push((arch.audit(), entry));
    }
    let mut next = Target::Return(KILL_THREAD);
    for (audit, entry) in entries {
        next = Target::To(assembler.branch(Compare::Equal, audit, entry, next));
    }
    assembler.load(ARCH);
    Ok(assembler.finish())
}

/// As many numbers with answers of their own are looked for one by one: no more tests than a tree over them would take,
/// and half of the instructions.
const MOST_EXCEPTIONS: usize = 3;

/// A balanced tree over `ranges`, with the number of the call in the accumulator.
fn tree(assembler: &mut Assembler, ranges: &[Range], default: Action) -> Target {
    let Some(first) = ranges.first() else {
        return Target::Return(default);
    };
    for usual in ranges.iter().take(2).map(|range| &range.verdict) {
        if is_usual(ranges, usual) {
            let mut next = answer(assembler, usual, default);
            for one in ranges.iter().filter(|range| range.verdict != *usual) {
                let this = answer(assembler, &one.verdict, default);
                next = Target::To(assembler.branch(Compare::Equal, one.from, this, next));
            }
            return next;
        }
    }
    let middle = middle(ranges);
    let (low, high) = ranges.split_at(middle);
    let from = high.first().unwrap_or(first).from;
    let high = tree(assembler, high, default);
    let low = tree(assembler, low, default);
    Target::To(assembler.branch(Compare::GreaterOrEqual, from, high, low))
}

/// All numbers of these ranges get this, but for a few.
fn is_usual(ranges: &[Range], verdict: &Verdict) -> bool {
    ranges.len() <= 2 * MOST_EXCEPTIONS + 1
        && ranges
            .iter()
            .all(|range| range.single || range.verdict == *verdict)
        && ranges
            .iter()
            .filter(|range| range.verdict != *verdict)
            .count()
            <= MOST_EXCEPTIONS
}

/// Where to part ranges, of which there are two at the least: not far from the middle, and rather not beside a single
/// number, for which a test of its own will do.
fn middle(ranges: &[Range]) -> usize {
    let middle = ranges.len() / 2;
    let border = |at: usize| at > 0 && !ranges[at].single && !ranges[at - 1].single;
    let mut near = (0..=ranges.len() / 4).flat_map(|far| [middle - far, middle + far]);
    near.find(|at| border(*at)).unwrap_or(middle)
}

fn answer(assembler: &mut Assembler, verdict: &Verdict, default: Action) -> Target {
    match verdict {
        Verdict::Always(action) => Target::Return(*action),
        Verdict::Depends(cases, is_64) => conditions::assemble(assembler, cases, default, *is_64),
    }
}

/// What the numbers of an architecture get, all of them. x86-64 has those of x32 with it.
fn ranges(filter: &Filter, arch: Arch) -> Result<Vec<Range>> {
    let mut ranges = Ranges::default();
    let beyond = ranges.calls(filter, arch)?;
    if arch != Arch::X86_64 {
        ranges.guard(filter, arch);
        return Ok(ranges.list);
    }
    // The two uppermost bits make quarters, and the lower one of them makes a number one of x32.
    const QUARTER: u32 = 1 << 30;
    if filter.arches.contains(&Arch::X32) {
        let beyond_x32 = ranges.calls(filter, Arch::X32)?;
        ranges.push(2 * QUARTER, Verdict::Always(beyond));
        ranges.push(3 * QUARTER, Verdict::Always(beyond_x32));
    } else {
        // Numbers of x32 are those of an architecture that the profile does not name.
        let beyond = filter.too_new_from(arch).map_or(KILL_THREAD, |_| beyond);
        ranges.push(QUARTER, Verdict::Always(KILL_THREAD));
        ranges.push(2 * QUARTER, Verdict::Always(beyond));
        ranges.push(3 * QUARTER, Verdict::Always(KILL_THREAD));
        // -1, with which a tracer skips a call.
        ranges.push(u32::MAX, Verdict::Always(filter.default));
    }
    ranges.guard(filter, arch);
    if filter.arches.contains(&Arch::X32) {
        ranges.guard(filter, Arch::X32);
    }
    Ok(ranges.list)
}

/// Ranges of numbers, upwards.
#[derive(Debug, Default)]
struct Ranges {
    list: Vec<Range>,
}

/// A rule for a number: i386 has some calls under two.
struct Entry<'a> {
    action: Action,
    /// The call's number within socketcall(2) or ipc(2), which takes the place of the first argument.
    own: Option<u32>,
    conditions: &'a [Condition],
}

impl Ranges {
    /// Up to the next range, numbers get this.
    fn push(&mut self, from: u32, verdict: Verdict) {
        if self.list.last().is_some_and(|last| last.from == from) {
            self.list.pop();
        }
        if let Some(last) = self.list.last_mut() {
            last.single = last.verdict != verdict && from == last.from.wrapping_add(1);
            if last.verdict == verdict {
                return;
            }
        }
        self.list.push(Range {
            from,
            single: from == u32::MAX,
            verdict,
        });
    }

    /// Guards the calls of an architecture that are to be guarded, all of which have ranges by now.
    fn guard(&mut self, filter: &Filter, arch: Arch) {
        let guards = guard::guards(arch).filter(|_| filter.guarded);
        for (number, guard) in guards {
            self.border(number + 1);
            let at = self.border(number);
            let Range {
                single, verdict, ..
            } = &mut self.list[at];
            *single = true;
            *verdict = guard.before(verdict, arch.is_64());
        }
    }

    /// The place of the range that begins with this number, which is made where there is none. Numbers go upwards from one that
    /// has a range.
    fn border(&mut self, from: u32) -> usize {
        let at = self.list.partition_point(|range| range.from < from);
        if self.list.get(at).is_some_and(|range| range.from == from) || at == 0 {
            return at;
        }
        let before = &mut self.list[at - 1];
        let verdict = before.verdict.clone();
        before.single = before.from + 1 == from;
        let next = self.list.get(at).map(|range| range.from);
        let range = Range {
            from,
            single: next == Some(from.wrapping_add(1)),
            verdict,
        };
        self.list.insert(at, range);
        at
    }

    /// The calls of an architecture. What its numbers above them get, is the result.
    fn calls(&mut self, filter: &Filter, arch: Arch) -> Result<Action> {
        let mut entries = Vec::with_capacity(filter.rules.len() + 32);
        // Number and place in the list in one word, which is quick to sort.
        let mut order = Vec::with_capacity(filter.rules.len() + 32);
        for rule in &filter.rules {
            let mut add = |number: u32, own| {
                order.push((u64::from(number) << 32) | entries.len() as u64);
                entries.push(Entry {
                    action: rule.action,
                    own,
                    conditions: filter.conditions_of(rule),
                });
            };
            if let (Arch::I386, Some((number, own))) = (arch, rule.call.multiplexed()) {
                add(number, Some(own));
            }
            if let Some(number) = rule.call.number(arch) {
                add(number, None);
            }
        }
        order.sort_unstable();

        let too_new = filter.too_new_from(arch);
        let default = Verdict::Always(filter.default);
        self.push(arch.bit(), default.clone());
        for same in order.chunk_by(|a, b| a >> 32 == b >> 32) {
            let number = (same[0] >> 32) as u32;
            if too_new.is_some_and(|from| number >= from) {
                break;
            }
            let rules = same.iter().map(|key| &entries[*key as u32 as usize]);
            let verdict =
                verdict(rules, arch).ok_or_else(|| contradiction(filter, arch, number))?;
            self.push(number, verdict);
            self.push(number + 1, default.clone());
        }
        match too_new {
            Some(from) => {
                self.push(from, Verdict::Always(ENOSYS));
                Ok(ENOSYS)
            }
            None => Ok(filter.default),
        }
    }
}

/// What becomes of a call with these rules. `None`: they contradict each other.
fn verdict<'a>(rules: impl Iterator<Item = &'a Entry<'a>> + Clone, arch: Arch) -> Option<Verdict> {
    let is_64 = arch.is_64();
    let seen = |condition: &Condition| match is_64 {
        true => *condition,
        false => condition.halved(),
    };
    // One without conditions is all there is to say, and of several the first.
    let mut cases: Vec<Case> = Vec::new();
    for rule in rules {
        let own = rule.own.map(|number| Condition {
            index: 0,
            test: Test::Equal,
            mask: u64::from(u32::MAX),
            value: u64::from(number),
        });
        let mut conditions: Vec<Condition> = own
            .into_iter()
            .chain(
                rule.conditions
                    .iter()
                    .filter(|condition| own.is_none() || condition.index != 0)
                    .map(seen),
            )
            .filter(|condition| !condition.always())
            .collect();
        if conditions.is_empty() {
            return Some(Verdict::Always(rule.action));
        }
        conditions.sort_by_key(|condition| condition.index);
        cases.push(Case {
            conditions,
            action: rule.action,
        });
    }
    conditions::arrange(&mut cases).ok()?;
    Some(Verdict::Depends(cases, is_64))
}

fn contradiction(filter: &Filter, arch: Arch, number: u32) -> Error {
    let name = filter
        .rules
        .iter()
        .find(|rule| rule.call.number(arch) == Some(number))
        .map_or("a system call", |rule| rule.call.name());
    Error::config(format!(
        "linux.seccomp: the rules of {name} contradict each other: the same conditions with different actions"
    ))
}
