//! --pidfd-socket: the new process, by its pidfd, to whoever listens.

use integration::{Bundle, FdSocket, differs, until};
use rustix::process::{Signal, pidfd_send_signal};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

/// The pid that a pidfd stands for.
fn pid_of(pidfd: &OwnedFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .unwrap();
    pid.trim().parse().unwrap()
}

fn socket(bundle: &Bundle) -> FdSocket {
    FdSocket::bind(bundle.home().join("io/pidfd.sock"))
}

#[test]
fn create_sends_the_pidfd_of_the_init() {
    differs!(Crun, "no such flag");
    differs!(Runc < (1, 2), "no such flag");
    let bundle = Bundle::new();
    let socket = socket(&bundle);
    let c = bundle.container();
    let call = c
        .call(
            "create",
            &["--pidfd-socket", socket.path().to_str().unwrap()],
        )
        .spawn();
    let (pidfd, name) = socket.receive();
    call.wait().ok();
    assert_eq!(pid_of(&pidfd), c.pid());
    assert_eq!(name, "standard");
}

#[test]
fn the_pidfd_of_run_can_signal_the_init() {
    differs!(Crun, "no such flag");
    differs!(Runc < (1, 2), "no such flag");
    let bundle = Bundle::new();
    let socket = socket(&bundle);
    let c = bundle.container();
    let flags = [
        "--detach",
        "--pidfd-socket",
        socket.path().to_str().unwrap(),
    ];
    let call = c.call("run", &flags).spawn();
    let (pidfd, _) = socket.receive();
    call.wait().ok();
    until("running", || (c.status() == "running").then_some(()));
    pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
    c.wait_stopped();
}

#[test]
fn exec_sends_the_pidfd_of_its_process() {
    differs!(Crun, "no such flag");
    differs!(Runc < (1, 2), "no such flag");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let socket = socket(&bundle);
    let pid_file = bundle.home().join("io/pid");
    let flags = [
        "--detach",
        "--pid-file",
        pid_file.to_str().unwrap(),
        "--pidfd-socket",
        socket.path().to_str().unwrap(),
    ];
    let call = c.exec_call(&flags, &["/probe", "sleep-forever"]).spawn();
    let (pidfd, name) = socket.receive();
    call.wait().ok();
    assert_eq!(
        pid_of(&pidfd).to_string(),
        fs::read_to_string(pid_file).unwrap()
    );
    assert_eq!(name, "setns");
}

#[test]
fn a_socket_that_is_not_there_is_an_error() {
    differs!(Runc, "it leaves the state directory behind");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.call("create", &["--pidfd-socket", "/no/such/socket"])
        .run()
        .fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}
