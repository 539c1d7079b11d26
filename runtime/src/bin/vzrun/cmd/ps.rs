//! `ps`

use std::process::Command;

use clap::Args;
use vzrun::{Container, Error, ErrorKind, Result};

use super::{Verb, flags, invalid_format};
use crate::args::{Globals, bare};
use crate::go_flags::Order;
use crate::{input, output};

pub(super) const VERB: Verb = Verb {
    name: "ps",
    about: "ps displays the processes running inside a container",
    synopsis: "[command options] <container-id> [ps options]",
    description: "\
Lists the processes of the container. The table is that of ps(1), called with the options behind the id (default: -ef);
the process ids are those of the host.",
    arguments: (1, usize::MAX),
    order: Order::FlagsFirst,
    define: || PsFlags::augment_args(bare("ps")),
    run: |globals, matches| ps(globals, &flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct PsFlags {
    /// table or json
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    format: String,
    /// name of the container
    #[arg(value_name = "container-id")]
    id: String,
    /// options of ps(1)
    #[arg(value_name = "ps options", allow_hyphen_values = true)]
    options: Vec<String>,
}

fn ps(globals: &Globals, flags: &PsFlags) -> Result<u8> {
    let pids = Container::load(&globals.root()?, &flags.id)?.processes()?;
    match flags.format.as_str() {
        // As Go prints a list that nobody has made.
        "json" if pids.is_empty() => output::print("null\n")?,
        "json" => output::print_json(&pids)?,
        "table" => output::print(&rows_of(&table(&flags.options)?, &pids)?)?,
        _ => return Err(invalid_format()),
    }
    Ok(0)
}

/// What ps(1) prints of the whole host. containerd gives all options in one word, which may be empty.
fn table(options: &[String]) -> Result<String> {
    let mut words: Vec<&str> = match options {
        [one] => one.split_whitespace().collect(),
        many => many.iter().map(String::as_str).collect(),
    };
    if words.is_empty() {
        words.push("-ef");
    }
    let failed = |text| Error::new(ErrorKind::Process, text);
    let output = input::of_program(Command::new("ps").args(words))
        .map_err(|error| failed(format!("running ps for the table of processes: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let said = text(&output.stdout) + &text(&output.stderr);
        return Err(failed(format!("{}: {said}", output.status)));
    }
    Ok(text(&output.stdout))
}

/// The header, and the rows of these processes.
fn rows_of(table: &str, pids: &[i32]) -> Result<String> {
    let failed = |text: &str| Error::new(ErrorKind::Process, text);
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| failed("couldn't find PID field in ps output"))?;
    let mut kept = format!("{header}\n");
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let cell = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: i32 = cell
            .parse()
            .map_err(|_| failed(&format!("unable to parse pid {cell:?}")))?;
        if pids.contains(&pid) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_by_the_pid_column() {
        let table = "UID  PID PPID\nroot   7    1\nroot   1    7\n\nroot  71    7\n";
        assert_eq!(
            rows_of(table, &[7, 71]).unwrap(),
            "UID  PID PPID\nroot   7    1\nroot  71    7\n"
        );
        assert_eq!(rows_of(table, &[]).unwrap(), "UID  PID PPID\n");
        assert!(
            rows_of("CMD\nx\n", &[1])
                .unwrap_err()
                .to_string()
                .contains("PID field")
        );
        assert!(rows_of("PID\nx\n", &[1]).is_err());
        assert!(rows_of("", &[]).is_err());
    }
}
