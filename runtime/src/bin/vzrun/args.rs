//! From words to a command: the global flags, and which subcommand is meant.
//!
//! Only what is used is defined: clap's cost grows with each flag, and a subcommand has no need for the others' flags.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches, ValueEnum};
use vzrun::{CgroupDriver, Error, ErrorKind, Root};

use crate::cmd;
use crate::failure::Failure;
use crate::go_flags::{self, Order, Words};
use crate::pages;
use crate::verb::Verb;

/// The default of `--log-format`.
const TEXT: &str = "text";
/// The default of `--rootless`.
const AUTO: &str = "auto";

/// The flags in front of the subcommand.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// enable debug logging
    #[arg(long)]
    pub(crate) debug: bool,
    /// append the log to this file (default: stderr)
    #[arg(long, value_parser = path, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// format of the log: text or json
    #[arg(long, value_name = "FORMAT", default_value = TEXT)]
    pub(crate) log_format: String,
    /// what gets into the log: error, warning or debug
    #[arg(long, value_name = "LEVEL", hide = true)]
    pub(crate) log_level: Option<String>,
    /// directory of the containers' state (default: /run/vzrun, or $XDG_RUNTIME_DIR/vzrun for an ordinary user)
    #[arg(long, value_parser = path, value_name = "DIR")]
    root: Option<PathBuf>,
    /// (deprecated, ignored)
    #[arg(long, value_name = "FILE", hide = true)]
    criu: Option<String>,
    /// let systemd make the cgroups; cgroupsPath is "slice:prefix:name"
    #[arg(long)]
    systemd_cgroup: bool,
    /// The program was called by the name that makes system containers.
    #[arg(skip)]
    pub(crate) system: bool,
    /// who makes the cgroups
    #[arg(long, value_name = "DRIVER")]
    cgroup_manager: Option<CgroupManager>,
    /// pass over cgroup permission errors: true, false or auto
    #[arg(long, value_name = "VALUE", default_value = AUTO)]
    rootless: String,
    /// print the version
    #[arg(long, short)]
    version: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

/// No flag is given.
impl Default for Globals {
    fn default() -> Globals {
        Globals {
            debug: false,
            log: None,
            log_format: TEXT.to_owned(),
            log_level: None,
            root: None,
            criu: None,
            systemd_cgroup: false,
            system: false,
            cgroup_manager: None,
            rootless: AUTO.to_owned(),
            version: false,
        }
    }
}

impl Globals {
    /// The state directory.
    pub(crate) fn root(&self) -> vzrun::Result<Root> {
        Root::new(non_empty(self.root.clone()).unwrap_or_else(Root::default_path))
    }

    pub(crate) fn cgroup_driver(&self) -> CgroupDriver {
        match self.cgroup_manager {
            Some(CgroupManager::Cgroupfs) => CgroupDriver::Cgroupfs,
            Some(CgroupManager::Systemd) => CgroupDriver::Systemd,
            Some(CgroupManager::Disabled) => CgroupDriver::Disabled,
            None if self.systemd_cgroup => CgroupDriver::Systemd,
            None => CgroupDriver::Cgroupfs,
        }
    }

    /// `None` for "find out".
    pub(crate) fn rootless(&self) -> vzrun::Result<Option<bool>> {
        if self.rootless.is_empty() || self.rootless == AUTO {
            return Ok(None);
        }
        go_flags::parse_bool(&self.rootless)
            .map(Some)
            .ok_or_else(|| {
                let text = format!("invalid value {:?} for --rootless", self.rootless);
                Error::new(ErrorKind::InvalidArgument, text)
            })
    }
}

/// A path as it is given, which may be empty.
pub(crate) fn path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(PathBuf::from(text))
}

/// A flag that is given without a value (`--pid-file=`) is as good as not given.
pub(crate) fn non_empty(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// What is to be done.
pub(crate) enum Target {
    Help,
    HelpOf(&'static Verb),
    Version,
    /// A subcommand and the words behind it.
    Verb(&'static Verb, Vec<String>),
    /// There is no such subcommand, which is said when it is known where the log goes.
    Unknown(String),
}

/// A command line, taken apart as far as it takes to know the subcommand: a binary that will run itself again from a
/// sealed place would read the rest in vain.
pub(crate) struct Line {
    pub(crate) target: Target,
    /// `None` where there are no global flags, which saves a tenth of a millisecond.
    definition: Option<Command>,
    flags: Vec<String>,
}

/// Whether the program was called as `vzrun-system`, as engines do that have it as a second runtime.
pub(crate) fn means_system(words: &[String]) -> bool {
    let name = words.first().map(std::path::Path::new);
    name.and_then(std::path::Path::file_name)
        .is_some_and(|name| name == "vzrun-system")
}

impl Line {
    /// Finds the subcommand.
    pub(crate) fn split(words: &[String]) -> Result<Line, Failure> {
        let rest = words.get(1..).unwrap_or_default();
        let any = rest.first().is_some_and(|word| word.starts_with('-'));
        let definition = any.then(Line::global_flags);
        let found = match &definition {
            Some(definition) => go_flags::normalise(definition, rest, Order::FlagsFirst),
            None => Ok(Words::of_arguments(rest)),
        };
        let found = found.map_err(wrong)?;
        let target = match found.arguments.split_first() {
            _ if found.help => Target::Help,
            _ if found.flags.iter().any(|flag| flag == "--version") => Target::Version,
            None => Target::Help,
            Some((name, rest)) if name == "help" || name == "h" => match rest.first() {
                Some(topic) if topic != "help" && topic != "h" => {
                    cmd::find(topic).map_or_else(|| Target::Unknown(topic.clone()), Target::HelpOf)
                }
                _ => Target::Help,
            },
            Some((name, rest)) => match cmd::find(name) {
                Some(verb) => Target::Verb(verb, rest.to_vec()),
                None => Target::Unknown(name.clone()),
            },
        };
        Ok(Line {
            target,
            definition,
            flags: found.flags,
        })
    }

    /// The values of the global flags.
    pub(crate) fn globals(&mut self) -> Result<Globals, Failure> {
        let Some(definition) = &mut self.definition else {
            return Ok(Globals::default());
        };
        let words = std::iter::once("vzrun").chain(self.flags.iter().map(String::as_str));
        let matches = definition.try_get_matches_from_mut(words);
        matches
            .and_then(|matches| Globals::from_arg_matches(&matches))
            .map_err(|error| wrong(go_words(&error)))
    }

    /// The definition of the global flags alone.
    pub(crate) fn global_flags() -> Command {
        Globals::augment_args(bare("vzrun"))
    }
}

/// A command without the extras of clap: help and version are ours, and the last of two equal flags wins.
pub(crate) fn bare(name: &'static str) -> Command {
    Command::new(name)
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
}

fn wrong(text: String) -> Failure {
    Failure {
        usage: Some(format!("Incorrect Usage. {text}\n\n{}", pages::help())),
        text,
        code: 1,
    }
}

/// There is no subcommand of this name.
pub(crate) fn unknown(name: &str) -> Failure {
    Failure {
        text: format!("No help topic for '{name}'"),
        usage: None,
        // As runc: it is no usage error there.
        code: 3,
    }
}

/// What clap has to say about a value, in the words of Go.
pub(crate) fn go_words(error: &clap::Error) -> String {
    use clap::error::ContextKind::{InvalidArg, InvalidValue};
    let (Some(arg), Some(value)) = (error.get(InvalidArg), error.get(InvalidValue)) else {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        return text.trim_end().to_owned();
    };
    // The argument is written as in the help: `--preserve-fds <N>`, or `<SHELL>` if it is no flag.
    let (arg, value) = (arg.to_string(), value.to_string());
    match arg.split(' ').next().unwrap_or_default().strip_prefix("--") {
        Some(name) => format!("invalid value {value:?} for flag -{name}: parse error"),
        None => format!("invalid value {value:?} for {arg}"),
    }
}

/// The words of the command line, which must be text.
pub(crate) fn utf8(arguments: &[OsString]) -> Result<Vec<String>, Failure> {
    let word = |(n, argument): (usize, &OsString)| {
        argument.to_str().map(str::to_owned).ok_or_else(|| Failure {
            text: format!("argument {n} is not valid UTF-8: {argument:?}"),
            usage: None,
            code: 1,
        })
    };
    arguments.iter().enumerate().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> Result<Line, Failure> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        Line::split(&words)
    }

    fn globals(flags: &str) -> Globals {
        line(&format!("vzrun {flags} list"))
            .unwrap()
            .globals()
            .unwrap()
    }

    #[test]
    fn help_and_version() {
        for (words, expected) in [
            ("vzrun", "help"),
            ("vzrun -h create", "help"),
            ("vzrun help", "help"),
            ("vzrun h create", "help of create"),
            ("vzrun help help", "help"),
            ("vzrun --version", "version"),
            ("vzrun -v", "version"),
            ("vzrun -version=true create", "version"),
            ("vzrun --debug create -h", "create"),
        ] {
            let target = match line(words).unwrap().target {
                Target::Help => "help".into(),
                Target::HelpOf(verb) => format!("help of {}", verb.name),
                Target::Version => "version".into(),
                Target::Verb(verb, _) => verb.name.to_owned(),
                Target::Unknown(name) => format!("no {name}"),
            };
            assert_eq!(target, expected, "{words}");
        }
    }

    #[test]
    fn last_global_flag_wins() {
        let globals = globals("--root=/a --rootless true --root /b --rootless=false");
        assert_eq!(globals.root, Some("/b".into()));
        assert_eq!(globals.rootless().unwrap(), Some(false));
        assert!(self::globals("--rootless=x").rootless().is_err());
        assert_eq!(non_empty(self::globals("--root=").root), None);
    }

    #[test]
    fn no_flags_are_the_defaults() {
        let none = line("vzrun list").unwrap().globals().unwrap();
        let some = globals("--rootless=auto");
        assert_eq!(format!("{none:?}"), format!("{some:?}"));
    }

    #[test]
    fn cgroup_drivers() {
        for (flags, expected) in [
            ("--debug", "Cgroupfs"),
            ("--systemd-cgroup", "Systemd"),
            ("--systemd-cgroup=false", "Cgroupfs"),
            ("--cgroup-manager disabled", "Disabled"),
            ("--cgroup-manager=systemd", "Systemd"),
            ("--systemd-cgroup --cgroup-manager=cgroupfs", "Cgroupfs"),
        ] {
            let globals = globals(flags);
            assert_eq!(
                format!("{:?}", globals.cgroup_driver()),
                expected,
                "{flags}"
            );
        }
    }

    #[test]
    fn wrong_lines() {
        for (words, code, text) in [
            ("vzrun --root", 1, "flag needs an argument: -root"),
            (
                "vzrun --foo state",
                1,
                "flag provided but not defined: -foo",
            ),
            (
                "vzrun --cgroup-manager=x list",
                1,
                "invalid value \"x\" for flag -cgroup-manager: parse error",
            ),
        ] {
            let failure = line(words).and_then(|mut line| line.globals()).unwrap_err();
            assert_eq!(
                (failure.code, failure.text.as_str()),
                (code, text),
                "{words}"
            );
        }
    }

    #[test]
    fn unknown_commands() {
        for (words, name) in [
            ("vzrun foo", "foo"),
            ("vzrun --debug frob x", "frob"),
            ("vzrun help foo", "foo"),
        ] {
            let Target::Unknown(found) = line(words).unwrap().target else {
                panic!("{words}");
            };
            assert_eq!(found, name);
        }
        let failure = unknown("foo");
        assert_eq!(
            (failure.code, failure.text.as_str()),
            (3, "No help topic for 'foo'")
        );
    }

    #[test]
    fn arguments_are_text() {
        use std::os::unix::ffi::OsStringExt;
        let bad = OsString::from_vec(b"a\xff".to_vec());
        let failure = utf8(&["vzrun".into(), bad]).unwrap_err();
        assert!(
            failure
                .text
                .starts_with("argument 1 is not valid UTF-8: \"a")
        );
    }
}
