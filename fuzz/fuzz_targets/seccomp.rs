//! linux.seccomp: any profile is an error, or a program that the kernel takes. What begins with `{` is a profile's JSON;
//! other bytes become one, with names and values that matter.

#![cfg_attr(feature = "libfuzzer", no_main)]

use serde_json::{Value, json};
use vzrun::{Machine, SeccompProfile};
use vzrun_fuzz::{Bytes, kernel, target};

target!(|data| {
    let text = match data {
        [b'{', ..] => data.to_vec(),
        _ => profile(&mut Bytes::new(data)).to_string().into_bytes(),
    };
    let Ok(profile) = SeccompProfile::parse(&text) else {
        return;
    };
    for machine in [Machine::X86_64, Machine::Aarch64] {
        let Ok(program) = profile.program(machine) else {
            continue;
        };
        assert!(program.len() <= 8 * 4096, "{} bytes", program.len());
        let text = String::from_utf8_lossy(&text);
        assert!(kernel::takes(&program), "{machine:?}: refused: {text}");
    }
});

/// One system call a line, its name first.
const CALLS: &str = include_str!("../../runtime/src/seccomp/syscalls.tsv");

const ACTIONS: [&str; 10] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
];

const OPERATORS: [&str; 7] = ["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"];

const ARCHES: [&str; 8] = [
    "X86_64", "X86", "X32", "AARCH64", "ARM", "RISCV64", "S390X", "X86",
];

const VALUES: [u64; 12] = [
    0,
    1,
    40,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 5,
    0xffff_ffff_0000_0000,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

fn profile(bytes: &mut Bytes<'_>) -> Value {
    let names: Vec<&str> = CALLS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .collect();
    let arches: Vec<String> = (0..bytes.byte() % 4)
        .map(|_| format!("SCMP_ARCH_{}", bytes.one_of(&ARCHES)))
        .collect();
    let mut profile = json!({
        "defaultAction": bytes.one_of(&ACTIONS),
        "architectures": arches,
        "syscalls": [],
    });
    if bytes.byte() & 1 == 1 {
        profile["defaultErrnoRet"] = json!(bytes.below(1 << 16));
    }
    let mut rules = Vec::new();
    while !bytes.is_empty() {
        rules.push(rule(bytes, &names));
    }
    profile["syscalls"] = Value::Array(rules);
    profile
}

fn rule(bytes: &mut Bytes<'_>, names: &[&str]) -> Value {
    // Some neighbours, or half of all.
    let count = match bytes.byte() {
        many @ 240.. => usize::from(many - 239) * 16,
        few => 1 + usize::from(few % 4),
    };
    let first = bytes.below(names.len());
    let last = names.len().min(first + count);
    let conditions: Vec<Value> = (0..(bytes.byte() % 16).min(7))
        .map(|_| condition(bytes))
        .collect();
    let mut rule = json!({
        "names": names[first..last],
        "action": bytes.one_of(&ACTIONS),
        "args": conditions,
    });
    if bytes.byte() & 1 == 1 {
        rule["errnoRet"] = json!(bytes.below(1 << 16));
    }
    rule
}

fn condition(bytes: &mut Bytes<'_>) -> Value {
    let value = |bytes: &mut Bytes<'_>| match bytes.byte() {
        byte @ 0..192 => VALUES[usize::from(byte) % VALUES.len()],
        192..224 => u64::from(bytes.byte()),
        _ => bytes.number(),
    };
    json!({
        "index": bytes.byte() % 7,
        "value": value(bytes),
        "valueTwo": value(bytes),
        "op": format!("SCMP_CMP_{}", bytes.one_of(&OPERATORS)),
    })
}
