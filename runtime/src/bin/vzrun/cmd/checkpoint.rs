//! `checkpoint`

use std::path::PathBuf;

use clap::Args;
use vzrun::{CheckpointOptions, Result};

use super::{Verb, flags};
use crate::args::{Globals, bare, non_empty, path};
use crate::criu_flags::{CriuFlags, page_server};
use crate::output;

pub(super) const VERB: Verb = Verb {
    name: "checkpoint",
    about: "checkpoint a running container",
    synopsis: "[command options] <container-id>",
    description: "\
Saves the state of a running container's processes, by CRIU, and removes the container: \"restore\" brings it back. Where
that fails the container goes on, and the error tells the reason; more is in the file dump.log. With --dry-run nothing is
stopped or saved: what CRIU would refuse is printed, a line each, and the exit code is 1 if there is something.",
    define: || CheckpointFlags::augment_args(bare("checkpoint")),
    run: |globals, matches| checkpoint(globals, flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
#[rustfmt::skip]
struct CheckpointFlags {
    #[command(flatten)] criu: CriuFlags,
    /// only look for what CRIU would refuse
    #[arg(long)] dry_run: bool,
    /// leave the container running
    #[arg(long)] leave_running: bool,
    /// save memory only, and leave the container running
    #[arg(long)] pre_dump: bool,
    /// directory of earlier images, relative to --image-path: only what has changed since is saved
    #[arg(long, value_parser = path, value_name = "DIR")] parent_path: Option<PathBuf>,
    /// send memory to this page server
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "", hide_default_value = true)] page_server: String,
    /// with --lazy-pages, write a NUL byte to this file descriptor when pages can be fetched
    #[arg(long, value_name = "FD", allow_negative_numbers = true)] status_fd: Option<i32>,
    /// leave out TCP connections that are not yet established
    #[arg(long)] tcp_skip_in_flight: bool,
    /// save files that are open and have no name any more by giving them one
    #[arg(long)] link_remap: bool,
    /// name of the container
    #[arg(value_name = "container-id")] id: String,
}

fn checkpoint(globals: &Globals, flags: CheckpointFlags) -> Result<u8> {
    let options = CheckpointOptions {
        criu: flags.criu.options()?,
        leave_running: flags.leave_running,
        pre_dump: flags.pre_dump,
        parent_path: non_empty(flags.parent_path),
        page_server: page_server(&flags.page_server)?,
        status_fd: flags.status_fd.filter(|fd| *fd >= 0),
        tcp_skip_in_flight: flags.tcp_skip_in_flight,
        link_remap: flags.link_remap,
    };
    let root = globals.root()?;
    if flags.dry_run {
        let found = vzrun::preflight(&root, &flags.id, &options)?;
        let lines: String = found.iter().map(|one| format!("{one}\n")).collect();
        output::print(&lines)?;
        return Ok(u8::from(!found.is_empty()));
    }
    vzrun::checkpoint(&root, &flags.id, &options).map(|()| 0)
}
