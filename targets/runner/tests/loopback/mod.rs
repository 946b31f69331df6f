//! A real sshd on this machine as a stand-in for a board.
//!
//! It listens on 127.0.0.1 with a configuration, keys and a home folder of its own in a temporary folder; nothing on this
//! machine is changed. One logs in as the user who runs the test. With `runner = ["qemu-aarch64-static"]` in the board's
//! file it runs aarch64 programs, and so stands for an aarch64 board. Used by tests of other crates, too, by path.

use std::io::{Read, Seek};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian and others install it; it wants to be started by its absolute path.
const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd; dropping it stops it.
pub struct Loopback {
    dir: tempfile::TempDir,
    port: u16,
    sshd: Option<Child>,
}

impl Loopback {
    /// Start one. The error is why it cannot be had here.
    pub fn start() -> Result<Loopback, String> {
        if !Path::new(SSHD).exists() {
            return Err(format!("{SSHD} is missing; get it with: sudo apt-get install -y openssh-server"));
        }
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut board = Loopback { dir, port: free_port()?, sshd: None };
        for folder in ["home", "limbeck"] {
            std::fs::create_dir(board.path(folder)).map_err(|e| e.to_string())?;
        }
        key(&board.path("host_key"))?;
        key(&board.path("id"))?;
        std::fs::copy(board.path("id.pub"), board.path("authorized_keys")).map_err(|e| e.to_string())?;
        board.listen()?;
        Ok(board)
    }

    /// A path in the folder of this board: `home` is the home folder of who logs in, `limbeck` is for `LIMBECK_HOME`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The text of its board file.
    pub fn toml(&self, triple: &str, runner: &[&str]) -> String {
        format!(
            "title = \"sshd on this machine\"\ntriple = \"{triple}\"\nlibc = \"static\"\nworkdir = \"~/.limbeck/work\"\n\
             timeout_s = 60\n[transport.ssh]\nhost = \"127.0.0.1\"\nport = {}\nidentity = \"{}\"\nrunner = {runner:?}\n",
            self.port,
            self.path("id").display()
        )
    }

    /// Stop it and start it with another host key, as a board that was set up anew, or as somebody in between.
    pub fn change_host_key(&mut self) -> Result<(), String> {
        self.stop();
        for name in ["host_key", "host_key.pub"] {
            std::fs::remove_file(self.path(name)).map_err(|e| e.to_string())?;
        }
        key(&self.path("host_key"))?;
        self.listen()
    }

    /// Let nobody in any more.
    pub fn refuse_logins(&self) -> Result<(), String> {
        std::fs::write(self.path("authorized_keys"), "").map_err(|e| e.to_string())
    }

    /// Stop listening.
    pub fn stop(&mut self) {
        if let Some(mut sshd) = self.sshd.take() {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
    }

    fn listen(&mut self) -> Result<(), String> {
        let at = |name: &str| self.path(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {}\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nSetEnv HOME={}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             MaxStartups 100\nMaxSessions 100\n",
            self.port,
            at("host_key"),
            at("authorized_keys"),
            at("home")
        );
        std::fs::write(self.path("sshd_config"), config).map_err(|e| e.to_string())?;
        let mut log = std::fs::File::create(self.path("sshd.log")).map_err(|e| e.to_string())?;
        let script = "[ \"$(id -u)\" != 0 ] || [ -d /run/sshd ] || { mount -t tmpfs tmpfs /run && mkdir /run/sshd; } && exec \"$@\"";
        let sshd = ["sh", "-c", script, "sh", SSHD, "-D", "-e", "-f"];
        // Root's sshd wants the folder /run/sshd: it gets one in a mount namespace of its own.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
        let words: Vec<&str> =
            if is_root { ["unshare", "-m"].into_iter().chain(sshd).collect() } else { sshd.to_vec() };
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(self.path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone().map_err(|e| e.to_string())?)
            .spawn();
        let sshd = self.sshd.insert(child.map_err(|e| format!("{}: {e}", words[0]))?);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            if !matches!(sshd.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut said = String::new();
        let _ = log.rewind();
        let _ = std::fs::File::open(self.path("sshd.log")).and_then(|mut file| file.read_to_string(&mut said));
        Err(format!("sshd does not start: {}", said.trim()))
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

fn key(file: &Path) -> Result<(), String> {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status();
    match made {
        Ok(status) if status.success() => {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).map_err(|e| e.to_string())
        }
        other => Err(format!("ssh-keygen: {other:?}")),
    }
}
