//! Device rules as properties of a systemd unit (systemd.resource-control(5)).
//!
//! systemd has a program of its own for them, and attaches it again at each `daemon-reload` or `set-property`, beside
//! ours; a device must pass both. So these properties must allow at least what the rules do, and what they cannot say
//! exactly they say too widely: our program stays the one that decides.

use super::DeviceRules;
use super::rules::{Kind, letters};

/// The values of DevicePolicy and DeviceAllow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceAllow {
    /// `strict`: nothing but the list; `auto`: with an empty list, everything.
    pub(crate) policy: &'static str,
    /// A node (`/dev/char/1:3`) or a class of nodes (`char-136`, `block-*`), and the letters of what is allowed.
    pub(crate) list: Vec<(String, String)>,
}

impl DeviceRules {
    /// The properties for these rules.
    pub(crate) fn device_allow(&self) -> DeviceAllow {
        if self.0.allow {
            // It has no list of what is denied.
            return DeviceAllow {
                policy: "auto",
                list: Vec::new(),
            };
        }
        let entry = |(which, bits): (&super::rules::Which, &u8)| {
            let kind = match which.kind {
                Kind::Block => "block",
                Kind::Char => "char",
            };
            let nodes = match (which.major, which.minor) {
                (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
                // A number as a class: since systemd 240.
                (Some(major), None) => format!("{kind}-{major}"),
                // It has no way to say `*:minor`.
                (None, _) => format!("{kind}-*"),
            };
            (nodes, letters(*bits))
        };
        DeviceAllow {
            policy: "strict",
            list: self.0.exceptions.iter().map(entry).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::rules;
    use super::*;

    #[test]
    fn lists() {
        for (list, policy, expected) in [
            (&["+a"][..], "auto", &[][..]),
            (&["+a", "-c 1:3 rwm"], "auto", &[]),
            (&["-a"], "strict", &[]),
            (
                &[
                    "-a",
                    "+c 1:3 mwr",
                    "+c 136:* rw",
                    "+b *:* m",
                    "+b 7:0 r",
                    "+c *:2 r",
                ],
                "strict",
                &[
                    ("block-*", "m"),
                    ("/dev/block/7:0", "r"),
                    ("char-*", "r"),
                    ("/dev/char/1:3", "rwm"),
                    ("char-136", "rw"),
                ],
            ),
        ] {
            let allow = DeviceRules(rules(list).unwrap()).device_allow();
            assert_eq!(allow.policy, policy, "{list:?}");
            let found: Vec<(&str, &str)> = allow
                .list
                .iter()
                .map(|(nodes, letters)| (nodes.as_str(), letters.as_str()))
                .collect();
            let mut sorted = found.clone();
            sorted.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(sorted, expected, "{list:?}");
        }
    }
}
