//! linux.seccomp: what the calls of a container's processes come to under its filter.

use integration::{Bundle, Kind, Runtime, Value, differs, json, needs};

/// A bundle whose process makes these calls under this filter.
fn calling(seccomp: Value, calls: &[String]) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/linux/seccomp", seccomp);
    let mut args = vec!["/probe".to_string(), "call".to_string()];
    args.extend_from_slice(calls);
    bundle.args(&args);
    bundle
}

/// The answers to these calls under this filter, in their order.
#[track_caller]
fn answers(seccomp: Value, calls: &[&str]) -> Vec<Value> {
    let calls: Vec<String> = calls.iter().map(|call| numbered(call)).collect();
    let answers = calling(seccomp, &calls).container().run().ok().json();
    calls.iter().map(|call| answers[call].clone()).collect()
}

/// `getppid,1` with the name's number.
fn numbered(call: &str) -> String {
    let start = call.rfind(':').map_or(0, |at| at + 1);
    let (abi, rest) = call.split_at(start);
    let (name, args) = rest.split_once(',').unwrap_or((rest, ""));
    let number = match name {
        "getppid" => libc::SYS_getppid.to_string(),
        "getpgid" => libc::SYS_getpgid.to_string(),
        "getsid" => libc::SYS_getsid.to_string(),
        "getpriority" => libc::SYS_getpriority.to_string(),
        "personality" => libc::SYS_personality.to_string(),
        "sync" => libc::SYS_sync.to_string(),
        "kcmp" => libc::SYS_kcmp.to_string(),
        "add_key" => libc::SYS_add_key.to_string(),
        number => number.to_string(),
    };
    match args {
        "" => format!("{abi}{number}"),
        args => format!("{abi}{number},{args}"),
    }
}

/// Everything is allowed but this.
fn but(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

fn rule(name: &str, action: &str) -> Value {
    json!({"names": [name], "action": action})
}

#[test]
fn an_empty_filter_allows_everything() {
    let found = answers(json!({"defaultAction": "SCMP_ACT_ALLOW"}), &["getppid"]);
    assert!(found[0].is_number(), "{found:?}");
}

#[test]
fn the_process_is_in_filter_mode() {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        but(json!([rule("kcmp", "SCMP_ACT_ERRNO")])),
    );
    bundle.args(&["/probe", "read", "/proc/self/status"]);
    let status = bundle.container().run().ok().stdout;
    assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    assert!(status.contains("\nSeccomp_filters:\t1\n"), "{status}");
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
}

#[test]
fn no_profile_is_no_filter() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "read", "/proc/self/status"]);
    let status = bundle.container().run().ok().stdout;
    assert!(status.contains("\nSeccomp:\t0\n"), "{status}");
}

#[test]
fn errno_is_eperm_unless_the_rule_names_another() {
    let rules = json!([
        rule("getppid", "SCMP_ACT_ERRNO"),
        {"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11},
        {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    ]);
    let found = answers(but(rules), &["getppid", "getsid,0", "getpgid,0", "sync"]);
    assert_eq!(
        found,
        [json!("EPERM"), json!("EAGAIN"), json!("ENOSYS"), json!(0)]
    );
}

#[test]
fn errno_zero_is_success_without_the_call() {
    let rules = json!([{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}]);
    assert_eq!(answers(but(rules), &["getppid"]), [json!(0)]);
}

#[test]
fn a_trapped_call_raises_sigsys() {
    let found = answers(but(json!([rule("getsid", "SCMP_ACT_TRAP")])), &["getsid,0"]);
    let text = found[0].as_str().unwrap();
    let wanted = format!("trap {} ", libc::SYS_getsid);
    assert!(text.starts_with(&wanted), "{text}");
}

#[test]
fn kill_process_ends_all_of_it() {
    let rules = json!([rule("getsid", "SCMP_ACT_KILL_PROCESS")]);
    let found = answers(but(rules), &["getsid,0", "thread:getsid,0", "getppid"]);
    assert_eq!(found[..2], [json!("signal 31"), json!("signal 31")]);
    assert!(found[2].is_number());
}

#[test]
fn kill_ends_the_thread() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let found = answers(
            but(json!([rule("getsid", action)])),
            &["getsid,0", "thread:getsid,0"],
        );
        assert_eq!(
            found,
            [json!("signal 31"), json!("thread killed")],
            "{action}"
        );
    }
}

#[test]
fn a_logged_call_is_made() {
    let rules = json!([rule("getppid", "SCMP_ACT_LOG")]);
    assert!(answers(but(rules), &["getppid"])[0].is_number());
}

#[test]
fn a_traced_call_without_a_tracer_is_not_there() {
    let rules = json!([rule("getppid", "SCMP_ACT_TRACE")]);
    assert_eq!(answers(but(rules), &["getppid"]), [json!("ENOSYS")]);
}

#[test]
fn the_signal_of_a_killed_init_is_the_exit_code() {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        but(json!([rule("getsid", "SCMP_ACT_KILL_PROCESS")])),
    );
    bundle.args(&[
        "/probe",
        "try",
        "syscall",
        &libc::SYS_getsid.to_string(),
        "0",
    ]);
    bundle.container().run().exits(128 + 31);
}

#[test]
fn unknown_names_are_passed_over() {
    let rules = json!([
        {"names": ["no_such_call", "getppid"], "action": "SCMP_ACT_ERRNO"},
        rule("nor_this", "SCMP_ACT_KILL"),
    ]);
    let found = answers(but(rules), &["getppid", "sync"]);
    assert_eq!(found, [json!("EPERM"), json!(0)]);
}

#[test]
fn unknown_names_fail_where_the_annotation_says_so() {
    differs!(Runc, "it does not know the annotation");
    let bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        but(json!([rule("no_such_call", "SCMP_ACT_ERRNO")])),
    );
    bundle.set(
        "/annotations",
        json!({"run.oci.seccomp_fail_unknown_syscall": "1"}),
    );
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().fails().says("no_such_call");
}

/// Each operator on the second argument of getpriority(2), whose first makes it fail with EINVAL where it is let through.
#[test]
fn every_operator_compares_an_argument() {
    type Case = (&'static str, u64, u64, &'static [i64], &'static [i64]);
    const BIG: u64 = 1 << 32;
    let table: &[Case] = &[
        ("SCMP_CMP_EQ", 7, 0, &[7], &[6, 8, 7 + (1 << 32)]),
        ("SCMP_CMP_NE", 7, 0, &[6, 8, 7 + (1 << 32)], &[7]),
        ("SCMP_CMP_LT", 7, 0, &[0, 6], &[7, 8, 1 << 32, -1]),
        ("SCMP_CMP_LE", 7, 0, &[0, 7], &[8, 1 << 32, -1]),
        ("SCMP_CMP_GT", 7, 0, &[8, 1 << 32, -1], &[0, 6, 7]),
        ("SCMP_CMP_GE", 7, 0, &[7, 1 << 32, -1], &[0, 6]),
        (
            "SCMP_CMP_GT",
            BIG,
            0,
            &[BIG as i64 + 1],
            &[0, BIG as i64, u32::MAX as i64],
        ),
        (
            "SCMP_CMP_LT",
            BIG,
            0,
            &[0, u32::MAX as i64],
            &[BIG as i64, BIG as i64 + 1],
        ),
        (
            "SCMP_CMP_MASKED_EQ",
            0xf0,
            0x30,
            &[0x30, 0x3f, 0x130],
            &[0x20, 0x70, 0],
        ),
    ];
    for (op, value, value_two, hit, miss) in table {
        let rules = json!([{
            "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
            "args": [{"index": 1, "value": value, "valueTwo": value_two, "op": op}],
        }]);
        let calls: Vec<String> = hit
            .iter()
            .chain(*miss)
            .map(|n| format!("getpriority,99,{n}"))
            .collect();
        let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
        let found = answers(but(rules), &calls);
        for (at, answer) in found.iter().enumerate() {
            let wanted = if at < hit.len() {
                "EOPNOTSUPP"
            } else {
                "EINVAL"
            };
            assert_eq!(answer, wanted, "{op} {value:#x}: {}", calls[at]);
        }
    }
}

#[test]
fn several_conditions_must_all_hold() {
    let rules = json!([{
        "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
        "args": [
            {"index": 0, "value": 99, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 7, "op": "SCMP_CMP_GE"},
        ],
    }]);
    let found = answers(
        but(rules),
        &["getpriority,99,7", "getpriority,98,7", "getpriority,99,6"],
    );
    assert_eq!(
        found,
        [json!("EOPNOTSUPP"), json!("EINVAL"), json!("EINVAL")]
    );
}

/// libseccomp takes one condition an argument: runc makes rules of their own out of several, so one is enough.
#[test]
fn of_several_conditions_on_one_argument_one_is_enough() {
    let rules = json!([{
        "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
        "args": [
            {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"},
        ],
    }]);
    let found = answers(
        but(rules),
        &["getpriority,99,5", "getpriority,99,7", "getpriority,99,6"],
    );
    assert_eq!(
        found,
        [json!("EOPNOTSUPP"), json!("EOPNOTSUPP"), json!("EINVAL")]
    );
}

#[test]
fn a_default_of_errno_has_its_own_number() {
    let mut names = STATIC_PROGRAM.to_vec();
    names.extend(ENOUGH_FOR_RUNC);
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 95,
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    });
    assert_eq!(answers(profile, &["getsid,0"]), [json!("EOPNOTSUPP")]);
}

/// The working directory is looked at with this call (CVE-2024-21626).
#[test]
fn getcwd_can_be_denied() {
    differs!(Runc, "asks for the working directory under the filter");
    for no_new_privileges in [false, true] {
        let rules = json!([
            rule("getcwd", "SCMP_ACT_ERRNO"),
            rule("getsid", "SCMP_ACT_ERRNO")
        ]);
        let bundle = calling(but(rules), &[numbered("getsid,0")]);
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let found = bundle.container().run().ok().json();
        assert_eq!(found[numbered("getsid,0")], "EPERM", "{found:?}");
    }
}

/// Not even a process's own end is allowed: it comes all the same.
#[test]
fn where_everything_is_refused_nothing_stays() {
    for no_new_privileges in [false, true] {
        let bundle = calling(json!({"defaultAction": "SCMP_ACT_ERRNO"}), &[]);
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let output = bundle.container().run();
        assert_ne!(output.code(), Some(0), "{output:?}");
        assert_eq!(bundle.leftovers(), [""; 0], "{no_new_privileges}");
    }
}

/// A program asks for a new call and falls back on ENOSYS; on EPERM it would give up.
#[test]
fn calls_newer_than_the_profile_are_not_there() {
    differs!(Crun, "gives the default error");
    let mut names = STATIC_PROGRAM.to_vec();
    names.extend(ENOUGH_FOR_RUNC);
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    });
    let found = answers(profile, &["getsid,0", "999", "1000000"]);
    assert_eq!(found, [json!("EPERM"), json!("ENOSYS"), json!("ENOSYS")]);
}

#[test]
fn new_calls_are_allowed_where_the_default_is() {
    // No such call in the kernel: its own ENOSYS.
    let found = answers(but(json!([rule("getsid", "SCMP_ACT_ERRNO")])), &["9999"]);
    assert_eq!(found, [json!("ENOSYS")]);
}

#[test]
fn an_architecture_that_is_not_named_is_killed() {
    needs!(cfg!(target_arch = "x86_64"), "x86-64");
    let rules = json!([rule("kcmp", "SCMP_ACT_ERRNO")]);
    // getpid, by int 0x80 and with the bit of x32
    let found = answers(but(rules), &["i386:20", "x32:39", "getppid"]);
    assert_eq!(found[..2], [json!("signal 31"), json!("signal 31")]);
    assert!(found[2].is_number());
}

#[test]
fn named_architectures_have_their_own_numbers() {
    needs!(cfg!(target_arch = "x86_64"), "x86-64");
    let mut profile =
        but(json!([{"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]));
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    // 147 is getsid on i386 and x32's is that of x86-64; 20 is i386's getpid and x86-64's writev.
    let found = answers(
        profile,
        &[
            "getsid,0",
            "i386:147,0",
            "x32:124,0",
            "i386:20",
            "i386:124,0",
        ],
    );
    assert_eq!(
        found[..3],
        [
            json!("EOPNOTSUPP"),
            json!("EOPNOTSUPP"),
            json!("EOPNOTSUPP")
        ]
    );
    assert!(found[3].is_number(), "{found:?}");
    assert_ne!(found[4], "EOPNOTSUPP");
}

#[test]
fn arguments_of_32_bit_calls_are_compared() {
    needs!(cfg!(target_arch = "x86_64"), "x86-64");
    let mut profile = but(json!([{
        "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
        "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}],
    }]));
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    let found = answers(profile, &["i386:96,99,7", "i386:96,99,8"]);
    assert_eq!(found, [json!("EOPNOTSUPP"), json!("EINVAL")]);
}

/// What /probe, a static program, needs for its own work.
const STATIC_PROGRAM: &[&str] = &[
    "execve",
    "exit_group",
    "exit",
    "arch_prctl",
    "set_tid_address",
    "brk",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "write",
    "writev",
    "read",
    "close",
    "pipe2",
    "fork",
    "clone",
    "wait4",
    "rt_sigaction",
    "rt_sigprocmask",
    "sigaltstack",
    "gettid",
    "tkill",
    "ioctl",
    "poll",
];

/// What runc needs beside that, between its filter and execve(2) (of Go's runtime, most of it).
const ENOUGH_FOR_RUNC: &[&str] = &[
    "openat",
    "openat2",
    "futex",
    "nanosleep",
    "clock_nanosleep",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_create1",
    "eventfd2",
    "fcntl",
    "fstat",
    "fstatfs",
    "newfstatat",
    "getdents64",
    "close_range",
    "getpid",
    "getppid",
    "prctl",
    "rt_sigreturn",
    "sched_yield",
    "sched_getaffinity",
    "madvise",
    "clone3",
    "set_robust_list",
    "rseq",
    "tgkill",
    "getrandom",
    "prlimit64",
    "setrlimit",
    "statx",
    "faccessat2",
    "faccessat",
    "capget",
    "lseek",
    "dup3",
    "getsockopt",
];

/// What runc's init does after its filter where that comes before the capabilities are dropped.
const WITHOUT_NO_NEW_PRIVS: &[&str] = &[
    "getuid",
    "getgid",
    "geteuid",
    "getegid",
    "setgroups",
    "setgid",
    "setuid",
    "setresgid",
    "setresuid",
    "capset",
    "chdir",
    "getcwd",
    "fchown",
    "fchownat",
    "fstatat64",
    "setfsuid",
    "readlinkat",
    "readlink",
    "umask",
    "unlinkat",
];

fn allow(names: &[&[&str]]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names.concat(), "action": "SCMP_ACT_ALLOW"}],
    })
}

#[test]
fn a_strict_list_is_enough_with_no_new_privs() {
    let found = answers(
        allow(&[STATIC_PROGRAM, ENOUGH_FOR_RUNC]),
        &["getsid,0", "sync"],
    );
    assert_eq!(found, [json!("EPERM"), json!("EPERM")]);
}

#[test]
fn a_strict_list_is_enough_without_no_new_privs() {
    differs!(Crun, "needs sendmsg and others too");
    let bundle = Bundle::new();
    bundle.set("/process/noNewPrivileges", json!(false));
    let names = [STATIC_PROGRAM, ENOUGH_FOR_RUNC, WITHOUT_NO_NEW_PRIVS];
    bundle.set("/linux/seccomp", allow(&names));
    let call = numbered("getsid,0");
    bundle.args(&["/probe", "call", &call]);
    let c = bundle.container();
    c.create();
    c.start();
    c.wait_stopped();
    assert_eq!(c.stdout().trim(), json!({call: "EPERM"}).to_string());
}

/// With no_new_privs the filter need not allow anything for the runtime but the execve(2).
#[test]
fn the_runtime_needs_only_execve_with_no_new_privs() {
    differs!(Runc | Crun, "their own calls have to be allowed too");
    let bundle = Bundle::new();
    let own = [
        "execve",
        "exit_group",
        "arch_prctl",
        "set_tid_address",
        "brk",
        "mmap",
        "rt_sigaction",
        "mprotect",
    ];
    bundle.set("/linux/seccomp", allow(&[&own]));
    bundle.args(&["/probe", "exit", "7"]);
    bundle.container().run().exits(7);
    let c = bundle.container();
    c.create();
    c.start();
    c.wait_stopped();
}

#[test]
fn a_filter_that_refuses_execve_is_an_error() {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        but(json!([rule("execve", "SCMP_ACT_ERRNO")])),
    );
    bundle.args(&["/probe", "exit", "0"]);
    bundle
        .container()
        .run()
        .fails()
        .says("operation not permitted");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn without_no_new_privs_the_filter_is_there_too() {
    for user in [0, 1000] {
        let bundle = calling(
            but(json!([rule("getsid", "SCMP_ACT_ERRNO")])),
            &[numbered("getsid,0")],
        );
        bundle.set("/process/noNewPrivileges", json!(false));
        bundle.set("/process/user/uid", json!(user));
        let found = bundle.container().run().ok().json();
        assert_eq!(found[numbered("getsid,0")], "EPERM");
        bundle.args(&["/probe", "read", "/proc/self/status"]);
        let status = bundle.container().run().ok().stdout;
        assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
        assert!(status.contains("\nNoNewPrivs:\t0\n"), "{status}");
    }
}

#[test]
fn detached_and_created_containers_have_it() {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        but(json!([rule("getsid", "SCMP_ACT_ERRNO")])),
    );
    bundle.args(&[
        "/bin/sh",
        "-c",
        "/probe try syscall 124 0; exec /probe sleep-forever",
    ]);
    needs!(cfg!(target_arch = "x86_64"), "x86-64");
    let c = bundle.container();
    c.run_detached();
    c.wait_line("EPERM");
    c.delete_force().ok();
    let c = bundle.container();
    c.create();
    c.start();
    c.wait_line("EPERM");
}

#[test]
fn start_container_hooks_have_it_with_the_program() {
    let bundle = Bundle::new();
    let rules = json!([{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]);
    bundle.set("/linux/seccomp", but(rules));
    let script = "/probe try sethostname x > /hook";
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    bundle.push("/hooks/startContainer", hook);
    bundle.args(&["/bin/sh", "-c", "/probe read /hook"]);
    let said = bundle.container().run().ok().stdout;
    assert_eq!(said.trim(), "EOPNOTSUPP");
}

#[test]
fn create_runtime_hooks_do_not_have_it() {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        but(json!([rule("sync", "SCMP_ACT_ERRNO")])),
    );
    let out = bundle.home().join("out");
    let script = format!(
        "/usr/bin/grep Seccomp: /proc/self/status > {}",
        out.display()
    );
    bundle.push(
        "/hooks/createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script]}),
    );
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().ok();
    assert_eq!(std::fs::read_to_string(out).unwrap().trim(), "Seccomp:\t0");
}

#[test]
fn flags_are_taken() {
    differs!(Runc < (1, 2), "knows no flags");
    let flags = [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
        json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        json!([
            "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
        ]),
    ];
    for flags in flags {
        let mut profile = but(json!([rule("getsid", "SCMP_ACT_ERRNO")]));
        profile["flags"] = flags;
        assert_eq!(answers(profile, &["getsid,0"]), [json!("EPERM")]);
    }
}

/// Without SPEC_ALLOW the kernel switches a mitigation on that costs much.
#[test]
fn speculation_is_left_alone_unless_the_flags_are_there_without_it() {
    differs!(Crun, "sets no flag by itself");
    differs!(Runc < (1, 2), "knows no flags");
    let store_bypass = |flags: Option<Value>| {
        let bundle = Bundle::new();
        let mut profile = but(json!([rule("getsid", "SCMP_ACT_ERRNO")]));
        if let Some(flags) = flags {
            profile["flags"] = flags;
        }
        bundle.set("/linux/seccomp", profile);
        bundle.args(&["/probe", "read", "/proc/self/status"]);
        let status = bundle.container().run().ok().stdout;
        let line = status
            .lines()
            .find(|l| l.starts_with("Speculation_Store_Bypass"));
        line.unwrap_or_default().to_string()
    };
    let none = std::fs::read_to_string("/proc/self/status").unwrap();
    let none = none
        .lines()
        .find(|l| l.starts_with("Speculation_Store_Bypass"));
    assert_eq!(store_bypass(None), none.unwrap_or_default());
    assert_eq!(
        store_bypass(Some(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]))),
        none.unwrap_or_default()
    );
}

#[test]
fn bad_profiles_are_refused() {
    let rules = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let condition = |condition: Value| {
        rules(json!({"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "args": [condition]}))
    };
    let runtime = Runtime::get();
    let no_flag = match runtime.kind() {
        // It knows none at all.
        Kind::Runc if runtime.version() < (1, 2) => "seccomp flags are not yet supported",
        _ => "seccomp flag SECCOMP_FILTER_FLAG_NOSUCH is not known to",
    };
    let mut table = vec![
        (
            json!({"defaultAction": "SCMP_ACT_NOSUCH"}),
            "string SCMP_ACT_NOSUCH is not a valid action for seccomp",
        ),
        (
            json!({"syscalls": [rule("getsid", "SCMP_ACT_ERRNO")]}),
            "string  is not a valid action for seccomp",
        ),
        (
            rules(rule("getsid", "SCMP_ACT_NOSUCH")),
            "string SCMP_ACT_NOSUCH is not a valid action for seccomp",
        ),
        (
            rules(json!({"names": ["getsid"]})),
            "string  is not a valid action for seccomp",
        ),
        (
            condition(json!({"index": 0, "value": 1, "op": "SCMP_CMP_NOSUCH"})),
            "string SCMP_CMP_NOSUCH is not a valid operator for seccomp",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"]}),
            "string SCMP_ARCH_NOSUCH is not a valid arch for seccomp",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}),
            "",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NOSUCH"]}),
            no_flag,
        ),
        (
            condition(json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})),
            "error creating seccomp syscall condition for syscall getsid: syscalls only have up to 6 arguments (6 given)",
        ),
    ];
    if runtime.kind() == Kind::Crun {
        // Its own words, without which one it is.
        table.iter_mut().for_each(|(_, word)| *word = "");
    }
    for (profile, word) in table {
        let bundle = Bundle::new();
        bundle.set("/linux/seccomp", profile.clone());
        bundle.args(&["/probe", "exit", "0"]);
        let output = bundle.container().run();
        assert!(output.code() != Some(0), "{profile}");
        output.fails().says(word);
        assert_eq!(bundle.leftovers(), [""; 0], "{profile}");
    }
}

/// Nothing is said, so nothing is asked for.
#[test]
fn a_profile_without_anything_is_no_filter() {
    differs!(Crun, "wants a default action");
    for profile in [json!({}), json!({"defaultAction": ""}), Value::Null] {
        let bundle = Bundle::new();
        bundle.set("/linux/seccomp", profile);
        bundle.args(&["/probe", "read", "/proc/self/status"]);
        let status = bundle.container().run().ok().stdout;
        assert!(status.contains("\nSeccomp:\t0\n"), "{status}");
    }
}

#[test]
fn an_empty_name_is_refused() {
    differs!(Crun, "passes it over");
    let bundle = Bundle::new();
    bundle.set("/linux/seccomp", but(json!([rule("", "SCMP_ACT_ERRNO")])));
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().fails();
}

#[test]
fn rootless_containers_have_it() {
    for no_new_privs in [true, false] {
        let bundle = Bundle::rootless(1000, 1000);
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        bundle.set(
            "/linux/seccomp",
            but(json!([{"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}])),
        );
        let call = numbered("getsid,0");
        bundle.args(&["/probe", "call", &call]);
        let found = bundle.container().run().ok().json();
        assert_eq!(found[&call], "EOPNOTSUPP");
    }
}

#[test]
fn a_long_profile_is_taken() {
    // Some hundreds of rules with conditions, as real profiles that were recorded have.
    let conditions = (0..300u64).map(|n| {
        json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
            "args": [{"index": 1, "value": n * 3, "op": "SCMP_CMP_EQ"}]})
    });
    let rules: Vec<Value> = conditions.collect();
    let found = answers(
        but(json!(rules)),
        &["getpriority,99,897", "getpriority,99,898"],
    );
    assert_eq!(found, [json!("EOPNOTSUPP"), json!("EINVAL")]);
}

#[test]
fn a_profile_that_is_too_long_for_the_kernel_says_so() {
    differs!(Runc | Crun, "the kernel's or the library's own words");
    let conditions = (0..5000u64).map(|n| {
        json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
            "args": [{"index": 1, "value": n * 3, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": n, "op": "SCMP_CMP_NE"}]})
    });
    let rules: Vec<Value> = conditions.collect();
    let bundle = Bundle::new();
    bundle.set("/linux/seccomp", but(json!(rules)));
    bundle.args(&["/probe", "exit", "0"]);
    let output = bundle.container().run();
    let said = output.fails().stderr.clone();
    let words: Vec<&str> = said.split(' ').collect();
    let number = |word: &str| {
        let at = words.iter().position(|one| *one == word).unwrap();
        words[at - 1].parse::<usize>().unwrap()
    };
    assert!(said.contains("the kernel takes (4096)"), "{said}");
    assert_eq!(number("instructions,"), number("more") + 4096, "{said}");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn features_tells_what_is_supported() {
    let bundle = Bundle::new();
    let features = bundle.bare_call().arg("features").run().ok().json();
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    let has = |list: &str, name: &str| {
        let list = seccomp[list].as_array().unwrap();
        list.iter().any(|item| item == name)
    };
    for name in [
        "KILL",
        "KILL_PROCESS",
        "KILL_THREAD",
        "TRAP",
        "ERRNO",
        "TRACE",
        "ALLOW",
        "LOG",
        "NOTIFY",
    ] {
        assert!(has("actions", &format!("SCMP_ACT_{name}")), "{name}");
    }
    for name in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        assert!(has("operators", &format!("SCMP_CMP_{name}")), "{name}");
    }
    differs!(Crun, "names no architectures");
    for name in ["X86", "X86_64", "X32", "ARM", "AARCH64"] {
        assert!(has("archs", &format!("SCMP_ARCH_{name}")), "{name}");
    }
}

#[test]
fn features_tells_flags() {
    differs!(Crun, "does not");
    differs!(Runc < (1, 2), "knows no flags");
    let bundle = Bundle::new();
    let features = bundle.bare_call().arg("features").run().ok().json();
    let seccomp = &features["linux"]["seccomp"];
    for list in ["knownFlags", "supportedFlags"] {
        let list: Vec<&str> = seccomp[list]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for flag in ["TSYNC", "SPEC_ALLOW", "LOG"] {
            let flag = format!("SECCOMP_FILTER_FLAG_{flag}");
            assert!(list.contains(&flag.as_str()), "{flag}");
        }
    }
}
