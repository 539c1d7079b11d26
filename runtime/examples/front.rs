//! A front-end: makes a container from a bundle, shows what becomes of it, and removes it.
//!
//!     cargo run --example front -- BUNDLE ID
//!
//! The library forks, so a front-end has one thread when it calls it.

use std::path::PathBuf;
use std::process::ExitCode;

use vzrun::{Container, CreateOptions, Error, ErrorKind, Result, Root};

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("front: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<()> {
    // The container's processes could reach this program through /proc/PID/exe: it must not be writable there.
    vzrun::seal_executable(std::env::args_os().collect())?;
    vzrun::log::install(|level, text| eprintln!("front: {level:?}: {text}"));

    let mut words = std::env::args().skip(1);
    let (Some(bundle), Some(id)) = (words.next(), words.next()) else {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "usage: front BUNDLE ID",
        ));
    };
    let root = Root::new(Root::default_path())?;
    let options = CreateOptions {
        id: id.clone(),
        bundle: PathBuf::from(bundle),
        ..CreateOptions::default()
    };
    vzrun::create(&root, &options)?;
    // Whatever goes wrong from here on, nothing stays behind.
    let lived = life(&root, &id);
    lived.and(vzrun::delete(&root, &id, true))
}

fn life(root: &Root, id: &str) -> Result<()> {
    let container = Container::load(root, id)?;
    print(&container)?;
    container.start()?;
    print(&container)?;
    println!("processes on the host: {:?}", container.processes()?);
    container.kill(vzrun::parse_signal("TERM")?, false)
}

fn print(container: &Container) -> Result<()> {
    let state = container.state()?;
    println!("{}: {}, process {}", state.id, state.status, state.pid);
    Ok(())
}
