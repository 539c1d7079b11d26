//! The subcommands: each defines its flags, makes one call of the library and prints what comes of it.

mod checkpoint;
mod completion;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod man;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;

pub(crate) use create::absolute;

use clap::{ArgMatches, Args, FromArgMatches};
use vzrun::{Error, ErrorKind, Result};

use crate::args::go_words;
use crate::verb::Verb;

/// In the order of the help.
pub(crate) static VERBS: &[Verb] = &[
    checkpoint::VERB,
    create::VERB,
    delete::VERB,
    events::VERB,
    exec::VERB,
    kill::VERB,
    list::VERB,
    pause::VERB,
    ps::VERB,
    restore::VERB,
    resume::VERB,
    run::VERB,
    spec::VERB,
    start::VERB,
    state::VERB,
    update::VERB,
    features::VERB,
    completion::VERB,
    man::VERB,
];

/// The subcommand of this name.
pub(crate) fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// For the subcommands that take a container and nothing else.
#[derive(Debug, Args)]
struct Id {
    /// name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

/// A process's exit status as ours.
fn exit_code(status: i32) -> u8 {
    u8::try_from(status & 0xff).unwrap_or(u8::MAX)
}

/// The flags and arguments of one subcommand.
fn flags<T: FromArgMatches>(matches: &ArgMatches) -> Result<T> {
    let wrong = |error: clap::Error| Error::new(ErrorKind::InvalidArgument, go_words(&error));
    T::from_arg_matches(matches).map_err(wrong)
}

fn invalid_format() -> Error {
    Error::new(ErrorKind::InvalidArgument, "invalid format option")
}
