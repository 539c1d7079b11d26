//! `features`

use super::Verb;
use crate::args::bare;
use crate::output;

pub(super) const VERB: Verb = Verb {
    name: "features",
    about: "show the enabled features",
    synopsis: "",
    description: "Prints what this build supports as JSON, in the terms of features.md of the OCI runtime specification.",
    arguments: (0, 0),
    define: || bare("features"),
    run: |_, _| {
        let json = output::indented_json(&vzrun::features(), "    ")?;
        output::print(&format!("{json}\n"))?;
        Ok(0)
    },
    ..Verb::ON_ONE_CONTAINER
};
