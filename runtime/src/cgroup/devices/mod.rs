//! linux.resources.devices: which device nodes the processes of a container may open and make.
//!
//! cgroup v2 has no files for that. A program of type BPF_PROG_TYPE_CGROUP_DEVICE is attached to the cgroup and holds for
//! all below it, too.

mod program;
mod rules;
// For the systemd driver.
mod systemd;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

pub(crate) use systemd::DeviceAllow;

use super::Cgroup;
use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::bpf;
use rules::{Kind, MOST_RULES, Rule, Rules, Which, access};

/// The name that bpftool(8) shows.
const NAME: &str = "vzrun_devices";

/// Major and minor of the nodes that every container has, and the path at which a device of config.json takes the place
/// of one, and of its rule. The last ones have no node of their own: terminals of devpts, ptmx, tun.
const ALWAYS: [(Option<&str>, u32, Option<u32>); 9] = [
    (Some("/dev/null"), 1, Some(3)),
    (Some("/dev/random"), 1, Some(8)),
    (Some("/dev/full"), 1, Some(7)),
    (Some("/dev/tty"), 5, Some(0)),
    (Some("/dev/zero"), 1, Some(5)),
    (Some("/dev/urandom"), 1, Some(9)),
    (None, 136, None),
    (None, 5, Some(2)),
    (None, 10, Some(200)),
];

/// The rules of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceRules(Rules);

impl DeviceRules {
    /// The list of config.json, and behind it what runc allows every container: to make any node, and to use those that
    /// every container has. Without a list, nothing else.
    pub(crate) fn plan(linux: &spec::Linux) -> Result<DeviceRules> {
        let resources = linux.resources().as_ref();
        let list = resources.and_then(|resources| resources.devices().as_deref());
        let list = list.unwrap_or_default();
        if list.len() > MOST_RULES {
            let text = format!(
                "linux.resources.devices has {} rules, the limit is {MOST_RULES}",
                list.len()
            );
            return Err(Error::config(text));
        }
        let mut rules = Rules::default();
        for (index, listed) in list.iter().enumerate() {
            plan_one(listed)
                .and_then(|rule| rules.add(&rule))
                .context(|| format!("linux.resources.devices[{index}]"))?;
        }
        for kind in [Kind::Char, Kind::Block] {
            let any = Which {
                kind,
                major: None,
                minor: None,
            };
            allow(&mut rules, any, access::MKNOD)?;
        }
        let listed = |path: &str| {
            let nodes = linux.devices().as_deref().unwrap_or_default();
            nodes.iter().any(|node| node.path() == Path::new(path))
        };
        for (_, major, minor) in ALWAYS.iter().filter(|(path, ..)| !path.is_some_and(listed)) {
            let which = Which {
                kind: Kind::Char,
                major: Some(*major),
                minor: *minor,
            };
            allow(&mut rules, which, access::ALL)?;
        }
        Ok(DeviceRules(rules))
    }

    /// Puts them into force for a cgroup, in the place of what was there. There is no moment without rules.
    pub(crate) fn apply(&self, cgroup: &Cgroup) -> Result<()> {
        self.attach(cgroup)
            .map_err(explain)
            .context(|| format!("setting the device rules of the cgroup {:?}", cgroup.path))
    }

    /// The program that decides by them.
    pub(crate) fn compile(&self) -> Result<Vec<bpf::Insn>> {
        program::compile(&self.0)
    }

    fn attach(&self, cgroup: &Cgroup) -> Result<()> {
        // systemd's, or those of whoever has used the cgroup before.
        let present = bpf::prog_query(cgroup)?;
        if present.is_empty() && self.0.allow_all() {
            return Ok(());
        }
        let program = bpf::prog_load(&self.compile()?, NAME)?;
        let mut attached = false;
        for id in present {
            let Some(old) = open(id)? else { continue };
            let done = match attached {
                false => bpf::prog_attach(cgroup, &program, Some(old.as_fd())),
                true => bpf::prog_detach(cgroup, &old),
            };
            match done {
                Ok(()) => attached = true,
                // Gone meanwhile, or held there by a link: it can only refuse more than ours does.
                Err(error) if error.errno() == Some(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        match attached {
            true => Ok(()),
            false => bpf::prog_attach(cgroup, &program, None),
        }
    }
}

/// A program by its id; `None` where it is gone, or where an LSM keeps it to itself: as it can only refuse more than
/// ours does, it may stay.
fn open(id: u32) -> Result<Option<OwnedFd>> {
    match bpf::prog_get_fd_by_id(id) {
        Ok(program) => Ok(Some(program)),
        Err(error) => match error.errno() {
            Some(Errno::NOENT | Errno::PERM | Errno::ACCESS) => Ok(None),
            _ => Err(error),
        },
    }
}

/// What to do about it.
fn explain(error: Error) -> Error {
    match error.errno() {
        Some(Errno::PERM | Errno::ACCESS) => {
            error.wrap("without CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) of the host?")
        }
        Some(Errno::NOSYS | Errno::INVAL) => {
            error.wrap("a kernel without CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF?")
        }
        _ => error,
    }
}

fn allow(rules: &mut Rules, which: Which, access: u8) -> Result<()> {
    let rule = Rule {
        allow: true,
        which: Some(which),
        access,
    };
    rules
        .add(&rule)
        .context(|| "linux.resources.devices stands against what every container is allowed to use")
}

fn plan_one(listed: &spec::LinuxDeviceCgroup) -> Result<Rule> {
    let kind = match listed.typ() {
        None | Some(spec::LinuxDeviceType::A) => None,
        Some(spec::LinuxDeviceType::B) => Some(Kind::Block),
        Some(spec::LinuxDeviceType::C) => Some(Kind::Char),
        Some(other) => {
            return Err(Error::config(format!(
                "invalid cgroup device type {:?}",
                other.as_str()
            )));
        }
    };
    // -1 is how Go programs write "any".
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| Error::config(format!("{name} {value} is out of range"))),
    };
    let (major, minor) = (
        number("major", listed.major())?,
        number("minor", listed.minor())?,
    );
    let letters = listed.access().as_deref().unwrap_or_default();
    if letters.is_empty() {
        return Err(Error::config("device access cannot be empty"));
    }
    let mut bits = 0;
    for letter in letters.chars() {
        bits |= match letter {
            'r' => access::READ,
            'w' => access::WRITE,
            'm' => access::MKNOD,
            other => {
                let text = format!("unknown device access {other:?} in {letters:?}");
                return Err(Error::config(text));
            }
        };
    }
    Ok(Rule {
        allow: listed.allow(),
        which: kind.map(|kind| Which { kind, major, minor }),
        access: bits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(devices: &str, nodes: &str) -> Result<DeviceRules> {
        let json = format!(r#"{{"resources":{{"devices":{devices}}},"devices":{nodes}}}"#);
        DeviceRules::plan(&serde_json::from_str(&json).unwrap())
    }

    fn allowed(rules: &DeviceRules) -> Vec<String> {
        assert!(!rules.0.allow);
        let list = rules.0.exceptions.iter();
        list.map(|(which, bits)| format!("{which} {}", rules::letters(*bits)))
            .collect()
    }

    const DEFAULT: [&str; 11] = [
        "b *:* m",
        "c *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
        "c 10:200 rwm",
        "c 136:* rwm",
    ];

    #[test]
    fn without_a_list_there_is_the_default() {
        for devices in ["[]", r#"[{"allow":false,"access":"rwm"}]"#] {
            assert_eq!(allowed(&plan(devices, "[]").unwrap()), DEFAULT);
        }
        let none = DeviceRules::plan(&serde_json::from_str("{}").unwrap());
        assert_eq!(allowed(&none.unwrap()), DEFAULT);
    }

    #[test]
    fn the_default_cannot_be_denied_but_by_a_device_of_that_path() {
        let deny = r#"[{"allow":false,"type":"c","major":1,"minor":3,"access":"rwm"}]"#;
        assert_eq!(allowed(&plan(deny, "[]").unwrap()), DEFAULT);
        let node = r#"[{"path":"/dev/null","type":"c","major":1,"minor":3}]"#;
        let rules = allowed(&plan(deny, node).unwrap());
        assert!(!rules.contains(&"c 1:3 rwm".to_owned()), "{rules:?}");
        assert_eq!(rules.len(), DEFAULT.len() - 1);
    }

    #[test]
    fn a_privileged_container() {
        let rules = plan(r#"[{"allow":true,"access":"rwm"}]"#, "[]").unwrap();
        assert!(rules.0.allow_all());
    }

    #[test]
    fn numbers_and_types() {
        let rules = plan(
            r#"[{"allow":true,"type":"b","major":8,"minor":-1,"access":"r"},
                {"allow":true,"type":"c","minor":7,"access":"w"}]"#,
            "[]",
        );
        let rules = allowed(&rules.unwrap());
        assert!(rules.contains(&"b 8:* r".to_owned()) && rules.contains(&"c *:7 w".to_owned()));
    }

    #[test]
    fn nonsense_is_refused() {
        for (rule, says) in [
            (
                r#"{"allow":true,"type":"c","access":""}"#,
                "devices[0]: device access cannot be empty",
            ),
            (r#"{"allow":true,"type":"c"}"#, "cannot be empty"),
            (
                r#"{"allow":true,"type":"c","access":"rx"}"#,
                "unknown device access 'x'",
            ),
            (
                r#"{"allow":true,"type":"p","access":"r"}"#,
                "invalid cgroup device type \"p\"",
            ),
            (
                r#"{"allow":true,"type":"c","major":-2,"access":"r"}"#,
                "major -2",
            ),
            (
                r#"{"allow":true,"type":"c","minor":4294967296,"access":"r"}"#,
                "minor 4294967296",
            ),
        ] {
            let error = plan(&format!("[{rule}]"), "[]").unwrap_err().to_string();
            assert!(error.contains(says), "{rule}: {error}");
        }
        let many = vec![r#"{"allow":true,"access":"r"}"#; MOST_RULES + 1].join(",");
        assert!(plan(&format!("[{many}]"), "[]").is_err());
    }

    #[test]
    fn a_denial_of_all_character_devices_stands_against_the_default() {
        let list = r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","access":"rwm"}]"#;
        let error = plan(list, "[]").unwrap_err().to_string();
        assert!(error.contains("what every container is allowed"), "{error}");
    }
}
