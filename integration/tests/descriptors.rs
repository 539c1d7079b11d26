//! What a container's process gets of its caller's: of descriptors only those that it should, whatever state the caller
//! is in; and the other way round, nothing of the runtime's that could be written to.

use integration::{
    Bundle, Call, Container, FdSocket, Runtime, Terminal, Value, differs, json, until,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const NO_FLAGS: &[&str] = &[];

/// The numbers of the descriptors in a report of the probe.
fn numbers(report: &Value) -> Vec<i64> {
    let fds = &report["fds"];
    let mut all: Vec<i64> = match fds {
        Value::Object(map) => map.keys().map(|key| key.parse().unwrap()).collect(),
        Value::Array(list) => list
            .iter()
            .map(|fd| fd.as_i64().or(fd["fd"].as_i64()).unwrap())
            .collect(),
        other => panic!("fds: {other}"),
    };
    all.sort_unstable();
    all
}

fn dev_null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

/// A call by a shell that first does something to itself.
fn by_shell(c: &Container<'_>, first: &str, args: &[&str]) -> Call {
    let root = c.bundle().root();
    let words = args.join(" ");
    let runtime = Runtime::get().path().display();
    let script = format!("{first}; exec {runtime} --root {} {words}", root.display());
    Call::of("sh", &c.bundle().home().join("io")).args(["-c", &script])
}

#[test]
fn run_passes_on_three() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let call = c
        .call("run", NO_FLAGS)
        .fd(3, dev_null())
        .fd(7, dev_null())
        .fd(900, dev_null());
    assert_eq!(numbers(&call.run().ok().json()), [0, 1, 2]);
}

#[test]
fn create_and_start_pass_on_three() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    c.create();
    let call = c
        .call("start", NO_FLAGS)
        .fd(3, dev_null())
        .fd(4, dev_null());
    call.run().ok();
    c.wait_stopped();
    let report: Value = serde_json::from_str(&c.stdout()).unwrap();
    assert_eq!(numbers(&report), [0, 1, 2]);
}

#[test]
fn exec_passes_on_three() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let call = c.exec_call(NO_FLAGS, &["/probe", "report"]);
    let call = call.fd(3, dev_null()).fd(4, dev_null()).fd(50, dev_null());
    assert_eq!(numbers(&call.run().ok().json()), [0, 1, 2]);
}

#[test]
fn preserved_ones_come_after_the_three_and_no_others() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let call = c.call("run", &["--preserve-fds", "2"]);
    let call = call.fd(3, dev_null()).fd(4, dev_null()).fd(5, dev_null());
    assert_eq!(numbers(&call.run().ok().json()), [0, 1, 2, 3, 4]);
}

#[test]
fn with_a_terminal_there_are_three_of_it() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report", "/tmp/report"]);
    bundle.set("/process/terminal", json!(true));
    let c = bundle.container();
    let terminal = Terminal::open();
    let call = c.call("run", NO_FLAGS).terminal(&terminal);
    call.fd(3, dev_null()).run().ok();
    let report: Value =
        serde_json::from_slice(&fs::read(bundle.rootfs("/tmp/report")).unwrap()).unwrap();
    assert_eq!(numbers(&report), [0, 1, 2]);
}

#[test]
fn with_a_console_socket_there_are_three_of_it() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report", "/tmp/report"]);
    bundle.set("/process/terminal", json!(true));
    let c = bundle.container();
    let path = bundle.home().join("console");
    let socket = FdSocket::bind(&path);
    c.call("create", &["--console-socket", path.to_str().unwrap()])
        .run()
        .ok();
    let _master = socket.receive();
    c.start();
    c.wait_stopped();
    let report: Value =
        serde_json::from_slice(&fs::read(bundle.rootfs("/tmp/report")).unwrap()).unwrap();
    assert_eq!(numbers(&report), [0, 1, 2]);
}

#[test]
fn closed_standard_streams_are_not_taken_by_something_else() {
    differs!(
        Runc | Crun,
        "the container gets what has come to these numbers, or fails"
    );
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report", "/tmp/report"]);
    let c = bundle.container();
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"] {
        let dir = bundle.dir();
        let run = ["run", "--bundle", dir.to_str().unwrap(), c.id()];
        by_shell(&c, &format!("exec {closed}"), &run).run().ok();
        let report: Value =
            serde_json::from_slice(&fs::read(bundle.rootfs("/tmp/report")).unwrap()).unwrap();
        assert_eq!(numbers(&report), [0, 1, 2], "{closed}");
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn a_low_limit_of_descriptors_is_a_clear_error_or_success() {
    differs!(
        Runc | Crun,
        "Go's runtime and libraries end in their own ways"
    );
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    // It could not be raised again.
    bundle.remove("/process/rlimits");
    let c = bundle.container();
    let dir = bundle.dir();
    let run = ["run", "--bundle", dir.to_str().unwrap(), c.id()];
    let mut succeeded = 0;
    for limit in [3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32, 64] {
        let output = by_shell(&c, &format!("ulimit -n {limit}"), &run).run();
        match output.code() {
            Some(0) => succeeded += 1,
            _ => drop(output.exits(1).says_any(&["too many open files", "emfile"])),
        }
        let _ = c.delete_force();
        assert_eq!(bundle.leftovers(), [""; 0], "{limit}");
    }
    assert!(succeeded >= 2, "{succeeded}");
}

#[test]
fn a_working_directory_that_is_gone() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let gone = bundle.home().join("gone");
    fs::create_dir(&gone).unwrap();
    let dir = bundle.dir();
    let first = format!("cd {0}; rmdir {0}", gone.display());
    let run = ["run", "--bundle", dir.to_str().unwrap(), c.id()];
    let output = by_shell(&c, &first, &run).run();
    // runc wants to know where it is.
    if output.code() == Some(0) {
        assert_eq!(output.json()["cwd"], "/");
    } else {
        output.fails();
    }
    let _ = c.delete_force();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn an_odd_umask_is_the_callers_own_business() {
    let bundle = Bundle::new();
    bundle.args(&[
        "/probe",
        "stat",
        "/dev",
        "/dev/null",
        "/dev/shm",
        "/mnt/made",
    ]);
    bundle.mount(json!({"destination": "/mnt/made", "type": "tmpfs", "source": "tmpfs"}));
    let c = bundle.container();
    let modes = |seen: &Value| {
        let all = seen.as_object().unwrap().iter();
        let all = all.map(|(name, stat)| format!("{name} {}", stat["mode"]));
        all.collect::<Vec<_>>()
    };
    let usual = modes(&c.run().ok().json());
    fs::remove_dir(bundle.rootfs("/mnt/made")).unwrap();
    let dir = bundle.dir();
    let run = ["run", "--bundle", dir.to_str().unwrap(), c.id()];
    for umask in ["0777", "0"] {
        let odd = by_shell(&c, &format!("umask {umask}"), &run)
            .run()
            .ok()
            .json();
        assert_eq!(modes(&odd), usual, "umask {umask}");
        fs::remove_dir(bundle.rootfs("/mnt/made")).unwrap();
    }
}

#[test]
fn a_hostile_environment_changes_nothing() {
    differs!(
        Runc | Crun,
        "runc takes its own variables from anybody, crun gives up over a LISTEN_FDS that is too large"
    );
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let trap = bundle.home().join("trap");
    fs::create_dir(&trap).unwrap();
    for name in ["newuidmap", "sh", "runc", "vzrun"] {
        fs::write(trap.join(name), "#!/bin/sh\ntouch $0.was-run\n").unwrap();
    }
    let mut call = c.call("run", NO_FLAGS).env("PATH", &trap);
    for (name, value) in [
        ("LD_PRELOAD", "/nonexistent.so"),
        ("LD_LIBRARY_PATH", "/tmp"),
        ("LISTEN_FDS", "99999999999999999999"),
        ("LISTEN_PID", "-1"),
        ("NOTIFY_SOCKET", ""),
        ("XDG_RUNTIME_DIR", "/nonexistent"),
        ("HOME", ""),
        ("USER", "\n"),
        ("GODEBUG", "x=1"),
        ("RUST_BACKTRACE", "full"),
        ("_LIBCONTAINER_INITPIPE", "3"),
    ] {
        call = call.env(name, value);
    }
    let report = call.run().ok().json();
    let env = report["env"].to_string();
    assert!(
        !env.contains("nonexistent") && !env.contains("trap"),
        "{env}"
    );
    assert_eq!(numbers(&report), [0, 1, 2]);
    assert_eq!(fs::read_dir(&trap).unwrap().count(), 4);
}

/// Opens this file for writing, and writes where that can be done; gives how it is refused.
#[track_caller]
fn refusal(path: &Path) -> Errno {
    let written = match openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        // A sealed memfd can be opened by who may, and then not be changed.
        Ok(fd) => {
            rustix::fs::ftruncate(&fd, 0).and_then(|()| rustix::io::write(&fd, b"x").map(drop))
        }
        Err(errno) => Err(errno),
    };
    written.expect_err("it was written to")
}

/// Nobody gets the runtime's program for writing through this process, now or after its end.
fn is_sealed(pid: i32, end: impl FnOnce()) {
    let proc = Path::new("/proc").join(pid.to_string());
    let exe = proc.join("exe");
    #[track_caller]
    fn refused(path: &Path) {
        let errno = refusal(path);
        let fine = [Errno::ROFS, Errno::TXTBSY, Errno::PERM];
        assert!(fine.contains(&errno), "{}: {errno}", path.display());
    }
    refused(&exe);
    let of = |file: &fs::Metadata| (file.dev(), file.ino());
    let program = of(&fs::metadata(&exe).unwrap());
    let mut mapped = 0;
    for entry in fs::read_dir(proc.join("map_files")).unwrap().flatten() {
        if fs::metadata(entry.path()).is_ok_and(|file| of(&file) == program) {
            refused(&entry.path());
            mapped += 1;
        }
    }
    assert!(mapped > 0, "nothing of the runtime is mapped in {pid}");
    let held = openat(CWD, &exe, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    end();
    // Once nothing runs from it any more (other tests do), ETXTBSY is no help.
    let again = Path::new("/proc/self/fd").join(held.as_raw_fd().to_string());
    let errno = until("an answer but ETXTBSY", || {
        Some(refusal(&again)).filter(|errno| *errno != Errno::TXTBSY)
    });
    assert!(matches!(errno, Errno::ROFS | Errno::PERM), "{errno}");
    let reread = File::open(&again).unwrap();
    assert!(reread.metadata().unwrap().len() > 0);
}

/// The whole binary, to see that it was not changed.
fn binary() -> Vec<u8> {
    fs::read(Runtime::get().path()).unwrap()
}

#[test]
fn the_program_of_a_created_containers_init_cannot_be_written() {
    differs!(Runc | Crun, "they copy themselves, which is seen elsewhere");
    let bundle = Bundle::new();
    let c = bundle.container();
    let before = binary();
    c.create();
    let pid = c.pid();
    is_sealed(pid, || drop(c.delete_force().ok()));
    assert!(binary() == before);
}

#[test]
fn the_program_of_an_ordinary_users_init_cannot_be_written() {
    differs!(Runc | Crun, "they copy themselves, which is seen elsewhere");
    let bundle = Bundle::rootless(1000, 1000);
    let c = bundle.container();
    let before = binary();
    c.create();
    let pid = c.pid();
    is_sealed(pid, || drop(c.delete_force().ok()));
    assert!(binary() == before);
}

#[test]
fn the_program_of_an_exec_cannot_be_written() {
    differs!(Runc | Crun, "they copy themselves, which is seen elsewhere");
    let bundle = Bundle::new();
    let c = bundle.container();
    let before = binary();
    c.run_detached();
    let init = c.pid().to_string();
    let procs = c.cgroup_dir().join("cgroup.procs");
    // What is born into a cgroup that stands still does not come to its program.
    c.pause().ok();
    let exec = c
        .exec_call(&["--ignore-paused"], &["/probe", "exit", "3"])
        .spawn();
    let pid = until("the process of the exec", || {
        let procs = fs::read_to_string(&procs).unwrap();
        let other = procs.lines().find(|pid| *pid != init)?;
        Some(other.parse().unwrap())
    });
    is_sealed(pid, || {
        c.resume().ok();
        exec.wait().exits(3);
    });
    assert!(binary() == before);
}

#[test]
fn the_file_behind_proc_1_exe_in_a_container_cannot_be_written() {
    let bundle = Bundle::new();
    // The program is the runtime itself: what runc's CVE-2019-5736 began with.
    bundle.args(&["/proc/self/exe", "--version"]);
    bundle.capabilities(&["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]);
    let before = binary();
    let c = bundle.container();
    let _ = c.run();
    assert!(binary() == before);
    bundle.args(&["/probe", "sleep-forever"]);
    c.run_detached();
    let _ = c.exec(&["/proc/self/exe", "--version"]);
    let tried = c.exec(&["/probe", "try", "open", "w", "/proc/1/exe"]).ok();
    assert!(binary() == before, "{}", tried.describe());
    c.delete_force().ok();
}

#[test]
fn the_ends_of_pipes_are_closed_when_the_container_ends() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/cat"]);
    let c = bundle.container();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (seen, out) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let running = c
        .call("run", NO_FLAGS)
        .stdin_fd(read)
        .stdout_fd(out)
        .spawn();
    let mut write = File::from(write);
    write.write_all(b"through\n").unwrap();
    drop(write);
    running.wait().ok();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut File::from(seen), &mut text).unwrap();
    assert_eq!(text, "through\n");
}
