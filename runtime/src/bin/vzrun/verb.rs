//! What a subcommand is, and how its words become a call.

use clap::{ArgMatches, Command};
use vzrun::{Error, Result};

use crate::args::{Globals, go_words};
use crate::failure::Failure;
use crate::go_flags::{self, Order};
use crate::{output, pages};

/// A subcommand.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    /// One line on what it does.
    pub(crate) about: &'static str,
    /// What stands behind the name.
    pub(crate) synopsis: &'static str,
    pub(crate) description: &'static str,
    /// The least and the most arguments.
    pub(crate) arguments: (usize, usize),
    pub(crate) order: Order,
    /// It comes near a container, so the binary must be out of the container's reach.
    pub(crate) seals: bool,
    /// Not in the list of commands.
    pub(crate) hidden: bool,
    /// In front of its errors.
    pub(crate) prefix: Option<&'static str>,
    /// Exit code when it fails.
    pub(crate) failed: u8,
    pub(crate) define: fn() -> Command,
    pub(crate) run: fn(&Globals, &ArgMatches) -> Result<u8>,
}

impl Verb {
    /// What most have in common.
    pub(crate) const ON_ONE_CONTAINER: Verb = Verb {
        name: "",
        about: "",
        synopsis: "<container-id>",
        description: "",
        arguments: (1, 1),
        order: Order::Anywhere,
        seals: false,
        hidden: false,
        prefix: None,
        failed: 1,
        define: || Command::new(""),
        run: |_, _| Ok(0),
    };

    /// Does it, and tells the exit code.
    pub(crate) fn call(
        &'static self,
        globals: &Globals,
        words: &[String],
    ) -> std::result::Result<u8, Failure> {
        let Some(matches) = self.matches(words)? else {
            output::print(&pages::help_of(self))?;
            return Ok(0);
        };
        (self.run)(globals, &matches).map_err(|error| self.failure(&error))
    }

    /// How it fails with this error.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        Failure {
            text: match self.prefix {
                Some(prefix) => format!("{prefix}: {error}"),
                None => error.to_string(),
            },
            usage: None,
            code: self.failed,
        }
    }

    /// The values of its flags and arguments, `None` if help is wanted.
    pub(crate) fn matches(
        &self,
        words: &[String],
    ) -> std::result::Result<Option<ArgMatches>, Failure> {
        let wrong = |text: String| Failure {
            usage: Some(format!(
                "Incorrect Usage: {text}\n\n{}",
                pages::help_of(self)
            )),
            text,
            code: 1,
        };
        let command = (self.define)();
        let found = go_flags::normalise(&command, words, self.order).map_err(wrong)?;
        if found.help {
            return Ok(None);
        }
        self.check_count(found.arguments.len())
            .map_err(|text| Failure {
                usage: Some(format!("Incorrect Usage.\n\n{}", pages::help_of(self))),
                text,
                code: 1,
            })?;
        let line = std::iter::once(self.name.to_owned())
            .chain(found.flags)
            .chain(std::iter::once("--".to_owned()))
            .chain(found.arguments);
        let matches = command.try_get_matches_from(line);
        matches.map(Some).map_err(|error| wrong(go_words(&error)))
    }

    fn check_count(&self, count: usize) -> std::result::Result<(), String> {
        let (least, most) = self.arguments;
        let rule = if least == most && count != least {
            format!("exactly {least}")
        } else if count < least {
            format!("a minimum of {least}")
        } else if count > most {
            format!("a maximum of {most}")
        } else {
            return Ok(());
        };
        Err(format!(
            "vzrun: \"{}\" requires {rule} argument(s)",
            self.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::cmd::find;

    fn fails(name: &str, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let failure = find(name).unwrap().matches(&words).unwrap_err();
        assert_eq!(failure.code, 1);
        let usage = failure.usage.unwrap();
        assert!(
            usage.starts_with("Incorrect Usage") && usage.contains("NAME:"),
            "{usage}"
        );
        failure.text
    }

    #[test]
    fn wrong_numbers_of_arguments() {
        for (name, words, rule) in [
            ("create", &[][..], "exactly 1"),
            ("create", &["a", "b"], "exactly 1"),
            ("kill", &[], "a minimum of 1"),
            ("kill", &["a", "b", "c"], "a maximum of 2"),
            ("exec", &["--tty"], "a minimum of 1"),
            ("spec", &["x"], "exactly 0"),
            ("list", &["x"], "exactly 0"),
        ] {
            let expected = format!("vzrun: \"{name}\" requires {rule} argument(s)");
            assert_eq!(fails(name, words), expected);
        }
    }

    #[test]
    fn wrong_flags() {
        for (name, words, text) in [
            (
                "create",
                &["--foo", "a"][..],
                "flag provided but not defined: -foo",
            ),
            ("run", &["-t", "a"], "flag provided but not defined: -t"),
            ("create", &["--bundle"], "flag needs an argument: -bundle"),
            ("exec", &["-u"], "flag needs an argument: -u"),
            (
                "create",
                &["--preserve-fds", "x", "a"],
                "invalid value \"x\" for flag -preserve-fds: parse error",
            ),
            (
                "exec",
                &["-g", "-1", "a", "ls"],
                "invalid value \"-1\" for flag -additional-gids: parse error",
            ),
        ] {
            assert_eq!(fails(name, words), text);
        }
    }
}
