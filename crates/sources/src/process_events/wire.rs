//! The messages of the kernel's process connector (linux/netlink.h, connector.h, cn_proc.h): all integers in the
//! machine's order.

/// `NLMSG_DONE`, the type of every connector message.
const DONE: u16 = 3;
/// `CN_IDX_PROC` and `CN_VAL_PROC`.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`
const LISTEN: u32 = 1;
/// `PROC_CN_MCAST_IGNORE`
const IGNORE: u32 = 2;
/// `PROC_EVENT_NONE`: the answer to a request.
const NONE: u32 = 0;
/// `PROC_EVENT_EXEC`
const EXEC: u32 = 2;
/// `PROC_EVENT_EXIT`
const EXIT: u32 = 0x8000_0000;

/// What the kernel told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It took a request, or did not (the errno, 0 for none).
    Answer(u32),
    /// A process runs another program.
    Exec {
        pid: u32,
    },
    /// A thread ended.
    Exit {
        pid: u32,
        /// The first thread of its process.
        first_thread: bool,
        /// As `wait` has it.
        wait_status: u32,
        /// `CLOCK_MONOTONIC` (cn_proc.c stamps with `ktime_get_ns`).
        at_ns: u64,
    },
    Other,
}

/// Asks for all events; the kernel answers, with rights and in the initial namespaces.
pub(super) fn listen() -> Vec<u8> {
    message(&[LISTEN])
}

/// Asks for less: the two events that are read. Kernels before 6.6 know no such request and ignore its length; those
/// that know it give no answer to it.
pub(super) fn listen_to_few() -> Vec<u8> {
    message(&[LISTEN, EXEC | EXIT])
}

/// Ends the listening: kernels before 6.6 would else make events for nobody.
pub(super) fn ignore() -> Vec<u8> {
    message(&[IGNORE])
}

/// `nlmsghdr`, `cn_msg` and these words.
fn message(words: &[u32]) -> Vec<u8> {
    let length = 4 * words.len() as u32;
    let mut out = Vec::with_capacity(48);
    let headers: [u32; 9] = [36 + length, u32::from(DONE), 0, 0, PROC, PROC, 0, 0, length];
    for (i, word) in headers.iter().chain(words).enumerate() {
        match i {
            // Two halves each: type and flags, length and flags.
            1 | 8 => {
                out.extend_from_slice(&(*word as u16).to_ne_bytes());
                out.extend_from_slice(&[0, 0]);
            }
            _ => out.extend_from_slice(&word.to_ne_bytes()),
        }
    }
    out
}

/// What a message says; `None` for one that is not the process connector's.
pub(super) fn parse(message: &[u8]) -> Option<Event> {
    if half(message, 4)? != DONE || word(message, 16)? != PROC || word(message, 20)? != PROC {
        return None;
    }
    let event = message.get(36..)?;
    let (pid, tgid) = (word(event, 16)?, word(event, 20)?);
    Some(match word(event, 0)? {
        NONE => Event::Answer(pid),
        EXEC => Event::Exec { pid: tgid },
        EXIT => Event::Exit {
            pid: tgid,
            first_thread: pid == tgid,
            wait_status: word(event, 24)?,
            at_ns: u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?),
        },
        _ => Event::Other,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// Received from Linux 6.18 on x86-64: the answer, `sh -c 'exit 3'` that begins and ends, a thread that ends.
    const RECEIVED: [&str; 4] = [
        "4c000000030000005253000000000000010000000100000052530000010000002800000000000000000000005f8abf7584010000\
         000000000000000000000000000000000000000000000000",
        "4c00000003000000555300000000000001000000010000005553000000000000280000000200000000000000ac65d57584010000\
         d95c0000d95c000000000000000000000000000000000000",
        "4c00000003000000565300000000000001000000010000005653000000000000280000000000008000000000\
         0cdae07584010000d95c0000d95c000000030000110000009e5c00009e5c0000",
        "4c0000000300000054530000000000000100000001000000545300000000000028000000000000800000000\
         04aa5d07584010000d85c0000ad58000000000000ffffffff0000000000000000",
    ];

    #[cfg(target_endian = "little")]
    #[test]
    fn what_the_kernel_sent_is_read() {
        let exit =
            |pid, first_thread, wait_status, at_ns| Event::Exit { pid, first_thread, wait_status, at_ns };
        let expected = [
            Event::Answer(0),
            Event::Exec { pid: 0x5cd9 },
            exit(0x5cd9, true, 3 << 8, 0x0184_75e0_da0c),
            exit(0x58ad, false, 0, 0x0184_75d0_a54a),
        ];
        for (hex, event) in RECEIVED.iter().zip(expected) {
            let message = bytes(hex);
            assert_eq!((message.len(), parse(&message)), (76, Some(event)));
            for cut in 0..60 {
                assert_eq!(parse(&message[..cut]), None, "{cut} bytes of {event:?}");
            }
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn other_messages_are_none() {
        let mut fork = bytes(RECEIVED[1]);
        fork[36] = 1;
        assert_eq!(parse(&fork), Some(Event::Other));
        for at in [4, 16, 20] {
            let mut other = bytes(RECEIVED[1]);
            other[at] = 9;
            assert_eq!(parse(&other), None, "byte {at}");
        }
        let mut refused = bytes(RECEIVED[0]);
        refused[52] = 1;
        assert_eq!(parse(&refused), Some(Event::Answer(1)));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn requests_have_the_kernels_form() {
        let common = "0300000000000000000000000100000001000000000000000000000";
        assert_eq!(listen(), bytes(&format!("28000000{common}00400000001000000")));
        assert_eq!(ignore(), bytes(&format!("28000000{common}00400000002000000")));
        assert_eq!(listen_to_few(), bytes(&format!("2c000000{common}0080000000100000002000080")));
    }
}
