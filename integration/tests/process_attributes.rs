//! What of config.json becomes an attribute of the process itself: arguments, working directory, no_new_privs,
//! oomScoreAdj, personality, session keyring, memory policy; and what a program expects to find untouched.

use integration::{Bundle, Value, differs, json, needs, probe_report};
use std::fs;

fn failing(change: impl FnOnce(&Bundle)) -> integration::Output {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    change(&bundle);
    let output = bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
    output
}

fn own_oom_score_adj() -> i64 {
    let text = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn arguments_arrive_as_they_are() {
    let bundle = Bundle::new();
    let args = ["/bin/echo", "-e", "", "a b", "*", "ä\t$HOME"];
    bundle.args(&args);
    assert_eq!(bundle.container().run().ok().stdout, " a b * ä\t$HOME\n");
}

#[test]
fn the_first_argument_stays_as_it_was_given() {
    let bundle = Bundle::new();
    bundle.args(&["cat", "/proc/self/cmdline"]);
    assert_eq!(
        bundle.container().run().ok().stdout,
        "cat\0/proc/self/cmdline\0"
    );
}

#[test]
fn many_arguments_arrive() {
    let bundle = Bundle::new();
    let mut args = vec!["/bin/echo".to_string()];
    args.extend((0..5000).map(|n| n.to_string()));
    bundle.args(&args);
    assert_eq!(
        bundle.container().run().ok().stdout.split(' ').count(),
        5000
    );
}

#[test]
fn a_nul_in_an_argument_is_refused() {
    differs!(Crun, "cuts it off");
    failing(|b| b.args(&["/probe", "exit", "0\0"]));
}

#[test]
fn the_working_directory_is_set() {
    let bundle = Bundle::new();
    bundle.set("/process/cwd", json!("/home/alice"));
    assert_eq!(probe_report(&bundle)["cwd"], "/home/alice");
}

#[test]
fn a_program_is_found_from_the_working_directory() {
    let bundle = Bundle::new();
    bundle.set("/process/cwd", json!("/bin"));
    bundle.args(&["./echo", "here"]);
    assert_eq!(bundle.container().run().ok().stdout, "here\n");
}

#[test]
fn a_missing_working_directory_is_made() {
    let bundle = Bundle::new();
    bundle.set("/process/cwd", json!("/new/one"));
    assert_eq!(probe_report(&bundle)["cwd"], "/new/one");
    assert!(bundle.rootfs("/new/one").is_dir());
}

#[test]
fn a_file_is_no_working_directory() {
    failing(|b| b.set("/process/cwd", json!("/etc/passwd")))
        .says_any(&["not a directory", "file exists"]);
}

#[test]
fn a_working_directory_must_be_absolute() {
    differs!(Crun, "takes it from the root");
    for cwd in ["", "tmp", "./tmp"] {
        failing(|b| b.set("/process/cwd", json!(cwd))).says("cwd");
    }
}

#[test]
fn a_working_directory_may_be_one_that_only_root_can_enter() {
    use std::os::unix::fs::PermissionsExt;
    let bundle = Bundle::new();
    fs::create_dir(bundle.rootfs("/closed")).unwrap();
    fs::set_permissions(bundle.rootfs("/closed"), fs::Permissions::from_mode(0o700)).unwrap();
    bundle.set("/process/cwd", json!("/closed"));
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.set("/process/capabilities", json!({}));
    assert_eq!(probe_report(&bundle)["cwd"], "/closed");
}

#[test]
fn a_working_directory_by_descriptor_does_not_lead_out() {
    for fd in 3..12 {
        let bundle = Bundle::new();
        bundle.set("/process/cwd", json!(format!("/proc/self/fd/{fd}")));
        bundle.args(&["/bin/ls", "../../../../../../../../tmp/vzrun-it"]);
        let output = bundle.container().run();
        assert_ne!(output.code(), Some(0), "{}", output.describe());
    }
}

#[test]
fn no_new_privs_is_as_the_config_says() {
    for wanted in [true, false] {
        let bundle = Bundle::new();
        bundle.set("/process/noNewPrivileges", json!(wanted));
        assert_eq!(probe_report(&bundle)["no_new_privs"], wanted);
    }
}

#[test]
fn no_new_privs_is_off_by_default() {
    let bundle = Bundle::new();
    bundle.remove("/process/noNewPrivileges");
    assert_eq!(probe_report(&bundle)["no_new_privs"], false);
}

#[test]
fn oom_score_adj_is_set() {
    let bundle = Bundle::new();
    bundle.set("/process/oomScoreAdj", json!(321));
    assert_eq!(probe_report(&bundle)["oom_score_adj"], 321);
}

#[test]
fn oom_score_adj_0_is_not_absent() {
    // From a caller with another value: what comes of a raised one needs no privilege.
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    for (value, wanted) in [(json!(500), 500), (Value::Null, 400)] {
        bundle.set("/process/oomScoreAdj", value);
        let io = bundle.home().join("io");
        let output = integration::Call::of("choom", &io)
            .args(["-n", "400", "--"])
            .arg(integration::Runtime::get().path())
            .arg("--root")
            .arg(bundle.root())
            .args(["run", "--bundle"])
            .arg(bundle.dir())
            .arg(bundle.id())
            .run();
        assert_eq!(output.ok().json()["oom_score_adj"], wanted);
    }
}

#[test]
fn without_oom_score_adj_the_callers_stays() {
    let report = probe_report(&Bundle::new());
    assert_eq!(report["oom_score_adj"], own_oom_score_adj());
}

#[test]
fn an_oom_score_adj_out_of_range_is_refused() {
    differs!(Crun, "leaves its cgroup behind");
    for value in [1001, -1001] {
        failing(|b| b.set("/process/oomScoreAdj", json!(value)));
    }
}

#[test]
fn exec_has_the_oom_score_adj_of_the_config() {
    differs!(Crun, "leaves the caller's");
    let bundle = Bundle::new();
    bundle.set("/process/oomScoreAdj", json!(123));
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["oom_score_adj"], 123);
}

#[test]
fn personality_linux32_is_another_machine() {
    differs!(Runc < (1, 2), "does not know personality");
    needs!(cfg!(target_arch = "x86_64"), "x86-64");
    let bundle = Bundle::new();
    bundle.set("/linux/personality", json!({"domain": "LINUX32"}));
    let report = probe_report(&bundle);
    assert_eq!(
        (&report["machine"], &report["personality"]),
        (&json!("i686"), &json!(8))
    );
}

#[test]
fn personality_linux_is_the_usual_one() {
    let bundle = Bundle::new();
    bundle.set("/linux/personality", json!({"domain": "LINUX"}));
    let report = probe_report(&bundle);
    assert_eq!(report["machine"], std::env::consts::ARCH);
    assert_eq!(report["personality"], 0);
}

#[test]
fn exec_has_the_personality_of_the_config() {
    differs!(Runc < (1, 2), "does not know personality");
    needs!(cfg!(target_arch = "x86_64"), "x86-64");
    let bundle = Bundle::new();
    bundle.set("/linux/personality", json!({"domain": "LINUX32"}));
    let c = bundle.container();
    c.run_detached();
    assert_eq!(c.exec(&["/bin/uname", "-m"]).ok().stdout, "i686\n");
}

#[test]
fn an_unknown_personality_is_refused() {
    differs!(Runc < (1, 2), "does not know personality");
    failing(|b| b.set("/linux/personality", json!({"domain": "SOLARIS"}))).says_any(&[
        "SOLARIS",
        "personality",
        "domain",
    ]);
}

#[test]
fn the_session_keyring_is_the_containers() {
    let bundle = Bundle::new();
    let description = probe_report(&bundle)["keyring"]["description"].clone();
    let name = format!("_ses.{}", bundle.id());
    let text = description.as_str().unwrap();
    differs!(Crun, "names it after the container alone");
    assert!(text.ends_with(&name), "{text}");
}

#[test]
fn the_user_may_search_the_session_keyring() {
    differs!(Crun, "leaves the kernel's default");
    let bundle = Bundle::new();
    let description = probe_report(&bundle)["keyring"]["description"].clone();
    let permissions = description.as_str().unwrap().split(';').nth(3).unwrap();
    let bits = u32::from_str_radix(permissions, 16).unwrap();
    assert_ne!(bits & 0x80000, 0, "{permissions}");
}

#[test]
fn two_containers_have_two_keyrings() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let id = |name| {
        let output = bundle.container_named(name).run();
        output.ok().json()["keyring"]["id"].clone()
    };
    assert_ne!(id("one"), id("two"));
}

#[test]
fn exec_has_the_keyring_of_the_container() {
    differs!(Crun, "leaves exec in the caller's");
    let bundle = Bundle::new();
    bundle.args(&[
        "/bin/sh",
        "-c",
        "/probe report /tmp/report; exec /probe sleep-forever",
    ]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let text = fs::read_to_string(bundle.rootfs("/tmp/report")).unwrap();
    let first: Value = serde_json::from_str(&text).unwrap();
    let second = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(
        first["keyring"]["description"],
        second["keyring"]["description"]
    );
}

#[test]
fn no_new_keyring_leaves_the_callers() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let report = c.call("run", &["--no-new-keyring"]).run().ok().json();
    let description = report["keyring"]["description"]
        .as_str()
        .unwrap_or_default();
    assert!(!description.contains(bundle.id()), "{description}");
}

#[test]
fn a_memory_policy_is_set() {
    differs!(Runc < (1, 4), "does not know memoryPolicy");
    differs!(Crun < (1, 26), "does not know memoryPolicy");
    let bundle = Bundle::new();
    bundle.set(
        "/linux/memoryPolicy",
        json!({"mode": "MPOL_BIND", "nodes": "0"}),
    );
    let policy = probe_report(&bundle)["mempolicy"].clone();
    assert_eq!(policy, json!({"mode": 2, "nodes": [0]}));
}

#[test]
fn a_memory_policy_has_flags() {
    differs!(Runc < (1, 4), "does not know memoryPolicy");
    differs!(Crun < (1, 26), "does not know memoryPolicy");
    let bundle = Bundle::new();
    let policy = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    bundle.set("/linux/memoryPolicy", policy);
    assert_eq!(probe_report(&bundle)["mempolicy"]["mode"], 3 | 1 << 15);
}

#[test]
fn a_memory_policy_that_contradicts_itself_is_refused() {
    differs!(Runc < (1, 4), "does not know memoryPolicy");
    differs!(Crun < (1, 26), "does not know memoryPolicy");
    for policy in [
        json!({"mode": "MPOL_BIND"}),
        json!({"mode": "MPOL_DEFAULT", "nodes": "0"}),
        json!({"mode": "MPOL_BIND", "nodes": "x"}),
        json!({"mode": "MPOL_NONSENSE"}),
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONSENSE"]}),
    ] {
        failing(|b| b.set("/linux/memoryPolicy", policy));
    }
}

#[test]
fn intel_rdt_needs_resctrl() {
    needs!(
        !std::path::Path::new("/sys/fs/resctrl/schemata").exists(),
        "a host without resctrl"
    );
    differs!(Crun, "leaves its cgroup behind");
    let rdt = json!({"l3CacheSchema": "L3:0=f"});
    failing(|b| b.set("/linux/intelRdt", rdt)).says("intelRdt");
}

#[test]
fn intel_rdt_names_lead_nowhere_else() {
    differs!(Crun, "does not look at it before it fails");
    differs!(Runc < (1, 2), "does not look at them");
    for name in ["..", ".", "a/b"] {
        failing(|b| b.set("/linux/intelRdt", json!({"closID": name}))).says("closID");
    }
}

#[test]
fn signals_are_neither_blocked_nor_ignored() {
    differs!(Runc, "leaves TSTP, TTIN and TTOU ignored");
    let report = probe_report(&Bundle::new());
    assert_eq!(report["signals_blocked"], json!([]));
    assert_eq!(report["signals_ignored"], json!([]));
}

#[test]
fn signals_that_the_caller_ignores_are_not_ignored_inside() {
    differs!(Runc | Crun, "hands them on");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let io = bundle.home().join("io");
    let output = integration::Call::of("sh", &io)
        .args(["-c", "trap '' PIPE USR1 HUP; exec \"$@\"", "sh"])
        .arg(integration::Runtime::get().path())
        .arg("--root")
        .arg(bundle.root())
        .args(["run", "--bundle"])
        .arg(bundle.dir())
        .arg(bundle.id())
        .run();
    assert_eq!(output.ok().json()["signals_ignored"], json!([]));
}

#[test]
fn the_process_may_dump_core_and_outlives_the_runtime() {
    let report = probe_report(&Bundle::new());
    assert_eq!(
        (&report["dumpable"], &report["pdeathsig"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn the_process_leads_its_session() {
    let report = probe_report(&Bundle::new());
    for id in ["pid", "sid", "pgid"] {
        assert_eq!(report[id], 1, "{id}");
    }
}

#[test]
fn only_the_three_standard_descriptors_are_open() {
    let report = probe_report(&Bundle::new());
    let fds = report["fds"].as_array().unwrap();
    let numbers: Vec<_> = fds.iter().map(|fd| fd["fd"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn exec_makes_no_keyring_for_a_container_without_one() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.call("run", &["--detach", "--no-new-keyring"]).run().ok();
    let report = c.exec(&["/probe", "report"]).ok().json();
    let description = report["keyring"]["description"]
        .as_str()
        .unwrap_or_default();
    assert!(!description.contains(bundle.id()), "{description}");
}

#[test]
fn a_rootless_container_keeps_an_oom_score_adj_that_it_may_not_lower() {
    differs!(Runc | Crun, "fails");
    let bundle = Bundle::rootless(1000, 1000);
    bundle.set("/process/oomScoreAdj", json!(-500));
    let report = probe_report(&bundle);
    assert_eq!(report["oom_score_adj"], own_oom_score_adj());
}

#[test]
fn a_rootless_container_may_raise_its_oom_score_adj() {
    let bundle = Bundle::rootless(1000, 1000);
    bundle.set("/process/oomScoreAdj", json!(600));
    assert_eq!(probe_report(&bundle)["oom_score_adj"], 600);
}
