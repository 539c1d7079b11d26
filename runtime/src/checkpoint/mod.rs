//! Checkpoint and restore, by CRIU (criu.org).
//!
//! What CRIU is asked for is put together here: [`client`] speaks to it, [`rpc`] are the words, [`external`] finds what
//! belongs to the host and not to the container (mounts, namespaces, standard streams), [`images`] holds the
//! directories, [`reason`] finds in CRIU's log why it has failed, [`preflight`] what it would fail on.
//!
//! Images may come from anybody. What is read of them here is one list of names, and no path in it is ever opened.

pub(crate) mod client;
#[cfg(feature = "fuzz")]
pub mod doors;
pub(crate) mod external;
pub(crate) mod images;
pub(crate) mod moment;
pub(crate) mod preflight;
pub(crate) mod pressure;
pub(crate) mod reason;
pub(crate) mod rpc;
pub(crate) mod streams;
pub(crate) mod watches;

use std::path::PathBuf;

pub use preflight::Obstacle;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs;
use rpc::Options;

/// What CRIU does about cgroups below the container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManageCgroups {
    /// CRIU's own choice, which is [`ManageCgroups::Soft`].
    #[default]
    Unset,
    /// They are made anew, and get their properties where they were not there.
    Soft,
    /// They are made anew, and get their properties.
    Full,
    /// They must not be there.
    Strict,
    /// Nothing.
    Ignore,
}

impl ManageCgroups {
    /// Reads the word for it.
    pub fn parse(word: &str) -> Result<ManageCgroups> {
        Ok(match word {
            "" => ManageCgroups::Unset,
            "soft" => ManageCgroups::Soft,
            "full" => ManageCgroups::Full,
            "strict" => ManageCgroups::Strict,
            "ignore" => ManageCgroups::Ignore,
            _ => return Err(invalid("Invalid manage-cgroups-mode value")),
        })
    }

    /// Cgroups that were there are made before CRIU is asked, with what CRIU does not know of them.
    pub(crate) fn makes_cgroups(self) -> bool {
        !matches!(self, ManageCgroups::Ignore | ManageCgroups::Strict)
    }

    fn mode(self) -> rpc::CgroupsMode {
        match self {
            ManageCgroups::Unset => rpc::CgroupsMode::Default,
            ManageCgroups::Soft => rpc::CgroupsMode::Soft,
            ManageCgroups::Full => rpc::CgroupsMode::Full,
            ManageCgroups::Strict => rpc::CgroupsMode::Strict,
            ManageCgroups::Ignore => rpc::CgroupsMode::Ignore,
        }
    }
}

/// How CRIU keeps packets away while connections are saved or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkLock {
    /// By iptables-restore(8).
    Iptables,
    /// By nftables.
    Nftables,
    /// Not at all: the caller does it.
    Skip,
}

impl NetworkLock {
    /// Reads the word for it; empty: CRIU's own choice.
    pub fn parse(word: &str) -> Result<Option<NetworkLock>> {
        Ok(Some(match word {
            "" => return Ok(None),
            "iptables" => NetworkLock::Iptables,
            "nftables" => NetworkLock::Nftables,
            "skip" => NetworkLock::Skip,
            _ => return Err(invalid("Invalid network-lock value")),
        }))
    }

    fn method(self) -> rpc::NetworkLock {
        match self {
            NetworkLock::Iptables => rpc::NetworkLock::Iptables,
            NetworkLock::Nftables => rpc::NetworkLock::Nftables,
            NetworkLock::Skip => rpc::NetworkLock::Skip,
        }
    }
}

/// What both a checkpoint and a restore want to know.
#[derive(Debug, Clone, Default)]
pub struct CriuOptions {
    /// The directory of the images.
    pub image_path: PathBuf,
    /// The directory of the log and of temporary files; `None`: that of the images.
    pub work_path: Option<PathBuf>,
    /// TCP connections are saved and restored.
    pub tcp_established: bool,
    /// Unix sockets may be connected to others outside.
    pub ext_unix_sk: bool,
    /// The session or the terminal may be led from outside.
    pub shell_job: bool,
    /// File locks are saved and restored.
    pub file_locks: bool,
    /// What happens to cgroups below the container's.
    pub manage_cgroups: ManageCgroups,
    /// Pages are punched out of the images that have been read, or are there a second time.
    pub auto_dedup: bool,
    /// Memory comes later, over a page server.
    pub lazy_pages: bool,
    /// How the network is locked; `None`: CRIU's own choice.
    pub network_lock: Option<NetworkLock>,
}

impl CriuOptions {
    /// The part of a request that both have in common. `annotation`: `org.criu.config` of the container.
    pub(crate) fn request(
        &self,
        images: &images::Images,
        log_file: &str,
        annotation: Option<&str>,
    ) -> Options {
        Options {
            images_dir_fd: images.number(),
            work_dir_fd: images.work_number(),
            log_level: Some(4),
            log_file: Some(log_file.into()),
            notify_scripts: Some(true),
            orphan_pts_master: Some(true),
            tcp_established: Some(self.tcp_established),
            ext_unix_sk: Some(self.ext_unix_sk),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            auto_dedup: Some(self.auto_dedup),
            lazy_pages: Some(self.lazy_pages),
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(self.manage_cgroups.mode().into()),
            network_lock: self.network_lock.map(|lock| lock.method().into()),
            // Devices of a network, their addresses and routes belong to whoever has made them.
            empty_ns: Some(libc::CLONE_NEWNET.unsigned_abs()),
            config_file: config_file(annotation),
            ..Options::default()
        }
    }
}

/// The first of these that is there says more to CRIU, and the last word.
const CONFIGS: [&str; 2] = ["/etc/criu/vzrun.conf", "/etc/criu/runc.conf"];

/// The annotation names another file, or none if it is empty.
fn config_file(annotation: Option<&str>) -> Option<String> {
    match annotation {
        Some("") => None,
        Some(path) => Some(path.into()),
        None => CONFIGS
            .into_iter()
            .find(|path| fs::stat(path).is_ok())
            .map(str::to_owned),
    }
}

/// What that file says.
///
/// # Errors
/// The annotation names one that cannot be read.
pub(crate) fn config_text(annotation: Option<&str>) -> Result<Option<String>> {
    let Some(path) = config_file(annotation) else {
        return Ok(None);
    };
    let file = fs::open(&path, fs::OFlags::RDONLY)?;
    let text = fs::read_to_end(file, 1 << 20).context(|| format!("CRIU's configuration {path}"))?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(ManageCgroups::parse("").unwrap(), ManageCgroups::Unset);
        assert_eq!(ManageCgroups::parse("full").unwrap(), ManageCgroups::Full);
        assert!(ManageCgroups::parse("Soft").is_err());
        assert_eq!(NetworkLock::parse("").unwrap(), None);
        let skip = NetworkLock::parse("skip").unwrap();
        assert_eq!(skip, Some(NetworkLock::Skip));
        assert!(NetworkLock::parse("none").is_err());
    }

    #[test]
    fn the_annotation_comes_first() {
        assert_eq!(config_file(Some("")), None);
        assert_eq!(config_file(Some("/x")).as_deref(), Some("/x"));
    }
}
