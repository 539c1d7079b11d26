//! Engines on a host with every controller and with systemd: what they ask of a runtime only there.
//!
//! Each engine has the cgroup driver of the test run. What is slow, emulated, is done once for several questions.

use integration::{
    Call, Cgroup, CgroupDriver, Docker, Engine, Podman, Runtime, Started, cgroup_dirs_named,
    differs, engine_call, engine_dir, image_tar, needs, test_name, until, wait_nothing_left,
};
use std::fs;

const ROOT: Podman = Podman::Root;
/// No test here is about networks.
const ALONE: &str = "--network=none";
/// A program that wants more memory than any test gives.
const HOG: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=96M", "count=1"];
const SLEEP: [&str; 2] = ["sleep", "1000"];

fn reload() {
    engine_call("systemctl").arg("daemon-reload").run().ok();
}

fn by_systemd() -> bool {
    CgroupDriver::get() == CgroupDriver::Systemd
}

/// The cgroup that the engine has named after a container: in it, or below it, its init is.
#[track_caller]
fn cgroup_of<E: Engine>(container: &Started<E>) -> Cgroup {
    named(&container.says("{{.State.Pid}}"), &container.id)
}

#[track_caller]
fn named(pid: &str, id: &str) -> Cgroup {
    let mut cgroup = Cgroup::of_process(pid.trim().parse().unwrap());
    let path = cgroup.path();
    assert!(path.to_str().unwrap().contains(id), "{path:?}");
    while !cgroup
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .contains(id)
    {
        cgroup = cgroup.parent();
    }
    cgroup
}

#[track_caller]
fn check(cgroup: &Cgroup, files: &[(&str, &str)]) {
    for (file, value) in files {
        assert_eq!(cgroup.read(file), *value, "{file}");
    }
}

/// What engines ask for with these flags, as files; they hold after a reload of systemd, too.
#[track_caller]
fn check_and_reload(cgroup: &Cgroup, files: &[(&str, &str)]) {
    check(cgroup, files);
    reload();
    check(cgroup, files);
}

#[test]
fn podmans_limits() {
    let flags = [
        ALONE,
        "--memory=64m",
        "--memory-swap=80m",
        "--memory-reservation=32m",
        "--cpus=0.5",
        "--pids-limit=50",
        "--cpuset-cpus=1",
        "--device-read-bps=/dev/nvme0n1:1mb",
        "--device-write-iops=/dev/nvme0n1:100",
    ];
    let c = ROOT.started(&flags, &SLEEP);
    let cgroup = cgroup_of(&c);
    let slice = cgroup.parent().path();
    match by_systemd() {
        true => assert_eq!(slice.to_str(), Some("/machine.slice")),
        false => assert_eq!(slice.to_str(), Some("/libpod_parent")),
    }
    let place = "cpuset.cpus";
    check_and_reload(
        &cgroup,
        &[
            ("memory.max", "67108864"),
            ("memory.swap.max", "16777216"),
            ("memory.low", "33554432"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "50"),
            (place, "1"),
        ],
    );
    let io = cgroup.read("io.max");
    assert!(
        io.contains("rbps=1048576 ") && io.contains("wiops=100"),
        "{io}"
    );

    let flags = [
        "--memory=96m",
        "--memory-swap=96m",
        "--cpus=0.25",
        "--pids-limit=60",
    ];
    c.call(&[&["update"][..], &flags].concat(), &[]).run().ok();
    check_and_reload(
        &cgroup,
        &[
            ("memory.max", "100663296"),
            ("memory.swap.max", "0"),
            ("cpu.max", "25000 100000"),
            ("pids.max", "60"),
            (place, "1"),
        ],
    );
    let stats = ["stats", "--no-stream", "--format={{.MemLimit}} {{.PIDs}}"];
    let stats = c.call(&stats, &[]).run().ok().stdout;
    assert_eq!(stats.trim(), "100663296 1");
    // A process of it that is killed for want of memory is not its end.
    c.exec(
        &[],
        &["dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"],
    )
    .exits(137);
    assert_eq!(c.status(), "running");
}

#[test]
fn podmans_weight_for_the_cpu() {
    differs!(Runc < (1, 3), "the straight line of before 1.3.2");
    differs!(Crun < (1, 23), "the straight line of before");
    let c = ROOT.started(&[ALONE, "--cpu-shares=2048"], &SLEEP);
    check_and_reload(&cgroup_of(&c), &[("cpu.weight", "174")]);
}

#[test]
fn podman_limits_pids_by_default() {
    let limit = ROOT.printed(&[ALONE], &["cat", "/sys/fs/cgroup/pids.max"]);
    assert_eq!(limit, "2048");
}

/// What an engine says of containers that died for want of memory: it reads why from a cgroup that others remove as soon as it is empty (conmon
/// against systemd, the shim against its own delete), on a busy machine too late at times. One that never sees it is at fault.
#[track_caller]
fn told_of_some(died: impl Fn() -> String) {
    let told = (0..10).find(|_| match died().as_str() {
        "true" => true,
        "false" => false,
        other => panic!("OOMKilled: {other}"),
    });
    assert!(told.is_some(), "not told of one of ten");
}

#[test]
fn podman_tells_an_oom_kill() {
    told_of_some(|| {
        let c = ROOT.started(&[ALONE, "--memory=32m", "--memory-swap=32m"], &HOG);
        assert_eq!(c.call(&["wait"], &[]).run().ok().stdout, "137\n");
        c.says("{{.State.OOMKilled}}")
    });
}

#[test]
fn podmans_parent_cgroup() {
    let (parent, path) = match by_systemd() {
        true => ("vmtest-engines.slice", "/vmtest.slice/vmtest-engines.slice"),
        false => ("/vmtest/engines", "/vmtest/engines"),
    };
    let flag = format!("--cgroup-parent={parent}");
    let c = ROOT.started(&[ALONE, &flag, "--pids-limit=30"], &SLEEP);
    let cgroup = cgroup_of(&c);
    assert_eq!(cgroup.parent().path().to_str(), Some(path));
    check(&cgroup, &[("pids.max", "30")]);
}

/// A call of Podman in a unit of its own, as from a service or a quadlet.
fn in_a_unit(call: &[&str]) -> Call {
    ROOT.call(["--version"]).run().ok();
    let conf = format!(
        "CONTAINERS_CONF_OVERRIDE={}",
        integration::containers_conf().display()
    );
    let unit = format!("--unit={}", test_name());
    engine_call("systemd-run")
        .args([
            "--wait",
            "--pipe",
            "--quiet",
            "--collect",
            "-pDelegate=yes",
            &unit,
            "-E",
            &conf,
        ])
        .arg("podman")
        .args(call)
}

#[test]
fn podman_splits_the_cgroup_of_its_unit() {
    let script = "own=$(cut -c4- /proc/self/cgroup); echo $own; cat /sys/fs/cgroup$own/pids.max";
    let words = [
        "run",
        "--rm",
        ALONE,
        "--cgroups=split",
        "--cgroupns=host",
        "--pids-limit=40",
        Podman::IMAGE,
        "sh",
        "-c",
        script,
    ];
    let said = in_a_unit(&words).run().ok().stdout;
    let service = format!("/system.slice/{}.service/libpod-payload-", test_name());
    assert!(
        said.starts_with(&service) && said.ends_with("\n40\n"),
        "{said}"
    );
}

#[test]
fn podman_without_a_cgroup_for_conmon() {
    let c = ROOT.started(&[ALONE, "--cgroups=no-conmon", "--pids-limit=40"], &SLEEP);
    check(&cgroup_of(&c), &[("pids.max", "40")]);
    let conmon = c.says("{{.State.ConmonPid}}").parse().unwrap();
    let own = Cgroup::of_process(std::process::id() as i32);
    assert_eq!(Cgroup::of_process(conmon), own);
}

#[test]
fn podman_without_cgroups() {
    differs!(Runc, "it cannot go without");
    let path = ["sh", "-c", "grep ^0: /proc/self/cgroup"];
    let flags = [ALONE, "--cgroups=disabled", "--cgroupns=host"];
    let own = Cgroup::of_process(std::process::id() as i32).path();
    assert_eq!(ROOT.printed(&flags, &path), format!("0::{}", own.display()));
}

#[test]
fn podman_of_an_ordinary_user_has_limits_by_the_users_systemd() {
    needs!(
        by_systemd(),
        "a cgroup driver that an ordinary user can have"
    );
    engine_call("loginctl")
        .args(["enable-linger", "tester"])
        .run()
        .ok();
    until("the user's bus", || {
        fs::exists("/run/user/1000/bus").unwrap().then_some(())
    });
    let conf = format!(
        "CONTAINERS_CONF_OVERRIDE={}",
        integration::containers_conf().display()
    );
    let tar = image_tar().to_str().unwrap();
    // As a program of the user's session: below the user's systemd.
    let podman = |words: &[&str]| {
        engine_call("runuser")
            .args([
                "-u",
                "tester",
                "--",
                "env",
                "XDG_RUNTIME_DIR=/run/user/1000",
                "HOME=/home/tester",
            ])
            .args([
                "systemd-run",
                "--user",
                "--wait",
                "--pipe",
                "--quiet",
                "--collect",
                // What Podman leaves behind is to stay.
                "-pKillMode=process",
                "-E",
                &conf,
            ])
            .args(["podman"])
            .args(words)
            .run()
            .ok()
            .stdout
    };
    podman(&["import", "-q", tar, Podman::IMAGE]);
    let name = test_name();
    let run = [
        "run",
        "--detach",
        "--name",
        &name,
        ALONE,
        "--memory=64m",
        "--pids-limit=20",
        "--cpus=0.5",
        Podman::IMAGE,
        "sleep",
        "1000",
    ];
    let id = podman(&run);
    let pid = podman(&["inspect", "--format={{.State.Pid}}", &name]);
    let cgroup = named(&pid, id.trim());
    let path = cgroup.path().display().to_string();
    assert!(
        path.starts_with("/user.slice/user-1000.slice/user@1000.service/user.slice/"),
        "{path}"
    );
    check(
        &cgroup,
        &[
            ("memory.max", "67108864"),
            ("pids.max", "20"),
            ("cpu.max", "50000 100000"),
        ],
    );
    podman(&["update", "--memory=96m", &name]);
    check(&cgroup, &[("memory.max", "100663296"), ("pids.max", "20")]);
    podman(&["rm", "--force", "--time=0", &name]);
    assert!(!cgroup.exists());
}

#[test]
fn dockers_limits() {
    let flags = [
        ALONE,
        "--memory=64m",
        "--memory-reservation=32m",
        "--cpus=0.5",
        "--pids-limit=50",
        "--cpuset-cpus=1",
    ];
    let c = Docker.started(&flags, &SLEEP);
    let cgroup = cgroup_of(&c);
    let slice = cgroup.parent().path();
    match by_systemd() {
        true => assert_eq!(slice.to_str(), Some("/system.slice")),
        false => assert_eq!(slice.to_str(), Some("/docker")),
    }
    check_and_reload(
        &cgroup,
        &[
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "50"),
            ("cpuset.cpus", "1"),
        ],
    );
    let flags = ["--memory=96m", "--cpus=0.25", "--pids-limit=60"];
    c.call(&[&["update"][..], &flags].concat(), &[]).run().ok();
    check_and_reload(
        &cgroup,
        &[
            ("memory.max", "100663296"),
            ("cpu.max", "25000 100000"),
            ("pids.max", "60"),
        ],
    );
    let stats = ["stats", "--no-stream", "--format={{.MemUsage}} {{.PIDs}}"];
    let stats = c.call(&stats, &[]).run().ok().stdout;
    assert!(stats.contains("/ 96MiB 1"), "{stats}");
}

#[test]
fn docker_tells_an_oom_kill() {
    let flags = [ALONE, "--memory=32m", "--memory-swap=32m"];
    let script = format!("{}; sleep 1000", HOG.join(" "));
    let c = Docker.started(&flags, &["sh", "-c", &script]);
    let filter = format!("--filter=container={}", c.name);
    let words = [
        "events",
        "--since=10m",
        "--until=0s",
        &filter,
        "--format={{.Action}}",
    ];
    until("the event", || {
        let events = Docker.call(words).run().ok().stdout;
        events.contains("oom\n").then_some(())
    });
    assert_eq!(c.status(), "running");
}

#[test]
fn docker_tells_that_a_container_died_of_it() {
    needs!(
        !by_systemd(),
        "a cgroup that is still there when containerd reads why (systemd removes a scope at once)"
    );
    let flags = [ALONE, "--memory=32m", "--memory-swap=32m"];
    told_of_some(|| {
        let c = Docker.started_by(&["create"], &flags, &HOG);
        c.call(&["start", "--attach"], &[]).run().exits(137);
        c.says("{{.State.OOMKilled}}")
    });
}

#[test]
fn dockers_parent_cgroup() {
    let (parent, path) = match by_systemd() {
        true => ("vmtest-docker.slice", "/vmtest.slice/vmtest-docker.slice"),
        false => ("/vmtest/docker", "/vmtest/docker"),
    };
    let c = Docker.started(&[ALONE, &format!("--cgroup-parent={parent}")], &SLEEP);
    assert_eq!(cgroup_of(&c).parent().path().to_str(), Some(path));
}

/// `ctr` asks for CPU shares by itself.
#[test]
fn ctr_with_its_defaults_and_a_limit() {
    // The containerd of dockerd.
    Docker.call(["version"]).run().ok();
    let socket = engine_dir().join("exec/containerd/containerd.sock");
    let ctr = || engine_call("ctr").arg("--address").arg(&socket);
    let name = format!("ctr-{}", std::process::id());
    let cgroup = format!("system.slice:ctr:{name}");
    let driver: &[&str] = match by_systemd() {
        true => &["--runc-systemd-cgroup", "--cgroup", &cgroup],
        false => &[],
    };
    let run = ctr().args(["run", "--detach", "--runc-binary"]);
    let run = run.arg(Runtime::get().path()).args(driver);
    let run = run.args(["--memory-limit", "67108864", "--cpus", "0.5", "--rootfs"]);
    let run = run.arg(image_tar().with_file_name("image")).arg(&name);
    run.args(["/bin/sleep", "1000"]).run().ok();
    let dirs = cgroup_dirs_named(&name);
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    let files = [("memory.max", "67108864"), ("cpu.max", "50000 100000")];
    check_and_reload(&Cgroup::at(&dirs[0]), &files);
    ctr().args(["task", "rm", "--force", &name]).run().ok();
    ctr().args(["container", "rm", &name]).run().ok();
    wait_nothing_left(&name);
}
