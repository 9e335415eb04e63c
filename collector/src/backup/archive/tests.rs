//! What comes back is what went in; what is not a whole backup is refused.

use super::*;
use tempfile::TempDir;

fn about() -> About {
    About { format: FORMAT, program: "0.1.0".to_owned(), taken_at_ms: 7, schema: 2, has_seal_key: false }
}

/// An archive of two files.
fn made(folder: &Path) -> PathBuf {
    let (one, two, archive) = (folder.join("one"), folder.join("two"), folder.join("archive"));
    std::fs::write(&one, vec![7; 9_000]).unwrap();
    std::fs::write(&two, b"override").unwrap();
    let mut writer = Writer::begin(private::open_new(&archive).unwrap(), &about()).unwrap();
    writer.append("collector.db", &one, &mut |_| ()).unwrap();
    writer.append("knowledge.d/space.toml", &two, &mut |_| ()).unwrap();
    writer.finish().unwrap();
    archive
}

fn read(archive: &Path) -> Result<(About, TempDir)> {
    let into = tempfile::tempdir().unwrap();
    unpack(archive, into.path(), &mut |_, _| ()).map(|about| (about, into))
}

/// Kind, name, said size, content.
type Hostile<'a> = (EntryType, &'a str, u64, &'a [u8]);

/// An archive of entries as a hostile person may write them.
fn hostile(folder: &Path, entries: &[Hostile<'_>]) -> PathBuf {
    let archive = folder.join("hostile");
    let mut bytes = Vec::new();
    let about = serde_json::to_vec(&about()).unwrap();
    let mut sums = String::new();
    let mut put = |kind: EntryType, name: &str, size: u64, content: &[u8]| {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(size);
        header.set_mode(0o777);
        header.set_entry_type(kind);
        if kind == EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        sums += &format!("{}  {name}\n", secret::hex(&secret::digest(content)));
        sums.clone()
    };
    put(EntryType::Regular, ABOUT, about.len() as u64, &about);
    let mut said = String::new();
    for (kind, name, size, content) in entries {
        said = put(*kind, name, *size, content);
    }
    put(EntryType::Regular, SUMS, said.len() as u64, said.as_bytes());
    bytes.resize(bytes.len() + 1024, 0);
    std::fs::write(&archive, bytes).unwrap();
    archive
}

#[test]
fn f26_what_was_packed_comes_back_closed_to_others_and_is_an_ordinary_tar_file() {
    let folder = tempfile::tempdir().unwrap();
    let archive = made(folder.path());
    let (said, into) = read(&archive).unwrap();
    assert_eq!(said, about());
    assert_eq!(std::fs::read(into.path().join("collector.db")).unwrap(), vec![7; 9_000]);
    assert_eq!(std::fs::read(into.path().join("knowledge.d/space.toml")).unwrap(), b"override");
    private::check_closed(&archive).unwrap();
    private::check_closed(&into.path().join("knowledge.d")).unwrap();
    private::check_closed(&into.path().join("knowledge.d/space.toml")).unwrap();
}

#[test]
fn f26_a_backup_that_is_cut_off_anywhere_or_has_a_flipped_bit_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = made(folder.path());
    let whole = std::fs::read(&archive).unwrap();
    let (said, _) = read(&archive).unwrap();
    // The last 1024 zeros are tar's own end; everything before them matters.
    for length in (0..whole.len() - 1024).step_by(509) {
        std::fs::write(&archive, &whole[..length]).unwrap();
        assert!(read(&archive).is_err(), "cut off after {length} of {} bytes", whole.len());
    }
    for at in (0..whole.len() - 1024).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&archive, &flipped).unwrap();
        // Padding between files means nothing; a flip there changes nothing that is restored.
        if let Ok((about, into)) = read(&archive) {
            assert_eq!(about, said, "byte {at}");
            assert_eq!(std::fs::read(into.path().join("collector.db")).unwrap(), vec![7; 9_000], "byte {at}");
            assert_eq!(std::fs::read(into.path().join("knowledge.d/space.toml")).unwrap(), b"override");
        }
    }
}

#[test]
fn f26_hostile_archives_are_refused_and_write_nothing_outside() {
    use EntryType as Kind;
    let cases: &[(&str, &[Hostile<'_>])] = &[
        ("leads out", &[(Kind::Regular, "../evil", 1, b"x")]),
        ("leads out", &[(Kind::Regular, "a/../../evil", 1, b"x")]),
        ("leads out", &[(Kind::Regular, "/tmp/evil", 1, b"x")]),
        ("leads out", &[(Kind::Regular, "a//b", 1, b"x")]),
        ("no plain file", &[(Kind::Symlink, "link", 0, b"")]),
        ("no plain file", &[(Kind::Link, "link", 0, b"")]),
        ("no plain file", &[(Kind::Directory, "folder", 0, b"")]),
        ("no plain file", &[(Kind::Fifo, "fifo", 0, b"")]),
        ("no plain file", &[(Kind::Char, "device", 0, b"")]),
        ("no plain file", &[(Kind::GNULongName, "././@LongLink", 1, b"x")]),
        ("no plain file", &[(Kind::XHeader, "pax", 1, b"x")]),
        ("no plain file", &[(Kind::GNUSparse, "sparse", 1, b"x")]),
        ("larger than the whole", &[(Kind::Regular, "huge", 8 << 30, b"x")]),
        ("twice", &[(Kind::Regular, "a", 1, b"x"), (Kind::Regular, "a", 1, b"y")]),
        ("backup's own", &[(Kind::Regular, "a", 1, b"x"), (Kind::Regular, ABOUT, 1, b"y")]),
        ("characters", &[(Kind::Regular, "a\nb", 1, b"x")]),
        ("characters", &[(Kind::Regular, "a\\b", 1, b"x")]),
        ("cannot be restored", &[(Kind::Regular, "a", 1, b"x"), (Kind::Regular, "a/b", 1, b"y")]),
    ];
    for (why, entries) in cases {
        let folder = tempfile::tempdir().unwrap();
        let archive = hostile(folder.path(), entries);
        let into = folder.path().join("deep/er/into");
        private::create_folder(&into).unwrap();
        let refused = unpack(&archive, &into, &mut |_, _| ()).map(|_| ());
        let refused = format!("{:#}", refused.expect_err(why));
        let is_folder_in_the_way = *why == "cannot be restored" && refused.contains("cannot make");
        assert!(refused.contains(why) || is_folder_in_the_way, "{refused} does not say {why}");
        assert!(
            !folder.path().join("evil").exists() && !folder.path().join("deep/evil").exists(),
            "{refused}"
        );
        assert!(
            !folder.path().join("deep/er/evil").exists() && !Path::new("/tmp/evil").exists(),
            "{refused}"
        );
    }
}

#[test]
fn f26_a_backup_of_a_form_that_is_not_known_yet_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let later = About { format: FORMAT + 1, program: "9.0".to_owned(), ..about() };
    Writer::begin(private::open_new(&archive).unwrap(), &later).unwrap().finish().unwrap();
    let refused = format!("{:#}", read(&archive).map(|_| ()).unwrap_err());
    assert!(refused.contains("install that version") && refused.contains("9.0"), "{refused}");
}
