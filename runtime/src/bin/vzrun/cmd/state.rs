//! `state`

use clap::Args;
use vzrun::Container;

use super::{Id, Verb, flags};
use crate::args::bare;
use crate::output;

pub(super) const VERB: Verb = Verb {
    name: "state",
    about: "output the state of a container",
    description: "Prints the state of the container as JSON.",
    define: || Id::augment_args(bare("state")),
    run: |globals, matches| {
        let Id { id } = flags(matches)?;
        let state = Container::load(&globals.root()?, &id)?.state()?;
        output::print(&output::indented_json(&state, "  ")?)?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};
