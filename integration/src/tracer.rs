//! Failing system calls: a call of the runtime is traced by ptrace(2) with all processes that it makes, and one of their
//! system calls, or all of a kind, fail with an error of the test's choice.
//!
//! Processes are numbered in the order of their birth (the runtime itself is 0), the calls of each on their own, so that
//! the same number is the same call in each run. A process is on its own from the moment it executes a program: then
//! it is the container's, or a hook's.
//!
//! The call that fails is not made, and its result is the error. But close(2) is made: on Linux a descriptor is gone
//! whatever close(2) says. And brk(2), which has no error, answers with the old end.
//!
//! x86-64 only: the registers are named here.

use crate::{Call, Output, Running};
use libc::{c_int, c_long, c_void, pid_t};
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, RecvTimeoutError};

/// A request of ptrace(2), which the C libraries do not agree on.
#[cfg(target_env = "musl")]
type Request = c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// Which calls fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// None: the calls are counted.
    None,
    /// One call of one process.
    Nth {
        /// The process, in the order of birth.
        process: usize,
        /// The call, from 0.
        call: usize,
    },
    /// All calls of these numbers, in all processes.
    Every(Vec<i64>),
    /// All openat(2) and openat2(2) of this path, as it is given to them.
    Opening(String),
}

/// A call that failed, or was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The process, in the order of birth.
    pub process: usize,
    /// The call, from 0.
    pub call: usize,
    /// The number of the system call.
    pub number: i64,
}

/// What came of a traced call.
#[derive(Debug)]
pub struct Traced {
    /// How it ended; `None`: it did not end, and was killed after its time limit.
    pub output: Option<Output>,
    /// The system calls of each process, by number. After the one that failed they are not counted.
    pub calls: Vec<Vec<i64>>,
    /// The call that failed; of several the last.
    pub failed: Option<Place>,
}

/// Runs a call, with faults.
pub fn run_with_faults(call: Call, which: &Which, errno: i32) -> Traced {
    let limit = call.time_limit();
    // A tracer is a thread. With the end of this one, whatever it still traces is let go.
    std::thread::scope(|scope| {
        let (started, main) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let thread = scope.spawn(move || {
            let running = call.traced().spawn();
            let mut tracer = Tracer::new(running.pid(), which, errno);
            started.send(running).unwrap();
            tracer.work();
            let _ = ended.send(());
            tracer
        });
        let running: Running = main.recv().expect("the traced call does not start");
        let hung = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if hung {
            running.kill(rustix::process::Signal::KILL);
        }
        let tracer = thread.join().unwrap();
        let output = running.wait();
        Traced {
            output: (!hung).then_some(output),
            calls: tracer.calls,
            failed: tracer.failed,
        }
    })
}

#[derive(Debug)]
struct Process {
    number: usize,
    /// Between a call's entry and its exit.
    inside: bool,
    /// This call is to fail.
    fails: bool,
    /// The SIGSTOP that a process is born with, under a tracer, has been seen.
    greeted: bool,
}

struct Tracer<'a> {
    main: pid_t,
    which: &'a Which,
    errno: i32,
    processes: HashMap<pid_t, Process>,
    calls: Vec<Vec<i64>>,
    failed: Option<Place>,
}

impl<'a> Tracer<'a> {
    fn new(main: pid_t, which: &'a Which, errno: i32) -> Tracer<'a> {
        Tracer {
            main,
            which,
            errno,
            processes: HashMap::new(),
            calls: Vec::new(),
            failed: None,
        }
    }

    /// Until the runtime has ended.
    fn work(&mut self) {
        while let Some((pid, event)) = next_event(self.main) {
            match event {
                Event::Gone => drop(self.processes.remove(&pid)),
                Event::Stopped(status) => self.stopped(pid, status),
            }
        }
        // One that has not seen its first SIGSTOP would stand still with nobody there to send it on.
        for (pid, process) in std::mem::take(&mut self.processes) {
            let mut status = 0;
            // SAFETY: `status` lives through the call.
            if !process.greeted && unsafe { libc::waitpid(pid, &mut status, libc::__WALL) } == pid {
                trace(libc::PTRACE_DETACH, pid, 0);
            }
        }
    }

    /// Nothing more is to be done for this run: all are let go as they stop.
    fn is_done(&self) -> bool {
        self.failed.is_some() && matches!(self.which, Which::Nth { .. })
    }

    fn stopped(&mut self, pid: pid_t, status: c_int) {
        if self.meet(pid) && pid == self.main {
            trace(libc::PTRACE_SETOPTIONS, pid, OPTIONS as usize);
        }
        let signal = (status >> 8) & 0xff;
        let event = status >> 16;
        if signal == libc::SIGTRAP | 0x80 {
            self.system_call(pid);
            let inside = self.processes.get(&pid).is_some_and(|p| p.inside);
            match self.is_done() && !inside {
                true => self.let_go(pid, 0),
                false => trace(libc::PTRACE_SYSCALL, pid, 0),
            }
            return;
        }
        if BIRTHS.contains(&event) {
            let mut born: libc::c_ulong = 0;
            trace(libc::PTRACE_GETEVENTMSG, pid, &raw mut born as usize);
            self.meet(born as pid_t);
        }
        if event == libc::PTRACE_EVENT_EXEC && pid != self.main {
            return self.let_go(pid, 0);
        }
        // Events, the stop after the runtime's own execve(2), and that of a new process are none of theirs.
        let signal = match signal {
            libc::SIGTRAP => 0,
            libc::SIGSTOP if self.greets(pid) => 0,
            other => other,
        };
        trace(libc::PTRACE_SYSCALL, pid, signal as usize);
    }

    /// Takes a process in; false when it is known already.
    fn meet(&mut self, pid: pid_t) -> bool {
        if pid == 0 || self.processes.contains_key(&pid) {
            return false;
        }
        let process = Process {
            number: self.calls.len(),
            inside: false,
            fails: false,
            greeted: pid == self.main,
        };
        self.processes.insert(pid, process);
        self.calls.push(Vec::new());
        true
    }

    fn greets(&mut self, pid: pid_t) -> bool {
        let process = self.processes.get_mut(&pid);
        process.is_some_and(|process| !std::mem::replace(&mut process.greeted, true))
    }

    fn let_go(&mut self, pid: pid_t, signal: usize) {
        trace(libc::PTRACE_DETACH, pid, signal);
        self.processes.remove(&pid);
    }

    fn system_call(&mut self, pid: pid_t) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        process.inside = !process.inside;
        let Some(mut registers) = registers(pid) else {
            return;
        };
        if !process.inside {
            if std::mem::take(&mut process.fails) && registers.orig_rax != BRK as u64 {
                registers.rax = i64::from(-self.errno) as u64;
                set_registers(pid, &registers);
            }
            return;
        }
        let number = registers.orig_rax as i64;
        let calls = &mut self.calls[process.number];
        let place = Place {
            process: process.number,
            call: calls.len(),
            number,
        };
        calls.push(number);
        process.fails = match self.which {
            Which::None => false,
            Which::Nth { process, call } => {
                self.failed.is_none() && (place.process, place.call) == (*process, *call)
            }
            Which::Every(numbers) => numbers.contains(&number),
            Which::Opening(path) => {
                matches!(number, libc::SYS_openat | libc::SYS_openat2)
                    && has_string(pid, registers.rsi, path)
            }
        };
        if !process.fails {
            return;
        }
        self.failed = Some(place);
        if self.errno == KILLED {
            // SAFETY: kill(2) takes no memory; the process is stopped under this tracer, so its number is its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            return;
        }
        match number {
            libc::SYS_close => return,
            BRK => registers.rdi = 0,
            _ => registers.orig_rax = u64::MAX,
        }
        set_registers(pid, &registers);
    }
}

/// In an errno's place: instead of failing, the call is the end of its process.
pub const KILLED: i32 = 0;

const BRK: i64 = libc::SYS_brk;

const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC;

const BIRTHS: [c_int; 3] = [
    libc::PTRACE_EVENT_FORK,
    libc::PTRACE_EVENT_VFORK,
    libc::PTRACE_EVENT_CLONE,
];

enum Event {
    /// It has ended, or is no longer there.
    Gone,
    /// With this status of waitpid(2).
    Stopped(c_int),
}

/// What comes next to a process that this thread traces, or has made. `None`: the runtime has ended; it is left to be
/// waited for.
fn next_event(main: pid_t) -> Option<(pid_t, Event)> {
    // Only this thread's: each test has its own.
    let whose = libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: a siginfo of zeroes is a valid one, and the kernel fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let looked = loop {
        // SAFETY: `info` lives through the call.
        let ret = unsafe {
            let what = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | whose;
            libc::waitid(libc::P_ALL, 0, &mut info, what)
        };
        if ret == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            break ret;
        }
    };
    if looked != 0 {
        return None;
    }
    // SAFETY: waitid(2) has filled in the fields of SIGCHLD.
    let pid = unsafe { info.si_pid() };
    let has_ended = matches!(
        info.si_code,
        libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED
    );
    if has_ended && pid == main {
        return None;
    }
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    let waited = unsafe { libc::waitpid(pid, &mut status, whose | libc::WNOHANG) };
    if waited != pid || !libc::WIFSTOPPED(status) {
        return Some((pid, Event::Gone));
    }
    Some((pid, Event::Stopped(status)))
}

/// Makes this process one that its parent traces.
pub(crate) fn trace_me() -> std::io::Result<()> {
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: the request takes no memory of this process.
    match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Whether this string, with its end, is at an address of a process.
fn has_string(pid: pid_t, address: u64, string: &str) -> bool {
    let mut bytes = vec![0; string.len() + 1];
    let memory = std::fs::File::open(format!("/proc/{pid}/mem"));
    memory.is_ok_and(|memory| memory.read_exact_at(&mut bytes, address).is_ok())
        && bytes.strip_suffix(b"\0") == Some(string.as_bytes())
}

/// A request that carries a number, or the address of one that it fills. Its failure means that the process has been killed, which shows soon enough.
fn trace(request: Request, pid: pid_t, data: usize) {
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: of the requests used with this only PTRACE_GETEVENTMSG touches memory of this process: a c_ulong of the caller's,
    // which lives through the call.
    unsafe { libc::ptrace(request, pid, none, data as *mut c_void) };
}

fn registers(pid: pid_t) -> Option<libc::user_regs_struct> {
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: a register set of zeroes is a valid one.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills `registers`, which lives through the call.
    let ret = unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, none, &mut registers) };
    (ret == 0 as c_long).then_some(registers)
}

fn set_registers(pid: pid_t, registers: &libc::user_regs_struct) {
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: the kernel reads `registers`, which lives through the call.
    unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, none, registers) };
}
