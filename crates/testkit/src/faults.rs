//! Faults of disks and files.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

/// Every file under a folder, links not followed, in a fixed order.
///
/// # Errors
///
/// When a folder can't be read.
pub fn files_under(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Kind of a file in a data directory, for tables: `log/sst`, `state/MANIFEST`,
/// `identity.json`.
#[must_use]
pub fn kind_of(data_dir: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(data_dir).unwrap_or(file);
    let mut parts = relative.components().map(|part| part.as_os_str().to_string_lossy());
    let top = parts.next().unwrap_or_default().into_owned();
    let name = relative.file_name().unwrap_or_default().to_string_lossy();
    let kind = match name.rsplit_once('.') {
        Some((_, extension)) => extension.to_owned(),
        None => name.split('-').next().unwrap_or_default().to_owned(),
    };
    if relative.components().count() > 1 { format!("{top}/{kind}") } else { name.into_owned() }
}

/// Flips bits of one byte. Doing it again undoes it.
///
/// # Errors
///
/// When the file can't be read or written there.
pub fn flip(path: &Path, offset: u64, mask: u8) -> anyhow::Result<()> {
    let change = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut byte)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(&[byte[0] ^ mask])?;
        file.sync_all()
    };
    change().with_context(|| format!("can't flip byte {offset} of {}", path.display()))
}

/// Cuts bytes off a file's end: a write that did not come through.
///
/// # Errors
///
/// When the file can't be written or is shorter.
pub fn tear(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len().checked_sub(bytes).context("the file is shorter")?;
    file.set_len(length).with_context(|| format!("can't cut {}", path.display()))
}

/// Copies a folder and what is in it, as it is.
///
/// # Errors
///
/// When the copy fails.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to))
}

/// A file system of its own, mounted while this value lives. Needs root.
pub struct Mount {
    path: PathBuf,
    frozen: bool,
}

impl Mount {
    /// A file system in memory of so many bytes.
    ///
    /// # Errors
    ///
    /// Where this process may not mount: the reason.
    pub fn tmpfs(path: &Path, bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(path)?;
        let size = format!("size={bytes},mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path))?;
        Ok(Self { path: path.to_owned(), frozen: false })
    }

    /// An ext4 file system in the file `image`, which is made. It can be frozen.
    ///
    /// # Errors
    ///
    /// Where this process may not mount: the reason.
    pub fn ext4(path: &Path, image: &Path, bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(path)?;
        fs::File::create_new(image)?.set_len(bytes)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(path))?;
        Ok(Self { path: path.to_owned(), frozen: false })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes every write and sync wait until [`Mount::thaw`]: a hung disk.
    ///
    /// # Errors
    ///
    /// When the file system can't be frozen.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.path))?;
        self.frozen = true;
        Ok(())
    }

    /// Lets writes go on.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        run(Command::new("fsfreeze").arg("--unfreeze").arg(&self.path))?;
        self.frozen = false;
        Ok(())
    }
}

impl Drop for Mount {
    #[expect(clippy::print_stderr, reason = "a mount left behind needs a hand")]
    fn drop(&mut self) {
        if self.frozen
            && let Err(error) = self.thaw()
        {
            eprintln!("{}: {error:#}", self.path.display());
        }
        // Lazy: processes that are about to die may still be in it.
        if let Err(error) = run(Command::new("umount").arg("--lazy").arg(&self.path)) {
            eprintln!("{}: {error:#}", self.path.display());
        }
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("can't run {command:?}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flip_is_undone_by_a_second_one_and_beyond_the_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"abc").unwrap();
        assert!(flip(&path, 3, 1).is_err());
        flip(&path, 1, 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"acc");
        flip(&path, 1, 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn kinds_name_place_and_form() {
        let data = Path::new("/data");
        for (file, kind) in [
            ("/data/identity.json", "identity.json"),
            ("/data/boot", "boot"),
            ("/data/log/000012.sst", "log/sst"),
            ("/data/state/7/MANIFEST-000004", "state/MANIFEST"),
            ("/data/state/CURRENT", "state/CURRENT"),
        ] {
            assert_eq!(kind_of(data, Path::new(file)), kind);
        }
    }
}
