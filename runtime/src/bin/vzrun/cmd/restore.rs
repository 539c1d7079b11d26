//! `restore`

use std::path::PathBuf;

use clap::Args;
use vzrun::{CreateOptions, RestoreOptions, Result};

use super::{Verb, absolute, flags};
use crate::args::{Globals, bare, non_empty, path};
use crate::criu_flags::CriuFlags;

pub(super) const VERB: Verb = Verb {
    name: "restore",
    about: "restore a container from a previous checkpoint",
    synopsis: "[command options] <container-id>",
    description: "\
Brings a container back that \"checkpoint\" has saved, by CRIU: under any name, from a bundle with the same config and root
filesystem. Unless it is detached, vzrun waits for it, removes it and ends with its status.",
    seals: true,
    define: || RestoreFlags::augment_args(bare("restore")),
    run: |globals, matches| restore(globals, flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
#[rustfmt::skip]
struct RestoreFlags {
    #[command(flatten)] criu: CriuFlags,
    /// path to the root of the bundle directory (default: the current directory)
    #[arg(long, short, value_parser = path, value_name = "DIR")] bundle: Option<PathBuf>,
    /// do not wait for the container
    #[arg(long, short)] detach: bool,
    /// write the process id to this file
    #[arg(long, value_parser = path, value_name = "FILE")] pid_file: Option<PathBuf>,
    /// path to a unix socket that gets the master end of the container's terminal
    #[arg(long, value_parser = path, value_name = "SOCKET")] console_socket: Option<PathBuf>,
    /// do not make vzrun the reaper of the container's orphans while it waits
    #[arg(long)] no_subreaper: bool,
    /// (ignored: CRIU changes the root in its own way)
    #[arg(long)] no_pivot: bool,
    /// close TCP connections instead of restoring them
    #[arg(long)] tcp_close: bool,
    /// LSM profile for the processes, "type:label" (selinux, apparmor)
    #[arg(long, value_name = "PROFILE", default_value = "", hide_default_value = true)] lsm_profile: String,
    /// SELinux context for the mounts
    #[arg(long, value_name = "CONTEXT", default_value = "", hide_default_value = true)] lsm_mount_context: String,
    /// name of the container
    #[arg(value_name = "container-id")] id: String,
}

fn restore(globals: &Globals, flags: RestoreFlags) -> Result<u8> {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let options = RestoreOptions {
        create: CreateOptions {
            id: flags.id,
            bundle: non_empty(flags.bundle).unwrap_or_else(|| PathBuf::from(".")),
            pid_file: absolute(flags.pid_file)?,
            console_socket: non_empty(flags.console_socket),
            no_pivot: flags.no_pivot,
            cgroup_driver: globals.cgroup_driver(),
            rootless: globals.rootless()?,
            ..CreateOptions::default()
        },
        criu: flags.criu.options()?,
        detach: flags.detach,
        no_subreaper: flags.no_subreaper,
        tcp_close: flags.tcp_close,
        lsm_profile: some(flags.lsm_profile),
        lsm_mount_context: some(flags.lsm_mount_context),
    };
    let exit = vzrun::restore(&globals.root()?, &options)?;
    Ok(super::exit_code(exit.status()))
}
