//! `exec`

use std::path::PathBuf;

use clap::Args;
use vzrun::{Container, ExecOptions, Result};

use super::create::absolute;
use super::{Verb, flags};
use crate::args::{Globals, bare, non_empty, path};
use crate::go_flags::Order;

pub(super) const VERB: Verb = Verb {
    name: "exec",
    about: "execute new process inside the container",
    synopsis: "[command options] <container-id> <command> [arguments...]  || -p process.json <container-id>",
    description: "\
Runs a command in a running container, and ends with its status; with 255 if it could not be run. What stands behind the
container's id belongs to the command.",
    arguments: (1, usize::MAX),
    order: Order::FlagsFirst,
    seals: true,
    prefix: Some("exec failed"),
    failed: 255,
    define: || ExecFlags::augment_args(bare("exec")),
    run: |globals, matches| exec(globals, flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
#[rustfmt::skip]
struct ExecFlags {
    /// path to a unix socket that gets the master end of the process's terminal
    #[arg(long, value_parser = path, value_name = "SOCKET")] console_socket: Option<PathBuf>,
    /// path to a unix socket that gets a pidfd of the process
    #[arg(long, value_parser = path, value_name = "SOCKET")] pidfd_socket: Option<PathBuf>,
    /// working directory in the container
    #[arg(long, value_name = "DIR")] cwd: Option<String>,
    /// set an environment variable (NAME=VALUE; may be repeated)
    #[arg(long, short, value_name = "ENV")] env: Vec<String>,
    /// give the process a terminal
    #[arg(long, short)] tty: bool,
    /// user and group by number (UID or UID:GID)
    #[arg(long, short, value_name = "USER")] user: Option<String>,
    /// another group by number (may be repeated)
    #[arg(long, short = 'g', value_name = "GID")] additional_gids: Vec<u32>,
    /// path to a process.json that says all the rest
    #[arg(long, short, value_parser = path, value_name = "FILE")] process: Option<PathBuf>,
    /// do not wait for the process
    #[arg(long, short)] detach: bool,
    /// write the process id to this file
    #[arg(long, value_parser = path, value_name = "FILE")] pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")] process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")] apparmor: Option<String>,
    /// no new privileges for the process
    #[arg(long)] no_new_privs: bool,
    /// add a capability (may be repeated)
    #[arg(long, short, value_name = "CAP")] cap: Vec<String>,
    /// pass N more file descriptors to the process (stdio + $LISTEN_FDS + N in total)
    #[arg(long, value_name = "N", default_value_t = 0)] preserve_fds: u32,
    /// run the process in this sub-cgroup of the container
    #[arg(long, value_name = "PATH")] cgroup: Vec<String>,
    /// exec in a paused container, too
    #[arg(long)] ignore_paused: bool,
    /// do not make vzrun the reaper of the process's orphans while it waits
    #[arg(long, hide = true)] no_subreaper: bool,
    /// name of the container
    #[arg(value_name = "container-id")] id: String,
    /// the command and its arguments
    #[arg(value_name = "command", allow_hyphen_values = true)] args: Vec<String>,
}

fn exec(globals: &Globals, flags: ExecFlags) -> Result<u8> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let options = ExecOptions {
        process: non_empty(flags.process),
        args: flags.args,
        tty: flags.tty,
        cwd: some(flags.cwd),
        env: flags.env,
        user: some(flags.user),
        additional_gids: flags.additional_gids,
        process_label: some(flags.process_label),
        apparmor: some(flags.apparmor),
        no_new_privs: flags.no_new_privs,
        caps: flags.cap,
        detach: flags.detach,
        pid_file: absolute(flags.pid_file)?,
        console_socket: non_empty(flags.console_socket),
        pidfd_socket: non_empty(flags.pidfd_socket),
        preserve_fds: flags.preserve_fds,
        cgroup: flags.cgroup,
        ignore_paused: flags.ignore_paused,
        no_subreaper: flags.no_subreaper,
    };
    let exit = Container::load(&globals.root()?, &flags.id)?.exec(&options)?;
    Ok(super::exit_code(exit.status()))
}
