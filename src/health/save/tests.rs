//! The file: every damage to it, and disks that refuse.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn state(group: u32, target: &str, state: State) -> SavedState {
    SavedState {
        group: GroupId(group),
        check: CheckId(0x0123_4567_89ab_cdef),
        target: TargetAddr::Socket(target.parse().unwrap()),
        state,
        run: 2,
    }
}

fn some() -> Vec<SavedState> {
    let by_name = SavedState {
        target: TargetAddr::Name {
            host: "server.test".to_owned(),
            port: 81,
        },
        ..state(3, "192.0.2.1:80", State::Failing)
    };
    vec![
        state(1, "192.0.2.1:80", State::Failing),
        state(2, "[2001:db8::1]:80", State::Passing),
        by_name,
    ]
}

/// The files of a folder, without the state itself.
fn others(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|other| other != path);
    paths
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(
            std::time::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_text_is_as_documented() {
    let text = String::from_utf8(codec::encode(&some()[..1])).unwrap();
    let line = r#"{"group":1,"check":"0123456789abcdef","target":"192.0.2.1:80","state":"failing","run":2}"#;
    let body = format!("tcpffee health checks 1\n{line}\n");
    let checksum = crc32fast::hash(body.as_bytes());
    assert_eq!(text, format!("{body}crc32 {checksum:08x}\n"));
}

#[test]
fn what_is_saved_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/states");
    assert_eq!(load(&path), []);
    let saver = Saver::start(&path).unwrap();
    for round in 0..20 {
        let mut states = some();
        states[0].run = round;
        saver.save(states);
    }
    saver.stop().unwrap();
    let mut newest = some();
    newest[0].run = 19;
    assert_eq!(load(&path), newest);
    assert_eq!(others(&path), Vec::<PathBuf>::new());
}

#[test]
fn a_file_cut_at_any_byte_is_set_aside() {
    let whole = codec::encode(&some());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states");
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(load(&path), [], "cut at {end}");
        assert!(!path.exists());
        for aside in others(&path) {
            assert!(aside.to_str().unwrap().contains(".set-aside-"));
            fs::remove_file(aside).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let whole = codec::encode(&some());
    for at in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(codec::decode(&damaged).is_err(), "bit {at}");
    }
}

#[test]
fn other_versions_and_foreign_files_are_told_apart() {
    let said = |bytes: &[u8]| codec::decode(bytes).unwrap_err().to_string();
    let text = String::from_utf8(codec::encode(&some())).unwrap();
    let newer = text.replacen("checks 1", "checks 2", 1);
    assert!(said(newer.as_bytes()).contains("version 2"));
    assert!(said(b"\x7fELF").contains("no file of health checks"));
    assert!(said(b"").contains("no file of health checks"));
    let unknown = "tcpffee health checks 1\n{\"group\":1}\n";
    let checksum = crc32fast::hash(unknown.as_bytes());
    let unknown = format!("{unknown}crc32 {checksum:08x}\n");
    assert!(said(unknown.as_bytes()).starts_with("line 2 "));
}

#[test]
fn what_is_no_regular_file_does_not_hang_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(load(&path), []);
    fs::create_dir(&path).unwrap();
    assert_eq!(load(&path), []);
    let saver = Saver::start(&path).unwrap();
    saver.save(some());
    saver.stop().unwrap();
    assert_eq!(load(&path), some());
}

#[test]
fn what_a_crash_left_beside_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states");
    fs::write(&path, codec::encode(&some())).unwrap();
    fs::write(crate::state_file::new_path(&path), b"tcpffee hea").unwrap();
    assert_eq!(load(&path), some());
    let saver = Saver::start(&path).unwrap();
    saver.save(some()[..1].to_vec());
    saver.stop().unwrap();
    assert_eq!(load(&path), some()[..1]);
    assert_eq!(others(&path), Vec::<PathBuf>::new());
}

#[test]
fn a_disk_that_refuses_is_tried_again_with_the_newest_and_reported_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/states");
    let in_the_way = folder.path().join("sub");
    fs::write(&in_the_way, "").unwrap();
    let saver = Saver::start(&path).unwrap();
    saver.save(some()[..1].to_vec());
    let error = {
        let saver = Saver::start(&path).unwrap();
        saver.save(some());
        saver.stop().unwrap_err().to_string()
    };
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(error.contains("writable"), "{error}");
    fs::remove_file(&in_the_way).unwrap();
    // The next change does it; without one the retry would.
    saver.save(some());
    wait_for("the file", || path.exists());
    saver.stop().unwrap();
    assert_eq!(load(&path), some());
}

#[test]
fn a_refused_save_is_tried_again_without_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/states");
    let in_the_way = folder.path().join("sub");
    fs::write(&in_the_way, "").unwrap();
    let saver = Saver::start(&path).unwrap();
    saver.save(some());
    wait_for("the attempt", || saver.is_waiting_to_retry());
    fs::remove_file(&in_the_way).unwrap();
    wait_for("the file", || path.exists());
    assert_eq!(load(&path), some());
    saver.stop().unwrap();
}

fn any_target() -> impl Strategy<Value = TargetAddr> {
    let socket = any::<SocketAddr>().prop_map(|mut address| {
        if let SocketAddr::V6(v6) = &mut address {
            v6.set_scope_id(0);
            v6.set_flowinfo(0);
        }
        TargetAddr::Socket(address)
    });
    let name = ("[a-z][a-z0-9.-]{0,40}", any::<u16>());
    prop_oneof![
        socket,
        name.prop_map(|(host, port)| TargetAddr::Name { host, port })
    ]
}

proptest! {
    #[test]
    fn any_states_survive_the_text(
        states in prop::collection::vec((any::<u32>(), any::<u64>(), any_target(), any::<bool>(), any::<u32>()), 0..20)
    ) {
        let states: Vec<SavedState> = states
            .into_iter()
            .map(|(group, check, target, fails, run)| SavedState {
                group: GroupId(group),
                check: CheckId(check),
                target,
                state: if fails { State::Failing } else { State::Passing },
                run,
            })
            .collect();
        prop_assert_eq!(codec::decode(&codec::encode(&states)).unwrap(), states);
    }

    #[test]
    fn any_bytes_are_refused_in_order(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(codec::decode(&bytes).is_err());
    }
}
