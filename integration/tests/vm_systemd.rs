//! Containers whose cgroup is that of a scope of systemd.

use integration::{Bundle, Call, CgroupDriver, Container, Output, differs, json, needs, until};
use std::time::Duration;

/// Everything here is about one driver.
macro_rules! needs_systemd {
    () => {
        needs!(
            CgroupDriver::get() == CgroupDriver::Systemd,
            "the systemd driver"
        );
    };
}

/// A bundle whose container sleeps.
fn sleeper() -> Bundle {
    let bundle = Bundle::new();
    bundle.args(&["sleep", "1000"]);
    bundle
}

fn systemctl<S: AsRef<str>>(bundle: &Bundle, args: impl IntoIterator<Item = S>) -> Output {
    let args: Vec<String> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
    Call::of("systemctl", &bundle.home().join("io"))
        .args(args)
        .run()
}

fn scope(container: &Container<'_>) -> String {
    format!("vzrun-{}.scope", container.id())
}

/// A property of a container's scope.
#[track_caller]
fn property(container: &Container<'_>, name: &str) -> String {
    let unit = scope(container);
    let output = systemctl(container.bundle(), ["show", "--value", "-p", name, &unit]);
    output.ok().stdout.trim().to_owned()
}

/// systemd has forgotten it.
#[track_caller]
fn has_no_unit(container: &Container<'_>) {
    assert_eq!(property(container, "LoadState"), "not-found");
}

#[test]
fn the_scope_is_as_it_should_be() {
    needs_systemd!();
    let bundle = sleeper();
    let path = format!("vzt-sub.slice:vzrun:{}", bundle.id());
    bundle.set("/linux/cgroupsPath", json!(path));
    let container = bundle.container();
    container.run_detached();
    let below = format!("/vzt.slice/vzt-sub.slice/{}", scope(&container));
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "vzt-sub.slice"),
        ("Delegate", "yes"),
        ("ControlGroup", &below),
        ("DefaultDependencies", "no"),
    ] {
        assert_eq!(property(&container, name), value, "{name}");
    }
    let own = container.cgroup().path();
    assert!(own.starts_with(&below), "{own:?} is not in {below}");
    // The driver is remembered, so no flag is needed.
    let delete = bundle.bare_call().arg("--root").arg(bundle.root());
    delete
        .args(["delete", "--force", container.id()])
        .run()
        .ok();
    assert_eq!(container.leftovers(), [""; 0]);
    has_no_unit(&container);
}

#[test]
fn its_cgroup_namespace_begins_at_the_scope() {
    needs_systemd!();
    differs!(Crun, "since 1.28 its namespace begins elsewhere");
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "cgroup"}));
    bundle.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}));
    bundle.args(&[
        "sh",
        "-c",
        "cat /proc/self/cgroup; grep -c $$ /sys/fs/cgroup/cgroup.procs; sleep 1000",
    ]);
    let container = bundle.container();
    container.run_detached();
    container.wait_line("0::/");
    container.wait_line("1");
    let exec = container.exec(&["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(exec.stdout, "0::/\n");
}

#[test]
fn without_a_path_it_is_found_where_tools_look() {
    needs_systemd!();
    let bundle = sleeper();
    bundle.remove("/linux/cgroupsPath");
    let container = bundle.container();
    // Without the harness's help, which would set the path again.
    let run = bundle.call(["run", "--detach", "--bundle"]);
    run.arg(bundle.dir()).arg(container.id()).run().ok();
    let own = container.cgroup().path().display().to_string();
    let name = format!("-{}.scope", container.id());
    assert!(
        own.starts_with("/system.slice/") && own.contains(&name),
        "{own}"
    );
    container.delete_force().ok();
}

#[test]
fn annotations_become_properties() {
    needs_systemd!();
    let bundle = sleeper();
    bundle.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
            "org.systemd.property.KillSignal": "9",
            "org.systemd.property.After": "['sysinit.target']",
        }),
    );
    let container = bundle.container();
    container.run_detached();
    assert_eq!(property(&container, "TimeoutStopUSec"), "5s");
    assert_eq!(property(&container, "KillSignal"), "9");
    assert!(property(&container, "After").contains("sysinit.target"));
    container.delete_force().ok();
    for (name, value) in [
        ("No1", "1"),
        ("Documentation", "'x"),
        ("NoSuchThing", "true"),
    ] {
        let key = format!("/annotations/org.systemd.property.{name}");
        bundle.set(&key, json!(value));
        if name != "No1" || integration::Runtime::get().kind() != integration::Kind::Crun {
            container.call("create", &[""; 0]).run().fails();
            assert_eq!(container.leftovers(), [""; 0]);
        }
        bundle.remove(&key);
    }
    has_no_unit(&container);
}

#[test]
fn systemctl_stop_ends_it() {
    needs_systemd!();
    let bundle = sleeper();
    bundle.set(
        "/annotations",
        json!({"org.systemd.property.KillSignal": "9"}),
    );
    let container = bundle.container();
    container.run_detached();
    systemctl(&bundle, ["stop", &scope(&container)]).ok();
    container.wait_stopped();
    has_no_unit(&container);
    container.delete().ok();
    assert_eq!(container.leftovers(), [""; 0]);
}

#[test]
fn what_has_failed_under_its_name_is_no_obstacle() {
    needs_systemd!();
    let bundle = sleeper();
    let container = bundle.container();
    let unit = scope(&container);
    let start = Call::of("systemd-run", &bundle.home().join("io"))
        .args([
            "--scope",
            "--quiet",
            "--unit",
            &unit,
            "-p",
            "RuntimeMaxSec=1",
            "sleep",
            "100",
        ])
        .run();
    assert_ne!(start.code(), Some(0));
    until("the scope to fail", || {
        (property(&container, "ActiveState") == "failed").then_some(())
    });
    container.run_detached();
    assert_eq!(property(&container, "ActiveState"), "active");
    container.delete_force().ok();
    has_no_unit(&container);
}

#[test]
fn a_unit_of_somebody_else_is_left_alone() {
    needs_systemd!();
    let bundle = sleeper();
    let container = bundle.container();
    let unit = scope(&container);
    let other = Call::of("systemd-run", &bundle.home().join("io"))
        .args(["--scope", "--quiet", "--unit", &unit, "sleep", "1000"])
        .spawn();
    until("the other's scope", || {
        (property(&container, "ActiveState") == "active").then_some(())
    });
    container
        .call("create", &[""; 0])
        .run()
        .fails()
        .says_any(&["already", "exists", "not empty"]);
    assert!(!container.state_dir().exists());
    assert_eq!(property(&container, "ActiveState"), "active");
    systemctl(&bundle, ["stop", &unit]).ok();
    other.wait();
    container.run_detached();
    container.delete_force().ok();
}

#[test]
fn nothing_stays_of_one_that_fails_or_ends() {
    needs_systemd!();
    let bundle = Bundle::new();
    let container = bundle.container();
    bundle.args(&["/no/such/program"]);
    container.call("create", &[""; 0]).run().fails();
    has_no_unit(&container);
    bundle.args(&["true"]);
    container.run().ok();
    has_no_unit(&container);
    // Killed for want of memory, a scope has failed.
    bundle.args(&["sleep", "1000"]);
    container.run_detached();
    container.kill("KILL").ok();
    container.wait_stopped();
    container.delete().ok();
    has_no_unit(&container);
}

#[test]
fn pausing_works_as_with_the_other_driver() {
    needs_systemd!();
    let bundle = sleeper();
    let container = bundle.container();
    container.run_detached();
    container.pause().ok();
    assert_eq!(container.status(), "paused");
    container.resume().ok();
    assert_eq!(container.status(), "running");
    container.pause().ok();
    container.delete_force().ok();
    has_no_unit(&container);
}

/// By systemd of the user, as in a login session.
#[test]
fn as_an_ordinary_user() {
    needs_systemd!();
    let bundle = Bundle::rootless(1000, 1000);
    bundle.args(&["sh", "-c", "cat /proc/self/cgroup; sleep 1000"]);
    systemctl(&bundle, ["start", "user@1000.service"]).ok();
    let container = bundle.container();
    let call = |verb: &str, flags: &[&str]| {
        container
            .call(verb, flags)
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .limit(Duration::from_secs(60))
            .run()
    };
    call("run", &["--detach"]).ok();
    let own = container.cgroup().path().display().to_string();
    let session = "/user.slice/user-1000.slice/user@1000.service/user.slice/";
    assert!(own.starts_with(session), "{own}");
    call("delete", &["--force"]).ok();
    assert_eq!(container.leftovers(), [""; 0]);
}

/// What systemd believes, and what the kernel does.
#[track_caller]
fn in_step(container: &Container<'_>, table: &[(&str, &str, &str, &str)]) {
    for (name, value, file, text) in table {
        assert_eq!(property(container, name), *value, "{name}");
        assert_eq!(own_file(container, file), *text, "{file}");
    }
}

/// A file of the scope's cgroup.
fn own_file(container: &Container<'_>, file: &str) -> String {
    let path = property(container, "ControlGroup");
    let text = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}"));
    text.unwrap_or_else(|e| panic!("{path}/{file}: {e}"))
        .trim()
        .to_owned()
}

#[test]
fn limits_are_properties_and_stay_after_a_reload() {
    needs_systemd!();
    let bundle = Bundle::new();
    bundle.args(&["sleep", "1000"]);
    bundle.set(
        "/linux/resources",
        json!({
            "memory": {"limit": 33_554_432, "reservation": 16_777_216},
            "cpu": {"shares": 512, "quota": 25_000, "period": 50_000, "cpus": "0"},
            "pids": {"limit": 20},
            "devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}
            ],
            "unified": {"memory.high": "30000128"}
        }),
    );
    // The first is the kernel's log.
    bundle.capabilities(&["CAP_SYSLOG"]);
    for (path, major, minor) in [("/dev/yes", 1, 11), ("/dev/no", 10, 237)] {
        let node =
            json!({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 438});
        bundle.push("/linux/devices", node);
    }
    let container = bundle.container();
    container.run_detached();
    let expected = [
        ("MemoryMax", "33554432", "memory.max", "33554432"),
        ("MemoryLow", "16777216", "memory.low", "16777216"),
        ("MemoryHigh", "30000128", "memory.high", "29999104"),
        ("CPUQuotaPerSecUSec", "500ms", "cpu.max", "25000 50000"),
        ("AllowedCPUs", "0", "cpuset.cpus", "0"),
        ("TasksMax", "20", "pids.max", "20"),
    ];
    in_step(&container, &expected);
    let weight = property(&container, "CPUWeight");
    assert_eq!(weight, own_file(&container, "cpu.weight"));
    let devices = || {
        let script = ": </dev/yes && echo yes; (: </dev/no) 2>&1 | grep -o 'not permitted'";
        let output = container.exec(&["sh", "-c", script]);
        assert_eq!(output.stdout, "yes\nnot permitted\n", "{}", output.stderr);
    };
    devices();
    systemctl(&bundle, ["daemon-reload"]).ok();
    in_step(&container, &expected);
    devices();
    container.delete_force().ok();
    has_no_unit(&container);
}

#[test]
fn an_update_changes_unit_and_file() {
    needs_systemd!();
    let bundle = sleeper();
    bundle.set(
        "/linux/resources",
        json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 30}}),
    );
    let container = bundle.container();
    container.run_detached();
    let update = |flags: &[&str]| {
        let call = bundle.bare_call().arg("--root").arg(bundle.root());
        call.arg("update").args(flags).arg(container.id()).run()
    };
    update(&[
        "--memory",
        "40000000",
        "--pids-limit",
        "25",
        "--cpu-quota",
        "30000",
        "--cpu-period",
        "100000",
    ])
    .ok();
    let expected = [
        ("MemoryMax", "40000000", "memory.max", "39997440"),
        ("TasksMax", "25", "pids.max", "25"),
        ("CPUQuotaPerSecUSec", "300ms", "cpu.max", "30000 100000"),
    ];
    in_step(&container, &expected);
    systemctl(&bundle, ["daemon-reload"]).ok();
    in_step(&container, &expected);
    // One that does not work changes neither.
    update(&["--pids-limit", "26", "--cpuset-cpus", "4000"]).fails();
    differs!(Runc | Crun, "leave what was set before the failure");
    in_step(&container, &expected);
    // systemd rounds, the kernel need not.
    update(&["--cpu-quota", "12345", "--cpu-period", "50000"]).ok();
    in_step(
        &container,
        &[("CPUQuotaPerSecUSec", "250ms", "cpu.max", "12345 50000")],
    );
}

#[test]
fn the_weight_for_io_stays_after_a_reload() {
    needs_systemd!();
    differs!(Runc, "systemd does not learn of it");
    let bundle = sleeper();
    bundle.set("/linux/resources", json!({"blockIO": {"weight": 750}}));
    let container = bundle.container();
    container.run_detached();
    let expected = [("IOWeight", "7475", "io.weight", "default 7475")];
    in_step(&container, &expected);
    systemctl(&bundle, ["daemon-reload"]).ok();
    in_step(&container, &expected);
}

/// Also of what no config has named: systemd's own limit for tasks, all CPUs.
#[test]
fn an_update_that_cannot_be_remembered_leaves_everything_as_it_was() {
    needs_systemd!();
    differs!(Runc | Crun, "leave what was set before the failure");
    let bundle = sleeper();
    let container = bundle.container();
    container.run_detached();
    let names = ["TasksMax", "AllowedCPUs", "MemoryMax"];
    let files = [
        "pids.max",
        "cpuset.cpus.effective",
        "memory.max",
        "cpu.weight",
    ];
    let look = || {
        let values = names.map(|name| property(&container, name));
        (values, files.map(|file| own_file(&container, file)))
    };
    let before = look();
    let immutable = |flag: &str| {
        let call = Call::of("chattr", &bundle.home().join("io")).arg(flag);
        call.arg(container.state_dir()).run().ok();
    };
    let flags = [
        "--pids-limit=26",
        "--cpuset-cpus=1",
        "--memory=67108864",
        "--cpu-share=2048",
    ];
    immutable("+i");
    let update = container.call("update", &flags).run();
    immutable("-i");
    let update = update.fails();
    assert_eq!(look(), before, "{}", update.describe());
    systemctl(&bundle, ["daemon-reload"]).ok();
    assert_eq!(look(), before);
    container.call("update", &flags).run().ok();
    assert_ne!(look(), before);
}
