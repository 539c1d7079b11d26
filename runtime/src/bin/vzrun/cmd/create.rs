//! `create`

use std::path::{Path, PathBuf};

use clap::Args;
use vzrun::{CreateOptions, Result};

use super::{Verb, flags};
use crate::args::{Globals, bare, non_empty, path};
use crate::output::io_error;

pub(super) const VERB: Verb = Verb {
    name: "create",
    about: "create a container",
    synopsis: "[command options] <container-id>",
    description: DESCRIPTION,
    seals: true,
    prefix: Some("vzrun create failed"),
    define: || CreateFlags::augment_args(bare("create")),
    run: |globals, matches| {
        let flags: CreateFlags = flags(matches)?;
        vzrun::create(&globals.root()?, &flags.options(globals)?).map(|()| 0)
    },
    ..Verb::ON_ONE_CONTAINER
};

const DESCRIPTION: &str = "\
Makes a container from a bundle: a directory with a file \"config.json\" and a root filesystem. Its process waits until
\"start\" lets it go.

\"<container-id>\" is a name of your choice that no other container on the host has.";

/// The flags that create and run have in common.
#[derive(Debug, Args)]
pub(super) struct CreateFlags {
    /// path to the root of the bundle directory (default: the current directory)
    #[arg(long, short, value_parser = path, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// path to another file than the bundle's config.json
    #[arg(long, short = 'f', value_parser = path, value_name = "FILE")]
    config: Option<PathBuf>,
    /// path to a unix socket that gets the master end of the container's terminal
    #[arg(long, value_parser = path, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// path to a unix socket that gets a pidfd of the container's process
    #[arg(long, value_parser = path, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// write the process id to this file
    #[arg(long, value_parser = path, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// do not use pivot_root, for a rootfs on a ramdisk
    #[arg(long)]
    no_pivot: bool,
    /// do not make a new session keyring for the container
    #[arg(long)]
    no_new_keyring: bool,
    /// pass N more file descriptors to the container (stdio + $LISTEN_FDS + N in total)
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// do not make vzrun the reaper of the container's orphans while it waits
    #[arg(long)]
    pub(super) no_subreaper: bool,
    /// name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl CreateFlags {
    pub(super) fn options(self, globals: &Globals) -> Result<CreateOptions> {
        Ok(CreateOptions {
            id: self.id,
            bundle: non_empty(self.bundle).unwrap_or_else(|| PathBuf::from(".")),
            config: non_empty(self.config),
            pid_file: absolute(self.pid_file)?,
            console_socket: non_empty(self.console_socket),
            pidfd_socket: non_empty(self.pidfd_socket),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            cgroup_driver: globals.cgroup_driver(),
            rootless: globals.rootless()?,
            system: globals.system,
        })
    }
}

/// Whatever the working directory is by the time it is written.
pub(crate) fn absolute(path: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let here = |path: PathBuf| std::path::absolute(path);
    let path = non_empty(path).map(here).transpose();
    path.map_err(|error| io_error("getwd", Path::new("."), &error))
}
