//! A list of device rules in its normal form: what holds for all devices, and the exceptions from that.
//!
//! The meaning is that of the devices controller of cgroup v1, which config-linux and runc go by: a rule of type `a` sets
//! what holds for all and forgets what came before; a rule that says the same as what holds for all takes exceptions
//! back; any other one adds an exception. Where that controller passes over a denial in silence, this does not: a denial
//! also takes back what was allowed one by one below its wildcard, and one that would have to leave a hole in an
//! allowance with a wildcard is an error (in runc too, for the most part).

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Result};

/// Far more than anybody lists. The verifier follows at most 8192 jumps in a row, and a rule is one of them.
pub(super) const MOST_RULES: usize = 4096;

/// What kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Block,
    Char,
}

/// BPF_DEVCG_ACC_* of linux/bpf.h.
pub(super) mod access {
    pub(in super::super) const MKNOD: u8 = 1;
    pub(in super::super) const READ: u8 = 2;
    pub(in super::super) const WRITE: u8 = 4;
    pub(in super::super) const ALL: u8 = MKNOD | READ | WRITE;
}

/// The letters of a set of [`access`] bits, in the order in which all programs write them.
pub(super) fn letters(bits: u8) -> String {
    [
        (access::READ, 'r'),
        (access::WRITE, 'w'),
        (access::MKNOD, 'm'),
    ]
    .iter()
    .filter(|(bit, _)| bits & bit != 0)
    .map(|(_, letter)| letter)
    .collect()
}

/// A set of devices; a number that is `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Which {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
}

impl Which {
    /// All devices of `other` are of this set.
    fn covers(&self, other: &Which) -> bool {
        let covers = |own: Option<u32>, other: Option<u32>| own.is_none() || own == other;
        self.kind == other.kind
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }

    /// There may be a device that is of both sets.
    fn meets(&self, other: &Which) -> bool {
        let meet = |own: Option<u32>, other: Option<u32>| match (own, other) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// One rule of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    /// `None`: type `a`, whatever else the rule says.
    pub(super) which: Option<Which>,
    /// [`access`].
    pub(super) access: u8,
}

/// The normal form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rules {
    /// What holds for all devices but the exceptions: nothing is allowed, or everything.
    pub(super) allow: bool,
    /// To which the opposite applies, for these kinds of access.
    pub(super) exceptions: BTreeMap<Which, u8>,
}

impl Rules {
    /// Adds a rule behind those that are there.
    pub(super) fn add(&mut self, rule: &Rule) -> Result<()> {
        let Some(which) = rule.which else {
            *self = Rules {
                allow: rule.allow,
                exceptions: BTreeMap::new(),
            };
            return Ok(());
        };
        if rule.allow != self.allow {
            *self.exceptions.entry(which).or_default() |= rule.access;
            return Ok(());
        }
        for (exception, bits) in &mut self.exceptions {
            // An allowance with a wildcard leaves single denials below it standing.
            let covered = match rule.allow {
                true => *exception == which,
                false => which.covers(exception),
            };
            if covered {
                *bits &= !rule.access;
            } else if *bits & rule.access != 0
                && (exception.covers(&which) || !rule.allow && exception.meets(&which))
            {
                let (word, other) = match rule.allow {
                    true => ("allowing", "denied"),
                    false => ("denying", "allowed"),
                };
                return Err(Error::config(format!(
                    "{word} {which} {} would leave a hole in what a rule before it has {other}, {exception} {}: \
                     list the devices one by one",
                    letters(rule.access),
                    letters(*bits),
                )));
            }
        }
        self.exceptions.retain(|_, bits| *bits != 0);
        Ok(())
    }

    /// Nothing is refused.
    pub(super) fn allow_all(&self) -> bool {
        self.allow && self.exceptions.is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn which(text: &str) -> Option<Which> {
        let (kind, numbers) = text.split_once(' ')?;
        let (major, minor) = numbers.split_once(':')?;
        Some(Which {
            kind: if kind == "b" { Kind::Block } else { Kind::Char },
            major: major.parse().ok(),
            minor: minor.parse().ok(),
        })
    }

    /// `+c 1:* rw` or `-a`.
    pub(in super::super) fn rule(text: &str) -> Rule {
        let (sign, rest) = text.split_at(1);
        let (device, letters) = rest.rsplit_once(' ').unwrap_or((rest, "rwm"));
        let bit = |letter, bit| if letters.contains(letter) { bit } else { 0 };
        Rule {
            allow: sign == "+",
            which: which(device),
            access: bit('r', access::READ) | bit('w', access::WRITE) | bit('m', access::MKNOD),
        }
    }

    pub(in super::super) fn rules(list: &[&str]) -> Result<Rules> {
        let mut rules = Rules::default();
        for text in list {
            rules.add(&rule(text))?;
        }
        Ok(rules)
    }

    fn shown(rules: &Rules) -> Vec<String> {
        let sign = if rules.allow { '-' } else { '+' };
        let all = if rules.allow { "+a" } else { "-a" };
        let exceptions = rules.exceptions.iter();
        std::iter::once(all.to_owned())
            .chain(exceptions.map(|(which, bits)| format!("{sign}{which} {}", letters(*bits))))
            .collect()
    }

    #[test]
    fn lists_and_what_is_left_of_them() {
        for (list, expected) in [
            (&[][..], &["-a"][..]),
            (&["-a", "+c 1:3 rwm"], &["-a", "+c 1:3 rwm"]),
            // Parts of the same set add up.
            (&["+c 1:3 r", "+c 1:3 wm"], &["-a", "+c 1:3 rwm"]),
            (&["+c 1:3 rwm", "-c 1:3 w"], &["-a", "+c 1:3 rm"]),
            (&["+c 1:3 rwm", "-c 1:3 rwm"], &["-a"]),
            // What is not allowed cannot be denied, nor the other way round.
            (&["-c 1:3 rwm"], &["-a"]),
            (&["+a", "+c 1:3 rwm"], &["+a"]),
            // An `a` forgets.
            (&["+c 1:3 rwm", "+a"], &["+a"]),
            (&["+a", "-c 1:3 rwm", "-a"], &["-a"]),
            (&["+a", "-c 1:3 rwm", "+a"], &["+a"]),
            (&["+a", "-c 1:3 rwm"], &["+a", "-c 1:3 rwm"]),
            (&["+a", "-c 1:3 rwm", "+c 1:3 r"], &["+a", "-c 1:3 wm"]),
            // Kinds are apart.
            (&["+b 1:3 rwm", "-c 1:3 rwm"], &["-a", "+b 1:3 rwm"]),
            // Wildcards beside exact numbers.
            (
                &["+c 1:* r", "+c 1:3 w", "+c *:* m"],
                &["-a", "+c *:* m", "+c 1:* r", "+c 1:3 w"],
            ),
            // A denial takes back all below its wildcard.
            (
                &["+c 1:3 rwm", "+c 2:3 rwm", "-c 1:* rw"],
                &["-a", "+c 1:3 m", "+c 2:3 rwm"],
            ),
            (&["+c 1:3 rwm", "+c 2:3 rwm", "-c *:3 rwm"], &["-a"]),
            // An allowance does not: the devices controller of cgroup v1 has it so.
            (&["+a", "-c 1:3 rwm", "+c 1:* rwm"], &["+a", "-c 1:3 rwm"]),
            // A hole for another kind of access is none.
            (&["+c 1:* m", "-c 1:3 rw"], &["-a", "+c 1:* m"]),
        ] {
            assert_eq!(shown(&rules(list).unwrap()), expected, "{list:?}");
        }
    }

    #[test]
    fn holes_are_refused() {
        for list in [
            &["+c 1:* rwm", "-c 1:3 w"][..],
            &["+c *:* r", "-c 1:* r"],
            &["+c *:3 r", "-c 1:3 r"],
            &["+c 1:* r", "-c *:3 r"],
            &["+a", "-c 1:* rwm", "+c 1:3 r"],
        ] {
            let error = rules(list).unwrap_err().to_string();
            assert!(error.contains("would leave a hole"), "{list:?}: {error}");
        }
    }
}
