//! `kill`

use clap::Args;
use vzrun::{Container, Result};

use super::{Verb, flags};
use crate::args::{Globals, bare};
use crate::matching::for_each_match;

pub(super) const VERB: Verb = Verb {
    name: "kill",
    about: "kill sends the specified signal (default: SIGTERM) to the container's init process",
    synopsis: "[command options] <container-id> [signal]",
    description: "\
Sends a signal to the first process of the container. \"[signal]\" is a number or a name, with or without SIG.

For example, this ends the container \"web\":

    # vzrun kill web KILL",
    arguments: (1, 2),
    define: || KillFlags::augment_args(bare("kill")),
    run: |globals, matches| kill(globals, flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct KillFlags {
    /// send the signal to all processes of the container
    #[arg(long, short, hide = true)]
    all: bool,
    /// the id is a regular expression: all containers that match get the signal
    #[arg(long, short)]
    regex: bool,
    /// name of the container
    #[arg(value_name = "container-id")]
    id: String,
    /// number or name of the signal
    #[arg(allow_hyphen_values = true)]
    signal: Option<String>,
}

fn kill(globals: &Globals, flags: KillFlags) -> Result<u8> {
    let root = globals.root()?;
    let signal = || match flags.signal.as_deref() {
        None | Some("") => vzrun::parse_signal("TERM"),
        Some(text) => vzrun::parse_signal(text),
    };
    if flags.regex {
        let signal = signal()?;
        let act = |id: &str| Container::load(&root, id)?.kill(signal, flags.all);
        for_each_match(&root, &flags.id, act)?;
    } else {
        // An unknown container comes before an unknown signal, as in runc.
        Container::load(&root, &flags.id)?.kill(signal()?, flags.all)?;
    }
    Ok(0)
}
