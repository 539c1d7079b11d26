//! `start`

use clap::Args;
use vzrun::Container;

use super::{Id, Verb, flags};
use crate::args::bare;

pub(super) const VERB: Verb = Verb {
    name: "start",
    about: "executes the user defined process in a created container",
    description: "Lets the process of a created container go.",
    define: || Id::augment_args(bare("start")),
    run: |globals, matches| {
        let Id { id } = flags(matches)?;
        Container::load(&globals.root()?, &id)?.start()?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};
