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
            "linux.seccomp: read: argument 6: system calls have six, 0 to 5",
        ),
    ] {
        assert_eq!(error(json), text);
    }
}
