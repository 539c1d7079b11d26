//! What the rules of a profile say of one call, by their plain meaning.
//!
//! libseccomp (2.6) at times answers otherwise than the rules say. It folds the conditional rules of a call into one
//! tree, and there goes on with a comparison while another argument is still loaded; and for x86-64 with x32 it forgets
//! to load the number if the first call in its list is one that x86-64 does not have; for aarch64 with ARM it forgets
//! that, too, if seldom. Then this decides who is right.

use std::collections::BTreeSet;

use integration::Value;

use crate::libseccomp::{Libseccomp, action, arch_token, list};
use crate::program::Call;
use crate::{Machine, X32_BIT};

/// The rules of one call, on one architecture.
pub(crate) struct Meaning {
    /// Conditions that all have to hold, and the action.
    cases: Vec<(Vec<Condition>, u32)>,
    default: u32,
    is_64: bool,
}

#[derive(Clone)]
struct Condition {
    index: usize,
    operator: String,
    value: u64,
    second: u64,
}

impl Condition {
    fn of(arg: &Value) -> Condition {
        Condition {
            index: arg["index"].as_u64().unwrap() as usize,
            operator: arg["op"].as_str().unwrap()["SCMP_CMP_".len()..].to_string(),
            value: arg["value"].as_u64().unwrap(),
            second: arg["valueTwo"].as_u64().unwrap_or(0),
        }
    }

    fn holds(&self, call: &Call, is_64: bool) -> bool {
        let cut = |value: u64| if is_64 { value } else { value & 0xffff_ffff };
        let (argument, value) = (cut(call.args[self.index]), cut(self.value));
        match self.operator.as_str() {
            "NE" => argument != value,
            "LT" => argument < value,
            "LE" => argument <= value,
            "EQ" => argument == value,
            "GE" => argument >= value,
            "GT" => argument > value,
            "MASKED_EQ" => argument & value == cut(self.second) & value,
            operator => panic!("{operator}"),
        }
    }

    /// Compares nothing.
    fn is_empty(&self, is_64: bool) -> bool {
        let mask = if is_64 {
            self.value
        } else {
            self.value & 0xffff_ffff
        };
        self.operator == "MASKED_EQ" && mask == 0
    }
}

impl Meaning {
    /// Of the call with this number, `None` if the architecture is not the profile's.
    pub(crate) fn of(
        oracle: &Libseccomp,
        machine: Machine,
        profile: &Value,
        (audit, number): (u32, u32),
    ) -> Option<Meaning> {
        let x86 = arch_token("SCMP_ARCH_X86_64");
        let arch = match audit {
            // Without x32 in the profile, nobody's.
            _ if audit == x86 && number >= X32_BIT && number != u32::MAX => "SCMP_ARCH_X32",
            _ if audit == x86 => "SCMP_ARCH_X86_64",
            0x4000_0003 => "SCMP_ARCH_X86",
            0xc000_00b7 => "SCMP_ARCH_AARCH64",
            0x4000_0028 => "SCMP_ARCH_ARM",
            _ => return None,
        };
        let named = list(&profile["architectures"]);
        if arch != machine.native() && !named.iter().any(|name| *name == arch) {
            return None;
        }
        let mut meaning = Meaning {
            cases: Vec::new(),
            default: action(&profile["defaultAction"], &profile["defaultErrnoRet"]),
            is_64: matches!(arch, "SCMP_ARCH_X86_64" | "SCMP_ARCH_AARCH64"),
        };
        for rule in list(&profile["syscalls"]) {
            let action = action(&rule["action"], &rule["errnoRet"]);
            for name in list(&rule["names"]) {
                let name = name.as_str().unwrap();
                if action != meaning.default
                    && let Some(found) = oracle.resolve(arch_token(arch), name)
                {
                    meaning.add(oracle, (found, number), list(&rule["args"]), (name, action));
                }
            }
        }
        Some(meaning)
    }

    fn add(
        &mut self,
        oracle: &Libseccomp,
        (found, number): (i32, u32),
        args: &[Value],
        (name, action): (&str, u32),
    ) {
        let conditions: Vec<Condition> = args.iter().map(Condition::of).collect();
        let twice = (0..6).any(|index| conditions.iter().filter(|c| c.index == index).count() > 1);
        let alternatives: Vec<Vec<Condition>> = match twice {
            true => conditions.into_iter().map(|one| vec![one]).collect(),
            false => vec![conditions],
        };
        for mut conditions in alternatives {
            match found {
                _ if found as u32 == number => {}
                // i386 has it in socketcall(2) or ipc(2), and perhaps under a number of its own.
                ..=-101 if found > -300 => {
                    let outer = if found > -200 { 102 } else { 117 };
                    if outer == number {
                        conditions.retain(|one| one.index != 0);
                        conditions.push(Condition {
                            index: 0,
                            operator: "EQ".into(),
                            value: u64::from(found.unsigned_abs() % 100),
                            second: 0,
                        });
                    } else if oracle.own_number(name) != Some(number) {
                        continue;
                    }
                }
                _ => continue,
            }
            conditions.retain(|one| !one.is_empty(self.is_64));
            self.cases.push((conditions, action));
        }
    }

    /// What the rules that hold say, all of them.
    pub(crate) fn answers(&self, call: &Call) -> BTreeSet<u32> {
        if let Some((_, action)) = self
            .cases
            .iter()
            .find(|(conditions, _)| conditions.is_empty())
        {
            return BTreeSet::from([*action]);
        }
        let holds =
            |conditions: &[Condition]| conditions.iter().all(|one| one.holds(call, self.is_64));
        let all: BTreeSet<u32> = self
            .cases
            .iter()
            .filter(|(conditions, _)| holds(conditions))
            .map(|(_, action)| *action)
            .collect();
        if all.is_empty() {
            BTreeSet::from([self.default])
        } else {
            all
        }
    }
}
