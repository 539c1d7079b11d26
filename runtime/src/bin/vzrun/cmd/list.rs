//! `list`

use clap::Args;
use vzrun::{Result, State};

use super::{Verb, flags, invalid_format};
use crate::args::{Globals, bare};
use crate::output;

pub(super) const VERB: Verb = Verb {
    name: "list",
    about: "lists containers started by vzrun with the given root",
    synopsis: "[command options]",
    description: "Lists the containers whose state is in the directory of the global option \"--root\".",
    arguments: (0, 0),
    define: || ListFlags::augment_args(bare("list")),
    run: |globals, matches| list(globals, &flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct ListFlags {
    /// table or json
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    format: String,
    /// print only the ids
    #[arg(long, short)]
    quiet: bool,
}

fn list(globals: &Globals, flags: &ListFlags) -> Result<u8> {
    let containers = vzrun::list(&globals.root()?)?;
    if flags.quiet {
        let lines: String = containers
            .iter()
            .map(|one| format!("{}\n", one.id))
            .collect();
        output::print(&lines)?;
        return Ok(0);
    }
    match flags.format.as_str() {
        "table" => output::print(&output::table(&rows(&containers)))?,
        // As Go prints a list that nobody has made.
        "json" if containers.is_empty() => output::print("null\n")?,
        "json" => output::print_json(&containers)?,
        _ => return Err(invalid_format()),
    }
    Ok(0)
}

fn rows(containers: &[State]) -> Vec<Vec<String>> {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(containers.iter().map(|one| {
        vec![
            one.id.clone(),
            one.pid.to_string(),
            one.status.to_string(),
            one.bundle.clone(),
            one.created.clone(),
            one.owner.clone(),
        ]
    }));
    rows
}
