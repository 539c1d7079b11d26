//! `start`

use clap::Args;
use vzrun::{Container, Error, ErrorKind, Result, Wait};

use super::{Verb, flags};
use crate::args::bare;
use crate::go_duration::GoDuration;

pub(super) const VERB: Verb = Verb {
    name: "start",
    about: "executes the user defined process in a created container",
    synopsis: "[command options] <container-id>",
    description: "\
Lets the process of a created container go. With \"--wait\", which is for system containers, it returns only when the
container's init has said that it is ready, as systemd does when it has started everything.",
    define: || StartFlags::augment_args(bare("start")),
    run: |globals, matches| {
        let StartFlags { wait, id } = flags(matches)?;
        Container::load(&globals.root()?, &id)?.start_and_wait(wait.wait()?)?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct StartFlags {
    #[command(flatten)]
    wait: WaitFlags,
    /// name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

/// How long a start takes; the same for `run`.
#[derive(Debug, Args)]
pub(super) struct WaitFlags {
    /// return when the init of a system container says that it is ready
    #[arg(long)]
    wait: bool,
    /// with --wait, how long at most (90s, 2m); the default is for ever
    #[arg(long, value_name = "DURATION")]
    timeout: Option<GoDuration>,
}

impl WaitFlags {
    pub(super) fn wait(&self) -> Result<Wait> {
        let wrong = |text: &str| Error::new(ErrorKind::InvalidArgument, text);
        match (self.wait, self.timeout) {
            (false, None) => Ok(Wait::No),
            (false, Some(_)) => Err(wrong("--timeout: only with --wait")),
            (true, None) => Ok(Wait::UntilReady(None)),
            (true, Some(limit)) => match limit.positive() {
                Some(limit) => Ok(Wait::UntilReady(Some(limit))),
                None => Err(wrong("--timeout must be greater than 0")),
            },
        }
    }
}
