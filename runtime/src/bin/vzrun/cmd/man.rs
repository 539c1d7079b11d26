//! `man`, for the installation

use std::path::PathBuf;

use clap::Args;

use super::{Verb, flags};
use crate::args::bare;
use crate::pages;

pub(super) const VERB: Verb = Verb {
    name: "man",
    about: "write the man pages",
    synopsis: "<directory>",
    description: "Writes vzrun.8 and a page for each command to a directory.",
    hidden: true,
    define: || ManFlags::augment_args(bare("man")),
    run: |_, matches| {
        let ManFlags { directory } = flags(matches)?;
        pages::man(&directory)?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct ManFlags {
    /// where to write to
    directory: PathBuf,
}
