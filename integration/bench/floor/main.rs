//! The floor: what the kernel alone needs for the work of an OCI runtime, on a
//! config like Docker's default. It does the calls and nothing else: no config
//! is read, no state is kept, nothing is checked. What a runtime takes beyond
//! this is its own doing.

mod container;
mod kernel;
mod rootfs;
mod steps;
#[path = "../wait.rs"]
mod wait;

use std::ffi::CString;
use std::io;
use std::process::ExitCode;

use steps::{Steps, now};
use wait::End;

const USAGE: &str = "\
usage: floor run BUNDLE CGROUP [--repeat N] [--steps]    /bin/true in a new container
       floor filtered PROGRAM BUNDLE CGROUP [...]        the same with a seccomp filter
       floor exec PID CGROUP [--repeat N] [--steps]      /bin/true in the container of PID
       floor start BUNDLE CGROUP PIDFILE                 a sleeper in a new container, left running
       floor nothing                                     start and end
       floor again ARG...                                as `floor ARG...`, from a read-only mount of this program
BUNDLE holds rootfs/, resolv.conf, hostname and hosts; CGROUP is a directory in a cgroup2 mount, for run one that is
made and removed; PROGRAM is a file of `struct sock_filter`s. --repeat prints the median and minimum in microseconds and the peak RSS in KiB; --steps also prints
the median of each step.";

fn main() -> ExitCode {
    match dispatch(&std::env::args().collect::<Vec<_>>()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::from(1)
        }
    }
}

fn dispatch(args: &[String]) -> io::Result<u8> {
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["nothing"] => Ok(0),
        ["again", ..] => {
            let same = args.iter().enumerate().filter(|(at, _)| *at != 1);
            let same = same
                .map(|(_, arg)| c_string(arg))
                .collect::<io::Result<Vec<_>>>()?;
            Err(container::again_read_only(&same))
        }
        ["run", bundle, cgroup, options @ ..] => {
            let (bundle, cgroup) = (c_string(bundle)?, c_string(cgroup)?);
            repeat(options, |steps| {
                container::run(&bundle, &cgroup, None, steps)
            })
        }
        ["filtered", program, bundle, cgroup, options @ ..] => {
            let (bundle, cgroup) = (c_string(bundle)?, c_string(cgroup)?);
            let filter = std::fs::read(program)?;
            repeat(options, |steps| {
                container::run(&bundle, &cgroup, Some(&filter), steps)
            })
        }
        ["start", bundle, cgroup, pid_file] => {
            let pid = container::start(&c_string(bundle)?, &c_string(cgroup)?)?;
            std::fs::write(pid_file, pid.to_string())?;
            Ok(0)
        }
        ["exec", pid, cgroup, options @ ..] => {
            let pid = pid.parse().map_err(io::Error::other)?;
            let cgroup = c_string(cgroup)?;
            repeat(options, |steps| container::exec(pid, &cgroup, steps))
        }
        _ => Err(io::Error::other(USAGE)),
    }
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}

/// Does `work` as often as the options say, and prints what they ask for.
fn repeat(options: &[&str], work: impl Fn(&mut Steps) -> io::Result<End>) -> io::Result<u8> {
    let (times, want_steps) = match options {
        [] => (None, false),
        ["--repeat", times] => (Some(times), false),
        ["--repeat", times, "--steps"] => (Some(times), true),
        _ => return Err(io::Error::other(USAGE)),
    };
    let Some(times) = times else {
        let end = work(&mut Steps::new(false))?;
        return Ok(end.code.try_into().unwrap_or(u8::MAX));
    };
    let times: usize = times.parse().map_err(io::Error::other)?;
    let mut walls = Vec::with_capacity(times);
    let mut each: Vec<(String, Vec<u64>)> = Vec::new();
    let mut rss = 0;
    for _ in 0..times {
        let mut steps = Steps::new(want_steps);
        let start = now();
        let end = work(&mut steps)?;
        walls.push(now() - start);
        if end.code != 0 {
            return Ok(1);
        }
        rss = rss.max(end.rss);
        for (at, (name, time)) in steps.durations(start).into_iter().enumerate() {
            if at == each.len() {
                each.push((name, Vec::with_capacity(times)));
            }
            each[at].1.push(time);
        }
    }
    for (name, times) in &mut each {
        println!(
            "{:9.1} {:9.1}  {name}",
            micros(median(times)),
            micros(minimum(times))
        );
    }
    println!(
        "{:9.1} {:9.1}  all, median and minimum in us; {rss} KiB",
        micros(median(&mut walls)),
        micros(minimum(&walls))
    );
    Ok(0)
}

fn median(times: &mut [u64]) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}

fn minimum(times: &[u64]) -> u64 {
    times.iter().copied().min().unwrap_or(0)
}

fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}
