//! Which kernels are in an agent.
//!
//! Ours are Rust: every agent for an architecture has all of them. tract's are assembled, and its build script leaves
//! out those whose instructions the assembler, or the C compiler, does not know: gcc 12 gives other kernels than zig.
//! What it did, cargo tells in its messages; what it would do, the same questions tell before building.

use std::io::Write;
use std::process::{Command, Stdio};

use limbeck_boards::Board;
use serde_json::Value;

use crate::toolchain::{Tool, Toolchain};

/// The crate that holds tract's kernels.
const LINALG: &str = "tract-linalg";
/// A library that its build script leaves behind when it asks the assembler; it holds no kernel.
const PROBE: &str = "dummy";
/// A kernel set in a library that other kernels name: `rvv` is there without it, too.
const IN_ANOTHERS_LIBRARY: &str = "tract_rvv_zvfh";

/// All kernel sets of an agent: ours, by its architecture, then tract's, by cargo's message about its build script.
pub(crate) fn of_agent(arch: &str, tracts: &[String]) -> Vec<String> {
    let ours = limbeck_kernels::isa::names_for(arch).iter().map(|name| format!("limbeck/{name}"));
    ours.chain(tracts.iter().cloned()).collect()
}

/// tract's kernel sets in a message of cargo's; `None` when the message is about something else.
pub(crate) fn in_message(message: &Value) -> Option<Vec<String>> {
    let is_linalgs = message["package_id"].as_str().is_some_and(|id| id.contains(LINALG));
    if message["reason"] != "build-script-executed" || !is_linalgs {
        return None;
    }
    let words = |key: &str| message[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let libraries = words("linked_libs").filter_map(|lib| lib.strip_prefix("static=")).filter(|lib| *lib != PROBE);
    let others = words("cfgs").filter(|cfg| *cfg == IN_ANOTHERS_LIBRARY);
    Some(libraries.chain(others).map(|name| format!("tract/{}", name.trim_start_matches("tract_"))).collect())
}

/// A question to a compiler: does it know these instructions?
struct Probe {
    name: &'static str,
    language: &'static str,
    flags: &'static [&'static str],
    source: &'static str,
}

const ASSEMBLER: &str = "assembler";

const AARCH64: &[Probe] = &[
    Probe {
        name: "dotprod",
        language: ASSEMBLER,
        flags: &[],
        source: ".arch armv8.2-a+dotprod\nsdot v0.4s, v1.16b, v2.4b[0]\n",
    },
    Probe {
        name: "sve",
        language: "c",
        flags: &["-march=armv8.2-a+sve"],
        source: "#include <arm_sve.h>\nint lanes(void) { return (int)svcntw(); }\n",
    },
    Probe { name: "sme", language: ASSEMBLER, flags: &[], source: ".arch armv9-a+sme2\nsmstart\nzero {za}\nsmstop\n" },
];

const RISCV64: &[Probe] = &[
    Probe {
        name: "rvv",
        language: ASSEMBLER,
        flags: &[],
        source: ".option arch, +v\nvsetivli t0, 8, e32, m2, ta, ma\nvfmacc.vf v16, ft0, v8\n",
    },
    Probe {
        name: "zvfh",
        language: ASSEMBLER,
        flags: &[],
        source: ".option arch, +v, +zvfh, +zfhmin\nflh ft0, 0(a0)\nvfmacc.vf v16, ft0, v8\n",
    },
];

/// Which optional kernel sets the chosen compiler makes, for people; `None` where nothing depends on it, or zig's
/// wrapper cannot be written.
pub(crate) fn probed(board: &Board, toolchain: &Toolchain) -> Option<String> {
    let probes = match board.arch.as_str() {
        "aarch64" => AARCH64,
        arch if arch.starts_with("riscv64") => RISCV64,
        _ => return None,
    };
    if let Tool::Zig(target) = &toolchain.compiler {
        target.write().ok()?;
    }
    let compiler = toolchain.compiler.words();
    let (known, unknown): (Vec<_>, Vec<_>) = probes.iter().partition(|probe| probe.passes(&compiler));
    let names = |probes: &[&Probe]| probes.iter().map(|probe| probe.name).collect::<Vec<_>>().join(" ");
    Some(match (known.is_empty(), unknown.is_empty()) {
        (_, true) => format!("tract's kernels: {}", names(&known)),
        (true, _) => format!("tract's kernels: not {}", names(&unknown)),
        _ => format!("tract's kernels: {}; not {}", names(&known), names(&unknown)),
    })
}

impl Probe {
    fn passes(&self, compiler: &[String]) -> bool {
        let Some((program, args)) = compiler.split_first() else { return false };
        let mut command = Command::new(program);
        command.args(args).args(self.flags).args(["-c", "-x", self.language, "-", "-o", "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return false };
        // A compiler that ends before it has read everything says so by its status.
        let _ = child.stdin.take().map(|mut input| input.write_all(self.source.as_bytes()));
        child.wait().is_ok_and(|status| status.success())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::tests::FakePath;

    #[test]
    fn kernels_are_what_the_build_script_linked() {
        // From gcc 12 for aarch64, shortened.
        let message = json!({
            "reason": "build-script-executed",
            "package_id": "registry+https://example.org/index#tract-linalg@0.23.9",
            "linked_libs": ["static=arm64simd", "static=arm64simd_dot", "static=tract_sve_kernels", "static=dummy"],
            "cfgs": ["tract_arm64_dotprod", "tract_sve"],
        });
        let kernels = in_message(&message).unwrap();
        assert_eq!(kernels, ["tract/arm64simd", "tract/arm64simd_dot", "tract/sve_kernels"]);
        let riscv = json!({ "reason": "build-script-executed", "package_id": "path+file:///tract-linalg#0.23.9",
            "linked_libs": ["static=rvv"], "cfgs": ["tract_rvv", "tract_rvv_zvfh"] });
        assert_eq!(in_message(&riscv).unwrap(), ["tract/rvv", "tract/rvv_zvfh"]);
        for other in [
            json!({ "reason": "build-script-executed", "package_id": "libc@1", "linked_libs": ["static=x"] }),
            json!({ "reason": "compiler-artifact", "package_id": "tract-linalg@0.23.9" }),
            json!(null),
        ] {
            assert_eq!(in_message(&other), None);
        }
    }

    #[test]
    fn ours_are_in_every_agent_of_an_architecture() {
        let tracts = ["tract/armv7neon".to_owned()];
        assert_eq!(of_agent("armv7", &tracts), ["limbeck/portable", "limbeck/neon", "tract/armv7neon"]);
        assert_eq!(of_agent("m68k", &[]), ["limbeck/portable"]);
    }

    #[test]
    fn a_compiler_is_asked_in_its_own_way() {
        let board = Board::find_in("qemu-aarch64", None).unwrap();
        let path = FakePath::of(&[("old-cc", "cat | grep -q sdot"), ("no-cc", "exit 1")]);
        let of = |name: &str| {
            let compiler = Tool::Users(path.path().join(name).display().to_string());
            probed(&board, &Toolchain { compiler, linker: Tool::RustLld, missing: Vec::new() }).unwrap()
        };
        assert_eq!(of("old-cc"), "tract's kernels: dotprod; not sve sme");
        assert_eq!(of("no-cc"), "tract's kernels: not dotprod sve sme");
    }
}
