//! Files that are damaged, cut off, foreign or of another time.

use super::super::codec::{Kind, VERSION, file_start};
use super::*;

/// A save and a journal of some keys, small enough to be damaged everywhere.
fn small_files() -> ByHand {
    let mut by_hand = ByHand::new();
    by_hand.visit(key(1), second(0));
    by_hand.visit(slice_key(2, b"abc"), second(0));
    by_hand.journal();
    by_hand.rotate();
    by_hand.save(second(0));
    by_hand.visit(key(3), second(0));
    by_hand.journal();
    by_hand.visit(slice_key(4, b"d"), second(0));
    by_hand.journal();
    by_hand.paths.delete_journals_before(2).unwrap();
    by_hand
}

/// Loads copies of the folder in which one file was changed.
fn load_with(by_hand: &ByHand, file: &Path, content: &[u8]) -> Restored {
    let folder = tempfile::tempdir().unwrap();
    for name in files(&by_hand.folder) {
        fs::copy(by_hand.folder.path().join(&name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join(file.file_name().unwrap()), content).unwrap();
    load(&sticks_path(&folder), &SLICES, wall(0))
}

#[test]
fn damage_anywhere_invents_nothing_and_keeps_what_the_other_file_holds() {
    let by_hand = small_files();
    let whole = groups_of(&by_hand.load());
    assert_eq!(whole.len(), 4);
    let save = by_hand.paths.save().to_owned();
    let journal = by_hand.paths.journal(2);
    for file in [&save, &journal] {
        let content = fs::read(file).unwrap();
        for at in 0..content.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut damaged = content.clone();
                damaged[at] ^= change;
                let restored = load_with(&by_hand, file, &damaged);
                let found = groups_of(&restored);
                let context = format!("byte {at} of {}", file.display());
                assert!(
                    found
                        .iter()
                        .all(|(key, group)| whole.get(key) == Some(group)),
                    "{context}"
                );
                assert!(found.len() >= 2, "{context}: the other file's are there");
                assert!(found.len() < 4, "{context}: the damage was noticed");
                assert!(!restored.clean, "{context}");
                assert!(!restored.notes.is_empty(), "{context}");
            }
        }
    }
}

#[test]
fn a_file_cut_off_anywhere_invents_nothing() {
    let by_hand = small_files();
    let whole = groups_of(&by_hand.load());
    let save = by_hand.paths.save().to_owned();
    let journal = by_hand.paths.journal(2);
    for file in [&save, &journal] {
        let content = fs::read(file).unwrap();
        for length in 0..content.len() {
            let restored = load_with(&by_hand, file, &content[..length]);
            let found = groups_of(&restored);
            assert!(
                found
                    .iter()
                    .all(|(key, group)| whole.get(key) == Some(group))
            );
            assert!(found.len() >= 2, "{length} bytes of {}", file.display());
            assert!(found.len() < 4);
        }
        let mut longer = content.clone();
        longer.push(0);
        let restored = load_with(&by_hand, file, &longer);
        // A save with something behind its end is not trusted; a journal has a torn end.
        assert_eq!(
            groups_of(&restored).len(),
            if file == &save { 2 } else { 4 }
        );
    }
}

#[test]
fn a_torn_journal_is_used_up_to_the_tear_and_not_set_aside() {
    let by_hand = small_files();
    let journal = by_hand.paths.journal(2);
    let content = fs::read(&journal).unwrap();
    fs::write(&journal, &content[..content.len() - 1]).unwrap();
    let restored = by_hand.load();
    assert_eq!(restored.entries.len(), 3);
    assert!(journal.exists());
}

#[test]
fn files_that_are_not_ours_are_set_aside_and_the_start_goes_on() {
    let shape = |key_type, ipv6_prefix| KeyShape {
        key_type,
        ipv6_prefix,
    };
    let slice = |start, end| KeyType::IpWithFirstMessageSlice { start, end };
    let of_shape = |shape| {
        let mut header = ByHand::header(1, true);
        header.shape = shape;
        file_start(Kind::Save, &header)
    };
    let mut other_version = of_shape(SLICES);
    other_version[8] = u8::try_from(VERSION).unwrap() + 1;
    let cases = [
        (b"# a configuration file\nports = []\n".to_vec(), "no Save"),
        (Vec::new(), "ends too early"),
        (vec![0; 1_000_000], "no Save"),
        (
            file_start(Kind::Journal, &ByHand::header(1, false)),
            "no Save",
        ),
        (other_version, "version 2"),
        (of_shape(IPS), "IP, key_ipv6_prefix 128"),
        (of_shape(shape(slice(0, 9), 128)), "0..9"),
        (of_shape(shape(slice(0, 8), 64)), "key_ipv6_prefix 64"),
    ];
    for (content, why) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = sticks_path(&folder);
        fs::write(&path, &content).unwrap();
        let restored = load(&path, &SLICES, wall(0));
        assert!(restored.entries.is_empty());
        assert!(!restored.clean);
        let note = &restored.notes[0];
        assert!(note.contains(why), "{note:?} does not say {why:?}");
        let aside = format!("sticks.set-aside-{WALL_SECS}");
        assert!(note.contains(&aside), "{note:?}");
        assert_eq!(files(&folder), [aside.as_str()]);
        assert_eq!(fs::read(folder.path().join(aside)).unwrap(), content);
    }
}

#[test]
fn a_file_that_cannot_be_read_refuses_the_start_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = sticks_path(&folder);
    fs::create_dir(&path).unwrap(); // opens, and cannot be read
    let error = super::super::load(&path, &SLICES, wall(0)).unwrap_err();
    assert_eq!(error.path, path);
    assert!(error.to_string().contains("move it away"), "{error}");
    assert!(path.is_dir());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
