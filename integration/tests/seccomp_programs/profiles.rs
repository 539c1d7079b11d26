//! Random profiles.

use crate::Machine;
use crate::libseccomp::{Libseccomp, arch_token};
use integration::{Dice, Value, json};

/// Calls with small and large numbers, those that i386 multiplexes, those that only some architectures have, and none.
const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "close",
    "getpid",
    "clone",
    "clone3",
    "personality",
    "ioctl",
    "socket",
    "socketpair",
    "accept",
    "accept4",
    "bind",
    "connect",
    "send",
    "recv",
    "recvmmsg",
    "semop",
    "semtimedop",
    "shmat",
    "msgctl",
    "ipc",
    "socketcall",
    "rt_sigaction",
    "execve",
    "ptrace",
    "mount",
    "umount",
    "umount2",
    "prctl",
    "arch_prctl",
    "keyctl",
    "openat2",
    "close_range",
    "futex_waitv",
    "statmount",
    "clock_gettime64",
    "mmap2",
    "_llseek",
    "set_tls",
    "cacheflush",
    "arm_fadvise64_64",
    "fstatat64",
    "newfstatat",
    "fcntl64",
    "fcntl",
    "setuid32",
    "setuid",
    "nonsense",
    "rtas",
    "io_uring_setup",
    "kexec_load",
    "process_vm_readv",
    "sendto",
    "getsockopt",
    "setsockopt",
    "waitpid",
    "modify_ldt",
];

/// Those that i386 has in socketcall(2) and ipc(2), and these themselves.
const MULTIPLEXED: &[&str] = &[
    "socket",
    "socketpair",
    "accept",
    "accept4",
    "bind",
    "connect",
    "send",
    "recv",
    "recvmmsg",
    "sendto",
    "getsockopt",
    "setsockopt",
    "semop",
    "semtimedop",
    "shmat",
    "msgctl",
    "ipc",
    "socketcall",
];

const ACTIONS: &[&str] = &[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
];

const OPERATORS: &[&str] = &["NE", "LT", "LE", "EQ", "EQ", "GE", "GT", "MASKED_EQ"];

const VALUES: &[u64] = &[
    0,
    1,
    2,
    5,
    7,
    40,
    0x2000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x5_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];

/// One rule for a call at most, and only calls that the machine's own architecture has: where libseccomp makes no
/// mistakes.
pub(crate) fn plain(oracle: &Libseccomp, machine: Machine, dice: &mut Dice) -> Value {
    let mut profile = frame(machine, dice);
    let mut names: Vec<&str> = NAMES
        .iter()
        .copied()
        // i386 has several of these in one call.
        .filter(|name| !MULTIPLEXED.contains(name))
        .filter(|name| oracle.resolve(arch_token(machine.native()), name) >= Some(0))
        .filter(|_| dice.below(4) == 0)
        .collect();
    let mut rules = Vec::new();
    while !names.is_empty() {
        let few = names.split_off(names.len().saturating_sub(1 + dice.below(4)));
        let mut rule = rule(&few, dice);
        if dice.below(3) > 0 {
            rule["args"] = conditions(dice, true);
        }
        rules.push(rule);
    }
    profile["syscalls"] = Value::Array(rules);
    profile
}

/// Few calls with many rules, in some profiles with several actions for a call.
pub(crate) fn wild(machine: Machine, dice: &mut Dice) -> Value {
    let mut profile = frame(machine, dice);
    let few: Vec<&str> = (0..1 + dice.below(20))
        .map(|_| *dice.one_of(NAMES))
        .collect();
    let mixed = dice.below(4) == 0;
    let first: Vec<Value> = few.iter().map(|name| rule(&[name], dice)).collect();
    let mut rules = Vec::new();
    for _ in 0..dice.below(16) {
        let name = dice.one_of(&first)["names"].clone();
        let mut rule = first
            .iter()
            .find(|one| one["names"] == name)
            .unwrap()
            .clone();
        if mixed {
            with_action(&mut rule, "action", "errnoRet", dice);
        }
        if dice.below(3) > 0 {
            rule["args"] = conditions(dice, false);
        }
        rules.push(rule);
    }
    profile["syscalls"] = Value::Array(rules);
    profile
}

/// A profile without rules.
fn frame(machine: Machine, dice: &mut Dice) -> Value {
    let mut profile = json!({});
    with_action(&mut profile, "defaultAction", "defaultErrnoRet", dice);
    let others = machine.others().iter().copied();
    let mut arches: Vec<&str> = others.filter(|_| dice.below(3) > 0).collect();
    if dice.below(2) == 0 {
        arches.push(machine.native());
    }
    if dice.below(8) > 0 {
        profile["architectures"] = json!(arches);
    }
    profile
}

fn rule(names: &[&str], dice: &mut Dice) -> Value {
    let mut rule = json!({ "names": names });
    with_action(&mut rule, "action", "errnoRet", dice);
    rule
}

/// Up to three; `apart`: each on an argument of its own.
fn conditions(dice: &mut Dice, apart: bool) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let one = condition(dice);
        if !apart || all.iter().all(|other| other["index"] != one["index"]) {
            all.push(one);
        }
    }
    Value::Array(all)
}

fn with_action(to: &mut Value, action: &str, errno: &str, dice: &mut Dice) {
    to[action] = json!(*dice.one_of(ACTIONS));
    to[errno] = match dice.below(3) {
        0 => Value::Null,
        1 => json!(38),
        _ => json!(dice.below(200)),
    };
}

fn condition(dice: &mut Dice) -> Value {
    let value = |dice: &mut Dice| match dice.below(8) {
        0 => dice.number(),
        _ => *dice.one_of(VALUES),
    };
    let operator = dice.one_of(OPERATORS);
    json!({
        "index": dice.below(6),
        "value": value(dice),
        "valueTwo": value(dice),
        "op": format!("SCMP_CMP_{operator}"),
    })
}
