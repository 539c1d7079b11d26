//! `pause`

use clap::Args;
use vzrun::Container;

use super::{Id, Verb, flags};
use crate::args::bare;

pub(super) const VERB: Verb = Verb {
    name: "pause",
    about: "pause suspends all processes inside the container",
    description: "Suspends all processes of the container, until \"resume\".",
    define: || Id::augment_args(bare("pause")),
    run: |globals, matches| {
        let Id { id } = flags(matches)?;
        Container::load(&globals.root()?, &id)?.pause()?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};
