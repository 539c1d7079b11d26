//! `vzrun`, the command: words in, one call of the library, one exit code out.

#![cfg_attr(not(test), no_main)]

mod args;
mod cmd;
mod criu_flags;
mod failure;
mod go_duration;
mod go_flags;
mod input;
mod log_sink;
mod matching;
mod output;
mod pages;
mod quantity;
mod verb;

use std::ffi::OsString;

use args::{Line, Target};
use failure::Failure;

#[cfg(not(test))]
vzrun::program!(start);

#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: vzrun::Heap = vzrun::Heap::new();

#[cfg_attr(test, expect(dead_code))]
fn start(arguments: Vec<OsString>) -> u8 {
    let ready = vzrun::prepare_process().map_err(Failure::from);
    match ready.and_then(|()| run(arguments)) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(usage) = &failure.usage {
                // The error below says more than a full disk under stdout would.
                let _ = output::print(usage);
            }
            log_sink::fail(&failure.text);
            failure.code
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let words = args::utf8(&arguments)?;
    let mut line = Line::split(&words)?;
    let sealed = match &line.target {
        // Before anything else, as nothing done before it survives.
        Target::Verb(verb, _) if verb.seals => vzrun::seal_executable(arguments),
        _ => Ok(()),
    };
    let mut globals = line.globals()?;
    globals.system = args::means_system(&words);
    log_sink::install(&globals)?;
    match line.target {
        Target::Help => output::print(&pages::help())?,
        Target::HelpOf(verb) => output::print(&pages::help_of(verb))?,
        Target::Version => output::print(&pages::version())?,
        Target::Unknown(name) => return Err(args::unknown(&name)),
        Target::Verb(verb, words) => {
            sealed.map_err(|error| verb.failure(&error))?;
            return verb.call(&globals, &words);
        }
    }
    Ok(0)
}
