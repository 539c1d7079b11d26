//! Seccomp profiles and the programs they become, one profile in JSON a line of standard input.
//!
//!     cargo run --example seccomp -- x86_64|aarch64        # each program in hexadecimal, or "error: ..."
//!     cargo run --release --example seccomp -- time ROUNDS # how long it takes, in microseconds: median, least; length

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use vzrun::{Error, ErrorKind, Machine, Result, SeccompProfile};

/// What is printed of a profile.
type Answer = Box<dyn Fn(&SeccompProfile) -> Result<String>>;

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seccomp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let wrong = |text: String| Error::new(ErrorKind::InvalidArgument, text);
    let line_of: Answer = match words[..] {
        ["x86_64"] => Box::new(|profile| hexadecimal(profile, Machine::X86_64)),
        ["aarch64"] => Box::new(|profile| hexadecimal(profile, Machine::Aarch64)),
        ["time", rounds] => {
            let rounds = rounds
                .parse()
                .map_err(|_| wrong(format!("{rounds} is not a number")))?;
            Box::new(move |profile| time(profile, rounds))
        }
        _ => return Err(wrong("usage: seccomp x86_64|aarch64|time ROUNDS".into())),
    };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| wrong(format!("reading: {error}")))?;
        let answer = SeccompProfile::parse(line.as_bytes()).and_then(|profile| line_of(&profile));
        let text = answer.unwrap_or_else(|error| format!("error: {error}"));
        writeln!(out, "{text}").map_err(|error| wrong(format!("writing: {error}")))?;
    }
    Ok(())
}

fn hexadecimal(profile: &SeccompProfile, machine: Machine) -> Result<String> {
    let program = profile.program(machine)?;
    Ok(program.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn time(profile: &SeccompProfile, rounds: usize) -> Result<String> {
    let mut length = 0;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        length = profile.program(Machine::X86_64)?.len() / 8;
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    let micros = |nanos: u128| nanos as f64 / 1000.0;
    let (median, least) = (times[times.len() / 2], times[0]);
    Ok(format!(
        "{:.1} {:.1} {length}",
        micros(median),
        micros(least)
    ))
}
