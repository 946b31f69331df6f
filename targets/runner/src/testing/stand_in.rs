//! A stand-in for the program ssh, whose connection has the fault that a test asks for; the board is this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use limbeck_boards::Board;

use crate::transport::{Ssh, SshClient};

/// The stand-in (`stand_in.sh`) and a board behind it, in a temporary folder.
pub(crate) struct StandIn {
    dir: tempfile::TempDir,
    pub board: Board,
}

impl StandIn {
    pub(crate) fn new() -> StandIn {
        let dir = tempfile::tempdir().unwrap();
        super::program(&dir.path().join("ssh"), include_str!("stand_in.sh"));
        let file = dir.path().join("stand-in.toml");
        let text = "title = \"t\"\ntriple = \"host\"\nlibc = \"static\"\nworkdir = \"/w\"\ntimeout_s = 10\n\
                    [transport.ssh]\nhost = \"board\"\n";
        std::fs::write(&file, text).unwrap();
        let board = Board::find_in(file.to_str().unwrap(), None).unwrap();
        StandIn { dir, board }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// From now on the connection has this fault, at that call (0: at each).
    pub(crate) fn fails(&self, at: usize, fault: &str) {
        std::fs::write(self.dir().join("fault"), format!("{at} {fault}\n")).unwrap();
        std::fs::write(self.dir().join("calls"), "").unwrap();
    }

    /// How often ssh was called since.
    pub(crate) fn calls(&self) -> usize {
        std::fs::read_to_string(self.dir().join("calls")).unwrap().lines().count()
    }

    /// The board has all programs of this machine but these.
    pub(crate) fn lacks(&self, programs: &[&str]) {
        let bin = self.dir().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let files = std::env::split_paths(&path).filter_map(|dir| dir.read_dir().ok()).flatten().flatten();
        for file in files.map(|entry| entry.path()) {
            let name = file.file_name().unwrap();
            if !programs.iter().any(|lacking| *lacking == name) {
                // The first in PATH wins.
                let _ = std::os::unix::fs::symlink(&file, bin.join(name));
            }
        }
        self.has_only(&bin);
    }

    /// The board has only the programs in a folder.
    pub(crate) fn has_only(&self, bin: &Path) {
        std::fs::write(self.dir().join("path"), bin.as_os_str().as_encoded_bytes()).unwrap();
    }

    pub(crate) fn ssh(&self) -> Box<Ssh> {
        Box::new(self.ssh_within(Duration::from_secs(5), Duration::from_secs(1)))
    }

    /// The same with other limits for a step.
    pub(crate) fn ssh_within(&self, step: Duration, grace: Duration) -> Ssh {
        let client = SshClient { program: self.dir().join("ssh"), home: PathBuf::from(self.dir()) };
        Ssh::for_test(&self.board, client, step, grace)
    }
}
