//! `limbeck verify`: is a bundle whole, and who says so?

use std::path::PathBuf;

use anyhow::Result;
use limbeck_bundle::{Bundle, PublicKey, Trust};
use serde_json::json;

use crate::console::Console;

/// Check a bundle: every hash, and with --key its signature; exit code 7 if it is not signed by that key.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle.
    pub bundle: PathBuf,
    /// The key that must have signed it.
    #[arg(long, value_name = "FILE.pub")]
    pub key: Option<PathBuf>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let bundle = Bundle::read(&arguments.bundle)?;
    let key = arguments.key.as_deref().map(PublicKey::read).transpose()?;
    Trust { key: key.clone(), version: None }.admit(&bundle, &arguments.bundle)?;
    let manifest = &bundle.manifest;
    let signature = match (&key, bundle.signature()) {
        (Some(key), _) => format!("signed by {}", key.text()),
        (None, Some(_)) => "signed; give --key to check by whom".to_owned(),
        (None, None) => "not signed".to_owned(),
    };
    let record = json!({
        "bundle": arguments.bundle,
        "format": manifest.format,
        "version": manifest.version,
        "student": manifest.name,
        "tool": manifest.tool,
        "members": manifest.members,
        "sources": manifest.sources,
        "samples": bundle.samples.len(),
        "probes": manifest.probes.len(),
        "budgets": manifest.budgets,
        "signed": bundle.signature().is_some(),
        "signed_by": key.as_ref().map(PublicKey::text),
    });
    console.result("verify", &record, || {
        let mut text = format!("{}: whole, {signature}\n", arguments.bundle.display());
        text += &format!("  student {}, version {}, made by {}\n", manifest.name, manifest.version, manifest.tool);
        text += &format!("  {} samples, {} probes\n", bundle.samples.len(), manifest.probes.len());
        for (member, sha256) in &manifest.members {
            text += &format!("  {sha256}  {member}\n");
        }
        text
    })
}
