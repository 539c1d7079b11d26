//! `events`

use clap::Args;
use serde::Serialize;
use vzrun::{Container, Error, ErrorKind, Event, Result, stats::Stats};

use super::{Verb, flags};
use crate::args::{Globals, bare};
use crate::go_duration::GoDuration;
use crate::output;

pub(super) const VERB: Verb = Verb {
    name: "events",
    about: "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
    synopsis: "[command options] <container-id>",
    description: "\
Prints what the container uses, as one line of JSON, once in each interval and as long as it has processes, and a line
when the kernel has killed one of them for want of memory. An interval is written like 5s, 100ms or 1m30s.",
    define: || EventsFlags::augment_args(bare("events")),
    run: |globals, matches| events(globals, &flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct EventsFlags {
    /// set the stats collection interval
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    interval: GoDuration,
    /// display the container's stats then exit
    #[arg(long)]
    stats: bool,
    /// name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

/// A line of the output.
#[derive(Debug, Serialize)]
struct Line<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

impl<'a> Line<'a> {
    fn new(id: &'a str, event: &'a Event) -> Line<'a> {
        let (r#type, data) = match event {
            Event::Stats(stats) => ("stats", Some(&**stats)),
            Event::Oom => ("oom", None),
        };
        Line { r#type, id, data }
    }
}

fn events(globals: &Globals, flags: &EventsFlags) -> Result<u8> {
    let id = &flags.id;
    let container = Container::load(&globals.root()?, id)?;
    let interval = flags.interval.positive().ok_or_else(|| {
        let text = "duration interval must be greater than 0";
        Error::new(ErrorKind::InvalidArgument, text)
    })?;
    let print = |event: &Event| output::print_json(&Line::new(id, event));
    if flags.stats {
        print(&Event::Stats(Box::new(container.stats()?)))?;
        return Ok(0);
    }
    let mut events = container.events(interval)?;
    while let Some(event) = events.wait()? {
        print(&event)?;
    }
    Ok(0)
}
