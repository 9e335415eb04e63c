//! Owners and modes. Access lists beyond the mode are not read: on Linux they cannot grant more than the group bits
//! show; on macOS they can, and there the installer is relied on.

use super::Distrust;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

pub(super) const LOOKS: bool = true;

/// How deep below a private folder files are looked at, and how many: it is the service's own, so it has few.
const DEEPEST: usize = 4;
const MOST_FILES: usize = 10_000;

pub(super) fn only_ours(path: &Path) -> Result<(), Distrust> {
    let absolute = std::path::absolute(path).map_err(unseen(path))?;
    // What is yet to be made is judged by the folders in which it will lie.
    let there = |part: &&Path| std::fs::symlink_metadata(part).is_ok();
    let nearest = absolute.ancestors().find(there).unwrap_or(Path::new("/"));
    let real = std::fs::canonicalize(nearest).map_err(unseen(nearest))?;
    let is_itself = nearest == absolute;
    for way in [nearest, &real] {
        for (distance, part) in way.ancestors().enumerate() {
            let metadata = std::fs::symlink_metadata(part).map_err(unseen(part))?;
            owned(part, &metadata)?;
            let is_above = distance > 0 || !is_itself;
            let sticky =
                is_above && metadata.uid() == 0 && metadata.is_dir() && metadata.mode() & 0o1000 != 0;
            // A symbolic link has no permissions of its own; the folder that holds it is looked at.
            if !metadata.is_symlink() && !sticky && metadata.mode() & 0o022 != 0 {
                return Err(open(part, &metadata, "go-w"));
            }
        }
    }
    Ok(())
}

pub(super) fn private_folder(path: &Path, readable: &[&str]) -> Result<(), Distrust> {
    only_ours(path)?;
    let metadata = std::fs::symlink_metadata(path).map_err(unseen(path))?;
    if !metadata.is_dir() {
        return Err(Distrust::Kind { path: path.into(), found: kind(&metadata), wanted: "a folder" });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(open(path, &metadata, "700"));
    }
    let mut left = MOST_FILES;
    inside(path, readable, DEEPEST, &mut left)
}

fn inside(folder: &Path, readable: &[&str], deeper: usize, left: &mut usize) -> Result<(), Distrust> {
    for entry in std::fs::read_dir(folder).map_err(unseen(folder))? {
        let entry = entry.map_err(unseen(folder))?;
        let path = entry.path();
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // A journal of the database can go at any time.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unseen(&path)(error)),
        };
        let Some(rest) = left.checked_sub(1) else { return Ok(()) };
        *left = rest;
        owned(&path, &metadata)?;
        let may_be_read = readable.iter().any(|name| entry.file_name() == *name);
        if metadata.is_dir() {
            if metadata.mode() & 0o022 != 0 {
                return Err(open(&path, &metadata, "go-w"));
            }
            if deeper > 0 && !may_be_read {
                inside(&path, readable, deeper - 1, left)?;
            }
        } else if metadata.file_type().is_socket() || (may_be_read && metadata.is_symlink()) {
            // The folder above decides who reaches a socket; where a link leads is looked at by whoever follows it.
        } else if !metadata.is_file() {
            return Err(Distrust::Kind { path, found: kind(&metadata), wanted: "a file" });
        } else if metadata.mode() & 0o022 != 0 || (!may_be_read && metadata.mode() & 0o077 != 0) {
            return Err(open(&path, &metadata, if may_be_read { "go-w" } else { "600" }));
        }
    }
    Ok(())
}

fn owned(path: &Path, metadata: &Metadata) -> Result<(), Distrust> {
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() == 0 || metadata.uid() == us {
        return Ok(());
    }
    Err(Distrust::Owner { path: path.into(), owner: metadata.uid(), wanted: us })
}

fn open(path: &Path, metadata: &Metadata, remedy: &'static str) -> Distrust {
    Distrust::Open { path: path.into(), mode: metadata.mode() & 0o7777, remedy }
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_symlink() {
        "a symbolic link"
    } else if metadata.is_dir() {
        "a folder"
    } else if metadata.is_file() {
        "a file"
    } else {
        "a special file"
    }
}

fn unseen(path: &Path) -> impl FnOnce(std::io::Error) -> Distrust {
    let path = PathBuf::from(path);
    move |source| Distrust::Unseen { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn data() -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let data = top.path().join("agent");
        std::fs::create_dir_all(data.join("state")).unwrap();
        chmod(&data, 0o700);
        chmod(&data.join("state"), 0o700);
        for name in ["identity.toml", "agent.toml", "state/followed"] {
            std::fs::write(data.join(name), "x").unwrap();
            chmod(&data.join(name), 0o600);
        }
        (top, data)
    }

    #[test]
    fn r8_a_folder_that_only_its_owner_reaches_is_accepted() {
        let (_top, data) = data();
        private_folder(&data, &["agent.toml"]).unwrap();
        chmod(&data.join("agent.toml"), 0o644);
        private_folder(&data, &["agent.toml"]).unwrap();
    }

    #[test]
    fn r8_each_loosened_mode_is_refused_with_its_remedy() {
        for (name, mode, remedy) in [
            ("", 0o750, "chmod 700"),
            ("", 0o701, "chmod 700"),
            ("..", 0o777, "chmod go-w"),
            ("..", 0o770, "chmod go-w"),
            ("identity.toml", 0o640, "chmod 600"),
            ("identity.toml", 0o604, "chmod 600"),
            ("agent.toml", 0o664, "chmod go-w"),
            ("state", 0o720, "chmod go-w"),
            ("state/followed", 0o644, "chmod 600"),
        ] {
            let (_top, data) = data();
            let path = if name == ".." { data.parent().unwrap().to_owned() } else { data.join(name) };
            chmod(&path, mode);
            let error = private_folder(&data, &["agent.toml"]).unwrap_err().to_string();
            assert!(error.contains(remedy), "{name} {mode:o}: {error}");
            let named = path.canonicalize().unwrap();
            assert!(error.contains(named.to_str().unwrap()), "{name} {mode:o}: {error}");
        }
    }

    #[test]
    fn r8_a_link_or_a_pipe_in_place_of_a_private_file_is_refused() {
        let (top, data) = data();
        std::fs::remove_file(data.join("identity.toml")).unwrap();
        std::os::unix::fs::symlink(top.path(), data.join("identity.toml")).unwrap();
        let error = private_folder(&data, &[]).unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
    }

    #[test]
    fn r8_a_link_is_followed_and_where_it_leads_is_looked_at() {
        let (top, data) = data();
        let open = top.path().join("open");
        std::fs::create_dir(&open).unwrap();
        let program = open.join("program");
        std::fs::write(&program, "x").unwrap();
        chmod(&program, 0o755);
        let link = data.join("link");
        std::os::unix::fs::symlink(&program, &link).unwrap();
        only_ours(&link).unwrap();
        chmod(&open, 0o777);
        assert!(only_ours(&link).is_err(), "the folder that the link leads to is open");
    }
}
