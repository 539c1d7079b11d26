//! `spec`

use std::fs::File;
use std::io::{ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use vzrun::{Error, ErrorKind, Result};

use super::{Verb, flags};
use crate::args::{bare, non_empty, path};
use crate::output::io_error;

pub(super) const VERB: Verb = Verb {
    name: "spec",
    about: "create a new specification file",
    synopsis: "[command options]",
    description: "\
Writes a config.json to start from: it runs \"sh\" on a terminal in a root filesystem \"rootfs\" that cannot be written to.
A file that is there already is not overwritten.

With --rootless it is one for an ordinary user, who is root in the container.",
    arguments: (0, 0),
    define: || SpecFlags::augment_args(bare("spec")),
    run: |_, matches| spec(flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
struct SpecFlags {
    /// path to the root of the bundle directory (default: the current directory)
    #[arg(long, short, value_parser = path, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// for an ordinary user
    #[arg(long)]
    rootless: bool,
}

fn spec(flags: SpecFlags) -> Result<u8> {
    let name = Path::new("config.json");
    let path = match non_empty(flags.bundle) {
        Some(bundle) => {
            std::fs::metadata(&bundle).map_err(|error| io_error("chdir", &bundle, &error))?;
            bundle.join(name)
        }
        None => name.to_owned(),
    };
    let mut file = File::create_new(&path).map_err(|error| match error.kind() {
        IoKind::AlreadyExists => {
            let text = format!("File {} exists. Remove it first", name.display());
            Error::new(ErrorKind::Exists, text)
        }
        _ => io_error("open", &path, &error),
    })?;
    file.write_all(vzrun::default_spec(flags.rootless).as_bytes())
        .map_err(|error| {
            // Half a config would be in the way of the next try.
            let _ = std::fs::remove_file(&path);
            io_error("write", &path, &error)
        })?;
    Ok(0)
}
