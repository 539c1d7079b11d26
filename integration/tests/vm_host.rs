//! What the other tests named vm_* take for granted of their machine.

use integration::{Cgroup, CgroupDriver, has_controller};
use std::process::Command;

#[test]
fn it_has_every_controller() {
    for name in [
        "cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc",
    ] {
        assert!(has_controller(name), "{name}");
    }
}

#[test]
fn systemd_is_its_first_process() {
    assert_eq!(
        std::fs::read_to_string("/proc/1/comm").unwrap(),
        "systemd\n"
    );
    let reload = Command::new("systemctl").arg("daemon-reload").status();
    assert!(reload.unwrap().success());
}

#[test]
fn the_tests_are_in_a_leaf_of_a_delegated_cgroup() {
    let own = Cgroup::of_process(std::process::id() as i32);
    assert!(own.below().is_empty(), "{:?}", own.below());
    // What is made beside it may have controllers: nobody is in the cgroup above.
    assert!(own.parent().processes().is_empty());
}

#[test]
fn the_driver_is_one_that_the_test_run_names() {
    // It panics at a name that it does not know.
    CgroupDriver::get();
    assert!(std::env::var_os("VZRUN_TEST_CGROUP_DRIVER").is_some());
}
