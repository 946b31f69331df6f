//! The hot loops of compiled kernels, and how many multiply-accumulates a cycle llvm-mca expects of them.
//!
//! Instructions are counted elsewhere; this is the other half: two loops of equally many instructions can differ by a factor
//! of two in cycles on an in-order core. llvm-mca knows ports and latencies, and assumes that every load hits the first cache.
//!
//! [`kernels_assembly`] compiles `limbeck-kernels` for aarch64 with profile `release`: what ships is optimised across crates,
//! where the symbols of small functions are gone. [`hottest_loop`] finds, in one function, the innermost loop with most
//! multiply-accumulates; [`Loop::on`] asks llvm-mca.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Functions whose hot loop is looked at, by the end of their path. A kernel that is added adds itself here.
pub const KERNELS: [&str; 7] = [
    "conv::portable",
    "dense::portable",
    "depthwise::portable",
    "neon_gemm::line_of",
    "neon_depthwise::band_of_nine",
    "sdot_gemm::line_of",
    "smmla_gemm::line_of",
];

/// A CPU that llvm-mca has a model of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// As `-mcpu` names it.
    pub cpu: &'static str,
    /// Has the CPU, or one that this stands for, `sdot` and `smmla`?
    has_dot: bool,
}

/// In order without and with `sdot`; out of order: Cortex-A57 stands for A72, and with `sdot` for A76, which have no model.
pub const MODELS: [Model; 3] = [
    Model { cpu: "cortex-a53", has_dot: false },
    Model { cpu: "cortex-a55", has_dot: true },
    Model { cpu: "cortex-a57", has_dot: true },
];

/// Iterations that are simulated; the way in and out is then below half a percent.
const ITERATIONS: u64 = 1000;

/// An innermost loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// Its label.
    pub label: String,
    /// Its instructions, the branch back included.
    pub instructions: Vec<String>,
    /// Multiply-accumulates of one iteration.
    pub macs: u64,
}

/// What llvm-mca expects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Cycles of one iteration.
    pub cycles: f64,
    /// Multiply-accumulates a cycle.
    pub macs_per_cycle: f64,
}

/// The assembly of `limbeck-kernels` for aarch64.
///
/// # Errors
/// What cargo said.
pub fn kernels_assembly() -> Result<String, String> {
    // A folder of its own: an assembly file of an older build could not be told from this one's.
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = folder.path().join("kernels.s");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["rustc", "--locked", "-q", "-p", "limbeck-kernels", "--lib", "--profile", "release"]);
    cargo.args(["--target", "aarch64-unknown-linux-musl", "--target-dir"]).arg(folder.path());
    cargo.args(["--", "-C", "codegen-units=1"]).arg(format!("--emit=asm={}", file.display()));
    let output = cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output();
    let output = output.map_err(|e| format!("{cargo:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{cargo:?}:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))
}

/// The innermost loop of `function` with most multiply-accumulates; `function` is the end of its path, as `conv::portable`.
///
/// # Errors
/// There is no such function, or it has no loop that multiplies.
pub fn hottest_loop(assembly: &str, function: &str) -> Result<Loop, String> {
    // Both manglings of Rust write each part of a path behind its length: `4conv8portable`.
    let mangled: String = function.split("::").map(|part| format!("{}{part}", part.len())).collect();
    let is_its_label = |line: &str| line.strip_suffix(':').is_some_and(|s| s.starts_with('_') && s.contains(&mangled));
    let lines = || assembly.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    // A generic function is there once for each of its uses.
    let mut bodies: Vec<Vec<&str>> = vec![];
    let mut inside = false;
    for line in lines() {
        if is_its_label(line) {
            bodies.push(vec![]);
            inside = true;
        }
        inside &= !line.starts_with(".Lfunc_end");
        if let (true, Some(body)) = (inside, bodies.last_mut()) {
            body.push(line);
        }
    }
    if bodies.is_empty() {
        return Err(format!("no function {function} in the assembly; was it inlined, or renamed?"));
    }
    let loops = bodies.iter().flat_map(|body| innermost_loops(body)).filter(|l| l.macs > 0);
    // Of equally many products, the loop that needs fewer instructions is the one that is meant to run.
    let hottest = loops.max_by_key(|l| (l.macs, std::cmp::Reverse(l.instructions.len())));
    hottest.ok_or_else(|| format!("{function} has no loop with multiplications"))
}

/// Loops are backward branches; the innermost are those that hold no other.
fn innermost_loops(body: &[&str]) -> Vec<Loop> {
    let is_label = |line: &&str, name: &str| line.strip_suffix(':') == Some(name);
    // `2b` is the nearest `2:` before the branch: the labels of `asm!` blocks.
    let label_at = |name: &str, end: usize| match name.strip_suffix('b').filter(|n| n.parse::<u32>().is_ok()) {
        Some(number) => body[..end].iter().rposition(|line| is_label(line, number)),
        None => body.iter().position(|line| is_label(line, name)),
    };
    let backward = body.iter().enumerate().filter_map(|(end, line)| {
        let (operation, operands) = line.split_once(char::is_whitespace)?;
        let is_branch = operation.starts_with("b.") || ["b", "cbz", "cbnz", "tbz", "tbnz"].contains(&operation);
        let target = operands.rsplit(',').next()?.trim();
        let start = label_at(target, end).filter(|start| is_branch && *start < end)?;
        Some((start, end))
    });
    let spans: Vec<(usize, usize)> = backward.collect();
    let holds = |a: &(usize, usize), b: &(usize, usize)| a != b && a.0 <= b.0 && b.1 <= a.1;
    let innermost = spans.iter().filter(|outer| !spans.iter().any(|inner| holds(outer, inner)));
    let as_loop = |&(start, end): &(usize, usize)| {
        let instructions: Vec<String> =
            body[start..=end].iter().filter(|line| is_instruction(line)).map(|l| l.to_string()).collect();
        let macs = instructions.iter().map(|i| multiply_accumulates(i)).sum();
        Loop { label: body[start].trim_end_matches(':').to_owned(), instructions, macs }
    };
    innermost.map(as_loop).collect()
}

fn is_instruction(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('.') && !line.ends_with(':')
}

/// Products of one instruction that go into a sum. Widening additions carry none, and neither do multiplications of floats.
fn multiply_accumulates(instruction: &str) -> u64 {
    let (operation, operands) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
    let to = operands.split(',').next().unwrap_or_default().trim();
    let lanes = match to.rsplit_once('.').map(|(_, arrangement)| arrangement) {
        Some("16b") => 16,
        Some("8b" | "8h") => 8,
        Some("4h" | "4s") => 4,
        Some("2s" | "2d") => 2,
        _ => 1,
    };
    let is_vector = lanes > 1;
    match operation {
        "sdot" | "udot" | "usdot" => 4 * lanes,
        "smmla" | "ummla" | "usmmla" => 8 * lanes,
        "smull" | "smull2" | "umull" | "umull2" | "smlal" | "smlal2" | "umlal" | "umlal2" if is_vector => lanes,
        "smlsl" | "smlsl2" | "umlsl" | "umlsl2" | "mla" | "mls" | "mul" if is_vector => lanes,
        // Of 32 bits; addresses are of 64.
        "madd" | "msub" if to.starts_with('w') => 1,
        "smaddl" => 1,
        _ => 0,
    }
}

impl Loop {
    /// What llvm-mca expects of it on `model`; `None` where the CPU lacks one of its instructions.
    ///
    /// # Errors
    /// llvm-mca is missing or refuses the loop.
    pub fn on(&self, model: Model) -> Result<Option<Expected>, String> {
        let needs_dot = |i: &String| i.contains("dot") || i.contains("mmla");
        if !model.has_dot && self.instructions.iter().any(needs_dot) {
            return Ok(None);
        }
        let mut command = Command::new("llvm-mca");
        command.args(["-mtriple=aarch64", &format!("-mcpu={}", model.cpu), "-mattr=+dotprod,+i8mm"]);
        command.arg(format!("-iterations={ITERATIONS}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |e: std::io::Error| format!("llvm-mca: {e}; get it with: apt-get install llvm");
        let mut child = command.spawn().map_err(failed)?;
        let text = format!("{}:\n{}\n", self.label, self.instructions.join("\n"));
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).map_err(failed)?;
        let output = child.wait_with_output().map_err(failed)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let cycles = said.lines().find_map(|line| line.strip_prefix("Total Cycles:")?.trim().parse::<f64>().ok());
        let refused = || format!("llvm-mca for {}: {}", model.cpu, String::from_utf8_lossy(&output.stderr).trim());
        let cycles = cycles.filter(|_| output.status.success()).ok_or_else(refused)? / ITERATIONS as f64;
        Ok(Some(Expected { cycles, macs_per_cycle: self.macs as f64 / cycles }))
    }
}

/// Columns of [`rows`].
pub const COLUMNS: &str = "function,cpu,mac_per_cycle,mac,instructions,cycles";

/// The hot loop of `function` on each of [`MODELS`] that can run it.
///
/// # Errors
/// Those of [`hottest_loop`] and [`Loop::on`].
pub fn rows(assembly: &str, function: &str) -> Result<Vec<String>, String> {
    let hot = hottest_loop(assembly, function)?;
    let mut rows = vec![];
    for model in MODELS {
        if let Some(Expected { cycles, macs_per_cycle }) = hot.on(model)? {
            let (macs, instructions, cpu) = (hot.macs, hot.instructions.len(), model.cpu);
            rows.push(format!("{function},{cpu},{macs_per_cycle:.2},{macs},{instructions},{cycles:.2}"));
        }
    }
    Ok(rows)
}

/// The file of the record, in this folder.
pub fn record_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions/mca.csv")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSEMBLY: &str = "
_ZN15limbeck_kernels4conv8portable17h0123456789abcdefE:
	.cfi_startproc
	mov	x0, #0
.LBB0_1:
	mul	v7.8h, v1.8h, v2.8h
.LBB0_2:                              // =>  Inner
	ldr	q0, [x1], #16
	smull	v6.8h, v0.8b, v4.8b
	smlal2	v6.8h, v0.16b, v4.16b
	sadalp	v16.4s, v6.8h
	subs	x6, x6, #16
	b.ne	.LBB0_2
.LBB0_3:
	madd	w0, w1, w2, w3
	cbnz	x9, .LBB0_3
	b	.LBB0_1
.Lfunc_end0:
_RNvNtCs1_15limbeck_kernels5dense8portable:
	sdot	v0.4s, v1.16b, v2.16b
	ret
.Lfunc_end1:
";

    #[test]
    fn the_innermost_loop_with_most_products_is_found() {
        let found = hottest_loop(ASSEMBLY, "conv::portable").unwrap();
        assert_eq!((found.label.as_str(), found.macs, found.instructions.len()), (".LBB0_2", 16, 6));
        assert_eq!(found.instructions[2], "smlal2\tv6.8h, v0.16b, v4.16b");
    }

    #[test]
    fn a_loop_of_asm_in_one_of_several_instances_is_found() {
        let instances = "
_ZN1k4line17h0E:
2:
	smull	v0.8h, v1.8b, v2.8b
	b.ne	2b
.Lfunc_end0:
_ZN1k4line17h1E:
2:
	nop
	b.ne	2b
2:
	sdot	v0.4s, v1.16b, v2.4b[0]
	b.ne	2b
.Lfunc_end1:
";
        let found = hottest_loop(instances, "k::line").unwrap();
        assert_eq!((found.macs, found.instructions.len()), (16, 2));
    }

    #[test]
    fn a_function_without_such_a_loop_is_named() {
        let refused = |function: &str| hottest_loop(ASSEMBLY, function).unwrap_err();
        assert_eq!(refused("dense::portable"), "dense::portable has no loop with multiplications");
        assert!(refused("conv::neon").contains("no function conv::neon"));
    }

    #[test]
    fn products_are_those_of_the_instruction() {
        let of = |text: &str, products: u64| assert_eq!(multiply_accumulates(text), products, "{text}");
        of("sdot v0.4s, v1.16b, v2.4b[1]", 16);
        of("smmla v0.4s, v1.16b, v2.16b", 32);
        of("smull\tv0.8h, v1.8b, v2.8b", 8);
        of("smlal2 v0.4s, v1.8h, v2.h[3]", 4);
        of("mul v0.8h, v1.8h, v2.8h", 8);
        of("madd w0, w1, w2, w3", 1);
        of("madd x0, x1, x2, x3", 0);
        of("umull x0, w1, w2", 0);
        of("sadalp v0.4s, v1.8h", 0);
        of("fmul v0.4s, v1.4s, v2.4s", 0);
        of("ret", 0);
    }
}
