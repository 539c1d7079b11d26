//! Containers in a system container where there are controllers for what is asked of them.

#[path = "system_nested/docker.rs"]
mod docker;

use integration::{CgroupDriver, differs};

#[test]
fn docker_runs_containers() {
    differs!(Runc | Crun, "no system containers");
    // Slow, emulated, and the same with either.
    if CgroupDriver::get() == CgroupDriver::Systemd {
        return;
    }
    docker::docker_runs_containers();
}
