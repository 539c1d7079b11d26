//! Each system call of each command fails once, with each of seven errors: the command ends, with success or with an
//! error in words; a failure leaves nothing behind, or the container as it was; after a success the container is what
//! it is without the fault.
//!
//! `make test` takes a sample, another one each time. `VZRUN_TEST_FAULTS=all` takes them all.

#![cfg(target_arch = "x86_64")]

#[path = "faults/before.rs"]
mod before;
#[path = "faults/report.rs"]
mod report;
#[path = "faults/walk.rs"]
mod walk;

use before::{Before, alone};
use integration::{
    Bundle, Container, FdSocket, KILLED, Output, Value, Which, differs, has_controller, json,
    needs, probe_path, run_with_faults,
};
use report::Reference;
use std::cell::RefCell;
use std::fs;
use walk::{How, Walk};

const NO_FLAGS: &[&str] = &[];
const REPORT: &[&str] = &["/probe", "report"];
const WAIT: &[&str] = &["/probe", "sleep-forever"];

/// A container with a bit of everything that has steps of its own.
fn rich() -> Bundle {
    let bundle = Bundle::new();
    let probe = probe_path().display().to_string();
    let hook = |timeout: Value| json!([{"path": probe, "args": ["probe", "exit", "0"], "timeout": timeout}]);
    bundle.set("/hooks/createRuntime", hook(Value::Null));
    bundle.set("/hooks/createContainer", hook(json!(30)));
    bundle.set("/hooks/poststart", hook(Value::Null));
    bundle.set("/hooks/poststop", hook(Value::Null));
    bundle.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536"}),
    );
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["reboot", "kexec_load"], "action": "SCMP_ACT_ERRNO"}
        ]}),
    );
    bundle.push(
        "/mounts",
        json!({"destination": "/etc/hosts", "type": "bind", "source": "/etc/hosts",
               "options": ["rbind", "ro", "nosuid", "rprivate"]}),
    );
    bundle.set("/process/user/additionalGids", json!([10, 20]));
    bundle.set("/process/oomScoreAdj", json!(100));
    bundle.set("/root/readonly", json!(true));
    bundle
}

/// What its program reports; it ends with that.
fn report_of(c: &Container<'_>) -> Value {
    c.wait_stopped();
    serde_json::from_str(&c.stdout()).expect("the report")
}

/// The report of a container that nothing happens to.
fn reference(c: &Container<'_>) -> Reference {
    // Without its view of memory and CPUs, or with ids that are not mapped for a mount, a system container does as well.
    let is_system = c.bundle().config()["annotations"]["io.vzrun.system"] == "true";
    let report = || {
        c.create();
        c.start();
        let mut report = report_of(c);
        c.delete().ok();
        if is_system {
            report["mounts"] = Value::Null;
        }
        report
    };
    Reference::of(&report(), &report())
}

fn delete_force(c: &Container<'_>) {
    c.call("delete", &["--force"]).run().ok();
}

/// `create` with these flags, and with `/probe report` as the program.
fn walk_create(name: &str, bundle: &Bundle) {
    bundle.args(REPORT);
    let c = bundle.container();
    let pid_file = bundle.home().join("pid");
    let flags = ["--pid-file", pid_file.to_str().unwrap()];
    let reference = reference(&c);
    let before = Before::take(bundle);
    Walk {
        name,
        prepare: &|| (),
        call: &|| c.call("create", &flags),
        code: 0,
        succeeded: &|output, how| {
            let pid = fs::read_to_string(&pid_file).unwrap();
            assert!(pid.parse::<i32>().is_ok_and(|pid| pid > 0), "{pid:?}");
            fs::remove_file(&pid_file).unwrap();
            if c.call("start", NO_FLAGS).run().code() != Some(0) {
                // Init has failed when its creator had gone, so nobody is told.
                assert!(how == How::LetGo, "it cannot be started");
                c.wait_stopped();
                c.delete().ok();
                return before.is_now();
            }
            c.wait_stopped();
            let report = fs::read_to_string(&output.out_path).unwrap();
            // It may have failed just after it was started, too.
            if how != How::LetGo || !report.is_empty() {
                reference.is(&serde_json::from_str(&report).expect("the report"), how);
            }
            c.delete().ok();
            before.is_now();
        },
        failed: &|| before.is_now(),
        tidy: &|| {
            delete_force(&c);
            let _ = fs::remove_file(&pid_file);
        },
    }
    .go();
}

#[test]
fn of_create() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    walk_create("create", &rich());
}

#[test]
fn of_create_with_user_and_time_namespaces() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    let bundle = rich();
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    bundle.push("/linux/namespaces", json!({"type": "time"}));
    let map = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 1000}}));
    bundle.remove("/linux/sysctl");
    bundle.chown_rootfs(100000, 100000);
    walk_create("create-userns", &bundle);
}

#[test]
fn of_create_by_an_ordinary_user() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    walk_create("create-rootless", &Bundle::rootless(1000, 1000));
}

fn walk_run(name: &str, bundle: &Bundle) {
    let c = bundle.container();
    bundle.args(REPORT);
    let reference = reference(&c);
    let before = Before::take(bundle);
    Walk {
        name,
        prepare: &|| (),
        call: &|| c.call("run", NO_FLAGS),
        code: 0,
        succeeded: &|output, how| {
            reference.is(&output.json(), how);
            before.is_now();
        },
        failed: &|| before.is_now(),
        tidy: &|| delete_force(&c),
    }
    .go();
}

#[test]
fn of_run() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    walk_run("run", &rich());
}

fn walk_start(name: &str, bundle: &Bundle) {
    let c = bundle.container();
    let before = Before::take(bundle);
    let end = || {
        c.exec(&["/probe", "exit", "3"]).exits(3);
        c.kill("KILL").ok();
        c.wait_stopped();
        c.delete().ok();
        before.is_now();
    };
    Walk {
        name,
        prepare: &|| drop(c.create()),
        call: &|| c.call("start", NO_FLAGS),
        code: 0,
        succeeded: &|_, _| {
            c.wait_status("running");
            end();
        },
        failed: &|| {
            if c.status() == "created" {
                if c.call("start", NO_FLAGS).run().code() == Some(0) {
                    return end();
                }
                // It had been let go; the keeper of a system container has its name only when its init's program runs.
                c.wait_status("running");
            }
            // It runs; or a poststart hook has failed, and it is being ended (runc's rule).
            let _ = c.kill("KILL");
            c.wait_stopped();
            c.delete().ok();
            before.is_now();
        },
        tidy: &|| delete_force(&c),
    }
    .go();
}

#[test]
fn of_start() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    walk_start("start", &rich());
}

/// Something is done to a running container, which stays as it is.
fn walk_beside(
    name: &str,
    bundle: &Bundle,
    call: &dyn Fn(&Container<'_>) -> integration::Call,
    good: &dyn Fn(&Container<'_>, &Output, How),
    bad: &dyn Fn(&Container<'_>),
) {
    bundle.args(WAIT);
    let c = bundle.container();
    // The keeper of a system container has its name when its init's program runs.
    let run = || {
        c.run_detached();
        c.wait_line("ready");
        let comm = format!("/proc/{}/comm", c.pid());
        integration::until("the name of its process", || {
            let name = fs::read_to_string(&comm).unwrap();
            (!name.starts_with("vzrun:")).then_some(())
        });
    };
    run();
    let before = RefCell::new(Before::take(bundle));
    Walk {
        name,
        prepare: &|| (),
        call: &|| call(&c),
        code: 0,
        succeeded: &|output, how| {
            good(&c, output, how);
            before.borrow().is_now();
        },
        failed: &|| {
            bad(&c);
            assert_eq!(c.status(), "running");
            before.borrow().is_now();
        },
        tidy: &|| {
            delete_force(&c);
            run();
            before.replace(Before::take(bundle));
        },
    }
    .go();
    c.exec(&["/probe", "exit", "3"]).exits(3);
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
}

fn walk_exec(name: &str, bundle: &Bundle) {
    bundle.args(WAIT);
    let reference = {
        let c = bundle.container_named("reference");
        c.run_detached();
        let report = || c.exec(REPORT).ok().json();
        Reference::of(&report(), &report())
    };
    walk_beside(
        name,
        bundle,
        &|c| c.exec_call(NO_FLAGS, REPORT),
        &|_, output, how| reference.is(&output.json(), how),
        &|_| (),
    );
}

#[test]
fn of_exec() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    walk_exec("exec", &rich());
}

#[test]
fn of_exec_detached_with_a_terminal() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    let bundle = rich();
    let path = bundle.home().join("console");
    // A new one for each call: what a failed one has sent to it goes with it.
    let socket = RefCell::new(FdSocket::bind(&path));
    let pid_file = bundle.home().join("pid");
    let (console, pid) = (path.to_str().unwrap(), pid_file.to_str().unwrap());
    let flags = [
        "--tty",
        "--detach",
        "--console-socket",
        console,
        "--pid-file",
        pid,
    ];
    walk_beside(
        "exec-tty",
        &bundle,
        &|c| {
            fs::remove_file(&path).unwrap();
            socket.replace(FdSocket::bind(&path));
            c.exec_call(&flags, &["/probe", "exit", "0"])
        },
        &|_, _, _| {
            fs::remove_file(&pid_file).unwrap();
            drop(socket.borrow().receive());
        },
        &|_| (),
    );
}

/// Between the birth of the process proper and the word of it the stage is all that knows of it.
#[test]
fn of_a_stage_that_cannot_tell_of_the_process_it_has_made() {
    differs!(Runc | Crun, "they have no such stage");
    let _alone = alone();
    let bundle = rich();
    bundle.args(WAIT);
    let c = bundle.container();
    c.run_detached();
    let before = Before::take(&bundle);
    let exec = || {
        c.exec_call(NO_FLAGS, &["/probe", "exit", "3"])
            .limit(walk::LIMIT)
    };
    let clean = run_with_faults(exec(), &Which::None, 0);
    let stage = clean.calls[1].iter();
    let call = stage
        .clone()
        .rposition(|number| *number == libc::SYS_write)
        .expect("what it tells");
    assert!(
        stage.clone().take(call).any(|n| *n == libc::SYS_clone),
        "the process proper is there by then"
    );
    let word = Which::Nth { process: 1, call };
    // It tries in another way then.
    for (errno, code) in [(libc::ENOSYS, 3), (libc::ENOMEM, 3), (KILLED, 255)] {
        let traced = run_with_faults(exec(), &word, errno);
        let output = traced.output.expect("it hangs").exits(code);
        if code == 255 {
            output.says("process died before it was ready (signal 9");
        }
        assert_eq!(c.status(), "running");
        before.is_now();
    }
    c.exec(&["/probe", "exit", "3"]).exits(3);
}

#[test]
fn of_kill() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    walk_beside(
        "kill",
        &rich(),
        &|c| c.call("kill", NO_FLAGS).arg("CONT"),
        &|_, _, _| (),
        &|_| (),
    );
}

#[test]
fn of_pause_and_resume() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    let bundle = rich();
    let resume = |c: &Container<'_>| {
        if c.status() == "paused" {
            c.resume().ok();
        }
    };
    walk_beside(
        "pause",
        &bundle,
        &|c| c.call("pause", NO_FLAGS),
        &|c, _, _| {
            assert_eq!(c.status(), "paused");
            c.resume().ok();
        },
        &resume,
    );
    walk_beside(
        "resume",
        &bundle,
        &|c| {
            if c.status() == "running" {
                c.pause().ok();
            }
            c.call("resume", NO_FLAGS)
        },
        &|c, _, _| assert_eq!(c.status(), "running"),
        &resume,
    );
}

/// What only looks, or prints what vzrun knows of itself.
#[test]
fn of_the_verbs_that_change_nothing() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    let bundle = rich();
    for verb in [
        "state",
        "list",
        "ps",
        "events",
        "features",
        "--version",
        "--help",
    ] {
        walk_beside(
            verb,
            &bundle,
            &|c| match verb {
                "list" => bundle.call(["list", "--format", "json"]),
                "events" => c.call("events", &["--stats"]),
                "features" | "--version" | "--help" => bundle.call([verb]),
                _ => c.call(verb, NO_FLAGS),
            },
            &|_, output, _| assert!(!output.stdout.trim().is_empty()),
            &|_| (),
        );
    }
}

/// All of config.json or nothing is written.
#[test]
fn of_spec() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    let bundle = Bundle::new();
    let dir = bundle.home().join("spec");
    fs::create_dir(&dir).unwrap();
    let config = dir.join("config.json");
    Walk {
        name: "spec",
        prepare: &|| {
            let _ = fs::remove_file(&config);
        },
        call: &|| bundle.call(["spec", "--bundle"]).arg(&dir),
        code: 0,
        succeeded: &|_, _| {
            let text = fs::read_to_string(&config).unwrap();
            serde_json::from_str::<Value>(&text).expect("the whole config");
        },
        failed: &|| assert_eq!(fs::read_dir(&dir).unwrap().count(), 0),
        tidy: &|| {
            fs::remove_dir_all(&dir).unwrap();
            fs::create_dir(&dir).unwrap();
        },
    }
    .go();
}

#[test]
fn of_update() {
    differs!(Runc | Crun, "no claim is made for them");
    needs!(has_controller("hugetlb"), "the hugetlb controller");
    let _alone = alone();
    let bundle = rich();
    let limit = |c: &Container<'_>| {
        let text = fs::read_to_string(c.cgroup_dir().join("hugetlb.2MB.max")).unwrap();
        text.trim().to_string()
    };
    let change = |c: &Container<'_>, bytes: u32| {
        let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": bytes}]});
        c.call("update", &["--resources", "-"])
            .stdin(resources.to_string())
    };
    walk_beside(
        "update",
        &bundle,
        &|c| {
            if limit(c) != "2097152" {
                change(c, 2 << 20).run().ok();
            }
            change(c, 4 << 20)
        },
        &|c, _, _| assert_eq!(limit(c), "4194304"),
        // All or nothing.
        &|c| assert_eq!(limit(c), "2097152"),
    );
}

/// After a failure a second `delete` takes away the rest.
fn walk_delete(name: &str, bundle: &Bundle, flags: &[&str], prepare: &dyn Fn(&Container<'_>)) {
    let c = bundle.container();
    let before = Before::take(bundle);
    Walk {
        name,
        prepare: &|| prepare(&c),
        call: &|| c.call("delete", flags),
        code: 0,
        succeeded: &|_, _| before.is_now(),
        failed: &|| {
            if c.exists() {
                c.call("delete", flags).run().ok();
            }
            before.is_now();
        },
        tidy: &|| delete_force(&c),
    }
    .go();
}

#[test]
fn of_delete() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    walk_delete("delete", &rich(), NO_FLAGS, &|c| {
        c.create();
        c.kill("KILL").ok();
        c.wait_stopped();
    });
    walk_delete("delete-created", &rich(), NO_FLAGS, &|c| drop(c.create()));
    let running = |c: &Container<'_>| drop(c.run_detached());
    walk_delete("delete-force", &rich(), &["--force"], &running);
}

/// A system container: its keeper, and the boot below it, are traced as well.
fn system() -> Bundle {
    let bundle = rich();
    let annotations = json!({"io.vzrun.system": "true", "io.vzrun.sysinfo": "true"});
    bundle.set("/annotations", annotations);
    // The first that is given ids makes the directory of the leases, which stays.
    bundle.container().create();
    delete_force(&bundle.container());
    bundle
}

#[test]
fn of_create_of_a_system_container() {
    differs!(Runc | Crun, "no system containers");
    let _alone = alone();
    walk_create("create-system", &system());
}

#[test]
fn of_run_of_a_system_container() {
    differs!(Runc | Crun, "no system containers");
    let _alone = alone();
    walk_run("run-system", &system());
}

#[test]
fn of_start_of_a_system_container() {
    differs!(Runc | Crun, "no system containers");
    let _alone = alone();
    walk_start("start-system", &system());
}

#[test]
fn of_exec_in_a_system_container() {
    differs!(Runc | Crun, "no system containers");
    let _alone = alone();
    walk_exec("exec-system", &system());
}

#[test]
fn of_kill_and_delete_of_a_system_container() {
    differs!(Runc | Crun, "no system containers");
    let _alone = alone();
    walk_beside(
        "kill-system",
        &system(),
        &|c| c.call("kill", NO_FLAGS).arg("CONT"),
        &|_, _, _| (),
        &|_| (),
    );
    let running = |c: &Container<'_>| drop(c.run_detached());
    walk_delete("delete-system", &system(), &["--force"], &running);
}
