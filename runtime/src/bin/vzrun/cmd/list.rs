//! `list`

use clap::Args;
use vzrun::{Result, State};

use super::{Verb, flags, invalid_format};
use crate::args::{Globals, bare};
use crate::output::{self, Table};

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
    /// only system containers: their init, readiness, uptime, reboots and ids
    #[arg(long)]
    systems: bool,
    /// print only the ids
    #[arg(long, short)]
    quiet: bool,
}

fn list(globals: &Globals, flags: &ListFlags) -> Result<u8> {
    let root = globals.root()?;
    let containers = vzrun::list(&root)?.filter(|one| !flags.systems || one.system.is_some());
    if flags.quiet {
        let lines: String = containers.map(|one| one.id + "\n").collect();
        output::print(&lines)?;
        return Ok(0);
    }
    match flags.format.as_str() {
        "table" if flags.systems => output::print(&systems(containers).text())?,
        "table" => output::print(&table(containers).text())?,
        "json" => {
            let states: Vec<State> = containers.collect();
            match states.is_empty() {
                // As Go prints a list that nobody has made.
                true => output::print("null\n")?,
                false => output::print_json(&states)?,
            }
        }
        _ => return Err(invalid_format()),
    }
    Ok(0)
}

fn table(containers: impl Iterator<Item = State>) -> Table<6> {
    let mut table = Table::new(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    for one in containers {
        table.add([
            &one.id,
            &one.pid,
            &one.status,
            &one.bundle,
            &one.created,
            &one.owner,
        ]);
    }
    table
}

fn systems(containers: impl Iterator<Item = State>) -> Table<8> {
    let titles = [
        "ID", "PID", "STATUS", "INIT", "READY", "UPTIME", "REBOOTS", "IDS",
    ];
    let mut table = Table::new(titles);
    for one in containers {
        let Some(system) = &one.system else { continue };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let ids = system.ids.map(|ids| format!("{}+{}", ids.first, ids.size));
        table.add([
            &one.id,
            &one.pid,
            &one.status,
            &or_dash(system.init.clone()),
            &or_dash(
                system
                    .ready
                    .map(|ready| if ready { "yes" } else { "no" }.to_owned()),
            ),
            &or_dash(system.uptime.map(output::duration)),
            &system.reboots,
            &or_dash(ids),
        ]);
    }
    table
}
