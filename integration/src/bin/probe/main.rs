//! The program that runs inside the containers of the tests: it prints what it sees, or does one
//! small thing and says how that went. Static, so that it runs in any root filesystem.
//!
//! `probe report [FILE]`              everything below, as one JSON object
//! `probe audit FILE [stay]`          the same and what it could reach; see `audit.rs`. Then as sleep-forever
//! `probe exit CODE`                  ends so
//! `probe kill-self SIGNAL`           ends by a signal's default action (not as PID 1)
//! `probe pause`                      waits with every signal at its default
//! `probe sleep-forever`              prints "ready", waits; ends with 0 on TERM, INT, QUIT or HUP
//! `probe trap`                       the same, and prints a line for each signal
//! `probe winsize`                    prints rows and columns, again at each SIGWINCH; ends on TERM
//! `probe spawn N [COMMAND...]`       starts N children (default: `pause`), then as sleep-forever
//! `probe stuck`                      starts a child that nothing but SIGKILL ends, then as sleep-forever
//! `probe orphan`                     leaves an orphan behind that ends soon
//! `probe subreaper PROGRAM ARGS...`  runs it, prints "ready", and never reaps what becomes its child
//! `probe hold KIND`                  has a thing of the kernel, and tells at each USR1 if it still has it; see `hold.rs`
//! `probe carry WHAT...`              keeps what no checkpoint saves; see `burden.rs`
//! `probe echo-tcp [ADDRESS:]PORT`    sends back what comes over TCP to 127.0.0.1, or to this address
//! `probe prey`                       takes what it can get of processes that join the container; see `prey.rs`
//! `probe ambush TERCES`               stops processes that join and looks what they have; see `ambush.rs`
//! `probe allocate MIB`               fills so much memory, and ends
//! `probe spin`                       keeps a CPU busy for ever
//! `probe fork N`                     tries to have N children at once, prints how many it has got
//! `probe read-direct FILE MIB`       reads past all caches, prints the milliseconds
//! `probe read FILE...`               prints the files
//! `probe write FILE TEXT`            writes one
//! `probe stat FILE...`               JSON: type, mode, owner, device (symlinks not followed)
//! `probe statfs FILE...`             JSON: filesystem type, flags, size
//! `probe list DIR...`                JSON: sorted names
//! `probe try WHAT [ARGS...]`         prints "ok" or the error's name; see `attempt.rs`
//! `probe call CALL...`              JSON: what came of each system call; see `calls.rs`
//! `probe sysinfo HOW`                JSON: what sysinfo(2) says; see `sysinfo.rs`
//! `probe sysinfo into FILE`          the same, into a mapping of this file
//! `probe slow-file PLACE FILE`       makes PLACE one that can be read when FILE is there, and serves it
//! `probe device-programs DIR`        JSON: the ids of the device programs of a cgroup
//! `probe is-program ID`              whether there is one of this id: prints true or false
//! `probe listen-fds`                 JSON: LISTEN_* and open fds
//! `probe notify TEXT...`             sends each to $NOTIFY_SOCKET
//! `probe hook FILE [exit CODE | sleep SECONDS]`   appends stdin, env, namespaces ... as a JSON line
//! `probe fd-write N TEXT`, `probe fd-read N`      uses an inherited fd
#![no_main]

mod ambush;
mod attempt;
mod audit;
mod burden;
mod calls;
mod hold;
mod kernel;
mod load;
mod names;
mod prey;
mod processes;
mod report;
mod sysinfo;
mod system;

use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;

/// What `main` in `kernel.rs` calls.
fn run() -> i32 {
    let words: Vec<&str> = kernel::arguments().iter().map(String::as_str).collect();
    let program = words.first().copied().unwrap_or("/probe");
    let result = command(program, words.get(1..).unwrap_or_default());
    // Without Rust's own start there is no flush at the end either.
    let result = std::io::stdout().flush().map_err(Into::into).and(result);
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("probe: {words:?}: {error}");
            125
        }
    }
}

fn command(program: &str, words: &[&str]) -> Result<i32, Box<dyn std::error::Error>> {
    match words {
        ["report"] => say(&report::all()),
        ["report", file] => fs::write(file, report::all().to_string())?,
        ["audit", file] => fs::write(file, audit::all().to_string())?,
        ["audit", file, "stay"] => {
            fs::write(file, audit::all().to_string())?;
            processes::wait_for_end(processes::Print::Nothing)?;
        }
        ["exit", code] => return Ok(code.parse()?),
        ["kill-self", signal] => kernel::kill_self(names::signal(signal).ok_or("what signal?")?),
        ["pause"] => kernel::pause_forever(),
        ["sleep-forever"] => processes::wait_for_end(processes::Print::Nothing)?,
        ["trap"] => processes::wait_for_end(processes::Print::Signals)?,
        ["winsize"] => processes::wait_for_end(processes::Print::Sizes)?,
        ["spawn", count, rest @ ..] => processes::spawn(program, count.parse()?, rest)?,
        ["stuck"] => processes::stuck(program)?,
        ["orphan"] => processes::orphan(program)?,
        ["orphan-parent"] => processes::orphan_parent(program)?,
        ["end-soon"] => std::thread::sleep(std::time::Duration::from_millis(20)),
        ["subreaper", program, args @ ..] => processes::subreaper(program, args)?,
        ["echo-tcp", place] => hold::echo(place)?,
        ["hold", kind] => hold::hold(kind)?,
        ["carry", what @ ..] => burden::carry(what)?,
        ["prey"] => say(&prey::prey()),
        ["ambush", backwards] => say(&ambush::ambush(backwards)),
        ["allocate", mib] => load::allocate(mib.parse()?),
        ["spin"] => load::spin(),
        ["fork", count] => println!("{}", load::fork(program, count.parse()?)),
        ["read-direct", file, mib] => println!("{}", load::read_direct(file, mib.parse()?)?),
        ["read", files @ ..] => {
            for file in files {
                std::io::stdout().write_all(&fs::read(file)?)?;
            }
        }
        ["write", file, text] => fs::write(file, text)?,
        ["stat", files @ ..] => say_each(files, system::stat),
        ["statfs", files @ ..] => say_each(files, system::statfs),
        ["list", dirs @ ..] => say_each(dirs, system::list),
        ["try", what @ ..] => println!("{}", attempt::attempt(what)),
        ["call", list @ ..] => say(&calls::answers(list)),
        ["sysinfo", how] => say(&sysinfo::ask(how)),
        ["sysinfo", "into", file] => say(&sysinfo::ask_into(file)?),
        ["slow-file", place, until] => sysinfo::serve_slow_file(place, until)?,
        ["device-programs", dir] => {
            say(&json!(kernel::device_programs(&fs::File::open(dir)?)?));
        }
        ["is-program", id] => say(&json!(kernel::is_program(id.parse()?))),
        ["listen-fds"] => say(&json!({
            "env": report::environment().iter().filter(|v| v.starts_with("LISTEN_")).collect::<Vec<_>>(),
            "pid": std::process::id(),
            "fds": report::open_fds(),
        })),
        ["notify", texts @ ..] => {
            for text in texts {
                let socket = std::env::var("NOTIFY_SOCKET")?;
                UnixDatagram::unbound()?.send_to(text.as_bytes(), socket)?;
            }
        }
        ["hook", file, then @ ..] => return hook(file, then),
        ["fd-write", fd, text] => kernel::fd_file(fd.parse()?).write_all(text.as_bytes())?,
        ["fd-read", fd] => {
            let mut text = Vec::new();
            kernel::fd_file(fd.parse()?).read_to_end(&mut text)?;
            std::io::stdout().write_all(&text)?;
        }
        _ => return Err("no such command".into()),
    }
    Ok(0)
}

fn say(value: &Value) {
    println!("{value}");
}

/// An object with an answer for each file; a failed call gives the error's name.
fn say_each(files: &[&str], look: impl Fn(&str) -> Result<Value, rustix::io::Errno>) {
    let answers = files.iter().map(|file| {
        let answer = look(file).unwrap_or_else(|error| json!(names::errno(error)));
        (file.to_string(), answer)
    });
    say(&Value::Object(answers.collect()));
}

/// What a hook sees, as one line at the end of `file` (so that several hooks show their order).
fn hook(file: &str, then: &[&str]) -> Result<i32, Box<dyn std::error::Error>> {
    let mut stdin = String::new();
    std::io::stdin().read_to_string(&mut stdin)?;
    let seen = json!({
        "args": kernel::arguments(),
        "stdin": stdin,
        "env": report::environment(),
        "cwd": report::cwd(),
        "pid": std::process::id(),
        "namespaces": report::namespaces(),
        "fds": report::open_fds(),
        "root": system::stat("/").ok(),
        "hostname": system::hostname(),
    });
    let mut out = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?;
    out.write_all(format!("{seen}\n").as_bytes())?;
    match then {
        [] => Ok(0),
        ["exit", code] => Ok(code.parse()?),
        ["sleep", seconds] => {
            std::thread::sleep(std::time::Duration::from_secs_f64(seconds.parse()?));
            Ok(0)
        }
        _ => Err("hook: what then?".into()),
    }
}
