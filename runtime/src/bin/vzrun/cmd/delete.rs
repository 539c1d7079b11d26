//! `delete`

use clap::Args;
use vzrun::Result;

use super::{Verb, flags};
use crate::args::{Globals, bare};
use crate::matching::for_each_match;

pub(super) const VERB: Verb = Verb {
    name: "delete",
    about: "delete any resources held by the container often used with detached container",
    synopsis: "[command options] <container-id>",
    description: "Removes a container that has ended, or that was never started.",
    define: || DeleteFlags::augment_args(bare("delete")),
    run: |globals, matches| delete(globals, flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct DeleteFlags {
    /// kill the container first if it is still running (with SIGKILL)
    #[arg(long, short)]
    force: bool,
    /// the id is a regular expression: all containers that match are deleted
    #[arg(long, short)]
    regex: bool,
    /// name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

fn delete(globals: &Globals, flags: DeleteFlags) -> Result<u8> {
    let root = globals.root()?;
    if flags.regex {
        for_each_match(&root, &flags.id, |id| vzrun::delete(&root, id, flags.force))?;
    } else {
        vzrun::delete(&root, &flags.id, flags.force)?;
    }
    Ok(0)
}
