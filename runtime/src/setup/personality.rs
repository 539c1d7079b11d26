//! linux.personality.

use crate::error::{Context, Result};
use crate::log;
use crate::spec;
use crate::sys::prctl;

/// The execution domain, if one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Personality(Option<u32>);

impl Personality {
    /// The specification names no flags. As with runc, any that are there are passed over with a warning.
    pub(crate) fn plan(personality: Option<&spec::LinuxPersonality>) -> Personality {
        /// PER_LINUX of linux/personality.h.
        const LINUX: u32 = 0;
        /// PER_LINUX32 of linux/personality.h.
        const LINUX32: u32 = 8;
        let Some(personality) = personality else {
            return Personality(None);
        };
        if let Some(flags) = personality.flags().as_ref().filter(|f| !f.is_empty()) {
            log::warn(format_args!(
                "ignoring linux.personality.flags, which are not supported: {flags:?}"
            ));
        }
        Personality(Some(match personality.domain() {
            spec::LinuxPersonalityDomain::PerLinux => LINUX,
            spec::LinuxPersonalityDomain::PerLinux32 => LINUX32,
        }))
    }

    /// Sets it for this process and those it becomes.
    pub(crate) fn apply(&self) -> Result<()> {
        self.0.map_or(Ok(()), |domain| {
            prctl::personality(domain).context(|| "setting linux.personality")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        assert_eq!(Personality::plan(None), Personality(None));
        for (json, domain) in [
            (r#"{"domain":"LINUX"}"#, 0),
            (r#"{"domain":"LINUX32"}"#, 8),
            (r#"{"domain":"LINUX32","flags":["X"]}"#, 8),
        ] {
            let personality = serde_json::from_str(json).unwrap();
            assert_eq!(
                Personality::plan(Some(&personality)),
                Personality(Some(domain))
            );
        }
    }
}
