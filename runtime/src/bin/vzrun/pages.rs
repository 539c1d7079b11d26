//! Help, version, completions and man pages, all from the same definitions.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use vzrun::Result;

use crate::args::Line;
use crate::cmd;
use crate::output;
use crate::verb::Verb;

const ABOUT: &str = "Open Container Initiative runtime";

const DESCRIPTION: &str = "\
vzrun runs containers from OCI bundles. A bundle is a directory with a file \"config.json\" and a root filesystem.

To start a container from the bundle in the current directory:

    # vzrun run <container-id>

\"<container-id>\" is a name of your choice that no other container on the host has. Other bundles are named with -b.";

/// The whole tree, with its texts.
fn tree() -> Command {
    let commands = cmd::VERBS.iter().map(documented);
    Line::global_flags()
        .about(ABOUT)
        .long_about(DESCRIPTION)
        .override_usage("vzrun [global options] command [command options] [arguments...]")
        .help_template(format!(
            "NAME:\n   vzrun - {ABOUT}\n\n{DESCRIPTION}\n\nUSAGE:\n   {{usage}}\n\nVERSION:\n   {}\n\
             COMMANDS:\n{{subcommands}}\n\nGLOBAL OPTIONS:\n{{options}}\n",
            version_text()
        ))
        .arg(help_flag())
        .subcommands(commands)
}

/// The flag that [`crate::go_flags`] finds by itself.
fn help_flag() -> Arg {
    let flag = Arg::new("help").long("help").short('h');
    flag.action(ArgAction::SetTrue).help("show help")
}

/// A subcommand with its texts.
fn documented(verb: &Verb) -> Command {
    let usage = format!("vzrun {} {}", verb.name, verb.synopsis);
    let template = format!(
        "NAME:\n   vzrun {} - {{about}}\n\nUSAGE:\n   {{usage}}\n\nDESCRIPTION:\n{}\n\nOPTIONS:\n{{options}}\n",
        verb.name, verb.description
    );
    (verb.define)()
        .about(verb.about)
        .long_about(verb.description)
        .override_usage(usage)
        .help_template(template)
        .arg(help_flag())
        .hide(verb.hidden)
}

/// `--help`
pub(crate) fn help() -> String {
    tree().render_help().to_string()
}

/// `COMMAND --help`
pub(crate) fn help_of(verb: &Verb) -> String {
    documented(verb).render_help().to_string()
}

/// `--version`
pub(crate) fn version() -> String {
    format!("vzrun version {}", version_text())
}

/// Line by line as runc has it: engines look for `commit:` and show the rest.
fn version_text() -> String {
    let commit =
        option_env!("VZRUN_COMMIT").map_or(String::new(), |commit| format!("commit: {commit}\n"));
    format!(
        "{}\n{commit}spec: {}\n",
        env!("CARGO_PKG_VERSION"),
        vzrun::SPEC_VERSION
    )
}

/// A completion script for this shell.
pub(crate) fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree(), "vzrun", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes vzrun.8 and a page for each subcommand.
pub(crate) fn man(directory: &Path) -> Result<()> {
    let mut root = tree();
    root.build();
    page(directory, &root, "vzrun")?;
    for command in root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        page(directory, command, &format!("vzrun-{}", command.get_name()))?;
    }
    Ok(())
}

fn page(directory: &Path, command: &Command, title: &str) -> Result<()> {
    let man = clap_mangen::Man::new(command.clone())
        .title(title)
        .section("8")
        .source(concat!("vzrun ", env!("CARGO_PKG_VERSION")))
        .manual("Container runtime");
    let path = directory.join(format!("{title}.8"));
    let write = || {
        let mut text = Vec::new();
        man.render(&mut text)?;
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        File::create_new(&path)?.write_all(&text)
    };
    write().map_err(|error| output::io_error("write", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sound() {
        tree().debug_assert();
    }

    #[test]
    fn help_names_what_is_there() {
        let text = help();
        for verb in cmd::VERBS {
            assert_eq!(
                text.contains(&format!("\n  {} ", verb.name)),
                !verb.hidden,
                "{}",
                verb.name
            );
            let help = help_of(verb);
            assert!(
                help.starts_with(&format!("NAME:\n   vzrun {} - ", verb.name)),
                "{help}"
            );
        }
    }

    #[test]
    fn version_is_what_engines_parse() {
        let text = version();
        assert!(text.starts_with(concat!("vzrun version ", env!("CARGO_PKG_VERSION"), "\n")));
        assert!(text.ends_with("spec: 1.3.0\n"));
    }

    #[test]
    fn completions_and_pages() {
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
        ] {
            assert!(completion(shell).contains("console-socket"));
        }
        let directory = std::env::temp_dir().join(format!("vzrun-pages-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        man(&directory).unwrap();
        let create = std::fs::read_to_string(directory.join("vzrun-create.8")).unwrap();
        assert!(create.contains("pid\\-file"));
        assert!(!directory.join("vzrun-man.8").exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
