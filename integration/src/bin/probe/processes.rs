//! Waiting, children, orphans.

use crate::{kernel, names};
use rustix::process::{WaitOptions, wait};
use rustix::termios::tcgetwinsize;
use std::process::{Command, Stdio};

/// What [`wait_for_end`] prints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    /// Only "ready".
    Nothing,
    /// Each signal but SIGCHLD.
    Signals,
    /// The terminal's size, at first and at each SIGWINCH.
    Sizes,
}

/// Prints "ready" and takes signals until one of TERM, INT, QUIT, HUP comes. Reaps children.
pub(crate) fn wait_for_end(print: Print) -> Result<(), Box<dyn std::error::Error>> {
    kernel::block_all_signals();
    if print == Print::Sizes {
        print_size()?;
    }
    println!("ready");
    loop {
        let signal = kernel::next_signal();
        if signal == libc::SIGCHLD {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            continue;
        }
        match print {
            Print::Signals => println!("{}", names::signal_name(signal)),
            Print::Sizes if signal == libc::SIGWINCH => print_size()?,
            _ => {}
        }
        if matches!(
            signal,
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP
        ) {
            return Ok(());
        }
    }
}

fn print_size() -> Result<(), rustix::io::Errno> {
    let size = tcgetwinsize(rustix::stdio::stdin())?;
    println!("{} {}", size.ws_row, size.ws_col);
    Ok(())
}

/// Starts children, says so with a line of their pids, and waits.
pub(crate) fn spawn(
    program: &str,
    count: u32,
    command: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let command = if command.is_empty() {
        &["pause"]
    } else {
        command
    };
    for _ in 0..count {
        let child = Command::new(program)
            .args(command)
            .stdin(Stdio::null())
            .spawn()?;
        println!("child {}", child.id());
    }
    wait_for_end(Print::Nothing)
}

/// Starts a child that stands in a system call which only SIGKILL ends (a look into a file system
/// whose server, this process, never answers), then waits.
pub(crate) fn stuck(program: &str) -> Result<(), Box<dyn std::error::Error>> {
    use rustix::mount::{MountFlags, mount};
    use std::os::fd::AsRawFd;
    let server = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")?;
    let fd = server.as_raw_fd();
    let data = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
    let data = std::ffi::CString::new(data)?;
    mount(
        "probe",
        "/mnt",
        "fuse",
        MountFlags::empty(),
        data.as_c_str(),
    )?;
    let child = Command::new(program).args(["stat", "/mnt/x"]).spawn()?;
    println!("child {}", child.id());
    wait_for_end(Print::Nothing)
}

/// Starts a process whose parent ends at once, so that it gets another: PID 1, or the nearest
/// subreaper.
pub(crate) fn orphan(program: &str) -> Result<(), Box<dyn std::error::Error>> {
    Command::new(program).arg("orphan-parent").status()?;
    Ok(())
}

/// The parent that ends at once.
pub(crate) fn orphan_parent(program: &str) -> Result<(), Box<dyn std::error::Error>> {
    Command::new(program).arg("end-soon").spawn()?;
    Ok(())
}

/// Runs a program, then waits without reaping: its orphans become zombies of this process.
pub(crate) fn subreaper(program: &str, args: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let status = Command::new(program).args(args).status()?;
    if !status.success() {
        return Err(format!("{program}: {status}").into());
    }
    println!("ready");
    kernel::pause_forever();
    Ok(())
}
