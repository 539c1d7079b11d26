//! linux.sysctl: only settings that belong to a namespace of the container.

use std::collections::HashMap;
use std::os::fd::AsFd;

use crate::error::{Context, Error, Result};
use crate::sys::fs;
use crate::sys::procfs::Procfs;

/// Settings of the IPC namespace; so is all below `fs.mqueue.`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Which namespaces the container does not share with the caller.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NamespaceView {
    /// A new or joined network namespace; see [`Sysctl::check_joined_network`] for the second.
    pub(crate) network: bool,
    /// A new or joined IPC namespace.
    pub(crate) ipc: bool,
    /// A new or joined UTS namespace.
    pub(crate) uts: bool,
    /// A new or joined user namespace.
    pub(crate) user: bool,
}

/// The settings, as paths below /proc/sys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sysctl(Vec<(String, String)>);

impl Sysctl {
    /// Checks each key against the namespaces, in runc's words.
    pub(crate) fn plan(
        sysctl: Option<&HashMap<String, String>>,
        namespaces: NamespaceView,
    ) -> Result<Sysctl> {
        let mut settings = Vec::new();
        for (key, value) in sysctl.into_iter().flatten() {
            let path = path_of(key);
            check(&path, namespaces).context(|| "linux.sysctl")?;
            settings.push((path, value.clone()));
        }
        // The order of a JSON object means nothing: make it the same each time.
        settings.sort_unstable();
        Ok(Sysctl(settings))
    }

    /// Refuses settings of the network when the joined network namespace turns out to be the caller's own.
    pub(crate) fn check_joined_network(&self, namespace: impl AsFd) -> Result<()> {
        let Some((path, _)) = self.0.iter().find(|(path, _)| is_of_network(path)) else {
            return Ok(());
        };
        let (joined, own) = (fs::fstat(namespace)?, fs::stat("/proc/self/ns/net")?);
        let shared = (joined.st_dev, joined.st_ino) == (own.st_dev, own.st_ino);
        allow(!shared, || {
            let key = swap_separators(path);
            format!("sysctl {key:?} not allowed in host network namespace")
        })
    }

    /// Writes some of them, from within the container's namespaces. `gid` is the writer's for one of the container's group
    /// ids, if it has that.
    pub(crate) fn apply(
        &self,
        procfs: &Procfs,
        part: Part,
        gid: impl Fn(u32) -> Option<u32>,
    ) -> Result<()> {
        let wanted = self.0.iter().filter(|(path, _)| match part {
            Part::All => true,
            Part::Network => is_of_network(path),
            Part::ButNetwork => !is_of_network(path),
        });
        for (path, value) in wanted {
            let translated = match path.as_str() {
                PING => ping_groups(value, &gid),
                _ => None,
            };
            procfs
                .write_sys(path, translated.as_ref().unwrap_or(value))
                .context(|| format!("setting sysctl {}", swap_separators(path)))?;
        }
        Ok(())
    }
}

/// Which of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Network,
    ButNetwork,
}

fn is_of_network(path: &str) -> bool {
    path.starts_with("net/")
}

/// Its value is two group ids, as the writer's user namespace has them.
const PING: &str = "net/ipv4/ping_group_range";

/// The range in the writer's ids; its end may lie beyond what the container has (Docker's does). `None`: it is none, or means
/// nobody.
fn ping_groups(value: &str, gid: impl Fn(u32) -> Option<u32>) -> Option<String> {
    let mut groups = value.split_ascii_whitespace().map(str::parse::<u32>);
    let (first, last) = (groups.next()?.ok()?, groups.next()?.ok()?);
    if last < first {
        return None;
    }
    let begin = gid(first)?;
    // The last that there is, which is looked for as in one range.
    let (mut inside, mut outside) = (0, last - first);
    while inside < outside {
        let middle = outside - (outside - inside) / 2;
        match gid(first + middle) {
            Some(_) => inside = middle,
            None => outside = middle - 1,
        }
    }
    Some(format!("{begin} {}", begin + inside))
}

/// As sysctl(8) has it: the first of `.` and `/` in a key is what separates its parts, the other stands for the first
/// within a part (`net.ipv4.conf.eth0/100.forwarding`, `net/ipv4/conf/eth0.100/forwarding`).
fn path_of(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => swap_separators(key),
        _ => key.to_owned(),
    }
}

fn swap_separators(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect()
}

fn check(path: &str, namespaces: NamespaceView) -> Result<()> {
    let key = swap_separators(path);
    // A path that leads elsewhere must not pass for what its first part says.
    if path
        .split('/')
        .any(|part| matches!(part, "" | "." | "..") || part.contains('\0'))
    {
        return Err(Error::config(format!("invalid sysctl key {key:?}")));
    }
    if IPC.contains(&key.as_str()) || key.starts_with("fs.mqueue.") {
        return allow(namespaces.ipc, || {
            format!("sysctl {key:?} is not allowed in the hosts ipc namespace")
        });
    }
    if key.starts_with("net.") {
        return allow(namespaces.network, || {
            format!("sysctl {key:?} not allowed in host network namespace")
        });
    }
    if key == "kernel.hostname" && namespaces.uts {
        return Err(Error::config(format!(
            "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        )));
    }
    let own = (key == "kernel.domainname" && namespaces.uts)
        || (key.starts_with("user.") && namespaces.user);
    allow(own, || {
        format!("sysctl {key:?} is not in a separate kernel namespace")
    })
}

fn allow(allowed: bool, why_not: impl FnOnce() -> String) -> Result<()> {
    if allowed {
        return Ok(());
    }
    Err(Error::config(why_not()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: NamespaceView = NamespaceView {
        network: true,
        ipc: true,
        uts: true,
        user: true,
    };

    fn plan(key: &str, namespaces: NamespaceView) -> Result<Sysctl> {
        let sysctl = HashMap::from([(key.to_owned(), "1".to_owned())]);
        Sysctl::plan(Some(&sysctl), namespaces)
    }

    #[test]
    fn keys_become_paths() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eth0/100.forwarding",
                "net/ipv4/conf/eth0.100/forwarding",
            ),
            (
                "net/ipv4/conf/eth0.100/forwarding",
                "net/ipv4/conf/eth0.100/forwarding",
            ),
            ("kernel.sem", "kernel/sem"),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
            ("kernel/domainname", "kernel/domainname"),
            ("user.max_user_namespaces", "user/max_user_namespaces"),
        ] {
            let planned = plan(key, ALL).unwrap();
            assert_eq!(planned, Sysctl(vec![(path.to_owned(), "1".to_owned())]));
        }
    }

    #[test]
    fn who_may_ping() {
        let gid = |id: u32| (id < 65_536).then_some(id + 1_000_000);
        for (value, expected) in [
            ("0 0", Some("1000000 1000000")),
            ("5\t2147483647", Some("1000005 1065535")),
            ("1 0", None),
            ("70000 70001", None),
            ("0", None),
        ] {
            let got = ping_groups(value, gid);
            assert_eq!(got.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn only_what_is_the_containers_own() {
        let none = NamespaceView::default();
        for (key, namespaces, text) in [
            (
                "net.a",
                none,
                "sysctl \"net.a\" not allowed in host network namespace",
            ),
            (
                "kernel.shmmax",
                none,
                "not allowed in the hosts ipc namespace",
            ),
            (
                "fs/mqueue/msg_max",
                none,
                "not allowed in the hosts ipc namespace",
            ),
            (
                "kernel.domainname",
                none,
                "not in a separate kernel namespace",
            ),
            (
                "kernel.hostname",
                none,
                "not in a separate kernel namespace",
            ),
            (
                "kernel.hostname",
                ALL,
                "conflicts with the OCI \"hostname\" field",
            ),
            ("user.max_user_namespaces", none, "not in a separate"),
            ("kernel.panic", ALL, "not in a separate kernel namespace"),
            ("network.x", ALL, "not in a separate kernel namespace"),
            ("", ALL, "invalid sysctl key"),
            ("net/../kernel/core_pattern", ALL, "invalid sysctl key"),
            ("net.//.kernel.core_pattern", ALL, "invalid sysctl key"),
            ("net//x", ALL, "invalid sysctl key"),
            ("net.", ALL, "invalid sysctl key"),
            ("/net/x", ALL, "invalid sysctl key"),
            ("net.\0", ALL, "invalid sysctl key"),
        ] {
            let error = plan(key, namespaces).unwrap_err().to_string();
            assert!(error.contains(text), "{key:?}: {error}");
        }
    }
}
