//! The front with answers made for the test: late ones, too large ones, none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex};

use tempfile::TempDir;

use super::link::MAX_ANSWER_BYTES;
use super::*;
use crate::stats::Server;

/// How long a test waits for what should happen soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers `/late` when it is told to, `/broken` with more than a link takes.
#[derive(Default)]
struct Scripted {
    is_released: Mutex<bool>,
    changed: Condvar,
}

impl Scripted {
    fn release(&self) {
        *self.is_released.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Answers for Scripted {
    fn answer(&self, target: &str) -> Answer {
        match target {
            "/late" => {
                let released = self.is_released.lock().unwrap();
                drop(
                    self.changed
                        .wait_while(released, |is_released| !*is_released),
                );
                Answer::ok("text/plain", &b"late"[..])
            }
            "/broken" => Answer::ok("text/plain", vec![b'x'; MAX_ANSWER_BYTES + 1]),
            _ => Answer::ok("text/plain", &b"well"[..]),
        }
    }

    fn tick(&self) {}
}

/// A server of these answers.
struct House {
    answers: Arc<Scripted>,
    address: SocketAddr,
    _directory: TempDir,
    _server: Server,
}

impl House {
    fn open(max_clients: usize) -> House {
        let directory = tempfile::tempdir().unwrap();
        let (answers, started) = start(max_clients, directory.path().to_owned());
        let (address, server) = started.unwrap();
        House {
            answers,
            address,
            _directory: directory,
            _server: server,
        }
    }

    fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        answer(self.ask(path))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // The server's threads are waited for.
        self.answers.release();
    }
}

type Started = io::Result<(SocketAddr, Server)>;

fn start(max_clients: usize, directory: PathBuf) -> (Arc<Scripted>, Started) {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Arc::new(Scripted::default());
    let descriptors = max_clients + OTHER_DESCRIPTORS;
    let shared: Arc<dyn Answers> = answers.clone();
    let server = Server::serve(listener, descriptors, directory, shared, &Pulses::default());
    (answers, server.map(|server| (address, server)))
}

/// All that comes up to the end of the stream.
fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn is_refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n")
}

#[test]
fn a_backend_that_cannot_start_is_an_error_that_names_the_place() {
    let nowhere = PathBuf::from("/nowhere/at/all");
    let error = start(4, nowhere).1.unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}

#[test]
fn the_backends_socket_fits_wherever_its_directory_is() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let (_, started) = start(4, deep.clone());
    let (address, _server) = started.unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(answer(stream).ends_with("well"));
    assert_eq!(
        std::fs::read_dir(&deep).unwrap().count(),
        0,
        "nothing is left there"
    );
}

#[test]
fn who_waits_for_a_lost_backend_is_told_and_another_answers_the_next() {
    let house = House::open(16);
    let waiting = [house.ask("/broken"), house.ask("/broken")];
    for stream in waiting {
        let answer = answer(stream);
        assert!(is_refused(&answer), "{answer}");
    }
    assert!(house.get("/").ends_with("well"));
}

#[test]
fn whoever_decides_about_traffic_is_answered_before_all_others() {
    let house = House::open(64);
    let waiting: Vec<TcpStream> = (0..60).map(|_| house.ask("/late")).collect();
    for target in ["/api/v1/health", "/api/v1/health?probe=1"] {
        assert!(house.get(target).ends_with("well"), "{target}");
    }
    house.answers.release();
    drop(waiting);
}

#[test]
fn who_waits_too_long_is_told() {
    let house = House::open(16);
    let answer = house.get("/late");
    assert!(is_refused(&answer), "{answer}");
    house.answers.release();
    assert!(house.get("/late").ends_with("late"));
}

#[test]
fn a_house_of_any_size_has_room_for_a_newcomer_who_is_told_to_come_back() {
    for (max_clients, may_wait) in [(4, 3), (12, 9)] {
        let house = House::open(max_clients);
        let waiting: Vec<TcpStream> = (0..may_wait).map(|_| house.ask("/late")).collect();
        // One of those that are not being answered gives way for each that comes: all but the
        // last of it are there still, and nobody is dropped without a word.
        let newcomers: Vec<TcpStream> = (0..20).map(|_| house.ask("/late")).collect();
        let streams = waiting.into_iter().chain(newcomers);
        let answers = std::thread::scope(|scope| {
            let readers: Vec<_> = streams
                .map(|stream| scope.spawn(move || answer(stream)))
                .collect();
            let refused = |reader: &&std::thread::ScopedJoinHandle<'_, _>| reader.is_finished();
            let begun = Instant::now();
            while readers.iter().filter(refused).count() < 20 {
                assert!(begun.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(5));
            }
            house.answers.release();
            let join = |reader: std::thread::ScopedJoinHandle<'_, String>| reader.join().unwrap();
            readers.into_iter().map(join).collect::<Vec<String>>()
        });
        let refused = answers.iter().filter(|answer| is_refused(answer)).count();
        let answered = answers.iter().filter(|answer| answer.ends_with("late"));
        assert_eq!((refused, answered.count()), (20, may_wait), "{answers:?}");
    }
}
