//! The socket of the process connector.

use super::wire::{self, Event};
use crate::proc::files::in_initial_pid_namespace;
use crate::source_error;
use gpu_session_core::sample::SourceError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with,
    sockopt,
};
use std::time::{Duration, Instant};

/// Bytes of events that may wait: some thousand, for the kernel counts about 800 for each.
pub(super) const BUFFER: usize = 4 << 20;
/// The group of `CN_IDX_PROC`, as a mask.
const GROUP: u32 = 1;
/// Largest message that is read whole; an event has 76 bytes.
const MESSAGE: usize = 512;
/// How long the kernel may take to answer. It does so before the request returns, or never.
const PATIENCE: Duration = Duration::from_millis(500);
/// The inode of the initial user namespace, fixed in the kernel (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// What to do where the kernel gives nothing.
const REMEDY: &str = "process_events needs the initial namespaces of pids, users and the network (in a pod hostPID: true, \
                      hostNetwork: true and no user namespace), and CAP_NET_ADMIN on kernels before 6.6";

/// A socket that hears of every exec and exit, until it is dropped.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Asks the kernel for its events and waits for its answer.
    pub(super) fn listen(buffer: usize) -> Result<Self, SourceError> {
        // The kernel ignores requests from other namespaces without a word.
        let own_user = std::fs::read_link("/proc/self/ns/user").ok();
        if in_initial_pid_namespace() == Some(false) {
            return Err(refused("this is a pid namespace of its own"));
        }
        if own_user.is_some_and(|own| own.as_os_str() != INITIAL_USER_NAMESPACE) {
            return Err(refused("this is a user namespace of its own"));
        }
        let fail = |errno| failed("the process connector", errno);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let family = AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::DGRAM, flags, Some(netlink::CONNECTOR)).map_err(fail)?;
        // Beyond rmem_max it takes CAP_NET_ADMIN; with less room a burst is lost sooner, and that is told.
        if sockopt::set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, buffer).map_err(fail)?;
        }
        bind(&socket, &SocketAddrNetlink::new(0, GROUP)).map_err(fail)?;
        let socket = Self(socket);
        socket.send(&wire::listen()).map_err(fail)?;
        socket.answer()?;
        socket.send(&wire::listen_to_few()).map_err(fail)?;
        Ok(socket)
    }

    fn send(&self, message: &[u8]) -> Result<(), Errno> {
        sendto(&self.0, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map(|_| ())
    }

    fn answer(&self) -> Result<(), SourceError> {
        let begin = Instant::now();
        while let Some(left) = PATIENCE.checked_sub(begin.elapsed()) {
            match self.receive() {
                Ok(Some(Event::Answer(0))) => return Ok(()),
                Ok(Some(Event::Answer(errno))) => {
                    return Err(failed("the process connector", Errno::from_raw_os_error(errno as i32)));
                }
                // Events for others, who listen already.
                Ok(_) | Err(Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => {
                    let left = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
                    match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left)) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(errno) => return Err(failed("the process connector", errno)),
                    }
                }
                Err(errno) => return Err(failed("the process connector", errno)),
            }
        }
        Err(refused("the kernel does not answer"))
    }

    /// The next message that waits; `None` for one that is no event of the kernel's. `NOBUFS` says that events were lost.
    pub(super) fn receive(&self) -> Result<Option<Event>, Errno> {
        let mut buffer = [0; MESSAGE];
        let (_, length, from) = loop {
            match recvfrom(&self.0, &mut buffer, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        let from_kernel =
            from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0);
        Ok(if from_kernel { buffer.get(..length).and_then(wire::parse) } else { None })
    }

    /// Waits for a message, or until the other end is closed: says whether to go on.
    pub(super) fn wait(&self, stop: BorrowedFd<'_>) -> Result<bool, Errno> {
        let mut both = [PollFd::new(&self.0, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        loop {
            match poll(&mut both, None) {
                Err(Errno::INTR) => {}
                other => {
                    other?;
                    return Ok(both[1].revents().is_empty());
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The kernel ends it with the socket, from 6.6 on.
        let _ = self.send(&wire::ignore());
    }
}

fn refused(why: &str) -> SourceError {
    source_error("permission_denied", format!("the process connector: {why}; {REMEDY}"))
}

/// An error of a call, with the remedy where it is one of rights.
pub(super) fn failed(what: &str, errno: Errno) -> SourceError {
    match errno {
        Errno::PERM | Errno::ACCESS => refused("it may not be listened to"),
        // Only the initial network namespace has the kernel's end of the socket.
        Errno::CONNREFUSED => refused("this is a network namespace of its own"),
        Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => source_error(
            "unsupported",
            format!(
                "{what}: {errno}: this kernel was built without CONFIG_CONNECTOR; set process_events: false"
            ),
        ),
        _ => source_error("io", format!("{what}: {errno}")),
    }
}
