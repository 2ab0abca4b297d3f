//! A temporary folder that goes with the process.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::last_will::LastWill;
use crate::{Error, Result};

/// Servers may still be writing when they are told to end, so the first removal can fail.
const REMOVE: &str = r#"for try in 1 2 3 4 5 6 7 8 9; do rm -rf -- "$1" && exit; sleep 0.2; done"#;

/// A private folder, removed when dropped and also when the process is killed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// `None` for a folder that stays.
    _removal: Option<LastWill>,
}

impl Folder {
    /// A new folder in the system's place for such; with `keep` it stays.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(prefix: &str, keep: bool) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{prefix}-{:016x}", rand::random::<u64>()));
        DirBuilder::new()
            .mode(0o700) // it will hold keys and tokens
            .create(&path)
            .map_err(Error::system(format!("make the folder {}", path.display())))?;
        let removal = if keep { None } else { Some(LastWill::write(REMOVE, &path)?) };
        Ok(Self { path, _removal: removal })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and gives the file's path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::write(&path, content).map_err(Error::system(format!("write {}", path.display())))?;
        Ok(path)
    }
}
