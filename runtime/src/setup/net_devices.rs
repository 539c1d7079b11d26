//! linux.netDevices: network devices of the host that the container gets.
//!
//! The parent moves them, as only it has both namespaces; the child, in the container's namespace, gives them their
//! addresses again, which the kernel takes away on a move, and sets them up.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::spec;
use crate::sys::fs;
use crate::sys::netlink::{Address, Netlink};

/// The longest name that a link can have (IFNAMSIZ without the NUL).
const LONGEST_NAME: usize = 15;

/// Names on the host, with the names in the container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NetDevices(BTreeMap<String, String>);

/// The devices that were moved, with their addresses.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moved(Vec<Device>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Device {
    name: String,
    addresses: Vec<Address>,
}

impl NetDevices {
    /// Checks names: of the devices, and that no two get the same one.
    pub(crate) fn plan(spec: &spec::Spec) -> Result<NetDevices> {
        let mut planned = NetDevices::default();
        let Some(linux) = spec.linux() else {
            return Ok(planned);
        };
        let devices = match linux.net_devices() {
            Some(devices) if !devices.is_empty() => devices,
            _ => return Ok(planned),
        };
        let mut namespaces = linux.namespaces().iter().flatten();
        if !namespaces.any(|namespace| namespace.typ() == spec::LinuxNamespaceType::Network) {
            return Err(Error::config(
                "unable to move network devices without a NET namespace",
            ));
        }
        for (host, device) in devices {
            let inside = match device.name().as_deref() {
                None | Some("") => host,
                Some(name) => name,
            };
            for name in [host.as_str(), inside] {
                if !is_valid_name(name) {
                    return Err(Error::config(format!(
                        "invalid network device name {name:?}"
                    )));
                }
            }
            if planned.0.values().any(|other| other == inside) {
                let text = format!("two network devices with the name {inside:?}");
                return Err(Error::config(text));
            }
            planned.0.insert(host.clone(), inside.to_owned());
        }
        Ok(planned)
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves the devices from this process's network namespace to another.
    pub(crate) fn collect_and_move(&self, netns_fd: BorrowedFd<'_>) -> Result<Moved> {
        let mut moved = Moved(Vec::new());
        if self.is_empty() {
            return Ok(moved);
        }
        let (own, other) = (fs::stat("/proc/self/ns/net")?, fs::fstat(netns_fd)?);
        if (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino) {
            let text =
                "unable to move network devices: the container's network namespace is the host's";
            return Err(Error::config(text));
        }
        // Seen before anything is moved: the kernel moves first and renames then, and a device that could not be renamed
        // would be gone with the container.
        let there = Netlink::open_in(netns_fd)?;
        for inside in self.0.values() {
            if is_link(&there, inside)? {
                let text = format!("the container has a network device {inside:?} already");
                return Err(Error::config(text));
            }
        }
        let netlink = Netlink::open()?;
        for (host, inside) in &self.0 {
            let words = || format!("moving the network device {host:?} into the container");
            let index = netlink.index(host).map_err(|error| {
                error.wrap(format!(
                    "link not found for interface {host} on runtime namespace"
                ))
            })?;
            // Before it goes down, which costs it its IPv6 addresses.
            let addresses = netlink.addresses(index).context(words)?;
            // It must be down to be renamed, and nothing should come through it on the way.
            netlink.set_up(index, false).context(words)?;
            netlink.move_link(index, inside, netns_fd).context(words)?;
            moved.0.push(Device {
                name: inside.clone(),
                addresses,
            });
        }
        Ok(moved)
    }
}

fn is_link(netlink: &Netlink, name: &str) -> Result<bool> {
    match netlink.index(name) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Moved {
    /// In the container's network namespace: gives the devices their addresses and sets them up.
    pub(crate) fn configure(&self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let netlink = Netlink::open()?;
        for device in &self.0 {
            let words = || format!("setting up the network device {:?}", device.name);
            let index = netlink.index(&device.name).context(words)?;
            for address in &device.addresses {
                netlink.add_address(index, address).context(words)?;
            }
            netlink.set_up(index, true).context(words)?;
        }
        Ok(())
    }

    /// For a message to another process.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| malformed(&error))
    }

    /// What [`Moved::to_bytes`] gave.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Moved> {
        serde_json::from_slice(bytes).map_err(|error| malformed(&error))
    }
}

fn malformed(error: &serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Process,
        format!("moved network devices: {error}"),
    )
}

/// The kernel's rules, and no `:`, which stands for an alias in old interfaces.
fn is_valid_name(name: &str) -> bool {
    let is_odd = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    !matches!(name, "" | "." | "..") && name.len() <= LONGEST_NAME && !name.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(devices: &str, namespaces: &str) -> Result<NetDevices> {
        let text = format!(
            r#"{{"ociVersion": "1.3.0", "linux": {{"netDevices": {devices}, "namespaces": {namespaces}}}}}"#
        );
        NetDevices::plan(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn plan_checks_names_and_namespace() {
        const NET: &str = r#"[{"type": "network"}]"#;
        let planned = plan(r#"{"a": {}, "b": {"name": "c"}, "d": {"name": ""}}"#, NET).unwrap();
        let names: Vec<_> = planned
            .0
            .iter()
            .map(|(h, i)| (h.as_str(), i.as_str()))
            .collect();
        assert_eq!(names, [("a", "a"), ("b", "c"), ("d", "d")]);
        assert!(plan("{}", "[]").unwrap().is_empty());

        for (devices, namespaces, text) in [
            (
                r#"{"a": {}}"#,
                "[]",
                "unable to move network devices without a NET namespace",
            ),
            (r#"{"a/b": {}}"#, NET, "invalid network device name \"a/b\""),
            (r#"{"": {}}"#, NET, "invalid network device name \"\""),
            (
                r#"{"a": {"name": ".."}}"#,
                NET,
                "invalid network device name \"..\"",
            ),
            (
                r#"{"a": {"name": "b c"}}"#,
                NET,
                "invalid network device name \"b c\"",
            ),
            (
                r#"{"a": {"name": "a234567890123456"}}"#,
                NET,
                "invalid network device name \"a234567890123456\"",
            ),
            (
                r#"{"a": {}, "b": {"name": "a"}}"#,
                NET,
                "two network devices with the name \"a\"",
            ),
        ] {
            assert_eq!(plan(devices, namespaces).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn moved_survives_a_message() {
        let moved = Moved(vec![Device {
            name: "eth0".into(),
            addresses: vec![Address {
                local: "fd00::1".parse().unwrap(),
                peer: None,
                broadcast: None,
                prefix: 64,
            }],
        }]);
        let bytes = moved.to_bytes().unwrap();
        assert_eq!(Moved::from_bytes(&bytes).unwrap(), moved);
        assert!(Moved::from_bytes(b"{").is_err());
    }
}
