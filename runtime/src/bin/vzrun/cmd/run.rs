//! `run`

use clap::Args;
use vzrun::{Error, ErrorKind, Result, RunOptions, Wait};

use super::create::CreateFlags;
use super::start::WaitFlags;
use super::{Verb, flags};
use crate::args::{Globals, bare};

pub(super) const VERB: Verb = Verb {
    name: "run",
    about: "create and run a container",
    synopsis: "[command options] <container-id>",
    description: DESCRIPTION,
    seals: true,
    prefix: Some("vzrun run failed"),
    define: || RunFlags::augment_args(bare("run")),
    run: |globals, matches| run(globals, flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

const DESCRIPTION: &str = "\
Makes a container from a bundle, a directory with a file \"config.json\" and a root filesystem, and starts it. Unless it is
detached, vzrun waits for it, passes signals and the terminal's size on, removes the container and ends with its status.

\"<container-id>\" is a name of your choice that no other container on the host has.";

#[derive(Debug, Args)]
struct RunFlags {
    #[command(flatten)]
    create: CreateFlags,
    /// do not wait for the container
    #[arg(long, short)]
    detach: bool,
    /// do not delete the container after it has ended
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    wait: WaitFlags,
}

fn run(globals: &Globals, flags: RunFlags) -> Result<u8> {
    let wait = flags.wait.wait()?;
    if wait != Wait::No && !flags.detach {
        let text = "--wait: only with --detach, for else the container's end is waited for";
        return Err(Error::new(ErrorKind::InvalidArgument, text));
    }
    let options = RunOptions {
        detach: flags.detach,
        keep: flags.keep,
        no_subreaper: flags.create.no_subreaper,
        wait,
    };
    let exit = vzrun::run(&globals.root()?, &flags.create.options(globals)?, &options)?;
    Ok(super::exit_code(exit.status()))
}
