//! process.scheduler, process.ioPriority and, for exec, process.execCPUAffinity.

use integration::{Bundle, Output, Value, differs, json, needs, probe_report};

fn with_scheduler(scheduler: Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/process/scheduler", scheduler);
    bundle
}

#[track_caller]
fn refused(scheduler: Value) -> Output {
    let bundle = with_scheduler(scheduler);
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().fails()
}

/// Whether the kernel lets a cgroup without a share of it have real time at all.
fn has_real_time() -> bool {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let pid = c.pid();
    let done = std::process::Command::new("chrt")
        .args(["-f", "-p", "1", &pid.to_string()])
        .output();
    done.is_ok_and(|output| output.status.success())
}

#[test]
fn nice_is_set() {
    differs!(Runc < (1, 2), "does not know scheduler");
    let report = probe_report(&with_scheduler(json!({"policy": "SCHED_OTHER", "nice": 7})));
    assert_eq!(report["scheduler"]["policy"], "SCHED_OTHER");
    assert_eq!(report["scheduler"]["nice"], 7);
}

#[test]
fn nice_may_be_negative() {
    differs!(Runc < (1, 2), "does not know scheduler");
    let report = probe_report(&with_scheduler(
        json!({"policy": "SCHED_BATCH", "nice": -5}),
    ));
    assert_eq!(report["scheduler"]["policy"], "SCHED_BATCH");
    assert_eq!(report["scheduler"]["nice"], -5);
}

#[test]
fn idle_is_set() {
    differs!(Runc < (1, 2), "does not know scheduler");
    let report = probe_report(&with_scheduler(json!({"policy": "SCHED_IDLE"})));
    assert_eq!(report["scheduler"]["policy"], "SCHED_IDLE");
}

#[test]
fn fifo_and_round_robin_have_a_priority() {
    differs!(Runc < (1, 2), "does not know scheduler");
    needs!(has_real_time(), "a cgroup that may have real time");
    for policy in ["SCHED_FIFO", "SCHED_RR"] {
        let report = probe_report(&with_scheduler(json!({"policy": policy, "priority": 3})));
        assert_eq!(report["scheduler"]["policy"], policy);
        assert_eq!(report["scheduler"]["priority"], 3);
    }
}

#[test]
fn deadline_has_three_times() {
    differs!(
        Crun,
        "changes the affinity after it, which the kernel refuses"
    );
    differs!(Runc < (1, 2), "does not know scheduler");
    let bundle = with_scheduler(json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000,
        "period": 100_000_000,
    }));
    let scheduler = probe_report(&bundle)["scheduler"].clone();
    assert_eq!(scheduler["policy"], "SCHED_DEADLINE");
    assert_eq!(scheduler["runtime"], 1_000_000);
    assert_eq!(scheduler["deadline"], 20_000_000);
    assert_eq!(scheduler["period"], 100_000_000);
}

#[test]
fn reset_on_fork_is_a_flag() {
    differs!(Runc < (1, 2), "does not know scheduler");
    let bundle = with_scheduler(json!({
        "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    }));
    assert_eq!(probe_report(&bundle)["scheduler"]["flags"], 1);
}

#[test]
fn without_a_scheduler_all_stays() {
    let report = probe_report(&Bundle::new());
    assert_eq!(report["scheduler"]["policy"], "SCHED_OTHER");
    assert_eq!(report["scheduler"]["nice"], 0);
}

#[test]
fn a_nice_value_out_of_range_is_refused() {
    differs!(Runc < (1, 2), "does not know scheduler");
    differs!(Crun, "leaves it to the kernel, which takes the nearest");
    for nice in [-21, 20] {
        refused(json!({"policy": "SCHED_OTHER", "nice": nice})).says("nice");
    }
}

#[test]
fn a_priority_is_for_real_time_policies() {
    differs!(Runc < (1, 2), "does not know scheduler");
    refused(json!({"policy": "SCHED_OTHER", "priority": 1}))
        .says_or_crun("priority can only be specified", "sched_setattr");
}

#[test]
fn times_are_for_the_deadline_policy() {
    differs!(Runc < (1, 2), "does not know scheduler");
    differs!(Crun, "passes over them");
    refused(json!({"policy": "SCHED_OTHER", "runtime": 1})).says("runtime");
}

#[test]
fn an_unknown_policy_is_refused() {
    differs!(Runc < (1, 2), "does not know scheduler");
    refused(json!({"policy": "SCHED_NONSENSE"})).says_any(&["SCHED_NONSENSE", "policy"]);
}

#[test]
fn an_unknown_flag_is_refused() {
    differs!(Runc < (1, 2), "does not know scheduler");
    refused(json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONSENSE"]}))
        .says_any(&["SCHED_FLAG_NONSENSE", "flag"]);
}

#[test]
fn a_process_file_of_exec_brings_its_own_scheduler() {
    differs!(Runc < (1, 2), "does not know scheduler");
    let bundle = with_scheduler(json!({"policy": "SCHED_BATCH"}));
    let c = bundle.container();
    c.run_detached();
    let mut process = bundle.config()["process"].clone();
    process["args"] = json!(["/probe", "report"]);
    process["scheduler"] = json!({"policy": "SCHED_IDLE"});
    let file = bundle.home().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let flags = ["--process", file.to_str().unwrap()];
    let report = c.exec_with(&flags, &[""; 0]).ok().json();
    assert_eq!(report["scheduler"]["policy"], "SCHED_IDLE");
}

// ioPriority

fn io_priority(priority: Value) -> Value {
    let bundle = Bundle::new();
    bundle.set("/process/ioPriority", priority);
    probe_report(&bundle)["ioprio"].clone()
}

#[test]
fn io_class_and_priority_are_set() {
    differs!(Runc < (1, 2), "does not know ioPriority");
    for (class, priority, number) in [
        ("IOPRIO_CLASS_RT", 2, 1),
        ("IOPRIO_CLASS_BE", 7, 2),
        ("IOPRIO_CLASS_IDLE", 0, 3),
    ] {
        let seen = io_priority(json!({"class": class, "priority": priority}));
        assert_eq!(seen, json!({"class": number, "value": priority}), "{class}");
    }
}

#[test]
fn an_io_priority_out_of_range_is_refused() {
    differs!(Runc < (1, 2), "does not know ioPriority");
    for priority in [-1, 8] {
        let bundle = Bundle::new();
        bundle.args(&["/probe", "exit", "0"]);
        let wrong = json!({"class": "IOPRIO_CLASS_BE", "priority": priority});
        bundle.set("/process/ioPriority", wrong);
        bundle
            .container()
            .run()
            .fails()
            .says_any(&["ioPriority", "io priority"]);
    }
}

#[test]
fn an_unknown_io_class_is_refused() {
    differs!(Runc < (1, 2), "does not know ioPriority");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    bundle.set(
        "/process/ioPriority",
        json!({"class": "IOPRIO_CLASS_X", "priority": 0}),
    );
    bundle.container().run().fails();
}

#[test]
fn exec_has_the_io_priority_of_the_config() {
    differs!(Crun, "takes it from a process file only");
    differs!(Runc < (1, 2), "does not know ioPriority");
    let bundle = Bundle::new();
    let priority = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    bundle.set("/process/ioPriority", priority);
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["ioprio"], json!({"class": 2, "value": 6}));
}

// execCPUAffinity

fn affinity_of_exec(affinity: Value) -> Output {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut process = bundle.config()["process"].clone();
    process["args"] = json!(["/probe", "report"]);
    process["execCPUAffinity"] = affinity;
    let file = bundle.home().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    c.exec_with(&["--process", file.to_str().unwrap()], &[""; 0])
}

#[test]
fn the_final_affinity_of_exec_is_set() {
    differs!(Runc < (1, 3), "does not know execCPUAffinity");
    let output = affinity_of_exec(json!({"initial": "0", "final": "1"}));
    assert_eq!(output.ok().json()["cpu_affinity"], json!([1]));
}

#[test]
fn a_list_of_cpus_may_have_ranges() {
    differs!(Runc < (1, 3), "does not know execCPUAffinity");
    let output = affinity_of_exec(json!({"final": "1,0-0"}));
    assert_eq!(output.ok().json()["cpu_affinity"], json!([0, 1]));
}

#[test]
fn a_list_of_cpus_that_is_wrong_is_refused() {
    differs!(Runc | Crun, "takes a comma at the end");
    differs!(Runc < (1, 3), "does not know execCPUAffinity");
    for list in ["1-0", "x", "0,", "-1"] {
        affinity_of_exec(json!({"final": list})).fails();
    }
}

#[test]
fn exec_has_the_affinity_of_the_config() {
    differs!(Crun, "takes it from a process file only");
    differs!(Runc < (1, 3), "does not know execCPUAffinity");
    let bundle = Bundle::new();
    bundle.set("/process/execCPUAffinity", json!({"final": "1"}));
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["cpu_affinity"], json!([1]));
}

#[test]
fn the_affinity_of_exec_is_not_that_of_the_init() {
    let bundle = Bundle::new();
    bundle.set(
        "/process/execCPUAffinity",
        json!({"initial": "1", "final": "1"}),
    );
    let report = probe_report(&bundle);
    assert_eq!(report["cpu_affinity"], json!([0, 1]));
}
