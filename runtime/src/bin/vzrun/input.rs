//! What comes from files, from stdin and from other programs.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use vzrun::Result;

use crate::output::io_error;

/// A document from a file, or with `-` from stdin. At most as much as a whole config.json may have.
pub(crate) fn read(file: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let name = if file == "-" { "/dev/stdin" } else { file };
    let wrong = |error| io_error("open", Path::new(name), &error);
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(wrong)?),
    };
    source
        .take(32 << 20)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    Ok(bytes)
}

/// What a program prints that is run to its end, with nothing to read. (The standard library's way ends this process
/// should reading fail.)
pub(crate) fn of_program(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // One after the other: what it has to complain of fits into a pipe.
    let read = out
        .map_or(Ok(0), |mut out| out.read_to_end(&mut stdout))
        .and_then(|_| err.map_or(Ok(0), |mut err| err.read_to_end(&mut stderr)));
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    read.map(|_| Output {
        status,
        stdout,
        stderr,
    })
}
