//! The command line: words of any kind are a subcommand with its values, help, or an error with words and a code; a flag
//! means the same in all of Go's notations; lengths of time and sizes are read as they are written.

#![cfg_attr(feature = "libfuzzer", no_main)]
#![allow(
    dead_code,
    missing_docs,
    reason = "the command's own files, of which nothing is run"
)]

#[path = "../../runtime/src/bin/vzrun/args.rs"]
mod args;
#[path = "../../runtime/src/bin/vzrun/cmd/mod.rs"]
mod cmd;
#[path = "../../runtime/src/bin/vzrun/criu_flags.rs"]
mod criu_flags;
#[path = "../../runtime/src/bin/vzrun/failure.rs"]
mod failure;
#[path = "../../runtime/src/bin/vzrun/go_duration.rs"]
mod go_duration;
#[path = "../../runtime/src/bin/vzrun/go_flags.rs"]
mod go_flags;
#[path = "../../runtime/src/bin/vzrun/input.rs"]
mod input;
#[path = "../../runtime/src/bin/vzrun/log_sink.rs"]
mod log_sink;
#[path = "../../runtime/src/bin/vzrun/matching.rs"]
mod matching;
#[path = "../../runtime/src/bin/vzrun/output.rs"]
mod output;
#[path = "../../runtime/src/bin/vzrun/pages.rs"]
mod pages;
#[path = "../../runtime/src/bin/vzrun/quantity.rs"]
mod quantity;
#[path = "../../runtime/src/bin/vzrun/verb.rs"]
mod verb;

use std::time::Duration;

use args::{Line, Target};
use clap::ArgAction;
use failure::Failure;
use go_duration::GoDuration;
use go_flags::{Order, normalise};
use verb::Verb;
use vzrun_fuzz::{Bytes, target};

target!(|data| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind {
        b'0'..=b'9' => quantities(&String::from_utf8_lossy(data)),
        0..32 => flags(&mut Bytes::new(rest)),
        _ => words(&String::from_utf8_lossy(data)),
    }
});

/// A line with a word on each line of `text`.
fn words(text: &str) {
    let words: Vec<String> = ["vzrun"]
        .into_iter()
        .chain(text.lines())
        .map(str::to_owned)
        .collect();
    let mut line = match Line::split(&words) {
        Ok(line) => line,
        Err(failure) => return check(&failure),
    };
    match line.globals() {
        Ok(globals) => {
            let _ = (globals.rootless(), globals.cgroup_driver());
        }
        Err(failure) => check(&failure),
    }
    match line.target {
        Target::Verb(verb, rest) => {
            assert!(words.ends_with(&rest), "{words:?}");
            match verb.matches(&rest) {
                Ok(_) => {}
                Err(failure) => check(&failure),
            }
            // What is taken apart once is taken apart.
            let command = (verb.define)();
            if let Ok(found) = normalise(&command, &rest, verb.order) {
                let again: Vec<String> = found
                    .flags
                    .iter()
                    .cloned()
                    .chain(["--".to_owned()])
                    .chain(found.arguments.iter().cloned())
                    .collect();
                let again = normalise(&command, &again, verb.order).expect("it was good");
                assert_eq!(
                    (&again.flags, &again.arguments),
                    (&found.flags, &found.arguments),
                    "{rest:?}"
                );
            }
        }
        Target::Unknown(name) => assert!(words.contains(&name) && cmd::find(&name).is_none()),
        Target::HelpOf(verb) => assert!(words.iter().any(|word| word == verb.name)),
        Target::Help | Target::Version => {}
    }
}

fn check(failure: &Failure) {
    assert!(!failure.text.is_empty() && failure.code == 1, "{failure:?}");
    assert!(
        failure
            .usage
            .as_ref()
            .is_some_and(|usage| usage.starts_with("Incorrect Usage"))
    );
}

const VALUES: [&str; 16] = [
    "", "x", "-1", "0", "--", "-", "--help", "-h", "=", "a=b", "a b", "/p", "true", "9", "é",
    "--bundle",
];

/// Flags of a subcommand in a random notation, and how Go has them.
fn flags(bytes: &mut Bytes<'_>) {
    let verb: &Verb = bytes.one_of(cmd::VERBS);
    let command = (verb.define)();
    let defined: Vec<_> = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some())
        .collect();
    let (mut given, mut expected): (Vec<String>, Vec<String>) = Default::default();
    while !defined.is_empty() && !bytes.is_empty() && given.len() < 40 {
        let arg = bytes.one_of(&defined);
        let long = arg.get_long().unwrap_or_default();
        let name = match (bytes.byte() % 3, arg.get_short()) {
            (0, Some(letter)) => format!("-{letter}"),
            (1, Some(letter)) => format!("--{letter}"),
            (2, _) => format!("-{long}"),
            _ => format!("--{long}"),
        };
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            let (text, on) = *bytes.one_of(&[
                ("", true),
                ("=true", true),
                ("=0", false),
                ("=T", true),
                ("=False", false),
            ]);
            given.push(format!("{name}{text}"));
            expected.retain(|flag| *flag != format!("--{long}"));
            expected.extend(on.then(|| format!("--{long}")));
        } else {
            let value = bytes.one_of(&VALUES);
            match bytes.byte() % 2 {
                0 => given.push(format!("{name}={value}")),
                _ => given.extend([name, (*value).to_owned()]),
            }
            expected.push(format!("--{long}={value}"));
        }
    }
    let arguments: Vec<String> = (0..bytes.byte() % 3)
        .map(|n| format!("argument{n}"))
        .collect();
    let line = match (bytes.byte() % 3, verb.order) {
        (0, _) => [&given[..], &["--".to_owned()], &arguments[..]].concat(),
        // Behind an argument, where flags may stand as well.
        (1, Order::Anywhere) if !arguments.is_empty() => {
            [&arguments[..1], &given[..], &arguments[1..]].concat()
        }
        _ => [&given[..], &arguments[..]].concat(),
    };
    let found =
        normalise(&command, &line, verb.order).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    assert_eq!(
        (&found.flags, &found.arguments, found.help),
        (&expected, &arguments, false),
        "{} {line:?}",
        verb.name
    );
    match verb.matches(&line) {
        Ok(matches) => assert!(matches.is_some()),
        Err(failure) => check(&failure),
    }
}

/// `NUMBER TEXT`: the number is written down and read again, the text is read.
fn quantities(line: &str) {
    let (number, text) = line.split_once(' ').unwrap_or((line, line));
    if let Ok(number) = number.parse::<i64>() {
        let bytes = |text: String| quantity::bytes("--memory", Some(text)).ok().flatten();
        let expected = (number >= -1).then_some(number);
        assert_eq!(bytes(number.to_string()), expected, "{number}");
        for (power, unit) in [(10, "k"), (20, " MB"), (30, "GiB"), (40, "tb"), (50, "P")] {
            let expected = number.checked_mul(1 << power).filter(|size| *size >= 0);
            assert_eq!(bytes(format!("{number}{unit}")), expected, "{number}{unit}");
        }
        duration(number);
        duration(number.wrapping_mul(0x1234_5678_9abc_def1));
    }
    let size = quantity::bytes("--memory", Some(text.to_owned()));
    if let Ok(Some(size)) = size {
        assert!(size >= 0 || text == "-1" && size == -1, "{text:?}: {size}");
        let in_bytes = quantity::bytes("--memory", Some(format!("{text}b")))
            .ok()
            .flatten();
        assert!(
            in_bytes.is_none_or(|other| other == size),
            "{text:?}: {size}, {in_bytes:?}"
        );
    }
    let given: Option<u64> = quantity::number("--pids-limit", Some(text.to_owned()))
        .ok()
        .flatten();
    assert!(
        given.is_none_or(|given| text.trim_start_matches('+').trim_start_matches('0')
            == given.to_string().trim_start_matches('0'))
    );
    if let Ok(time) = text.parse::<GoDuration>() {
        let other: Result<GoDuration, _> = match text.strip_prefix('-') {
            Some(rest) => rest.parse(),
            None => format!("-{}", text.strip_prefix('+').unwrap_or(text)).parse(),
        };
        // The one that has no counterpart is the smallest.
        let both = time.positive().is_some() && other.is_ok_and(|other| other.positive().is_some());
        assert!(!both, "{text:?}");
    }
}

/// As Go writes it.
fn duration(nanoseconds: i64) {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let (seconds, rest) = (all / 1_000_000_000, all % 1_000_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    for text in [
        format!("{sign}{hours}h{minutes}m{}.{rest:09}s", seconds % 60),
        format!("{sign}{all}ns"),
        format!("{sign}{}us{}ns", all / 1000, all % 1000),
    ] {
        let read: GoDuration = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected = u64::try_from(nanoseconds)
            .ok()
            .filter(|n| *n > 0)
            .map(Duration::from_nanos);
        assert_eq!(read.positive(), expected, "{text}");
    }
}
