//! `resume`

use clap::Args;
use vzrun::Container;

use super::{Id, Verb, flags};
use crate::args::bare;

pub(super) const VERB: Verb = Verb {
    name: "resume",
    about: "resumes all processes that have been previously paused",
    description: "Lets all processes of a paused container run again.",
    define: || Id::augment_args(bare("resume")),
    run: |globals, matches| {
        let Id { id } = flags(matches)?;
        Container::load(&globals.root()?, &id)?.resume()?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};
