//! Things of the kernel that a process holds, which must be the same after a checkpoint and a restore: they are set up,
//! "ready" is printed, and at each SIGUSR1 they are looked at, with a line for the answer.

use crate::kernel;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, inotify, openat};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::pipe::pipe;
use rustix::time::ClockId;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Answer = Result<(), Box<dyn Error>>;
type Check = Box<dyn FnMut() -> Answer>;

/// Sets one of them up, and answers until SIGTERM.
pub(crate) fn hold(kind: &str) -> Answer {
    kernel::block_all_signals();
    let mut check = match kind {
        "threads" => threads(),
        "pipe" => pipes()?,
        "unix" => unix_sockets()?,
        "locks" => locks()?,
        "shared" => shared_memory()?,
        "timer" => timer(),
        "inotify" => watch()?,
        "epoll" => events()?,
        "pty" => terminal()?,
        _ => return Err("hold what?".into()),
    };
    check()?;
    println!("ready");
    loop {
        match kernel::next_signal() {
            libc::SIGTERM => return Ok(()),
            libc::SIGUSR1 => match check() {
                Ok(()) => println!("held"),
                Err(error) => println!("lost: {error}"),
            },
            _ => {}
        }
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Answer {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{found:?} instead of {expected:?}").into()),
    }
}

fn readable(fd: &impl AsFd) -> Answer {
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit))? {
        0 => Err("nothing comes".into()),
        _ => Ok(()),
    }
}

/// Each counts for itself.
fn threads() -> Check {
    let counts: Vec<_> = (0..4).map(|_| Arc::new(AtomicU64::new(0))).collect();
    for count in &counts {
        let count = count.clone();
        std::thread::spawn(move || {
            loop {
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
    Box::new(move || {
        for count in &counts {
            let before = count.load(Ordering::Relaxed);
            for _ in 0..10_000 {
                if count.load(Ordering::Relaxed) > before {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            if count.load(Ordering::Relaxed) == before {
                return Err("a thread stands still".into());
            }
        }
        Ok(())
    })
}

/// A child sends back what it is sent, and something always waits in another pipe.
fn pipes() -> Result<Check, Box<dyn Error>> {
    let (from_us, to_child) = pipe()?;
    let (from_child, to_us) = pipe()?;
    in_background(move || {
        let (mut from, mut to) = (File::from(from_us), File::from(to_us));
        let mut byte = [0];
        while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
    })?;
    let (waiting, source) = pipe()?;
    let (mut waiting, mut source) = (File::from(waiting), File::from(source));
    let (mut to_child, mut from_child) = (File::from(to_child), File::from(from_child));
    source.write_all(b"waiting")?;
    Ok(Box::new(move || {
        to_child.write_all(b"x")?;
        let (mut byte, mut text) = ([0], [0; 7]);
        from_child.read_exact(&mut byte)?;
        waiting.read_exact(&mut text)?;
        source.write_all(b"waiting")?;
        expect(byte, *b"x")?;
        expect(text, *b"waiting")
    }))
}

/// A connection with bytes on the way, a pair of datagram sockets, and a socket with a name that still takes connections.
fn unix_sockets() -> Result<Check, Box<dyn Error>> {
    let listener = UnixListener::bind("/tmp/listener")?;
    let mut client = UnixStream::connect("/tmp/listener")?;
    let (mut server, _) = listener.accept()?;
    let (one, other) = UnixDatagram::pair()?;
    client.write_all(b"on the way")?;
    one.send(b"a message")?;
    Ok(Box::new(move || {
        let (mut text, mut message) = ([0; 10], [0; 20]);
        server.read_exact(&mut text)?;
        expect(text, *b"on the way")?;
        client.write_all(b"on the way")?;
        let length = other.recv(&mut message)?;
        expect(&message[..length], b"a message")?;
        one.send(b"a message")?;
        let mut later = UnixStream::connect("/tmp/listener")?;
        let (mut accepted, _) = listener.accept()?;
        later.write_all(b"z")?;
        accepted.read_exact(&mut text[..1])?;
        expect(text[0], b'z')
    }))
}

/// flock(2): another open file cannot have it.
fn locks() -> Result<Check, Box<dyn Error>> {
    let file = File::create("/tmp/locked")?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(Box::new(move || {
        let _ = &file;
        let other = File::open("/tmp/locked")?;
        match flock(&other, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            other => Err(format!("the lock is free: {other:?}").into()),
        }
    }))
}

/// Memory shared with a child, and a file in /dev/shm.
fn shared_memory() -> Result<Check, Box<dyn Error>> {
    let flags = MapFlags::SHARED;
    // SAFETY: a new mapping of this size, used as one atomic counter by this process and its child for good.
    let counter = unsafe {
        let at = mmap_anonymous(
            std::ptr::null_mut(),
            4096,
            ProtFlags::READ | ProtFlags::WRITE,
            flags,
        )?;
        &*at.cast::<AtomicU64>()
    };
    in_background(move || {
        loop {
            counter.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
    })?;
    let name = "/dev/shm/held";
    fs::write(name, "held")?;
    let file = File::open(name)?;
    Ok(Box::new(move || {
        let before = counter.load(Ordering::SeqCst);
        for _ in 0..20_000 {
            if counter.load(Ordering::SeqCst) > before {
                let mut text = [0; 4];
                std::os::unix::fs::FileExt::read_exact_at(&file, &mut text, 0)?;
                expect(text, *b"held")?;
                return expect(fs::read_to_string(name)?.as_str(), "held");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("the child's memory is another".into())
    }))
}

/// A timer that goes off again and again, and a clock that does not go back.
fn timer() -> Check {
    alarm_each(Duration::from_millis(20));
    let mut last = rustix::time::clock_gettime(ClockId::Boottime);
    Box::new(move || {
        // Should none come, the test sees no answer.
        while kernel::next_signal() != libc::SIGALRM {}
        let now = rustix::time::clock_gettime(ClockId::Boottime);
        if (now.tv_sec, now.tv_nsec) < (last.tv_sec, last.tv_nsec) {
            return Err(format!("the clock went back from {last:?} to {now:?}").into());
        }
        last = now;
        Ok(())
    })
}

fn watch() -> Result<Check, Box<dyn Error>> {
    fs::create_dir_all("/tmp/watched")?;
    let watcher = inotify::init(inotify::CreateFlags::empty())?;
    inotify::add_watch(&watcher, "/tmp/watched", inotify::WatchFlags::CREATE)?;
    let mut watcher = File::from(watcher);
    let mut number = 0;
    Ok(Box::new(move || {
        number += 1;
        fs::write(format!("/tmp/watched/{number}"), "")?;
        readable(&watcher)?;
        let mut event = [0; 4096];
        let length = watcher.read(&mut event)?;
        let text = String::from_utf8_lossy(&event[..length]).into_owned();
        match text.contains(&number.to_string()) {
            true => Ok(()),
            false => Err(format!("an event of something else: {text:?}").into()),
        }
    }))
}

fn events() -> Result<Check, Box<dyn Error>> {
    let all = epoll::create(epoll::CreateFlags::empty())?;
    let counter = eventfd(0, EventfdFlags::empty())?;
    let data = epoll::EventData::new_u64(77);
    epoll::add(&all, &counter, data, epoll::EventFlags::IN)?;
    let mut counter = File::from(counter);
    counter.write_all(&5u64.to_ne_bytes())?;
    Ok(Box::new(move || {
        readable(&all)?;
        let mut list = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; 4];
        let count = epoll::wait(&all, &mut list[..], None)?;
        expect((count, list[0].data.u64()), (1, 77))?;
        let mut value = [0; 8];
        counter.read_exact(&mut value)?;
        counter.write_all(&5u64.to_ne_bytes())?;
        expect(u64::from_ne_bytes(value), 5)
    }))
}

/// A pseudo-terminal of the container's own.
fn terminal() -> Result<Check, Box<dyn Error>> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = openat(CWD, "/dev/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave: OwnedFd = openat(CWD, &name, flags, Mode::empty())?;
    let (mut master, mut slave) = (File::from(master), File::from(slave));
    Ok(Box::new(move || {
        slave.write_all(b"up\n")?;
        let mut text = [0; 4];
        master.read_exact(&mut text)?;
        expect(text, *b"up\r\n")?;
        master.write_all(b"down\n")?;
        let mut text = [0; 5];
        slave.read_exact(&mut text)?;
        // It is echoed.
        master.read_exact(&mut [0; 6])?;
        expect(text, *b"down\n")
    }))
}

/// Sends back what comes over TCP, one connection after the other, to a port of 127.0.0.1 or to `ADDRESS:PORT`.
pub(crate) fn echo(place: &str) -> Answer {
    let listener = match place.contains(':') {
        true => std::net::TcpListener::bind(place)?,
        false => std::net::TcpListener::bind(format!("127.0.0.1:{place}"))?,
    };
    println!("ready");
    loop {
        let (mut from, _) = listener.accept()?;
        let mut to = from.try_clone()?;
        std::io::copy(&mut from, &mut to)?;
    }
}

/// Does it in a child that lives as long as this process is there to be killed with its container.
fn in_background(work: impl FnOnce()) -> std::io::Result<()> {
    // SAFETY: this process has one thread; the child ends by _exit.
    match unsafe { libc::fork() } {
        0 => {
            work();
            // SAFETY: takes a number.
            unsafe { libc::_exit(0) };
        }
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// setitimer(2) of ITIMER_REAL: a SIGALRM, again and again.
fn alarm_each(period: std::time::Duration) {
    let period = libc::timeval {
        tv_sec: 0,
        tv_usec: period.subsec_micros().into(),
    };
    let timer = libc::itimerval {
        it_interval: period,
        it_value: period,
    };
    // SAFETY: the timer is read, the old one is not asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
}
