//! Put agent and bundle on the board, switch to them in one step, and run the agent there.
//!
//! Steps, in this order: look at the board (`preflight`); lock; check space; copy both into a new slot, each checked by hash; sync; let the new slot pass
//! its own probes on the board (`agent probe BUNDLE`); `previous` ← what was current; `current` ← the new slot; remove older
//! slots. Up to the last switch the old install is untouched, after it the new one is whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use limbeck_boards::Board;
use limbeck_files::FileError;

use crate::admission::{self, Admission};
use crate::build::Agent;
use crate::error::{RunnerError, ending, tail_after};
use crate::lock::Lock;
use crate::preflight::{Preflight, preflight_over};
use crate::process::Output;
use crate::transport::{Copied, Job, Transport, transport_for};

/// What must stay free on the board after copying: links, logs, and the file system's own bookkeeping.
const MARGIN_BYTES: u64 = 4 << 20;
/// What the first start of the agent may take at least, whatever the board's `timeout_s`: emulators are slow.
const PROBE_DEADLINE: Duration = Duration::from_secs(60);
/// The agent's exit codes that say more than that it does not start.
const PROBES_DIFFER: i32 = 3;
const NO_MEMORY: i32 = 4;
const UNTRUSTED: i32 = 7;
const REFUSED: i32 = 9;
/// The newest output format of the agent that this version reads.
const SCHEMA_VERSION: u64 = 1;

/// An install on a board. The board is locked for others until this is dropped.
pub struct Installed {
    transport: Box<dyn Transport>,
    workdir: PathBuf,
    slot: PathBuf,
    number: u32,
    timeout: Duration,
    lock: Lock,
    preflight: Option<Preflight>,
}

/// Install `agent` and `bundle` on `board` and make them current; for bundles that nobody signs.
pub fn install(board: &Board, agent: &Agent, bundle: &Path) -> Result<Installed, RunnerError> {
    install_admitted(board, agent, bundle, &Admission::of_anything())
}

/// The same, if the board may have them.
pub fn install_admitted(
    board: &Board,
    agent: &Agent,
    bundle: &Path,
    admission: &Admission<'_>,
) -> Result<Installed, RunnerError> {
    let transport = transport_for(board)?;
    let workdir = transport.workdir(board)?;
    let need = need_bytes(agent, size_of_file(bundle)?);
    let preflight = preflight_over(&*transport, board, &workdir, Some(need))?;
    preflight.accept()?;
    admitted_over(transport, &workdir, Duration::from_secs(board.timeout_s), agent, bundle, admission)
        .map(|installed| Installed { preflight: Some(preflight), ..installed })
}

/// Make the install before the current one current again; its slot number. The two change places.
pub fn rollback(board: &Board) -> Result<u32, RunnerError> {
    let transport = transport_for(board)?;
    let workdir = transport.workdir(board)?;
    rollback_over(&*transport, &workdir)
}

/// Remove from `board` all that limbeck put there, whom it believes included, unless another uses it. Files that are not
/// limbeck's stay, and are named.
pub fn clean(board: &Board) -> Result<Vec<String>, RunnerError> {
    let transport = transport_for(board)?;
    let workdir = transport.workdir(board)?;
    clean_over(&*transport, &workdir)
}

impl Installed {
    /// What is current on `board` now.
    pub fn open(board: &Board) -> Result<Installed, RunnerError> {
        let transport = transport_for(board)?;
        let workdir = transport.workdir(board)?;
        let Some(number) = linked_slot(&*transport, &workdir.join("current"))? else {
            return Err(RunnerError::NotInstalled { folder: workdir, what: "installed" });
        };
        let lock = transport.lock(&workdir)?;
        let timeout = Duration::from_secs(board.timeout_s);
        let slot = slot_path(&workdir, number);
        Ok(Installed { transport, workdir, slot, number, timeout, lock, preflight: None })
    }

    /// Run the agent on the board: `agent <args[0]> <bundle> <args[1..]>`, for example `&["bench", "--full"]`.
    ///
    /// The agent speaks JSON lines; `on_line` gets each as it comes, the first one with the `schema_version`, which is
    /// checked. An exit code other than 0 is [`RunnerError::Agent`]; lines that came before it were given on.
    pub fn agent(
        &self,
        args: &[&str],
        deadline: Duration,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Output, RunnerError> {
        let verb = args.first().copied().unwrap_or_default();
        let mut argv = vec![self.agent_path().into_os_string()];
        argv.extend(args.first().map(OsString::from));
        argv.push(self.bundle_path().into_os_string());
        argv.extend(args.iter().skip(1).map(OsString::from));

        let mut is_first = true;
        let mut bad = None;
        let what = format!("agent {verb}");
        let job = Job { what: &what, argv: &argv, dir: &self.slot, deadline, lock: &self.lock };
        let output = self.transport.run(job, &mut |line| {
            if std::mem::take(&mut is_first) {
                bad = schema_error(line).map(|why| (why, line.chars().take(200).collect::<String>()));
            }
            if bad.is_none() {
                on_line(line);
            }
        })?;
        // An agent that failed may not have got as far as its first line.
        if output.status != 0 {
            let (verb, code) = (verb.to_owned(), output.status);
            return Err(RunnerError::Agent { verb, code, stderr_tail: output.stderr_tail });
        }
        if is_first {
            bad = Some(("it printed nothing", String::new()));
        }
        match bad {
            Some((why, line)) => Err(RunnerError::Protocol { verb: verb.to_owned(), why, line }),
            None => Ok(output),
        }
    }

    /// Copy files into the folder `<workdir>/<folder>` on the board, each whole and checked by its hash; where that is. `files` are pairs
    /// of a file here and its path in there.
    pub fn send(&self, folder: &Path, files: &[(PathBuf, PathBuf)]) -> Result<PathBuf, RunnerError> {
        let folder = self.workdir.join(folder);
        let mut folders = std::collections::BTreeSet::new();
        for (from, to) in files {
            let to = folder.join(to);
            if let Some(dir) = to.parent()
                && folders.insert(dir.to_owned())
            {
                self.transport.make_dir(dir)?;
            }
            let sha256 = limbeck_files::sha256_file(from)?;
            self.transport.put(Copied { from, to: &to, sha256: &sha256, executable: false })?;
        }
        folders.iter().try_for_each(|dir| self.transport.sync_dir(dir))?;
        Ok(folder)
    }

    /// Copy a slot's bundle from the board to `to`, whole, if it hashes to `sha256`.
    pub fn fetch_bundle(&self, slot: u32, to: &Path, sha256: &str) -> Result<(), RunnerError> {
        let from = slot_path(&self.workdir, slot).join("bundle");
        self.transport.get(Copied { from: &from, to, sha256, executable: false })
    }

    /// Remove a folder below the working folder with all that is in it.
    pub fn remove(&self, folder: &Path) -> Result<(), RunnerError> {
        self.transport.remove(&self.workdir.join(folder))
    }

    /// What the board looked like before the install; `None` for an install that was only opened.
    pub fn preflight(&self) -> Option<&Preflight> {
        self.preflight.as_ref()
    }

    /// Everything of limbeck on the board lies in here.
    pub fn workdir(&self) -> &Path {
        &self.workdir
    }

    /// The agent on the board.
    pub fn agent_path(&self) -> PathBuf {
        self.slot.join("agent")
    }

    /// The bundle on the board.
    pub fn bundle_path(&self) -> PathBuf {
        self.slot.join("bundle")
    }

    /// Number of the slot.
    pub fn slot(&self) -> u32 {
        self.number
    }

    /// The board's own `timeout_s`: a deadline for [`Installed::agent`].
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl std::fmt::Debug for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installed").field("slot", &self.slot).field("lock", &self.lock).finish_non_exhaustive()
    }
}

/// Why a first line is not one that this version can go on from.
fn schema_error(line: &str) -> Option<&'static str> {
    let parsed = serde_json::from_str::<serde_json::Value>(line).ok();
    match parsed.as_ref().and_then(|v| v.get("schema_version")).and_then(|v| v.as_u64()) {
        Some(version) if version <= SCHEMA_VERSION => None,
        Some(_) => Some("its output is of a newer version"),
        None => Some("its first line has no schema_version"),
    }
}

fn admitted_over(
    transport: Box<dyn Transport>,
    workdir: &Path,
    timeout: Duration,
    agent: &Agent,
    bundle: &Path,
    admission: &Admission<'_>,
) -> Result<Installed, RunnerError> {
    let bundle_bytes = size_of_file(bundle)?;
    let bundle_sha256 = limbeck_files::sha256_file(bundle)?;

    let slots = workdir.join("slots");
    transport.make_dir(&slots)?;
    let lock = transport.lock(workdir)?;
    let remembered = admission.ask(&*transport, workdir)?;
    let current = linked_slot(&*transport, &workdir.join("current"))?;
    let previous = linked_slot(&*transport, &workdir.join("previous"))?;
    remove_others(&*transport, &slots, &[current, previous])?;
    let need = need_bytes(agent, bundle_bytes);
    if let Some(free) = transport.free_bytes(&slots)?
        && free < need
    {
        return Err(RunnerError::DeviceRefused {
            folder: slots,
            why: format!("{} MiB are free and {} MiB are needed", free >> 20, need.div_ceil(1 << 20)),
            fix: "make room, or set LIMBECK_HOME or `workdir` of the board to another folder".to_owned(),
        });
    }

    let number = next_number(&*transport, &slots)?;
    let slot = slot_path(workdir, number);
    let filled = (|| {
        transport.make_dir(&slot)?;
        let program = slot.join("agent");
        transport.put(Copied { from: &agent.path, to: &program, sha256: &agent.sha256, executable: true })?;
        let data = slot.join("bundle");
        transport.put(Copied { from: bundle, to: &data, sha256: &bundle_sha256, executable: false })?;
        transport.sync_dir(&slot)?;
        transport.sync_dir(&slots)?;
        admission.allow_downgrade(&*transport, workdir)?;
        probe(&*transport, workdir, &slot, timeout.max(PROBE_DEADLINE), &lock)?;
        // Before the switch: a board that remembers more than it runs takes nothing older, either way.
        admission.keep(&*transport, workdir, &remembered)
    })();
    if let Err(error) = filled {
        if let Err(e) = admission.undo_downgrade(&*transport, workdir, &remembered) {
            log::warn!("{e}; the board remembers the lower version that was asked for");
        }
        if let Err(e) = transport.remove(&slot) {
            log::debug!("after a failed install: {e}");
        }
        return Err(error);
    }

    // `previous` first: were it second, a kill in between would leave nothing pointing to what was current.
    if let Some(current) = current {
        transport.switch_link(&workdir.join("previous"), &relative_slot(current))?;
    }
    transport.switch_link(&workdir.join("current"), &relative_slot(number))?;
    // The install has happened; old slots that stay are removed by the next one.
    if let Err(e) = remove_others(&*transport, &slots, &[Some(number), current]) {
        log::warn!("{e}; older slots stay on the board");
    }
    Ok(Installed { transport, workdir: workdir.to_owned(), slot, number, timeout, lock, preflight: None })
}

/// What must be free on the board for an install.
fn need_bytes(agent: &Agent, bundle_bytes: u64) -> u64 {
    agent.bytes.saturating_add(bundle_bytes).saturating_add(MARGIN_BYTES)
}

/// Size of a regular file; anything else is refused, reading a FIFO would block for ever.
fn size_of_file(path: &Path) -> Result<u64, FileError> {
    let error = |source| FileError { path: path.to_owned(), doing: "read", source };
    let meta = std::fs::metadata(path).map_err(error)?;
    if !meta.is_file() {
        return Err(error(std::io::Error::new(std::io::ErrorKind::InvalidInput, "is not a regular file")));
    }
    Ok(meta.len())
}

/// Let the new slot prove itself: a noexec mount, a wrong architecture or a missing CPU feature shows now, and so does an
/// agent that computes other integers than the host did.
fn probe(
    transport: &dyn Transport,
    workdir: &Path,
    slot: &Path,
    deadline: Duration,
    lock: &Lock,
) -> Result<(), RunnerError> {
    let bundle = slot.join("bundle").into_os_string();
    let argv = [slot.join("agent").into_os_string(), "probe".into(), bundle, "--admit".into(), workdir.into()];
    let job = Job { what: "agent probe", argv: &argv, dir: slot, deadline, lock };
    let output = transport.run_and_collect(job)?;
    let how = match output.status {
        0 => return Ok(()),
        // The agent's own words (`limbeck-agent --help`): it ran.
        PROBES_DIFFER => {
            let folder = slot.to_owned();
            return Err(RunnerError::ProbesDiffer { folder, samples: differing(&output.stdout) });
        }
        code @ (NO_MEMORY | UNTRUSTED | REFUSED) => {
            return Err(RunnerError::Agent { verb: "probe".to_owned(), code, stderr_tail: output.stderr_tail });
        }
        126 => "the file system is mounted noexec, or the program is for another architecture".to_owned(),
        127 => "its dynamic loader is missing".to_owned(),
        status => ending(status),
    };
    Err(RunnerError::DeviceRefused {
        folder: slot.to_owned(),
        why: format!("the agent does not start: {how}{}", tail_after(&output.stderr_tail)),
        fix: "check triple, cpu and workdir of the board".to_owned(),
    })
}

/// The samples on which the board computed something else, from the agent's line `{"kind":"probe",…,"differing":[3]}`.
fn differing(stdout: &str) -> Vec<u64> {
    let lines = stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let probed = lines.rev().find(|line| line["kind"] == "probe").unwrap_or_default();
    probed["differing"].as_array().into_iter().flatten().filter_map(|sample| sample.as_u64()).collect()
}

fn rollback_over(transport: &dyn Transport, workdir: &Path) -> Result<u32, RunnerError> {
    let nothing = || RunnerError::NotInstalled { folder: workdir.to_owned(), what: "to roll back to" };
    if linked_slot(transport, &workdir.join("current"))?.is_none() {
        return Err(nothing());
    }
    let _lock = transport.lock(workdir)?;
    let current = linked_slot(transport, &workdir.join("current"))?;
    let (Some(current), Some(previous)) = (current, linked_slot(transport, &workdir.join("previous"))?) else {
        return Err(nothing());
    };
    if current == previous {
        return Err(nothing());
    }
    // Killed in between, both point to the older slot: whole, and it was asked for.
    transport.switch_link(&workdir.join("current"), &relative_slot(previous))?;
    transport.switch_link(&workdir.join("previous"), &relative_slot(current))?;
    Ok(previous)
}

fn clean_over(transport: &dyn Transport, workdir: &Path) -> Result<Vec<String>, RunnerError> {
    // Also in a folder that is not there: then nothing is, and that is what was asked for.
    transport.make_dir(workdir)?;
    let lock = transport.lock(workdir)?;
    // The links first: what they point to is never half there.
    for name in ["current", "previous", "slots", "adapt", admission::KEY, admission::VERSION] {
        transport.remove(&workdir.join(name))?;
    }
    let is_lock = |name: &String| name == "lock" || name == "lock.d";
    let others: Vec<String> = transport.list(workdir)?.into_iter().filter(|name| !is_lock(name)).collect();
    if others.is_empty() {
        transport.remove(workdir)?;
    }
    drop(lock);
    Ok(others)
}

fn relative_slot(number: u32) -> PathBuf {
    Path::new("slots").join(number.to_string())
}

fn slot_path(workdir: &Path, number: u32) -> PathBuf {
    workdir.join(relative_slot(number))
}

/// The slot a link names; `None`: no link. A link to anything else is refused, it is not ours to replace.
fn linked_slot(transport: &dyn Transport, link: &Path) -> Result<Option<u32>, RunnerError> {
    let Some(target) = transport.read_link(link)? else { return Ok(None) };
    let number = target.strip_prefix("slots").ok().and_then(Path::to_str).and_then(|n| n.parse().ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(RunnerError::DeviceRefused {
            folder: link.to_owned(),
            why: format!("it points to {}, which is no slot of limbeck", target.display()),
            fix: "remove it, or use another folder".to_owned(),
        }),
    }
}

/// Numbers of the slots there are.
fn slot_numbers(transport: &dyn Transport, slots: &Path) -> Result<Vec<u32>, RunnerError> {
    Ok(transport.list(slots)?.iter().filter_map(|name| name.parse().ok()).collect())
}

fn next_number(transport: &dyn Transport, slots: &Path) -> Result<u32, RunnerError> {
    let used = slot_numbers(transport, slots)?;
    // One more than the highest; after four thousand million installs, the lowest free one.
    let after = used.iter().max().map_or(Some(1), |max| max.checked_add(1));
    Ok(after.unwrap_or_else(|| (1..).find(|n| !used.contains(n)).unwrap_or(0)))
}

fn remove_others(transport: &dyn Transport, slots: &Path, keep: &[Option<u32>]) -> Result<(), RunnerError> {
    for number in slot_numbers(transport, slots)? {
        if !keep.contains(&Some(number)) {
            transport.remove(&slots.join(number.to_string()))?;
        }
    }
    Ok(())
}

/// An install of what nobody signed.
#[cfg(test)]
fn install_over(
    transport: Box<dyn Transport>,
    workdir: &Path,
    timeout: Duration,
    agent: &Agent,
    bundle: &Path,
) -> Result<Installed, RunnerError> {
    admitted_over(transport, workdir, timeout, agent, bundle, &Admission::of_anything())
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "install_ssh_tests.rs"]
mod ssh_tests;

#[cfg(test)]
#[path = "install_fault_tests.rs"]
mod fault_tests;
