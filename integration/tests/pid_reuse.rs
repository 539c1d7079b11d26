//! A pid that is given out again. Alone in its file: it turns the pid namespace's counter back, and
//! the containers of other tests would feel that.

use integration::{Bundle, until};
use std::fs;
use std::process::Command;

#[test]
fn a_process_that_got_the_pid_of_a_dead_init_is_left_alone() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let pid = c.pid();
    let start = start_time(pid);
    c.kill("KILL").ok();
    c.wait_stopped();
    let mut stranger = until("a process with its pid", || {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        // The kernel's clock for this ticks a hundred times a second; a machine can be faster.
        if child.id() as i32 == pid && start_time(pid) != start {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        None
    });
    assert_eq!(c.status(), "stopped");
    c.kill("KILL")
        .exits(1)
        .says_or_crun("container not running", "no such process");
    c.delete().ok();
    assert_eq!(
        stranger.try_wait().unwrap(),
        None,
        "the stranger was killed"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// When a process was started, in ticks since boot.
fn start_time(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_command) = stat.rsplit_once(") ").unwrap();
    after_command.split(' ').nth(19).unwrap().to_string()
}
