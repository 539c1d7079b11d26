//! linux.memoryPolicy: on which NUMA nodes the container's memory lies.

use crate::error::{Context, Error, Result};
use crate::spec::{self, MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode};
use crate::sys::mempolicy;

/// The largest number of nodes that any kernel is built for (CONFIG_NODES_SHIFT is at most 10).
const NODES: usize = 1024;

/// Mode with flags, and the mask of nodes; `None` where nothing is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemoryPolicy(Option<(u32, Vec<u64>)>);

impl MemoryPolicy {
    /// Checks what of mode, flags and nodes goes together.
    pub(crate) fn plan(policy: Option<&spec::LinuxMemoryPolicy>) -> Result<MemoryPolicy> {
        let Some(policy) = policy else {
            return Ok(MemoryPolicy(None));
        };
        let mode = policy.mode();
        let flags = policy.flags().as_deref().unwrap_or_default();
        let text = policy.nodes().as_deref().unwrap_or_default();
        let nodes = mask(text).context(|| "linux.memoryPolicy.nodes")?;
        let wrong = |why: &str| Error::config(format!("linux.memoryPolicy: {mode} {why}"));
        match (mode, nodes.is_empty()) {
            (Mode::MpolDefault | Mode::MpolLocal, false) => {
                return Err(wrong("takes no nodes"));
            }
            (
                Mode::MpolBind
                | Mode::MpolInterleave
                | Mode::MpolPreferredMany
                | Mode::MpolWeightedInterleave,
                true,
            ) => return Err(wrong("needs at least one node")),
            _ => {}
        }
        let both =
            flags.contains(&Flag::MpolFStaticNodes) && flags.contains(&Flag::MpolFRelativeNodes);
        if both {
            return Err(wrong(
                "has MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES, which exclude each other",
            ));
        }
        let bits = flags.iter().fold(0, |bits, flag| bits | flag_bit(*flag));
        Ok(MemoryPolicy(Some((mode_number(mode) | bits, nodes))))
    }

    /// Sets it for this process and those it becomes.
    pub(crate) fn apply(&self) -> Result<()> {
        let Some((mode, nodes)) = &self.0 else {
            return Ok(());
        };
        mempolicy::set_mempolicy(*mode, nodes).context(|| "setting linux.memoryPolicy")
    }
}

/// MPOL_* of linux/mempolicy.h.
fn mode_number(mode: Mode) -> u32 {
    match mode {
        Mode::MpolDefault => 0,
        Mode::MpolPreferred => 1,
        Mode::MpolBind => 2,
        Mode::MpolInterleave => 3,
        Mode::MpolLocal => 4,
        Mode::MpolPreferredMany => 5,
        Mode::MpolWeightedInterleave => 6,
    }
}

/// MPOL_F_* of linux/mempolicy.h.
fn flag_bit(flag: Flag) -> u32 {
    match flag {
        Flag::MpolFStaticNodes => 1 << 15,
        Flag::MpolFRelativeNodes => 1 << 14,
        Flag::MpolFNumaBalancing => 1 << 13,
    }
}

/// The mask of a list of nodes like `0-1,3`, without words that are 0 at its end.
fn mask(text: &str) -> Result<Vec<u64>> {
    let mut words = Vec::new();
    if text.is_empty() {
        return Ok(words);
    }
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (node(first)?, node(last)?);
        if first > last {
            return Err(Error::config(format!("the range {part:?} runs backwards")));
        }
        if words.len() <= last / 64 {
            words.resize(last / 64 + 1, 0);
        }
        for node in first..=last {
            words[node / 64] |= 1 << (node % 64);
        }
    }
    Ok(words)
}

fn node(digits: &str) -> Result<usize> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::config(format!("{digits:?} is not a number")));
    }
    digits
        .parse()
        .ok()
        .filter(|node| *node < NODES)
        .ok_or_else(|| Error::config(format!("{digits} is too large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        for (text, words) in [
            ("", Some(vec![])),
            ("0", Some(vec![1])),
            ("0-1,3", Some(vec![0b1011])),
            ("64, 0", Some(vec![1, 1])),
            ("63-64", Some(vec![1 << 63, 1])),
            ("1024", None),
            ("1-0", None),
            ("0,", None),
            ("x", None),
            ("-1", None),
            ("0-99999999999999999999999", None),
        ] {
            assert_eq!(mask(text).ok(), words, "{text:?}");
        }
    }

    #[test]
    fn what_goes_together() {
        for (json, expected) in [
            (r#"{"mode":"MPOL_DEFAULT"}"#, Some((0, vec![]))),
            (r#"{"mode":"MPOL_LOCAL","nodes":""}"#, Some((4, vec![]))),
            (r#"{"mode":"MPOL_PREFERRED"}"#, Some((1, vec![]))),
            (
                r#"{"mode":"MPOL_PREFERRED","nodes":"0"}"#,
                Some((1, vec![1])),
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_NUMA_BALANCING"]}"#,
                Some((0xa002, vec![1])),
            ),
            (
                r#"{"mode":"MPOL_WEIGHTED_INTERLEAVE","nodes":"1","flags":["MPOL_F_RELATIVE_NODES"]}"#,
                Some((0x4006, vec![2])),
            ),
            (r#"{"mode":"MPOL_DEFAULT","nodes":"0"}"#, None),
            (r#"{"mode":"MPOL_LOCAL","nodes":"0"}"#, None),
            (r#"{"mode":"MPOL_INTERLEAVE"}"#, None),
            (r#"{"mode":"MPOL_PREFERRED_MANY","nodes":""}"#, None),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]}"#,
                None,
            ),
        ] {
            let policy = serde_json::from_str(json).unwrap();
            let planned = MemoryPolicy::plan(Some(&policy)).ok();
            assert_eq!(planned, expected.map(|e| MemoryPolicy(Some(e))), "{json}");
        }
        assert_eq!(MemoryPolicy::plan(None).unwrap(), MemoryPolicy::default());
    }
}
