//! Device rules: the program for the kernel allows nothing that the list, read from its end, does not; without denials it
//! allows all that the list does; systemd is told of at least as much; and the kernel takes the program.

#![cfg_attr(feature = "libfuzzer", no_main)]

use serde_json::{Value, json};
use vzrun::fuzz::cgroup::{self, Devices};
use vzrun_fuzz::{Bytes, kernel, target};

target!(|data| {
    let rules: Vec<Rule> = match data.strip_prefix(b"[") {
        // A list as it stands in a config.
        Some(_) => match serde_json::from_slice::<Vec<Value>>(data) {
            Ok(list) => list.iter().filter_map(Rule::of_json).collect(),
            Err(_) => return,
        },
        None => {
            let mut bytes = Bytes::new(data);
            let count = usize::from(bytes.byte() % 24);
            (0..count).map(|_| Rule::of_bytes(&mut bytes)).collect()
        }
    };
    let list: Vec<Value> = rules.iter().map(Rule::json).collect();
    // One of the devices that every container has is another one here, or none is.
    let own = data.len().is_multiple_of(3);
    let nodes = match own {
        true => json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]),
        false => json!([]),
    };
    let config =
        json!({"ociVersion": "1.0.0", "linux": {"devices": nodes, "resources": {"devices": list}}});
    let Ok(devices) = cgroup::devices(config.to_string().as_bytes()) else {
        return;
    };
    let mut all = rules;
    all.extend(always(own));
    judge(&devices, &all, &config);
    // The verifier takes its time.
    let sum = data
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    if data.first() == Some(&b'[') || sum.is_multiple_of(32) {
        let taken = kernel::takes_device_program(devices.program.as_flattened());
        assert_ne!(taken, Some(false), "{config}");
    }
});

const MAJORS: [i64; 13] = [
    -1,
    0,
    1,
    5,
    7,
    8,
    10,
    136,
    4095,
    4096,
    1 << 20,
    u32::MAX as i64,
    -2,
];
const MINORS: [i64; 12] = [
    -1,
    0,
    1,
    2,
    3,
    5,
    9,
    200,
    0xf_ffff,
    0x10_0000,
    u32::MAX as i64,
    1 << 32,
];

#[derive(Debug, Clone, Copy)]
struct Rule {
    allow: bool,
    /// `a`, `b` or `c`.
    kind: char,
    /// -1: any.
    major: i64,
    minor: i64,
    access: u8,
}

const READ: u8 = 2;
const WRITE: u8 = 4;
const MAKE: u8 = 1;

impl Rule {
    fn of_bytes(bytes: &mut Bytes<'_>) -> Rule {
        let first = bytes.byte();
        Rule {
            // Allowances in a row say more than denials do.
            allow: !first.is_multiple_of(4),
            kind: *bytes.one_of(&['c', 'b', 'c', 'b', 'c', 'b', 'c', 'a']),
            major: *bytes.one_of(&MAJORS[..if first < 250 { 10 } else { 13 }]),
            minor: *bytes.one_of(&MINORS[..if first < 250 { 10 } else { 12 }]),
            access: 1 + bytes.byte() % 7,
        }
    }

    fn of_json(value: &Value) -> Option<Rule> {
        let number = |name: &str| value.get(name).and_then(Value::as_i64).unwrap_or(-1);
        let letters = value.get("access")?.as_str()?;
        let bit = |letter, bit| if letters.contains(letter) { bit } else { 0 };
        Some(Rule {
            allow: value.get("allow")?.as_bool()?,
            kind: value
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or("a")
                .chars()
                .next()?,
            major: number("major"),
            minor: number("minor"),
            access: bit('r', READ) | bit('w', WRITE) | bit('m', MAKE),
        })
    }

    fn json(&self) -> Value {
        let letters = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')];
        let access = letters.iter().filter(|(bit, _)| self.access & bit != 0);
        let access: String = access.map(|(_, letter)| letter).collect();
        json!({
            "allow": self.allow, "type": self.kind.to_string(), "major": self.major, "minor": self.minor, "access": access,
        })
    }

    fn is_about(&self, kind: char, major: u32, minor: u32) -> bool {
        let is = |rule: i64, number: u32| rule == -1 || rule == i64::from(number);
        self.kind == 'a' || self.kind == kind && is(self.major, major) && is(self.minor, minor)
    }

    /// `a` is about every kind of access, whatever it says.
    fn bits(&self) -> u8 {
        if self.kind == 'a' { 7 } else { self.access }
    }
}

/// What every container may do, behind what its config says.
fn always(own_null: bool) -> Vec<Rule> {
    let rule = |kind, major, minor, access| Rule {
        allow: true,
        kind,
        major,
        minor,
        access,
    };
    let mut all = vec![rule('c', -1, -1, MAKE), rule('b', -1, -1, MAKE)];
    let nodes = [
        (1, 3),
        (1, 8),
        (1, 7),
        (5, 0),
        (1, 5),
        (1, 9),
        (136, -1),
        (5, 2),
        (10, 200),
    ];
    let nodes = nodes.iter().skip(usize::from(own_null));
    all.extend(nodes.map(|(major, minor)| rule('c', *major, *minor, 7)));
    all
}

fn judge(devices: &Devices, rules: &[Rule], config: &Value) {
    let start = rules.iter().rposition(|rule| rule.kind == 'a');
    let behind = &rules[start.map_or(0, |at| at + 1)..];
    let all = start.is_some_and(|at| rules[at].allow);
    // In what order allowances stand is no matter.
    let plain = !all && behind.iter().all(|rule| rule.allow);
    for kind in ['c', 'b'] {
        for major in [0, 1, 2, 5, 7, 8, 10, 136, 4095] {
            for minor in [0, 1, 2, 3, 4, 5, 9, 200, 0xf_ffff] {
                for bits in [READ, WRITE, MAKE, READ | WRITE, READ | WRITE | MAKE] {
                    let allowed = run(
                        &devices.program,
                        [
                            if kind == 'c' { 2 } else { 1 } | u32::from(bits) << 16,
                            major,
                            minor,
                        ],
                    );
                    let what = || format!("{kind} {major}:{minor} {bits:#b}: {config}");
                    if allowed {
                        let each = [READ, WRITE, MAKE]
                            .into_iter()
                            .filter(|bit| bits & bit != 0);
                        for bit in each {
                            let last = rules.iter().rev().find(|rule| {
                                rule.is_about(kind, major, minor) && rule.bits() & bit != 0
                            });
                            assert!(
                                last.is_some_and(|rule| rule.allow),
                                "allowed, against the list: {}",
                                what()
                            );
                        }
                        assert!(
                            systemd_allows(devices, kind, (major, minor), bits),
                            "not by systemd: {}",
                            what()
                        );
                    } else if plain {
                        let one = behind.iter().any(|rule| {
                            rule.is_about(kind, major, minor) && rule.access & bits == bits
                        });
                        assert!(!one, "refused, against the list: {}", what());
                    }
                }
            }
        }
    }
}

/// By DevicePolicy and DeviceAllow, as systemd.resource-control(5) has them.
fn systemd_allows(devices: &Devices, kind: char, (major, minor): (u32, u32), bits: u8) -> bool {
    if devices.policy == "auto" && devices.list.is_empty() {
        return true;
    }
    let word = if kind == 'c' { "char" } else { "block" };
    devices.list.iter().any(|(nodes, letters)| {
        let here = *nodes == format!("/dev/{word}/{major}:{minor}")
            || *nodes == format!("{word}-{major}")
            || *nodes == format!("{word}-*");
        here && [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')]
            .iter()
            .all(|(bit, letter)| bits & bit == 0 || letters.contains(*letter))
    })
}

/// What the kernel does with the program at an access: `struct bpf_cgroup_dev_ctx` is the context.
fn run(program: &[[u8; 8]], context: [u32; 3]) -> bool {
    let mut registers = [0u32; 11];
    let mut at = 0;
    loop {
        let [code, places, o, p, i, j, k, l] = program[at];
        let (to, from) = (usize::from(places & 15), usize::from(places >> 4));
        let offset = usize::try_from(i16::from_ne_bytes([o, p])).expect("only forwards");
        let immediate = u32::from_ne_bytes([i, j, k, l]);
        at += 1;
        let jump = match code {
            // BPF_LDX | BPF_MEM | BPF_W, from the context, which is in register 1.
            0x61 => {
                assert!(from == 1 && offset.is_multiple_of(4));
                registers[to] = context[offset / 4];
                false
            }
            // On 32 bits: mov with a number and with a register, lsh, or.
            0xb4 => {
                registers[to] = immediate;
                false
            }
            0xbc => {
                registers[to] = registers[from];
                false
            }
            0x64 => {
                registers[to] <<= immediate;
                false
            }
            0x4c => {
                registers[to] |= registers[from];
                false
            }
            // ja; jeq and jset with a number, on 32 bits.
            0x05 => true,
            0x16 => registers[to] == immediate,
            0x46 => registers[to] & immediate != 0,
            0x95 => return registers[0] == 1,
            other => panic!("{other:#x} at {at}"),
        };
        if jump {
            at += offset;
        }
    }
}
