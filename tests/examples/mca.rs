//! What llvm-mca expects of the hot loops of the kernels, on ARM CPUs of which it has a model:
//!
//! ```text
//! cargo run -p limbeck-tests --example mca                      the kernels of this repository
//! cargo run -p limbeck-tests --example mca -- FILE.s NAME...    functions of an assembly file; shows their loops too
//! ```
//! Columns as in `tests/instructions/mca.csv`.

#![forbid(unsafe_code)]

use limbeck_tests::mca::{COLUMNS, KERNELS, hottest_loop, kernels_assembly, rows};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (assembly, functions): (String, Vec<&str>) = match &arguments[..] {
        [] => (kernels_assembly()?, KERNELS.to_vec()),
        [file, names @ ..] => (std::fs::read_to_string(file)?, names.iter().map(String::as_str).collect()),
    };
    println!("{COLUMNS}");
    for function in functions {
        if !arguments.is_empty() {
            let hot = hottest_loop(&assembly, function)?;
            println!("# {function}, {}\n#   {}", hot.label, hot.instructions.join("\n#   "));
        }
        rows(&assembly, function)?.iter().for_each(|row| println!("{row}"));
    }
    Ok(())
}
