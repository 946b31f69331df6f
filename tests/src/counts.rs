//! Instructions of one inference, as the emulator's plugin (`tests/instructions/plugin.rs`) counts them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guest::{Guest, Ran};
use crate::instruction_class::NAMES;

/// Instructions of one inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub insns: u64,
    /// Those of each class in [`NAMES`]; what is left of `insns` is integer, branch and address work.
    pub classes: [u64; NAMES.len()],
}

impl Counts {
    /// The median of each column over the intervals in the plugin's `text`, and in how many of them `insns` is the median.
    ///
    /// # Errors
    /// Another head, a cell that is no number, no row.
    pub fn median(text: &str) -> Result<Counts, String> {
        let mut lines = text.lines();
        let head = format!("insns,{}", NAMES.join(","));
        if lines.next() != Some(&head) {
            return Err(format!("the plugin's table does not begin with {head}:\n{text}"));
        }
        let mut columns = vec![vec![]; 1 + NAMES.len()];
        for line in lines {
            let cells: Result<Vec<u64>, _> = line.split(',').map(str::parse).collect();
            let cells = cells.ok().filter(|cells| cells.len() == columns.len());
            let cells = cells.ok_or_else(|| format!("not {} numbers: {line}", columns.len()))?;
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        }
        let mut medians = columns.into_iter().map(|mut column| {
            column.sort_unstable();
            column.get(column.len() / 2).copied().ok_or_else(|| "no marker was seen".to_owned())
        });
        let insns = medians.next().expect("a first column")?;
        let mut classes = [0; NAMES.len()];
        for (class, median) in classes.iter_mut().zip(medians) {
            *class = median?;
        }
        Ok(Counts { insns, classes })
    }
}

/// The plugin, compiled.
pub struct Plugin {
    library: PathBuf,
    folder: tempfile::TempDir,
}

impl Plugin {
    /// Compile it and see that the emulator takes it.
    ///
    /// # Errors
    /// The words of the compiler or of the emulator: plugins are compiled for one version of its interface.
    pub fn compile(emulated: &Guest) -> Result<Plugin, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let library = folder.path().join("libplugin.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions/plugin.rs");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["-O", "--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(&library).arg(&source);
        let output = rustc.output().map_err(|e| format!("rustc: {e}"))?;
        if !output.status.success() {
            return Err(format!("{rustc:?}:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let plugin = Plugin { library, folder };
        emulated.accepts_plugin(&plugin.argument())?;
        Ok(plugin)
    }

    /// Instructions of one inference of `plan` on `guest`, the median of `runs`.
    ///
    /// # Errors
    /// The plugin's table is missing or not one, which is a mistake in here.
    pub fn count(&self, guest: &Guest, plan: &[u8], runs: usize) -> Result<(Ran, Counts), String> {
        let _ = std::fs::remove_file(self.table());
        let ran = guest.run_with_plugin(&self.argument(), plan, runs);
        let text = std::fs::read_to_string(self.table()).map_err(|e| format!("{}: {e}", self.table().display()))?;
        let rows = text.lines().count().saturating_sub(1);
        if rows != runs {
            return Err(format!("{rows} intervals between markers, not {runs}"));
        }
        Ok((ran, Counts::median(&text)?))
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("counts.csv")
    }

    fn argument(&self) -> String {
        format!("{},out={}", self.library.display(), self.table().display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "insns,dot8,i8mm,mlal8to16,mlal16to32,fmla_f32,other_simd,ldst\n";

    #[test]
    fn one_odd_run_does_not_move_the_median() {
        let table = format!("{HEAD}100,1,0,0,4,0,9,20\n100,1,0,0,4,0,9,20\n9999,8,8,8,8,8,99,999\n");
        assert_eq!(Counts::median(&table), Ok(Counts { insns: 100, classes: [1, 0, 0, 4, 0, 9, 20] }));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let refused = |table: String, says: &str| {
            let error = Counts::median(&table).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        refused("insns\n1\n".into(), "does not begin with insns,dot8");
        refused(HEAD.into(), "no marker");
        refused(format!("{HEAD}1,2\n"), "not 8 numbers: 1,2");
        refused(format!("{HEAD}1,2,3,4,5,6,7,x\n"), "not 8 numbers");
    }
}
