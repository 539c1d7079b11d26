//! Go's notation of flags, which engines use in all its forms, brought into clap's.
//!
//! `-flag` is `--flag`, a value stands behind `=` or is the next word whatever that looks like, and a switch may be given
//! a value (`--tty=false`). Errors have the words of Go's flag library: engines look for them.

use clap::{ArgAction, Command};

/// Where flags may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// In front of the first argument; the rest is taken as it is.
    FlagsFirst,
    /// Anywhere up to `--`.
    Anywhere,
}

/// A command line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// Flags as `--name` and `--name=value`, in order.
    pub(crate) flags: Vec<String>,
    /// The other words.
    pub(crate) arguments: Vec<String>,
    /// `-h`, `--help` was there.
    pub(crate) help: bool,
}

impl Words {
    /// There are no flags among them.
    pub(crate) fn of_arguments(words: &[String]) -> Words {
        Words {
            flags: Vec::new(),
            arguments: words.to_vec(),
            help: false,
        }
    }
}

/// Takes words apart by the flags that `command` defines.
///
/// # Errors
/// The text that Go's flag library has for it.
pub(crate) fn normalise(
    command: &Command,
    words: &[String],
    order: Order,
) -> Result<Words, String> {
    let mut found = Words::of_arguments(&[]);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            found.arguments.extend(rest.cloned());
            break;
        }
        let Some((name, value)) = split(word)? else {
            found.arguments.push(word.clone());
            if order == Order::FlagsFirst {
                found.arguments.extend(rest.cloned());
                break;
            }
            continue;
        };
        match lookup(command, name) {
            Some(Flag::Switch(long)) => set_switch(&mut found.flags, long, name, value)?,
            Some(Flag::Valued(long)) => {
                let value = match value {
                    Some(value) => value,
                    None => rest
                        .next()
                        .ok_or_else(|| format!("flag needs an argument: -{name}"))?,
                };
                found.flags.push(format!("--{long}={value}"));
            }
            None if name == "h" || name == "help" => found.help = switched_on(name, value)?,
            // Behind the first argument an unknown flag is an argument: `kill ID -9`.
            None if !found.arguments.is_empty() => found.arguments.push(word.clone()),
            None => return Err(format!("flag provided but not defined: -{name}")),
        }
    }
    Ok(found)
}

/// Name and value of a flag, `None` for a word that is not a flag.
fn split(word: &str) -> Result<Option<(&str, Option<&str>)>, String> {
    let Some(text) = word.strip_prefix('-').filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = text.strip_prefix('-').unwrap_or(text);
    if text.is_empty() || text.starts_with(['-', '=']) {
        return Err(format!("bad flag syntax: {word}"));
    }
    Ok(Some(match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    }))
}

enum Flag<'a> {
    Switch(&'a str),
    Valued(&'a str),
}

/// The flag of this name, long or short: Go makes no difference by the number of dashes.
fn lookup<'a>(command: &'a Command, name: &str) -> Option<Flag<'a>> {
    let mut letters = name.chars();
    let short = match (letters.next(), letters.next()) {
        (Some(letter), None) => Some(letter),
        _ => None,
    };
    command.get_arguments().find_map(|arg| {
        let long = arg.get_long()?;
        if long != name && (short.is_none() || arg.get_short() != short) {
            return None;
        }
        Some(match arg.get_action() {
            ArgAction::SetTrue => Flag::Switch(long),
            _ => Flag::Valued(long),
        })
    })
}

fn set_switch(
    flags: &mut Vec<String>,
    long: &str,
    name: &str,
    value: Option<&str>,
) -> Result<(), String> {
    let on = switched_on(name, value)?;
    let flag = format!("--{long}");
    flags.retain(|earlier| *earlier != flag);
    if on {
        flags.push(flag);
    }
    Ok(())
}

fn switched_on(name: &str, value: Option<&str>) -> Result<bool, String> {
    let Some(text) = value else { return Ok(true) };
    parse_bool(text)
        .ok_or_else(|| format!("invalid boolean value {text:?} for -{name}: parse error"))
}

/// Go's ParseBool.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Line, Target};

    /// What a command line comes to: the global flags, the subcommand's flags, its arguments.
    fn take_apart(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('\'', "")).collect();
        let split = Line::split(&words).unwrap();
        let Target::Verb(verb, rest) = split.target else {
            return "no command".into();
        };
        let globals = normalise(&Line::global_flags(), &words[1..], Order::FlagsFirst).unwrap();
        let found = normalise(&(verb.define)(), &rest, verb.order).unwrap();
        assert!(verb.matches(&rest).is_ok(), "{line}");
        format!(
            "{} | {} {} | {}",
            globals.flags.join(" "),
            verb.name,
            found.flags.join(" "),
            found.arguments.join(" ")
        )
    }

    #[test]
    fn command_lines_of_engines() {
        for (line, expected) in [
            // containerd's shim, Docker
            (
                "vzrun --root /r --log /b/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s --no-pivot --no-new-keyring id",
                "--root=/r --log=/b/log.json --log-format=json --systemd-cgroup | create --bundle=/b --pid-file=/b/init.pid --console-socket=/s --no-pivot --no-new-keyring | id",
            ),
            (
                "vzrun --root /r exec --process /f --console-socket /s --detach --pid-file /p id",
                "--root=/r | exec --process=/f --console-socket=/s --detach --pid-file=/p | id",
            ),
            ("vzrun kill --all id 9", " | kill --all | id 9"),
            ("vzrun kill id 9", " | kill  | id 9"),
            ("vzrun delete --force id", " | delete --force | id"),
            ("vzrun start id", " | start  | id"),
            ("vzrun pause id", " | pause  | id"),
            ("vzrun resume id", " | resume  | id"),
            ("vzrun state id", " | state  | id"),
            ("vzrun ps --format json id", " | ps --format=json | id"),
            (
                "vzrun ps --format table id ''",
                " | ps --format=table | id ",
            ),
            ("vzrun list --format=json", " | list --format=json | "),
            ("vzrun features", " | features  | "),
            // conmon
            (
                "vzrun --systemd-cgroup --log-format=json --log /l --root=/r create --bundle /b --pid-file /p --preserve-fds 2 --console-socket /s id",
                "--systemd-cgroup --log-format=json --log=/l --root=/r | create --bundle=/b --pid-file=/p --preserve-fds=2 --console-socket=/s | id",
            ),
            (
                "vzrun exec --pid-file /p --process /f --detach --tty id",
                " | exec --pid-file=/p --process=/f --detach --tty | id",
            ),
            // conmon-rs says some things twice and leaves values empty
            (
                "vzrun --root=/r --systemd-cgroup --root=/r --systemd-cgroup exec -d --console-socket= --tty --pid-file= id sh -c true",
                "--root=/r --root=/r --systemd-cgroup | exec --detach --console-socket= --tty --pid-file= | id sh -c true",
            ),
            // CRI-O
            (
                "vzrun --root /r kill -a id 15",
                "--root=/r | kill --all | id 15",
            ),
            (
                "vzrun --root /r kill id KILL",
                "--root=/r | kill  | id KILL",
            ),
            // Podman without cgroups
            (
                "vzrun --cgroup-manager disabled create --bundle /b id",
                "--cgroup-manager=disabled | create --bundle=/b | id",
            ),
            // Go's other forms
            (
                "vzrun -debug --rootless=true run -detach=true -no-subreaper -bundle /b -keep=false id",
                "--debug --rootless=true | run --detach --no-subreaper --bundle=/b | id",
            ),
            ("vzrun run -d --detach=false id", " | run  | id"),
            (
                "vzrun run id --bundle /b -d",
                " | run --bundle=/b --detach | id",
            ),
            (
                "vzrun run -b a -b=c id",
                " | run --bundle=a --bundle=c | id",
            ),
            ("vzrun run -- -id", " | run  | -id"),
            ("vzrun kill id -1", " | kill  | id -1"),
            ("vzrun kill -- id -- x", " | kill  | id -- x"),
            (
                "vzrun exec -e A=1 -e B=-2 --env -C= -g 5 --user 1:2 id ls --tty -- -l",
                " | exec --env=A=1 --env=B=-2 --env=-C= --additional-gids=5 --user=1:2 | id ls --tty -- -l",
            ),
            ("vzrun ps id -o pid,args", " | ps  | id -o pid,args"),
            ("vzrun -- state id", " | state  | id"),
        ] {
            if line.contains("kill -- ") {
                // Too many arguments for kill, but the words are taken apart all the same.
                let words: Vec<String> = ["--", "id", "--", "x"].map(String::from).into();
                let found = normalise(&Command::new("kill"), &words, Order::Anywhere).unwrap();
                assert_eq!(found.arguments, ["id", "--", "x"]);
                continue;
            }
            assert_eq!(take_apart(line), expected, "{line}");
        }
    }

    #[test]
    fn errors_are_those_of_go() {
        let flags = Line::global_flags();
        for (word, text) in [
            ("--foo", "flag provided but not defined: -foo"),
            ("-foo=1", "flag provided but not defined: -foo"),
            ("--root", "flag needs an argument: -root"),
            ("---x", "bad flag syntax: ---x"),
            ("-=x", "bad flag syntax: -=x"),
            (
                "--debug=maybe",
                "invalid boolean value \"maybe\" for -debug: parse error",
            ),
        ] {
            let error = normalise(&flags, &[word.to_owned()], Order::FlagsFirst).unwrap_err();
            assert_eq!(error, text);
        }
    }

    #[test]
    fn help_is_a_flag_unless_it_is_an_argument() {
        let help = |words: &[&str], order| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            normalise(&Command::new("x"), &words, order).unwrap().help
        };
        assert!(help(&["-h"], Order::Anywhere));
        assert!(help(&["id", "--help"], Order::Anywhere));
        assert!(help(&["-help", "id"], Order::FlagsFirst));
        assert!(!help(&["id", "ls", "--help"], Order::FlagsFirst));
        assert!(!help(&["--", "-h"], Order::Anywhere));
        assert!(!help(&["--help=false"], Order::Anywhere));
    }
}
