//! A client with an address of its choice.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// No read or write of a test client waits longer than this.
pub const STALL: Duration = Duration::from_secs(60);

/// Connects from an address. Reads and writes fail after [`STALL`].
pub fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    connect_with(from, to, |_| Ok(()))
}

/// Connects from an address with socket options set before the connect.
pub fn connect_with(
    from: IpAddr,
    to: SocketAddr,
    prepare: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<TcpStream> {
    connect_from(SocketAddr::new(from, 0), to, prepare)
}

/// Connects from an address and port, 0 for any.
pub fn connect_from(
    from: SocketAddr,
    to: SocketAddr,
    prepare: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(10))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    Ok(stream)
}

/// Connects and reads the name that the backend says first.
pub fn greet(from: IpAddr, to: SocketAddr) -> io::Result<(String, TcpStream)> {
    let stream = connect(from, to)?;
    let name = read_line(&stream)?;
    Ok((name, stream))
}

/// Which backend answers, over a connection that is closed in order afterwards.
pub fn ask(from: IpAddr, to: SocketAddr) -> io::Result<String> {
    let (name, stream) = greet(from, to)?;
    stream.shutdown(Shutdown::Write)?;
    let rest = read_to_end(&stream)?;
    assert!(rest.is_empty(), "{} unexpected bytes", rest.len());
    Ok(name)
}

/// Reads up to a newline, byte by byte so that nothing behind it is taken.
pub fn read_line(mut stream: &TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(line).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Sends bytes and reads as many back: an echo that must come back the same.
pub fn exchange(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(message)?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer)?;
    assert!(answer == message, "the echo differs from what was sent");
    Ok(())
}

/// Reads until the end of the stream.
pub fn read_to_end(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How a stream ended, after everything that came before the end was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// FIN.
    Finished,
    /// RST.
    Reset,
}

/// Reads whatever comes until the stream ends one way or the other: the number of bytes and the
/// end. Any other error (a time-out above all) is a failure of the test.
pub fn drain(mut stream: &TcpStream) -> (u64, StreamEnd) {
    let mut buffer = vec![0; 64 * 1024];
    let mut count = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (count, StreamEnd::Finished),
            Ok(read) => count += read as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_reset(&error) => return (count, StreamEnd::Reset),
            Err(error) => panic!("after {count} bytes: {error}"),
        }
    }
}

/// Whether an error says that the other side reset the connection.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// Segments with data that have arrived (`tcpi_data_segs_in`, linux/tcp.h).
pub fn data_segments(stream: &TcpStream) -> u32 {
    const AT: usize = 152;
    let mut info = [0_u8; AT + 4];
    let mut length = libc::socklen_t::try_from(info.len()).expect("it is short");
    // SAFETY: the kernel writes no more than `length` bytes, which `info` has.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!((result, length as usize), (0, info.len()));
    let [.., a, b, c, d] = info;
    u32::from_ne_bytes([a, b, c, d])
}

/// Closes with RST, whatever is unread or unsent.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("linger can be set on an open socket");
}

/// Connects and expects a reset without a byte. Over loopback it may arrive before the connect
/// has returned.
pub fn expect_reset(from: IpAddr, to: SocketAddr) {
    match connect(from, to) {
        Ok(stream) => assert_eq!(drain(&stream), (0, StreamEnd::Reset)),
        Err(error) => assert!(is_reset(&error), "{error}"),
    }
}
