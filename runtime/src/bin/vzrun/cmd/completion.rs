//! `completion`, for the installation

use clap::Args;
use clap_complete::Shell;

use super::{Verb, flags};
use crate::args::bare;
use crate::{output, pages};

pub(super) const VERB: Verb = Verb {
    name: "completion",
    about: "print a completion script for a shell",
    synopsis: "bash|elvish|fish|powershell|zsh",
    description: "Prints the completion script of vzrun for this shell.",
    hidden: true,
    define: || CompletionFlags::augment_args(bare("completion")),
    run: |_, matches| {
        let CompletionFlags { shell } = flags(matches)?;
        output::print(&pages::completion(shell))?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct CompletionFlags {
    /// the shell
    shell: Shell,
}
