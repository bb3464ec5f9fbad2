//! Files with secrets, and files that must not be overwritten by accident.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

/// Largest file that is taken for a secret's.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Who may read a file that is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Its owner only: mode 0600.
    Owner,
    /// As the process's umask has it.
    Usual,
}

/// What to do where the file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
}

impl From<bool> for Existing {
    /// From a flag `--force`.
    fn from(force: bool) -> Self {
        if force { Self::Replace } else { Self::Refuse }
    }
}

/// Reads a file with a secret as text, white space around it dropped; warns
/// when others than its owner may read it.
pub(crate) fn read_secret_text(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
    let open_to = file.metadata().map(|metadata| metadata.mode() & 0o077).unwrap_or(0);
    if open_to != 0 {
        eprintln!(
            "warning: {} may be read or changed by other users: chmod 600 {0}",
            path.display()
        );
    }
    let bytes = read_bounded(file, SECRET_BYTES_MAX)
        .with_context(|| format!("can't read {}", path.display()))?;
    secret_text(&bytes).with_context(|| format!("in {}", path.display()))
}

/// Text of a secret that was read somewhere.
pub(crate) fn secret_text(bytes: &[u8]) -> anyhow::Result<Zeroizing<String>> {
    let text = std::str::from_utf8(bytes).ok().context("not text")?.trim();
    if text.is_empty() {
        bail!("there is nothing in it");
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads at most `bytes_max` bytes into memory that is wiped when dropped.
///
/// # Errors
///
/// When there is more, or reading fails.
pub(crate) fn read_bounded(
    source: impl Read,
    bytes_max: usize,
) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    // One allocation: a growing vector would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    source.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        bail!("more than {bytes_max} bytes");
    }
    Ok(bytes)
}

/// Writes a file: complete under its name, or not there at all.
pub(crate) fn write(
    path: &Path,
    bytes: &[u8],
    privacy: Privacy,
    existing: Existing,
) -> anyhow::Result<()> {
    let mut pending = PendingFile::create(path, privacy, existing)?;
    pending.file.write_all(bytes).with_context(|| format!("can't write {}", path.display()))?;
    pending.keep()
}

/// A file that is being written under a temporary name in the same directory.
/// Removed when dropped; left behind only by a crash.
pub(crate) struct PendingFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    existing: Existing,
}

impl PendingFile {
    /// Begins a file that will have the name `path`.
    pub(crate) fn create(
        path: &Path,
        privacy: Privacy,
        existing: Existing,
    ) -> anyhow::Result<Self> {
        let temporary = beside(path);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if privacy == Privacy::Owner {
            options.mode(0o600);
        }
        let file = options.open(&temporary);
        let file = file.with_context(|| format!("can't write {}", temporary.display()))?;
        Ok(Self { file, temporary, path: path.to_owned(), existing })
    }

    /// Another handle of the file, to write to it elsewhere.
    pub(crate) fn writer(&self) -> anyhow::Result<File> {
        let path = self.temporary.display();
        self.file.try_clone().with_context(|| format!("can't write {path}"))
    }

    /// Gives the file its name. All of it is durable then.
    pub(crate) fn keep(self) -> anyhow::Result<()> {
        let kept = self.put_in_place();
        let path = self.path.display();
        if let Err(error) = &kept
            && error.kind() == io::ErrorKind::AlreadyExists
        {
            bail!("{path} exists already; it is replaced only with --force");
        }
        kept.with_context(|| format!("can't write {path}"))
    }

    fn put_in_place(&self) -> io::Result<()> {
        // Whichever handle wrote it.
        self.file.sync_all()?;
        match self.existing {
            // A link refuses to replace what is there; a rename would not.
            Existing::Refuse => fs::hard_link(&self.temporary, &self.path)?,
            Existing::Replace => fs::rename(&self.temporary, &self.path)?,
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        // Renamed away, there is nothing; linked, the link is the file.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A temporary name in the same directory.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    name.into()
}

/// Refuses where one of the files is there, before anything is done that can't
/// be done twice.
pub(crate) fn refuse_existing<'a>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
    existing: Existing,
) -> anyhow::Result<()> {
    if existing == Existing::Replace {
        return Ok(());
    }
    for path in paths {
        if path.symlink_metadata().is_ok() {
            bail!("{} exists already; it is replaced only with --force", path.display());
        }
    }
    Ok(())
}

/// Makes a directory and those above it, mode 0700 where they are new.
pub(crate) fn private_directory(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("can't make the directory {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_kept_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, b"one", Privacy::Owner, Existing::Refuse).unwrap();
        let error = write(&path, b"two", Privacy::Owner, Existing::Refuse).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"two", Privacy::Owner, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_is_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        for (name, existing) in [("a", Existing::Refuse), ("b", Existing::Replace)] {
            let path = folder.path().join(name);
            write(&path, b"x", Privacy::Owner, existing).unwrap();
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let pending = PendingFile::create(&path, Privacy::Owner, Existing::Refuse).unwrap();
        pending.writer().unwrap().write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(pending);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn more_than_the_bound_is_refused() {
        assert!(read_bounded(&b"12345"[..], 4).is_err());
        assert_eq!(read_bounded(&b"1234"[..], 4).unwrap().as_slice(), b"1234");
    }

    #[test]
    fn a_secret_that_is_empty_or_no_text_is_refused() {
        assert!(secret_text(b" \n").is_err());
        assert!(secret_text(&[0xff]).is_err());
        assert_eq!(secret_text(b" x\n").unwrap().as_str(), "x");
    }
}
