//! The file system of the view: one directory of files that nobody can write, answered one request at a time.
//!
//! Whoever serves it must not open one of its files: it would wait for itself.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{FILES, File, Sources, SysInfo, View, cpus};
use crate::error::Result;
use crate::sys::fuse::{Device, Kind, Node, ROOT, Received, Request};

/// How many files that are being read piece by piece are remembered. A reader that is forgotten goes on in the text of now.
const REMEMBERED: usize = 32;
/// How many requests are answered at a time, so that the keeper sees to its other duties however busy its readers are.
const AT_A_TIME: usize = 16;
/// The number of the first file.
const FIRST: u64 = ROOT + 1;

/// Serves one mount, until that is gone.
#[derive(Debug)]
pub(crate) struct Server {
    device: Option<Device>,
    view: View,
    last_handle: u64,
    /// What readers have seen the beginning of, so that they see the end of the same text; the latest is the last.
    begun: VecDeque<Begun>,
}

/// An open file that has been read from its beginning.
#[derive(Debug)]
struct Begun {
    handle: u64,
    length: usize,
    /// What the first read has not taken.
    rest: Vec<u8>,
}

impl Server {
    /// Makes it, with its detached mount. Where this host does not let it that is an error if it `must` be; else `None`, with a
    /// warning: the container sees the host's resources then.
    pub(crate) fn mount(must: bool) -> Result<Option<(Server, OwnedFd)>> {
        let (device, tree) = match Device::mount() {
            Ok(mounted) => mounted,
            Err(error) if must => {
                return Err(
                    error.wrap("making the view of resources that io.vzrun.sysinfo tells of")
                );
            }
            Err(error) => {
                let without = "the system container sees the host's memory and CPUs in /proc, \
                               for a FUSE file system cannot be mounted";
                crate::log::warn(format_args!("{without}: {error}"));
                return Ok(None);
            }
        };
        let server = Server {
            device: Some(device),
            view: View::default(),
            last_handle: 0,
            begun: VecDeque::new(),
        };
        Ok(Some((server, tree)))
    }

    /// A boot begins.
    pub(crate) fn begin(&mut self, sources: &Sources<'_>, own_clocks: bool) {
        self.view = View::begin(sources, own_clocks);
    }

    /// The CPUs of the host that are online.
    pub(crate) fn online(&self, sources: &Sources<'_>) -> Result<Vec<u32>> {
        Ok(cpus::online(&sources.host("stat")?))
    }

    /// What sysinfo(2) says in the container.
    pub(crate) fn sysinfo(&mut self, sources: &Sources<'_>) -> Result<SysInfo> {
        self.view.sysinfo(sources)
    }

    /// What is to be waited on; `None` where there is nothing to serve any more.
    pub(crate) fn device(&self) -> Option<BorrowedFd<'_>> {
        self.device.as_ref().map(AsFd::as_fd)
    }

    /// Answers what has been asked. Does not wait.
    pub(crate) fn serve(&mut self, sources: &Sources<'_>) {
        for _ in 0..AT_A_TIME {
            let Some(device) = &mut self.device else {
                return;
            };
            match device.receive() {
                Ok(Received::Request(request)) => self.answer(&request, sources),
                Ok(Received::Nothing) => return,
                // Its files fail from here on; the container lives.
                Ok(Received::End) | Err(_) => self.device = None,
            }
        }
    }

    fn answer(&mut self, request: &Request, sources: &Sources<'_>) {
        // Taken out for the time, for to answer it takes both.
        let Some(device) = self.device.take() else {
            return;
        };
        match &request.kind {
            Kind::Init { major } if *major >= 7 => device.agree(request),
            Kind::Lookup(name) => match node_of(request.node, name) {
                Some(node) => device.entry(request, node),
                None => device.refuse(request, Errno::NOENT),
            },
            Kind::GetAttr => match node(request.node) {
                Some(node) => device.attributes(request, node),
                None => device.refuse(request, Errno::STALE),
            },
            Kind::Open => match file(request.node) {
                Some(_) => {
                    self.last_handle += 1;
                    device.opened(request, self.last_handle);
                }
                None => device.refuse(request, Errno::ISDIR),
            },
            Kind::Read {
                handle,
                offset,
                size,
            } => {
                let (from, size) = (*offset, usize::try_from(*size).unwrap_or(0));
                match file(request.node).map(|file| self.read(file, *handle, (from, size), sources))
                {
                    Some(Ok(text)) => device.data(request, &text),
                    Some(Err(_)) => device.refuse(request, Errno::IO),
                    None => device.refuse(request, Errno::ISDIR),
                }
            }
            Kind::Release { handle } => {
                self.begun.retain(|begun| begun.handle != *handle);
                device.done(request);
            }
            Kind::StatFs => device.no_space(request),
            Kind::Forget => {}
            // Whoever gets this once does not ask again.
            Kind::Init { .. } | Kind::Other => device.refuse(request, Errno::NOSYS),
        }
        // Its files fail from here on, which is better than to wait.
        self.device = Some(device).filter(|device| !device.is_broken());
    }

    /// From the beginning it is what there is now; from anywhere else it is what was there when this reader began.
    fn read(
        &mut self,
        file: File,
        handle: u64,
        (offset, size): (u64, usize),
        sources: &Sources<'_>,
    ) -> Result<Vec<u8>> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let known = self.begun.iter().position(|begun| begun.handle == handle);
        if let Some(index) = known.filter(|_| offset > 0) {
            let begun = &self.begun[index];
            let left = begun.length.saturating_sub(offset);
            // The rest may begin before that, or after: then what is in between has been read, or is not known any more.
            let at = begun.rest.len().checked_sub(left);
            let rest = at.and_then(|at| begun.rest.get(at..));
            return match (left, rest) {
                (0, _) => Ok(Vec::new()),
                (_, Some(rest)) => Ok(piece(rest, size).to_vec()),
                (_, None) => {
                    let text = self.view.text(file, sources)?;
                    Ok(piece_at(text.as_bytes(), offset, size))
                }
            };
        }
        let text = self.view.text(file, sources)?.into_bytes();
        let answer = piece_at(&text, offset, size);
        if offset == 0 {
            if let Some(index) = known {
                self.begun.remove(index);
            }
            if self.begun.len() == REMEMBERED {
                self.begun.pop_front();
            }
            self.begun.push_back(Begun {
                handle,
                length: text.len(),
                rest: text.get(answer.len()..).unwrap_or_default().to_owned(),
            });
        }
        Ok(answer)
    }
}

fn piece_at(text: &[u8], offset: usize, size: usize) -> Vec<u8> {
    piece(text.get(offset..).unwrap_or_default(), size).to_vec()
}

/// At most so much of the text.
fn piece(text: &[u8], size: usize) -> &[u8] {
    text.get(..size).unwrap_or(text)
}

fn node(number: u64) -> Option<Node> {
    match number {
        ROOT => Some(Node::Directory),
        _ => file(number).map(|_| Node::File(number)),
    }
}

fn file(node: u64) -> Option<File> {
    let index = usize::try_from(node.checked_sub(FIRST)?).ok()?;
    FILES.get(index).map(|(_, _, file)| *file)
}

fn node_of(directory: u64, name: &[u8]) -> Option<Node> {
    let found = FILES.iter().zip(FIRST..);
    let mut found = found.filter(|((have, _, _), _)| have.as_bytes() == name);
    found
        .next()
        .filter(|_| directory == ROOT)
        .map(|(_, number)| Node::File(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::procfs::Procfs;

    #[test]
    fn nodes_of_files() {
        for ((name, _, kind), number) in FILES.iter().zip(FIRST..) {
            assert_eq!(node_of(ROOT, name.as_bytes()), Some(Node::File(number)));
            assert_eq!(file(number), Some(*kind));
            assert_eq!(node_of(number, name.as_bytes()), None);
        }
        assert_eq!(node(ROOT), Some(Node::Directory));
        for number in [0, FIRST + FILES.len() as u64, u64::MAX] {
            assert_eq!(node(number), None);
        }
        assert_eq!(node_of(ROOT, b""), None);
    }

    #[test]
    fn a_reader_sees_the_end_of_what_it_began() {
        let procfs = Procfs::open().unwrap();
        let sources = Sources {
            procfs: &procfs,
            cgroup: None,
        };
        let mut server = Server {
            device: None,
            view: View::begin(&sources, true),
            last_handle: 0,
            begun: VecDeque::new(),
        };
        let mut read = |handle, offset, size| {
            let text = server.read(File::Stat, handle, (offset, size), &sources);
            let text = String::from_utf8(text.unwrap()).unwrap();
            (text, server.begun.len())
        };
        let mut whole = String::new();
        loop {
            let (text, begun) = read(1, whole.len() as u64, 100);
            assert_eq!(begun, 1);
            if text.is_empty() {
                break;
            }
            assert!(text.len() <= 100);
            whole += &text;
        }
        assert!(whole.starts_with("cpu  "), "{whole}");
        assert!(whole.lines().last().unwrap().starts_with("softirq "));
        // From the beginning it is read anew, and from behind the end there is nothing.
        assert!(read(1, 0, 1 << 20).0.starts_with("cpu  "));
        assert_eq!(read(1, 1 << 40, 100).0, "");
        // However many there are, few are remembered; who is forgotten can go on.
        for handle in 2..100 {
            assert!(read(handle, 0, 3).1 <= REMEMBERED);
        }
        assert_eq!(read(1, 1, 2).0, "pu");
    }
}
