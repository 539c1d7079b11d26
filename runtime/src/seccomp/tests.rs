//! Profiles and what their programs answer.

use super::interpreter::{Call, check, run};
use super::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn compile_for(json: &str, native: Arch) -> Result<Program> {
    Filter::plan_for(&profile(json), native)?.compile()
}

fn error(json: &str) -> String {
    compile_for(json, Arch::X86_64).unwrap_err().to_string()
}

/// The answers to calls of (architecture, number, arguments).
fn answers(json: &str, native: Arch, calls: &[(u32, u32, &[u64])]) -> Vec<u32> {
    let program = compile_for(json, native).unwrap();
    check(&program.instructions);
    calls
        .iter()
        .map(|&(arch, number, given)| {
            let mut args = [0; 6];
            args[..given.len()].copy_from_slice(given);
            run(&program.instructions, &Call { number, arch, args }).0
        })
        .collect()
}

#[test]
fn numbers_and_architectures() {
    let allow_read = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["read", "getpid", "nonsense"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let calls: &[(u32, u32, &[u64])] = &[
        (X86_64, 0, &[]),
        (X86_64, 1, &[]),
        (X86_64, 39, &[]),
        (X86_64, 40, &[]),
        (X86_64, 1 << 30, &[]),
        (X86_64, 3 << 30, &[]),
        (X86_64, u32::MAX, &[]),
        (I386, 3, &[]),
        (I386, 20, &[]),
        (I386, 21, &[]),
        (0xc000_00b7, 63, &[]),
    ];
    assert_eq!(
        answers(allow_read, Arch::X86_64, calls),
        [
            ALLOW,
            EPERM,
            ALLOW,
            rules::ENOSYS,
            rules::KILL_THREAD,
            rules::KILL_THREAD,
            EPERM,
            ALLOW,
            ALLOW,
            rules::ENOSYS,
            rules::KILL_THREAD,
        ]
    );
}

#[test]
fn every_test_on_both_sides_of_its_value() {
    const V: u64 = 0x1_0000_0005;
    for (op, holds) in [
        ("EQ", [false, false, true, false, false]),
        ("NE", [true, true, false, true, true]),
        ("LT", [true, true, false, false, false]),
        ("LE", [true, true, true, false, false]),
        ("GT", [false, false, false, true, true]),
        ("GE", [false, false, true, true, true]),
    ] {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ERRNO",
            "args": [{{"index": 2, "value": {V}, "op": "SCMP_CMP_{op}"}}]}}]}}"#
        );
        let values = [V - (1 << 32), V - 1, V, V + 1, V + (1 << 32)];
        let got = values
            .map(|value| answers(&json, Arch::X86_64, &[(X86_64, 0, &[0, 0, value])])[0] == EPERM);
        assert_eq!(got, holds, "{op}");
    }
}

#[test]
fn refused_profiles() {
    for (json, text) in [
        (
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
            "SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [""], "action": "SCMP_ACT_LOG"}]}"#,
            "empty string is not a valid syscall",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PARISC"]}"#,
            "linux.seccomp: string SCMP_ARCH_PARISC is not a valid arch for seccomp",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
            "linux.seccomp: error creating seccomp syscall condition for syscall read: syscalls only have up to 6 arguments (6 given)",
        ),
    ] {
        assert_eq!(error(json), text);
    }
}

/// So many conditions on one call.
fn long_profile(conditions: usize) -> String {
    let rules: Vec<String> = (0..conditions)
        .map(|value| {
            format!(
                r#"{{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{{"index": 0, "value": {value}, "op": "SCMP_CMP_EQ"}}]}}"#
            )
        })
        .collect();
    format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {{"names": ["read", "mount", "kexec_load", "statx"], "action": "SCMP_ACT_ERRNO"}}, {}]}}"#,
        rules.join(",")
    )
}

#[test]
fn calls_on_both_sides_of_a_long_one_are_found() {
    let calls: &[(u32, u32, &[u64])] = &[
        (X86_64, 0, &[]),
        (X86_64, 1, &[]),
        (X86_64, 135, &[700]),
        (X86_64, 135, &[900]),
        (X86_64, 165, &[]),
        (X86_64, 246, &[]),
        (X86_64, 332, &[]),
        (X86_64, 400, &[]),
    ];
    assert_eq!(
        answers(&long_profile(900), Arch::X86_64, calls),
        [EPERM, ALLOW, EPERM, ALLOW, EPERM, EPERM, EPERM, ALLOW]
    );
}

#[test]
fn a_program_that_is_too_long_says_by_how_much() {
    let longest = (1..2000)
        .take_while(|count| compile_for(&long_profile(*count), Arch::X86_64).is_ok())
        .last()
        .unwrap();
    let length = |count| {
        let program = compile_for(&long_profile(count), Arch::X86_64).unwrap();
        program.instructions.len()
    };
    let more = length(longest) - length(longest - 1);
    assert!(length(longest) + more > MOST_INSTRUCTIONS);
    let length = length(longest) + more;
    assert_eq!(
        error(&long_profile(longest + 1)),
        format!(
            "linux.seccomp: the filter has {length} instructions, {} more than the kernel takes (4096)",
            length - 4096
        )
    );
}

/// The kernel serves a call that is allowed in any case from its cache: it finds that out by itself, as long as nothing
/// but number and architecture is looked at on the way.
#[test]
fn calls_that_are_always_allowed_read_no_argument() {
    let json = include_str!("../../../integration/profiles/docker.json");
    let program = compile_for(json, Arch::X86_64).unwrap().instructions;
    check(&program);
    let mut cached = 0;
    for arch in [X86_64, I386] {
        for number in 0..460 {
            let args = [0x5555_5555_5555_5555; 6];
            let call = Call { number, arch, args };
            let other = Call {
                args: [40; 6],
                ..call
            };
            let (answer, steps) = run(&program, &call);
            // 14 for about 120 ranges: a tree.
            assert!(steps <= 14 || answer != ALLOW, "{number}: {steps} steps");
            let looked = interpreter::loads(&program, &call);
            if looked.iter().all(|offset| *offset < 16) {
                assert_eq!(run(&program, &other).0, answer, "{number}");
                cached += usize::from(answer == ALLOW);
            }
        }
    }
    // All but clone, personality and socket.
    assert!(cached > 600, "{cached}");
}

fn guarded(filter: Filter, calls: &[(u32, u32, &[u64])]) -> Vec<u32> {
    let program = filter.guarded().compile().unwrap();
    check(&program.instructions);
    let answer = |&(arch, number, given): &(u32, u32, &[u64])| {
        let mut args = [0; 6];
        args[..given.len()].copy_from_slice(given);
        run(&program.instructions, &Call { number, arch, args }).0
    };
    calls.iter().map(answer).collect()
}

/// CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWTIME.
const NEWNS: u64 = 0x2_0000;
const NEWUTS: u64 = 0x400_0000;
const NEWTIME: u64 = 0x80;

#[cfg(target_arch = "x86_64")]
#[test]
fn a_guard_without_a_profile() {
    let cases: &[(u32, u32, &[u64], u32)] = &[
        (X86_64, 0, &[], ALLOW),
        (X86_64, 272, &[NEWNS], ALLOW),
        (X86_64, 272, &[NEWNS | NEWUTS], EPERM),
        (X86_64, 272, &[NEWTIME], EPERM),
        (X86_64, 272, &[1 << 40], ALLOW),
        (X86_64, 271, &[NEWUTS], ALLOW),
        (X86_64, 273, &[NEWUTS], ALLOW),
        (X86_64, 56, &[17], ALLOW),
        // A signal number, not a namespace.
        (X86_64, 56, &[NEWTIME], ALLOW),
        (X86_64, 56, &[NEWUTS | 17], EPERM),
        (X86_64, 435, &[], rules::ENOSYS),
        (X86_64, 433, &[], ALLOW),
        (X86_64, 434, &[], rules::ENOSYS),
        (X86_64, 436, &[], ALLOW),
        (X86_64, 425, &[], rules::ENOSYS),
        (X86_64, 323, &[], rules::ENOSYS),
        (X86_64, 1 << 30 | 272, &[NEWUTS], EPERM),
        (I386, 310, &[NEWUTS], EPERM),
        (I386, 310, &[NEWNS], ALLOW),
        (I386, 120, &[NEWUTS], EPERM),
        (I386, 435, &[], rules::ENOSYS),
        (X86_64, 100_000, &[], ALLOW),
    ];
    let calls: Vec<_> = cases.iter().map(|it| (it.0, it.1, it.2)).collect();
    let expected: Vec<_> = cases.iter().map(|it| it.3).collect();
    assert_eq!(guarded(Filter::open().unwrap(), &calls), expected);
}

#[test]
fn a_guard_takes_away_and_never_gives() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5, "syscalls": [
        {"names": ["unshare", "clone3", "setns"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["io_uring_setup"], "action": "SCMP_ACT_KILL"}]}"#;
    let cases: &[(u32, u32, &[u64], u32)] = &[
        (X86_64, 272, &[NEWUTS], EPERM),
        (X86_64, 272, &[NEWNS], ALLOW),
        (X86_64, 308, &[NEWUTS], ALLOW),
        (X86_64, 435, &[], rules::ENOSYS),
        // As the profile has it.
        (X86_64, 425, &[], rules::KILL_THREAD),
        (X86_64, 426, &[], 0x0005_0005),
        (X86_64, 56, &[17], ALLOW),
        (X86_64, 56, &[NEWNS], 0x0005_0005),
        (X86_64, 56, &[NEWUTS], EPERM),
    ];
    let calls: Vec<_> = cases.iter().map(|it| (it.0, it.1, it.2)).collect();
    let expected: Vec<_> = cases.iter().map(|it| it.3).collect();
    let filter = Filter::plan_for(&profile(json), Arch::X86_64).unwrap();
    assert_eq!(guarded(filter, &calls), expected);
}
