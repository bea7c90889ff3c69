//! The running process's side: one thread accepts, one short-lived thread serves each client.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use socket2::{Domain, SockAddr, Socket, Type};

use super::lines::Lines;
use super::{
    Answer, Command, EXIT_TURNED_AWAY, Informant, Kind, NO_SUCH_REQUEST, Reply, Request,
    socket_path,
};
use crate::events::Event;
use crate::groups::Status;
use crate::operator::Order;
use crate::pid_file::PidFile;

/// Clients at once; a further one is told to come back.
const MAX_CLIENTS: usize = 16;

/// A request line, at most: room for the longest key, every byte of it written as `\\xNN`.
const MAX_REQUEST_BYTES: usize = 32 * 1024;

/// What a client may take to send its request, and what one write to it may take.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);

/// How often a client that waits for its answer is looked at: has it gone?
const LOOK_AT_CLIENT: Duration = Duration::from_millis(500);

/// After a failed accept (out of descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who may connect: the process's user and group.
const MODE: u32 = 0o660;

/// The control socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open the control socket {path}: {error}; it stands beside the PID file, \
     whose place TCPFFEE_PID_PATH sets (a socket's path has at most 107 bytes)"
)]
pub struct ControlError {
    path: PathBuf,
    error: io::Error,
}

/// Who tells how things stand, once there is someone.
type Informed = Arc<OnceLock<Arc<dyn Informant>>>;

/// The open control socket; removed when this is closed or dropped.
pub struct ControlSocket {
    path: PathBuf,
    listener: Arc<UnixListener>,
    clients: Arc<Clients>,
    informed: Informed,
}

impl ControlSocket {
    /// Opens the socket beside the PID file, whose lock makes sure that a socket found there is
    /// a leftover and can be replaced, and serves its clients from now on.
    ///
    /// # Errors
    /// When the socket cannot be made or its thread cannot be started.
    pub fn open(pid_file: &PidFile, events: Sender<Event>) -> Result<ControlSocket, ControlError> {
        let path = socket_path(pid_file.path());
        let informed = Informed::default();
        let open = || {
            let listener = Arc::new(listen(&path)?);
            let clients = Arc::new(Clients::default());
            let door = Door {
                listener: Arc::clone(&listener),
                clients: Arc::clone(&clients),
                asked: Asked {
                    events,
                    informed: Arc::clone(&informed),
                },
            };
            thread::Builder::new()
                .name("control".to_owned())
                .spawn(move || door.accept_all())?;
            Ok((listener, clients))
        };
        match open() {
            Ok((listener, clients)) => Ok(ControlSocket {
                path,
                listener,
                clients,
                informed,
            }),
            Err(error) => Err(ControlError { path, error }),
        }
    }

    /// From now on who asks how things stand is told by this one.
    pub fn inform_by(&self, informant: Arc<dyn Informant>) {
        // There is one; a second one would change nothing.
        let _ = self.informed.set(informant);
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes no further client, waits at most `timeout` for the answers on their way to be
    /// written, and removes the socket.
    pub fn close(self, timeout: Duration) {
        self.shut();
        self.clients.wait_until_none(timeout);
    }

    fn shut(&self) {
        if self.clients.shut() {
            // Wakes the thread that waits in accept.
            let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl std::fmt::Debug for ControlSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlSocket({})", self.path.display())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Binds, sets the mode, and only then listens: nobody connects under another mode.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        // Only what can be a leftover of ours is replaced; binding refuses over anything else.
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(i32::try_from(MAX_CLIENTS).unwrap_or(i32::MAX))?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

/// Counts the clients being served.
#[derive(Debug, Default)]
struct Clients {
    state: Mutex<ClientsState>,
    one_left: Condvar,
}

#[derive(Debug, Default)]
struct ClientsState {
    count: usize,
    shut: bool,
}

impl Clients {
    fn state(&self) -> MutexGuard<'_, ClientsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more client, given back when dropped.
    fn enter(self: &Arc<Clients>) -> Option<Place> {
        let mut state = self.state();
        if state.count >= MAX_CLIENTS {
            return None;
        }
        state.count += 1;
        Some(Place(Arc::clone(self)))
    }

    /// True for the first caller.
    fn shut(&self) -> bool {
        !std::mem::replace(&mut self.state().shut, true)
    }

    fn is_shut(&self) -> bool {
        self.state().shut
    }

    fn wait_until_none(&self, timeout: Duration) {
        let state = self.state();
        let result = self
            .one_left
            .wait_timeout_while(state, timeout, |state| state.count > 0);
        drop(result.unwrap_or_else(PoisonError::into_inner));
    }
}

struct Place(Arc<Clients>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state().count -= 1;
        self.0.one_left.notify_all();
    }
}

/// What the accepting thread holds.
struct Door {
    listener: Arc<UnixListener>,
    clients: Arc<Clients>,
    asked: Asked,
}

/// Who answers what clients ask.
#[derive(Clone)]
struct Asked {
    events: Sender<Event>,
    informed: Informed,
}

impl Door {
    fn accept_all(&self) {
        loop {
            let accepted = self.listener.accept();
            if self.clients.is_shut() {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => {
                    log::debug!("cannot accept on the control socket: {error}");
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn admit(&self, stream: UnixStream) {
        let Some(place) = self.clients.enter() else {
            let text = format!("{MAX_CLIENTS} requests are being served already; try again");
            turn_away(&stream, text);
            return;
        };
        let asked = self.asked.clone();
        let spawned = thread::Builder::new()
            .name("control-client".to_owned())
            .spawn(move || {
                // What goes wrong on the way to a client concerns that client alone.
                if let Err(error) = serve(&stream, &asked) {
                    log::debug!("a client of the control socket was not served: {error}");
                }
                // The stream's end comes first: whoever waits for the place waits for both.
                drop(stream);
                drop(place);
            });
        if let Err(error) = spawned {
            log::warn!("cannot serve a client of the control socket: {error}");
        }
    }
}

/// Tells a client why it is not served; never waits.
fn turn_away(stream: &UnixStream, text: String) {
    if stream.set_nonblocking(true).is_ok() {
        let mut answer = Answer::failed(text);
        answer.exit = EXIT_TURNED_AWAY;
        let _ = write_answer(stream, &answer);
    }
}

/// Reads one request, hands it on, and passes on what is answered.
fn serve(stream: &UnixStream, asked: &Asked) -> io::Result<()> {
    stream.set_write_timeout(Some(CLIENT_LIMIT))?;
    let mut lines = Lines::new(stream, MAX_REQUEST_BYTES);
    let Some(line) = lines.next(Some(Instant::now() + CLIENT_LIMIT))? else {
        return Ok(());
    };
    let command = match serde_json::from_slice(&line) {
        Ok(Request { command }) => command,
        Err(error) => {
            return write_answer(
                stream,
                &Answer::failed(format!("{NO_SUCH_REQUEST}: {error}")),
            );
        }
    };
    if matches!(command, Command::Status | Command::Sticks(_)) {
        log::debug!("`{command}` received by the control socket");
        return inform(stream, &command, &asked.informed);
    }
    log::info!("`{command}` received by the control socket");
    let (reply, answers) = Reply::new();
    let Some(event) = event(command, reply) else {
        return Ok(());
    };
    // A queue that stays full, or has gone, drops the event and with it the reply, which says so.
    drop(asked.events.send_timeout(event, CLIENT_LIMIT));
    pass_on(stream, &answers)
}

/// What the supervisor is to do; `None`: it is not for the supervisor.
fn event(command: Command, reply: Reply) -> Option<Event> {
    let set = |group, status| Order::SetStatus { group, status };
    let order = match command {
        Command::Reload => return Some(Event::Reload(Some(reply))),
        Command::Stop => return Some(Event::Stop(Some(reply))),
        Command::ClusterForm { yes } => return Some(Event::ClusterForm { yes, reply }),
        Command::Drain { group } => set(group, Status::Draining),
        Command::Disable { group } => set(group, Status::Disabled),
        Command::Enable { group } => set(group, Status::Up),
        Command::SticksRemove { key } => Order::RemoveStick { key },
        Command::Status | Command::Sticks(_) => return None,
    };
    Some(Event::Operator { order, reply })
}

/// Answers a question in this thread.
fn inform(stream: &UnixStream, command: &Command, informed: &Informed) -> io::Result<()> {
    let Some(informant) = informed.get() else {
        let text = "the process is still starting; try again in a moment";
        return write_answer(stream, &Answer::failed(text));
    };
    match command {
        Command::Sticks(question) => write_answer(stream, &informant.sticks(question)),
        _ => informant
            .status()
            .try_for_each(|answer| write_answer(stream, &answer)),
    }
}

fn pass_on(stream: &UnixStream, answers: &Receiver<Answer>) -> io::Result<()> {
    loop {
        match answers.recv_timeout(LOOK_AT_CLIENT) {
            Ok(answer) => {
                write_answer(stream, &answer)?;
                if answer.kind != Kind::Progress {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) if has_gone(stream) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// One line of JSON, in one write.
fn write_answer(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Whether the client has closed its socket (not merely ended its side).
fn has_gone(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut watched = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let polled = poll(&mut watched, Some(&at_once));
    let ended = PollFlags::HUP | PollFlags::ERR;
    polled.is_ok_and(|count| count > 0) && watched[0].revents().intersects(ended)
}
