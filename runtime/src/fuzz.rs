//! Doors for the fuzz targets of `fuzz/`: parsers and compilers that stand behind the public API, in plain types. They
//! are there with the feature `fuzz` alone, and no part of the API.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use crate::cgroup::doors as cgroup;
pub use crate::checkpoint::doors as criu;
pub use crate::container::doors as state;
pub use crate::view::doors as view;

use crate::error::Result;
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::setup::{mount_options, user_database};
use crate::spec;
use crate::sys::{memfd, mountinfo};

/// A config.json that has been read.
#[derive(Debug)]
pub struct Config(spec::Config);

/// What a config is in kernel terms, as far as a target can judge it.
#[derive(Debug)]
pub struct Planned {
    /// All of it, as its types show themselves.
    pub text: String,
    /// The words of the program.
    pub arguments: Vec<Vec<u8>>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// User and group.
    pub ids: (u32, u32),
}

impl Config {
    /// Reads it, as create does.
    ///
    /// # Errors
    /// What create would say.
    pub fn parse(bytes: &[u8]) -> Result<Config> {
        spec::parse(bytes.to_vec()).map(Config)
    }

    /// Whether what is kept of it in state.json says the same.
    pub fn is_kept(&self) -> bool {
        spec::parse_kept(&self.0.text).is_ok_and(|kept| kept == self.0.spec)
    }

    /// Whether both say the same.
    pub fn is_like(&self, other: &Config) -> bool {
        self.0.spec == other.0.spec
    }

    /// With these resources instead, as an update keeps it.
    ///
    /// # Errors
    /// The resources are no LinuxResources.
    pub fn updated(&self, resources: &[u8]) -> Result<Config> {
        spec::parse_resources(resources)?;
        let merged = spec::merge_resources(&self.0.text, resources)?;
        spec::parse(String::from(merged).into_bytes()).map(Config)
    }

    /// Turns it into a plan for root or, `rootless`, for another user.
    ///
    /// # Errors
    /// What create would say.
    pub fn plan(&self, rootless: bool) -> Result<Planned> {
        let options = plan::Options {
            id: "id",
            bundle: Path::new("/bundle"),
            no_pivot: false,
            no_new_keyring: false,
            mapped: false,
            system: false,
        };
        let id = if rootless { 1000 } else { 0 };
        let host = Host {
            euid: id,
            egid: id,
            in_user_namespace: false,
            rootless,
        };
        let plan = Plan::new(&self.0.spec, &options, &host)?;
        let arguments = plan.process.arguments.iter();
        Ok(Planned {
            text: format!("{plan:?}"),
            arguments: arguments.map(|word| word.to_bytes().to_vec()).collect(),
            cwd: plan.process.cwd.clone(),
            ids: (plan.process.user.uid, plan.process.user.gid),
        })
    }
}

/// The home directory of a user, by the text of an /etc/passwd.
///
/// # Errors
/// There is no file for the text.
pub fn home(passwd: &[u8], uid: u32) -> Result<Option<String>> {
    user_database::home_of(memfd::with_bytes("passwd", passwd)?, uid)
}

/// User and group of `exec --user`.
///
/// # Errors
/// It is something else.
pub fn user(text: &str) -> Result<(u32, Option<u32>)> {
    user_database::parse_user(text)
}

/// The options of a mount in kernel terms.
#[derive(Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// MOUNT_ATTR_* to set and to clear.
    pub attributes: (u64, u64),
    /// The same for all mounts below, too.
    pub recursive: (u64, u64),
    /// MS_* of the file system, and their names for fsconfig(2).
    pub filesystem: (u64, Vec<&'static str>),
    /// MS_* of propagation, in turn.
    pub propagation: Vec<u64>,
    /// For the file system.
    pub data: Vec<String>,
}

/// Reads the options of a mount.
///
/// # Errors
/// What create would say.
pub fn mount_options(words: &[String]) -> Result<MountOptions> {
    let options = mount_options::parse(words)?;
    let propagation = options.propagation.iter();
    Ok(MountOptions {
        attributes: (options.attributes.set, options.attributes.clear),
        recursive: (
            options.recursive_attributes.set,
            options.recursive_attributes.clear,
        ),
        propagation: propagation.map(|(kind, _)| *kind).collect(),
        filesystem: (options.filesystem_flags, options.filesystem_words),
        data: options.data,
    })
}

/// The words of mounts that are not for the file system.
pub fn mount_option_names() -> Vec<String> {
    mount_options::names()
}

/// Id, place and type of each mount in a mountinfo.
pub fn mountinfo(text: &[u8]) -> Vec<(u64, Vec<u8>, String)> {
    mountinfo::lines(text)
        .map(|line| {
            (
                line.id,
                line.place.as_os_str().as_bytes().to_vec(),
                line.kind,
            )
        })
        .collect()
}
