//! What system calls cost under a filter: the program that vzrun makes of a profile beside libseccomp's of the same one.
//! Prints markdown.

#[expect(dead_code, reason = "tests need more of it")]
#[path = "../../tests/seccomp_programs/libseccomp.rs"]
mod libseccomp;
#[path = "../../tests/seccomp_programs/program.rs"]
mod program;

use std::io::{Read, Write, pipe};
use std::time::Instant;

use integration::Value;
use libseccomp::Libseccomp;
use program::{Call, Instruction, run};

const USAGE: &str = "usage: calls PROGRAM PROFILE
PROGRAM is a file of `struct sock_filter`s, what vzrun makes of PROFILE for x86-64.";

const X86_64: u32 = 0xc000_003e;
const ALLOW: u32 = 0x7fff_0000;
/// SECCOMP_RET_ERRNO, without the number.
const ERRNO: u32 = 0x0005_0000;

/// Calls that are timed at a time, and how often: the quickest is what counts.
const CALLS: u32 = 200_000;
const TIMES: usize = 15;
/// Processes that install a program.
const PROCESSES: usize = 201;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [ours, profile] = args.as_slice() else {
        panic!("{USAGE}");
    };
    let profile = std::fs::read(profile).expect("PROFILE");
    let profile: Value = serde_json::from_slice(&profile).expect("PROFILE is JSON");
    let ours = Instruction::list(&std::fs::read(ours).expect("PROGRAM"));
    let mut library = Libseccomp::load().expect("libseccomp.so.2 is there");
    let tree = library
        .program(&profile)
        .expect("a program of libseccomp's");
    library.trees = false;
    let list = library
        .program(&profile)
        .expect("a program of libseccomp's");

    println!(
        "| program | instructions | installing it, us | getppid(2), allowed, ns | worst refused call in vzrun's, ns (instructions) \
         | in libseccomp's tree, ns (instructions) | in libseccomp's list, ns (instructions) |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let getppid = call(libc::SYS_getppid as u32, 0);
    let refused = [worst(&ours), worst(&tree), worst(&list)];
    let bare = time(None, &getppid);
    println!("| no filter | | | {bare:.0} | | | |");
    let cells = refused.map(|refused| {
        let program = refuses_one(refused.number);
        let least = time(Some(&program), &refused);
        format!("{least:.0} ({})", run(&program, &refused).1)
    });
    println!(
        "| one that refuses that call alone | 4 | | | {} |",
        cells.join(" | ")
    );
    for (name, program) in [
        ("vzrun's", &ours),
        ("libseccomp's, a tree (as runc has it)", &tree),
        ("libseccomp's, a list (as crun has it)", &list),
    ] {
        let parent = time(Some(program), &getppid);
        let installing = installing(program);
        let cells = refused.map(|refused| {
            let steps = run(program, &refused).1;
            format!("{:.0} ({steps})", time(Some(program), &refused))
        });
        println!(
            "| {name} | {} | {installing:.0} | {parent:.0} | {} |",
            program.len(),
            cells.join(" | ")
        );
    }
}

fn call(number: u32, argument: u64) -> Call {
    Call {
        number,
        arch: X86_64,
        args: [argument; 6],
    }
}

/// Of the calls that are refused, the one that takes the most instructions. A call that is allowed whatever its arguments
/// are is answered by the kernel without running the program.
fn worst(program: &[Instruction]) -> Call {
    assert_eq!(run(program, &call(libc::SYS_getppid as u32, 0)).0, ALLOW);
    (0..450)
        .flat_map(|number| ARGUMENTS.map(|argument| call(number, argument)))
        .filter(|call| run(program, call).0 & 0xffff_0000 == ERRNO)
        .max_by_key(|call| run(program, call).1)
        .expect("some call is refused")
}

/// For Docker's conditions: flags of clone(2), a personality(2) it does not know, AF_VSOCK.
const ARGUMENTS: [u64; 4] = [
    0,
    u64::MAX,
    libc::CLONE_NEWUSER as u64,
    libc::AF_VSOCK as u64,
];

/// The shortest program that refuses a call: what no other can be below.
fn refuses_one(number: u32) -> Vec<Instruction> {
    let of = |code: u32, jt, jf, k| Instruction {
        code: code as u16,
        jt,
        jf,
        k,
    };
    vec![
        of(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        of(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        of(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            ERRNO | libc::EPERM as u32,
        ),
        of(libc::BPF_RET | libc::BPF_K, 0, 0, ALLOW),
    ]
}

/// Nanoseconds for one call under this filter, the least of all times. The call does nothing: it is getppid(2), or refused.
fn time(program: Option<&[Instruction]>, call: &Call) -> f64 {
    in_child(|| {
        if let Some(program) = program {
            install(program);
        }
        let [a, b, c, d, e, f] = call.args;
        let times = (0..TIMES).map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                // SAFETY: getppid takes nothing, and what is refused never gets to see its arguments.
                unsafe { libc::syscall(call.number.into(), a, b, c, d, e, f) };
            }
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        });
        times.fold(f64::INFINITY, f64::min)
    })
}

/// Microseconds to install it, the median of many processes.
fn installing(program: &[Instruction]) -> f64 {
    let once = || {
        let start = Instant::now();
        install(program);
        start.elapsed().as_nanos() as f64 / 1000.0
    };
    let mut times: Vec<f64> = (0..PROCESSES).map(|_| in_child(once)).collect();
    times.sort_by(f64::total_cmp);
    times[PROCESSES / 2]
}

/// What this gives in a process of its own.
fn in_child(work: impl FnOnce() -> f64) -> f64 {
    let (mut from_child, mut to_parent) = pipe().expect("pipe");
    // SAFETY: there is one thread, so the child is as good a process as this one; it ends in `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            to_parent
                .write_all(&work().to_ne_bytes())
                .expect("the pipe");
            // SAFETY: nothing of the parent's is run.
            unsafe { libc::_exit(0) }
        }
        child => {
            assert!(child > 0, "fork");
            drop(to_parent);
            let mut bytes = [0; 8];
            from_child.read_exact(&mut bytes).expect("a figure");
            let mut status = 0;
            // SAFETY: our own child, and room for its status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the timing process");
            f64::from_ne_bytes(bytes)
        }
    }
}

fn install(program: &[Instruction]) {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: no memory is passed.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0, "no_new_privs");
    // SAFETY: the kernel reads as many instructions as there are, and they are laid out as it wants them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    assert_eq!(result, 0, "seccomp");
}
