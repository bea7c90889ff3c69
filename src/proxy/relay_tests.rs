//! The relay over real sockets, without an event loop: sides are simply taken for ready.

use super::*;
use rustix::net::sockopt;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Far end, and the near end as the relay has it.
fn pair() -> (TcpStream, Side) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let far = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (near, _) = listener.accept().expect("accept");
    near.set_nonblocking(true).expect("non-blocking");
    sockopt::set_socket_oobinline(&near, true).expect("out-of-band inline");
    (far, Side::target(near.into()))
}

struct Rig {
    sender: TcpStream,
    from: Side,
    to: Side,
    receiver: TcpStream,
    direction: Direction,
    buffer: Vec<u8>,
    pipes: PipePool,
    buffered: HeldTotal,
}

impl Rig {
    fn new(gear: Gear, max_held: u64) -> Rig {
        let (sender, from) = pair();
        let (receiver, to) = pair();
        Rig {
            sender,
            from,
            to,
            receiver,
            direction: Direction {
                gear,
                ..Direction::default()
            },
            buffer: vec![0; BUFFER_BYTES],
            pipes: PipePool::new(4),
            buffered: HeldTotal::new(max_held),
        }
    }

    /// One turn in which both sockets count as reported ready.
    fn turn(&mut self) -> Step {
        self.from.readable = true;
        self.to.writable = true;
        let mut io = Io {
            buffer: &mut self.buffer,
            pipes: &mut self.pipes,
            buffered: &self.buffered,
            met_bound: false,
        };
        let mut budget = 256 * 1024;
        self.direction
            .pump(&mut self.from, &mut self.to, &mut io, &mut budget)
    }

    /// Turns until one ends in something else than waiting.
    fn run(&mut self) -> Step {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.turn() {
                Step::Blocked | Step::Exhausted => {
                    assert!(
                        Instant::now() < deadline,
                        "the relay does not come to an end"
                    );
                }
                step => return step,
            }
        }
    }
}

/// Reads everything that comes until the end of stream or an error.
fn receive_all(mut receiver: TcpStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut part = [0; 10_000];
        while let Ok(len @ 1..) = receiver.read(&mut part) {
            all.extend_from_slice(&part[..len]);
        }
        all
    })
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

const GEARS: [Gear; 2] = [
    Gear::Copy { heavy_reads: 0 },
    Gear::Splice { thin_splices: 0 },
];

#[test]
fn an_urgent_byte_and_the_end_of_stream_behind_it_arrive_in_order() {
    for gear in GEARS {
        let mut rig = Rig::new(gear, 1 << 20);
        rig.sender.write_all(b"before").expect("send");
        let urgent = send(&rig.sender, b"!", SendFlags::OOB).expect("urgent");
        assert_eq!(urgent, 1);
        rig.sender.write_all(b"after").expect("send");
        rig.sender
            .shutdown(std::net::Shutdown::Write)
            .expect("end of stream");
        assert_eq!(rig.run(), Step::Finished);
        let Rig { receiver, to, .. } = rig;
        drop(to);
        assert_eq!(
            receive_all(receiver).join().expect("received"),
            b"before!after",
            "{gear:?}"
        );
    }
}

#[test]
fn an_urgent_byte_at_the_very_end_is_not_taken_for_the_end() {
    for gear in GEARS {
        let mut rig = Rig::new(gear, 1 << 20);
        send(&rig.sender, b"!", SendFlags::OOB).expect("urgent");
        rig.sender
            .shutdown(std::net::Shutdown::Write)
            .expect("end of stream");
        assert_eq!(rig.run(), Step::Finished);
        assert_eq!(rig.direction.bytes, 1, "{gear:?}");
    }
}

#[test]
fn what_came_before_a_reset_is_delivered_before_the_reset_is_told() {
    for gear in GEARS {
        let mut rig = Rig::new(gear, 1 << 20);
        let sent = pattern(60_000);
        rig.sender.write_all(&sent).expect("send");
        while crate::sys::unsent_bytes(&rig.sender).expect("queue") > 0 {
            std::thread::yield_now();
        }
        socket2::SockRef::from(&rig.sender)
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
        let Rig { receiver, .. } = &rig;
        let received = receive_all(receiver.try_clone().expect("clone"));
        let (sender, _) = pair();
        drop(std::mem::replace(&mut rig.sender, sender)); // sends the reset
        assert_eq!(rig.run(), Step::Reset, "{gear:?}");
        drop(rig.to);
        assert_eq!(received.join().expect("received"), sent);
    }
}

#[test]
fn beyond_the_bound_on_held_bytes_nothing_is_held_and_everything_arrives() {
    let mut rig = Rig::new(Gear::Copy { heavy_reads: 0 }, 0);
    let sent = pattern(8 << 20);
    let received = receive_all(rig.receiver.try_clone().expect("clone"));
    let mut sender = rig.sender.try_clone().expect("clone");
    let expected = sent.clone();
    let sending = std::thread::spawn(move || {
        sender.write_all(&sent).expect("send");
        sender
            .shutdown(std::net::Shutdown::Write)
            .expect("end of stream");
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while !matches!(rig.turn(), Step::Finished) {
        assert_eq!(rig.buffered.bytes(), 0);
        assert!(Instant::now() < deadline);
    }
    sending.join().expect("sent");
    drop(rig.to);
    assert_eq!(received.join().expect("received"), expected);
}

#[test]
fn a_receiver_that_takes_nothing_stops_the_reading_and_its_reset_frees_what_is_held() {
    for gear in GEARS {
        let mut rig = Rig::new(gear, 1 << 30);
        let mut sender = rig.sender.try_clone().expect("clone");
        let sending = std::thread::spawn(move || {
            // Ends in an error when the relay's end is dropped.
            let _ = sender.write_all(&pattern(64 << 20));
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut still = 0;
        while still < 200 || rig.buffered.bytes() == 0 {
            let before = rig.direction.bytes;
            rig.turn();
            still = if rig.direction.bytes == before {
                still + 1
            } else {
                0
            };
            assert!(Instant::now() < deadline);
        }
        let held = rig.buffered.bytes();
        assert!(
            held > 0 && held <= PIPE_BYTES as u64,
            "{held} bytes held, {gear:?}"
        );
        socket2::SockRef::from(&rig.receiver)
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
        let (receiver, _) = pair();
        drop(std::mem::replace(&mut rig.receiver, receiver));
        assert_eq!(rig.run(), Step::ReceiverReset);
        assert_eq!(rig.buffered.bytes(), 0);
        drop(rig);
        sending.join().expect("sender ends");
    }
}

/// The near end of a Unix socket, as the relay has it, and the far one.
fn unix_pair() -> (std::os::unix::net::UnixStream, Side) {
    let (far, near) = std::os::unix::net::UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("non-blocking");
    (far, Side::unix_target(near.into()))
}

/// Where descriptors were sent along, a read ends there: short, although there is more.
#[test]
fn a_short_read_of_a_unix_socket_is_not_taken_for_an_empty_queue() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};
    use std::io::IoSlice;
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd;

    for (gear, max_held) in [(GEARS[0], 1 << 20), (GEARS[1], 1 << 20), (GEARS[0], 0)] {
        let mut rig = Rig::new(gear, max_held);
        let (mut far, near) = unix_pair();
        rig.from = near;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let sent_along = [rig.receiver.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&sent_along)));
        far.write_all(b"before ").expect("send");
        let with = [IoSlice::new(b"with ")];
        sendmsg(&far, &with, &mut ancillary, SendFlags::empty()).expect("send");
        far.write_all(b"after").expect("send");
        let step = rig.turn();
        assert_eq!(
            step,
            Step::Blocked,
            "{gear:?}, {max_held} bytes held at most"
        );
        assert_eq!(rig.direction.bytes, 17, "{gear:?}, {max_held}");
        assert!(!rig.from.readable);
        drop(far);
        assert_eq!(rig.run(), Step::Finished);
        drop(rig.to);
        let received = receive_all(rig.receiver).join().expect("received");
        assert_eq!(received, b"before with after", "{gear:?}, {max_held}");
    }
}
