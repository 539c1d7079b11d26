//! process.capabilities: the five sets of capabilities(7).

use crate::error::{Context, Result};
use crate::spec;
use crate::sys::ids;

/// Names by number, as in linux/capability.h. `features` prints this table.
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability by its name, in any case, with or without `CAP_`.
pub(crate) fn number(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|known| &known[4..] == bare)
        .and_then(|n| u32::try_from(n).ok())
}

/// The five sets, bit n for capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

impl Capabilities {
    /// Absent means: none at all, in every set.
    pub(crate) fn plan(sets: Option<&spec::LinuxCapabilities>) -> Capabilities {
        let Some(sets) = sets else {
            return Capabilities::default();
        };
        Capabilities {
            bounding: mask(sets.bounding().as_ref()),
            effective: mask(sets.effective().as_ref()),
            permitted: mask(sets.permitted().as_ref()),
            inheritable: mask(sets.inheritable().as_ref()),
            ambient: mask(sets.ambient().as_ref()),
        }
    }

    /// Adds `names` to bounding, effective and permitted (`exec --cap`), and to ambient where it is inheritable too.
    pub(crate) fn add(&mut self, number: u32) {
        let bit = 1 << number;
        self.bounding |= bit;
        self.effective |= bit;
        self.permitted |= bit;
        self.ambient |= self.inheritable & bit;
    }

    /// The bounding set, which can only be cut while CAP_SETPCAP is still there: before the user changes.
    pub(crate) fn apply_bounding(&self) -> Result<()> {
        for number in 0..64 {
            if self.bounding & (1 << number) != 0 {
                continue;
            }
            match ids::is_in_bounding(number)? {
                None => break,
                Some(false) => {}
                Some(true) => {
                    ids::drop_bounding(number).context(|| "cutting the bounding set")?;
                }
            }
        }
        Ok(())
    }

    /// The other four, after the user has changed (with PR_SET_KEEPCAPS). What this process does not have cannot be
    /// given: as runc, such a capability is left out.
    pub(crate) fn apply(&self) -> Result<()> {
        let have = ids::permitted_capabilities().context(|| "setting the capabilities")?;
        let permitted = self.permitted & have;
        let effective = self.effective & permitted;
        let inheritable = self.inheritable & (have | permitted);
        ids::set_capabilities(effective, permitted, inheritable)
            .context(|| "setting the capabilities")?;
        ids::clear_ambient()?;
        for number in 0..64 {
            if self.ambient & (1 << number) == 0 {
                continue;
            }
            // The kernel's rule is that it must be permitted and inheritable too. Common default configs list ambient
            // capabilities that are not inheritable: they have never had an effect, and are not worth a word.
            if permitted & inheritable & (1 << number) == 0 {
                continue;
            }
            if let Err(error) = ids::raise_ambient(number) {
                crate::log::warn(format_args!("ambient capability {number} not set: {error}"));
            }
        }
        Ok(())
    }
}

fn mask(set: Option<&spec::Capabilities>) -> u64 {
    set.into_iter()
        .flatten()
        .filter_map(|c| number(&c.to_string()))
        .fold(0, |m, n| m | 1 << n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(number("CAP_CHOWN"), Some(0));
        assert_eq!(number("sys_admin"), Some(21));
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(number("CAP_NOPE"), None);
    }
}
