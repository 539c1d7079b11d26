//! exec: detached, and with terminals.

use integration::{Bundle, Container, FdSocket, Terminal, differs, until, wait_exit};
use std::fs;

/// Starts the bundle's container.
fn running(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    c
}

#[test]
fn detach_returns_while_the_process_runs() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
    let output = c.exec_with(&flags, &["/probe", "trap"]).ok();
    until("ready", || {
        (fs::read_to_string(&output.out_path).unwrap() == "ready\n").then_some(())
    });
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    let procs = fs::read_to_string(c.cgroup_dir().join("cgroup.procs")).unwrap();
    assert!(
        procs.lines().any(|line| line == pid.to_string()),
        "{pid} in {procs:?}"
    );
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert!(wait_exit(pid, integration::DEADLINE));
    assert_eq!(
        fs::read_to_string(&output.out_path).unwrap(),
        "ready\nTERM\n"
    );
}

#[test]
fn the_pid_file_has_no_newline() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    c.exec_with(
        &["--pid-file", file.to_str().unwrap()],
        &["/probe", "exit", "0"],
    )
    .ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.parse::<i32>().is_ok(), "{text:?}");
}

#[test]
fn a_failed_exec_leaves_no_pid_file() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    let flags = ["-d", "--pid-file", file.to_str().unwrap()];
    c.exec_with(&flags, &["/no/such/program"]).exits(255);
    assert!(!file.exists());
}

#[test]
fn the_end_of_the_init_ends_detached_processes() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    c.exec_with(
        &["-d", "--pid-file", file.to_str().unwrap()],
        &["/probe", "pause"],
    )
    .ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    c.kill("KILL").ok();
    assert!(wait_exit(pid, integration::DEADLINE));
}

#[test]
fn an_orphan_goes_to_the_init() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.exec(&["/probe", "orphan"]).ok();
    let procs = c.cgroup_dir().join("cgroup.procs");
    until("the init to reap the orphan", || {
        (fs::read_to_string(&procs).unwrap().lines().count() == 1).then_some(())
    });
}

#[test]
fn detach_with_a_terminal_sends_it_to_the_console_socket() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let socket = FdSocket::bind(bundle.home().join("console"));
    let flags = [
        "-d",
        "-t",
        "--console-socket",
        socket.path().to_str().unwrap(),
    ];
    c.exec_with(&flags, &["/bin/sh", "-c", "tty; read line; echo got $line"])
        .ok();
    let mut terminal = Terminal::from(socket.receive().0);
    terminal.read_until("/dev/pts/0");
    terminal.write("words\n");
    terminal.read_until("got words");
}

#[test]
fn tty_in_the_foreground_is_the_callers() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let mut terminal = Terminal::open();
    terminal.resize(31, 77);
    let call = c
        .exec_call(&["--tty"], &["/probe", "winsize"])
        .terminal(&terminal)
        .spawn();
    // Its first size may still be another; the runtime sets it while the process starts.
    terminal.read_until("31 77");
    terminal.resize(20, 50);
    terminal.read_until("20 50");
    // The interrupt character reaches the process inside.
    terminal.write("\x03");
    call.wait().ok();
}

#[test]
fn a_console_socket_without_detach_is_refused() {
    differs!(Crun, "takes it");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let socket = FdSocket::bind(bundle.home().join("console"));
    let flags = ["--console-socket", socket.path().to_str().unwrap()];
    let output = c.exec_with(&flags, &["/probe", "exit", "0"]).exits(255);
    output.says("cannot use console socket if runc will not detach or allocate tty");
}

#[test]
fn detach_with_a_terminal_needs_a_console_socket() {
    differs!(Crun, "takes it");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = c
        .exec_with(&["-d", "-t"], &["/probe", "exit", "0"])
        .exits(255);
    output.says("cannot allocate tty if runc will detach without setting console socket");
}
