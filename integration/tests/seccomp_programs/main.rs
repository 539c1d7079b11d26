//! The programs that vzrun makes of seccomp profiles, compared with those of libseccomp, call by call.
//!
//! The example `seccomp` of the runtime prints the programs; libseccomp is Debian's, loaded at run time. Where runc adds
//! to libseccomp (ENOSYS for calls newer than the profile), this file says in its own words what is added.
//! `VZRUN_TEST_ROUNDS=1000` makes 10,000 random profiles, `VZRUN_TEST_SEED` repeats a run.

mod libseccomp;
mod meaning;
mod profiles;
mod program;

use integration::{Dice, Kind, Runtime, Value, needs, rounds};
use libseccomp::{ENDLESS, Libseccomp, arch_token, list};
use meaning::Meaning;
use program::{Call, Instruction, run};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};

const ENOSYS: u32 = 0x0005_0000 | 38;
const X32_BIT: u32 = 1 << 30;

/// Whose kernel a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    fn name(self) -> &'static str {
        match self {
            Machine::X86_64 => "x86_64",
            Machine::Aarch64 => "aarch64",
        }
    }

    fn native(self) -> &'static str {
        match self {
            Machine::X86_64 => "SCMP_ARCH_X86_64",
            Machine::Aarch64 => "SCMP_ARCH_AARCH64",
        }
    }

    fn others(self) -> &'static [&'static str] {
        match self {
            Machine::X86_64 => &["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            Machine::Aarch64 => &["SCMP_ARCH_ARM"],
        }
    }
}

/// What vzrun makes of profiles. `Err`: its words.
fn ours(machine: Machine, profiles: &[Value]) -> Vec<Result<Vec<Instruction>, String>> {
    // Examples are built beside the tests.
    let here = std::env::current_exe().unwrap();
    let example = here.parent().unwrap().with_file_name("examples/seccomp");
    let mut child = Command::new(&example)
        .arg(machine.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", example.display()));
    let text: String = profiles.iter().map(|one| format!("{one}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let lines: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| match line.strip_prefix("error: ") {
            Some(words) => Err(words.to_string()),
            None => {
                let digits = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
                let bytes: Vec<u8> = (0..line.len()).step_by(2).map(digits).collect();
                Ok(Instruction::list(&bytes))
            }
        })
        .collect();
    assert_eq!(lines.len(), profiles.len());
    lines
}

/// runc's answer to calls above all that the profile names: for each architecture the highest number.
struct TooNew(Vec<(u32, bool, u32)>);

impl TooNew {
    fn of(oracle: &Libseccomp, machine: Machine, profile: &Value) -> TooNew {
        let default = profile["defaultAction"].as_str().unwrap();
        if matches!(
            default,
            "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE"
        ) {
            return TooNew(Vec::new());
        }
        let arches = list(&profile["architectures"]);
        let mut names: BTreeSet<&str> = arches.iter().map(|name| name.as_str().unwrap()).collect();
        names.insert(machine.native());
        let highest = |arch: &str| {
            let calls = list(&profile["syscalls"]);
            let numbers = calls
                .iter()
                .flat_map(|rule| list(&rule["names"]))
                .filter_map(|name| oracle.resolve(arch_token(arch), name.as_str().unwrap()));
            numbers.max().filter(|number| *number > 0)
        };
        let of_arch = |name: &&str| {
            let x32 = *name == "SCMP_ARCH_X32";
            let audit = if x32 {
                arch_token("SCMP_ARCH_X86_64")
            } else {
                arch_token(name)
            };
            highest(name).map(|number| (audit, x32, number as u32))
        };
        TooNew(names.iter().filter_map(of_arch).collect())
    }

    fn answers(&self, call: &Call) -> bool {
        self.0.iter().any(|&(arch, x32, highest)| {
            let of_x32 = arch == arch_token("SCMP_ARCH_X86_64") && call.number & X32_BIT != 0;
            call.arch == arch && of_x32 == x32 && call.number > highest
        })
    }
}

/// The numbers that are looked at: all that are in use, some that are not, and where the bits change.
fn numbers(machine: Machine) -> Vec<(u32, u32)> {
    let mut all = Vec::new();
    let edges = [
        0,
        0x3fff_fff0,
        0x4000_0300,
        0x7fff_fff0,
        0x8000_0000,
        0xbfff_fff0,
        0xc000_0000,
    ];
    for name in machine.others().iter().chain([&machine.native()]) {
        let arch = arch_token(name);
        let (arch, bit) = if *name == "SCMP_ARCH_X32" {
            (0xc000_003e, X32_BIT)
        } else {
            (arch, 0)
        };
        all.extend((0..600).map(|number| (arch, number | bit)));
        all.extend((0xf_0000..0xf_0010).map(|number| (arch, number)));
        all.extend(
            edges
                .iter()
                .flat_map(|from| (*from..from + 16).map(move |n| (arch, n))),
        );
        all.extend((0xffff_fff0..=u32::MAX).map(|number| (arch, number)));
    }
    // An architecture that nobody names.
    all.push((0x8000_0016, 1));
    all
}

/// Values on both sides of all that the profile compares with.
fn boundaries(profile: &Value) -> Vec<u64> {
    let mut values = BTreeSet::from([0, u64::MAX]);
    for arg in list(&profile["syscalls"])
        .iter()
        .flat_map(|rule| list(&rule["args"]))
    {
        for value in [&arg["value"], &arg["valueTwo"]] {
            let value = value.as_u64().unwrap_or(0);
            for near in [value, value.wrapping_add(1), value.wrapping_sub(1)] {
                values.extend([near, near.wrapping_add(1 << 32), near.wrapping_sub(1 << 32)]);
            }
        }
        let (mask, value) = (
            arg["value"].as_u64().unwrap(),
            arg["valueTwo"].as_u64().unwrap_or(0),
        );
        values.extend([value | !mask, !value, value & mask]);
    }
    values.into_iter().collect()
}

/// The calls that a profile is judged by.
fn calls(oracle: &Libseccomp, profile: &Value, machine: Machine, dice: &mut Dice) -> Vec<Call> {
    let values = boundaries(profile);
    let with_arguments: Vec<&Value> = list(&profile["syscalls"])
        .iter()
        .filter(|rule| !list(&rule["args"]).is_empty())
        .collect();
    let mut calls: Vec<Call> = numbers(machine)
        .into_iter()
        .map(|(arch, number)| {
            let args = std::array::from_fn(|_| *dice.one_of(&values));
            Call { number, arch, args }
        })
        .collect();
    // Calls whose number decides nothing are tried with many arguments.
    let mut conditional = BTreeSet::new();
    for rule in with_arguments {
        for name in list(&rule["names"]) {
            for arch in machine.others().iter().chain([&machine.native()]) {
                let audit = if *arch == "SCMP_ARCH_X32" {
                    0xc000_003e
                } else {
                    arch_token(arch)
                };
                if let Some(number) = oracle.resolve(arch_token(arch), name.as_str().unwrap())
                    && number >= 0
                {
                    conditional.insert((audit, number as u32));
                }
            }
        }
    }
    for (arch, number) in conditional {
        for _ in 0..64 {
            let args = std::array::from_fn(|_| *dice.one_of(&values));
            calls.push(Call { number, arch, args });
        }
        // One argument at a time on each boundary.
        for index in 0..6 {
            for &value in &values {
                let mut args = std::array::from_fn(|_| *dice.one_of(&values));
                args[index] = value;
                calls.push(Call { number, arch, args });
            }
        }
    }
    // socketcall and ipc of i386, by the number that they have inside.
    if machine == Machine::X86_64 {
        for (number, own) in (0..26).flat_map(|own| [(102, own), (117, own)]) {
            for upper in [0, 1 << 32] {
                let mut args = std::array::from_fn(|_| *dice.one_of(&values));
                args[0] = own | upper;
                calls.push(Call {
                    number,
                    arch: arch_token("SCMP_ARCH_X86"),
                    args,
                });
            }
        }
    }
    calls
}

/// What libseccomp makes of a profile that is for `machine`. The library is of this one, whatever the profile is for.
fn theirs(
    oracle: &Libseccomp,
    machine: Machine,
    profile: &Value,
) -> Result<Vec<Instruction>, String> {
    let mut profile = profile.clone();
    if machine == Machine::Aarch64 {
        let native = Value::from(machine.native());
        match profile["architectures"].as_array_mut() {
            Some(arches) => arches.push(native),
            None => profile["architectures"] = Value::Array(vec![native]),
        }
    }
    oracle.program(&profile)
}

/// What came of comparing programs, call by call.
#[derive(Debug, Default)]
struct Judged {
    profiles: usize,
    /// Both refuse the profile.
    refused: usize,
    calls: usize,
    /// Several rules hold that do not say the same, and the two follow different ones.
    overlapping: usize,
    /// libseccomp finds no place in its tree for rules of one call with different actions, vzrun does.
    taken: usize,
    /// libseccomp has not come to an end with the profile.
    endless: usize,
    /// libseccomp's answer is not what any rule says that holds, vzrun's is.
    corrected: usize,
    /// In so many profiles.
    mistaken: usize,
    /// The first such, with its profile.
    example: Option<(String, Value)>,
}

impl Judged {
    /// Every answer was libseccomp's, but in one profile of a thousand or so, in which that is wrong.
    #[track_caller]
    fn none_differ(&self, of: &str) {
        let odd = [self.refused, self.overlapping, self.taken, self.endless];
        assert_eq!(odd, [0; 4], "{of}: {:?}", self.example);
        let rare = 1 + self.profiles / 500;
        assert!(self.mistaken <= rare, "{of}: {:?}", self.example);
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "{} profiles ({} refused by both, {} by libseccomp alone, {} without end in it), {} calls, libseccomp wrong on {}, another rule on {}",
            self.profiles,
            self.refused,
            self.taken,
            self.endless,
            self.calls,
            self.corrected,
            self.overlapping
        )
    }
}

/// A difference that must not be: the profile with as few rules as show it.
#[derive(Debug)]
struct Difference(String);

/// Compares two programs.
fn compare(
    (oracle, machine): (&Libseccomp, Machine),
    profile: &Value,
    ours: Result<Vec<Instruction>, String>,
    (dice, judged): (&mut Dice, &mut Judged),
) -> Result<(), Difference> {
    judged.profiles += 1;
    let (ours, theirs) = match (ours, theirs(oracle, machine, profile)) {
        (Ok(ours), theirs) => (ours, theirs),
        (Err(_), Err(_)) => {
            judged.refused += 1;
            return Ok(());
        }
        (Err(words), Ok(_)) => return Err(Difference(format!("refused: {words}"))),
    };
    let theirs = match theirs {
        Ok(theirs) => Some(theirs),
        Err(words) if words == ENDLESS => {
            judged.endless += 1;
            None
        }
        Err(words) if words.ends_with(&format!(" {}", -libc::EEXIST)) => {
            judged.taken += 1;
            None
        }
        Err(words) => return Err(Difference(format!("refused by libseccomp: {words}"))),
    };
    let too_new = TooNew::of(oracle, machine, profile);
    let mut meanings = BTreeMap::new();
    let corrected = judged.corrected;
    for call in calls(oracle, profile, machine, dice) {
        judged.calls += 1;
        let got = run(&ours, &call).0;
        if too_new.answers(&call) {
            if got != ENOSYS {
                return Err(Difference(format!(
                    "{got:#x} by vzrun, by runc ENOSYS: {call:x?}"
                )));
            }
            continue;
        }
        let expected = theirs.as_ref().map(|theirs| run(theirs, &call).0);
        if expected == Some(got) {
            continue;
        }
        let which = (call.arch, call.number);
        let meaning = meanings
            .entry(which)
            .or_insert_with(|| Meaning::of(oracle, machine, profile, which));
        if let Some(meaning) = meaning {
            let answers = meaning.answers(&call);
            if answers.contains(&got) {
                match expected.map(|expected| answers.contains(&expected)) {
                    Some(true) => judged.overlapping += 1,
                    Some(false) => {
                        judged.corrected += 1;
                        judged.example.get_or_insert_with(|| {
                            (
                                format!("{got:#x}, {expected:x?}: {call:x?}"),
                                profile.clone(),
                            )
                        });
                    }
                    None => {}
                }
                continue;
            }
        }
        // An architecture that the profile does not name, and no program to compare with.
        if expected.is_none() && meaning.is_none() {
            continue;
        }
        return Err(Difference(format!(
            "{got:#x} by vzrun, {expected:x?} by libseccomp: {call:x?}"
        )));
    }
    judged.mistaken += usize::from(judged.corrected > corrected);
    Ok(())
}

/// The same difference, of a profile with as few rules as still differ.
fn smallest(of: (&Libseccomp, Machine), profile: &Value, dice: &mut Dice) -> Option<String> {
    let mut text = None;
    let mut small = profile.clone();
    let mut at = 0;
    while at < list(&small["syscalls"]).len() {
        let mut fewer = small.clone();
        fewer["syscalls"].as_array_mut().unwrap().remove(at);
        let program = ours(of.1, std::slice::from_ref(&fewer)).remove(0);
        match compare(of, &fewer, program, (dice, &mut Judged::default())) {
            Ok(()) => at += 1,
            Err(Difference(words)) => {
                text = Some(format!("{words}\nwith {fewer}"));
                small = fewer;
            }
        }
    }
    text
}

/// Compares all profiles.
#[track_caller]
fn agree(of: (&Libseccomp, Machine), profiles: &[Value], dice: &mut Dice) -> Judged {
    let mut judged = Judged::default();
    for (profile, program) in profiles.iter().zip(ours(of.1, profiles)) {
        if let Err(Difference(words)) = compare(of, profile, program, (dice, &mut judged)) {
            let small = smallest(of, profile, dice).unwrap_or_default();
            panic!("{}: {words}\nwith {profile}\nor {small}", of.1.name());
        }
    }
    judged
}

/// The default profiles of engines, as hack/seccomp-profiles has caught them.
fn engines() -> Vec<(&'static str, Value)> {
    [
        ("docker", include_str!("../../profiles/docker.json")),
        ("containerd", include_str!("../../profiles/containerd.json")),
        ("podman", include_str!("../../profiles/podman.json")),
    ]
    .map(|(name, text)| (name, serde_json::from_str(text).unwrap()))
    .to_vec()
}

#[test]
fn default_profiles_of_engines() {
    needs!(
        Runtime::get().kind() == Kind::Vzrun,
        "vzrun: its programs are looked at without it"
    );
    let oracle = Libseccomp::load().expect("libseccomp.so.2");
    let mut dice = Dice::new();
    for (name, profile) in engines() {
        let judged = agree((&oracle, Machine::X86_64), &[profile], &mut dice);
        println!("{name}: {judged}");
        assert_eq!(
            (judged.refused, judged.overlapping, judged.corrected),
            (0, 0, 0),
            "{name}"
        );
    }
}

#[test]
fn random_profiles() {
    needs!(
        Runtime::get().kind() == Kind::Vzrun,
        "vzrun: its programs are looked at without it"
    );
    let oracle = Libseccomp::load().expect("libseccomp.so.2");
    let mut dice = Dice::new();
    for (machine, share) in [(Machine::X86_64, 3.5), (Machine::Aarch64, 1.5)] {
        let profiles: Vec<Value> = (0..rounds(100, share))
            .map(|_| profiles::plain(&oracle, machine, &mut dice))
            .collect();
        let judged = agree((&oracle, machine), &profiles, &mut dice);
        println!("{}, a rule for a call: {judged}", machine.name());
        judged.none_differ(machine.name());

        let profiles: Vec<Value> = (0..rounds(100, share))
            .map(|_| profiles::wild(machine, &mut dice))
            .collect();
        let judged = agree((&oracle, machine), &profiles, &mut dice);
        println!("{}, many for a call: {judged}", machine.name());
    }
}

/// The table of numbers, by the example: a profile that names one call shows its number.
#[test]
fn numbers_are_those_of_libseccomp() {
    needs!(
        Runtime::get().kind() == Kind::Vzrun,
        "vzrun: its programs are looked at without it"
    );
    let oracle = Libseccomp::load().expect("libseccomp.so.2");
    let table = include_str!("../../../runtime/src/seccomp/syscalls.tsv");
    let mut compared = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split('\t').collect();
        let tokens = ["X86_64", "X86", "X32", "AARCH64", "ARM"];
        for (token, number) in tokens.iter().zip(&words[1..]) {
            let token = format!("SCMP_ARCH_{token}");
            // It may be older than the table.
            let Some(theirs) = oracle.resolve(arch_token(&token), words[0]) else {
                continue;
            };
            let ours = match *number {
                "-" => None,
                number => Some(number.parse::<i32>().unwrap()),
            };
            let on_i386 = token == "SCMP_ARCH_X86" && words[6] != "-";
            let theirs = match token.as_str() {
                "SCMP_ARCH_X32" if theirs >= 0 => Some(theirs & !(X32_BIT as i32)),
                _ if on_i386 => {
                    // Its number in socketcall(2) or ipc(2), below -100 or -200.
                    let (kind, own) = words[6].split_once(':').unwrap();
                    let base = if kind == "socketcall" { -100 } else { -200 };
                    assert_eq!(theirs, base - own.parse::<i32>().unwrap(), "{line}");
                    continue;
                }
                _ => Some(theirs).filter(|number| *number >= 0),
            };
            assert_eq!(ours, theirs, "{} on {token}", words[0]);
            compared += 1;
        }
    }
    assert!(compared > 2000, "{compared}");
}
