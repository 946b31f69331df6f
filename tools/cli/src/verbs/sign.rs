//! `limbeck sign`: a bundle's manifest, and with it everything, under one's own key.

use std::path::{Path, PathBuf};

use anyhow::Result;
use limbeck_bundle::Bundle;
use minisign::{SecretKey, SecretKeyBox};
use serde_json::json;

use crate::console::Console;
use crate::exit::usage;
use crate::verbs::key::PASSWORD_VARIABLE;

/// Sign a bundle, with a key that boards trust.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle; it is replaced by the signed one.
    pub bundle: PathBuf,
    /// The secret key (`limbeck key new`, or minisign's).
    #[arg(long, value_name = "FILE.key")]
    pub key: PathBuf,
    /// Write the signed bundle here, and leave the other as it is.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let bundle = Bundle::read(&arguments.bundle)?;
    let signed = signed(bundle, &arguments.key)?;
    let out = arguments.out.as_ref().unwrap_or(&arguments.bundle);
    // What is written is what will be read: a card that another version wrote in its own way is not ours to sign.
    Bundle::parse(&signed.emit(), out)?;
    signed.write(out)?;
    let (version, name) = (signed.manifest.version, &signed.manifest.name);
    console.result("sign", &json!({ "bundle": out, "version": version, "student": name }), || {
        format!("{}: {name}, version {version}, signed", out.display())
    })
}

/// The bundle with a signature. Asks for the password of an encrypted key.
pub fn signed(mut bundle: Bundle, key: &Path) -> Result<Bundle> {
    let secret = secret_key(key)?;
    let manifest = &bundle.manifest;
    let comment =
        format!("limbeck bundle of {}, version {}", manifest.name.replace(['\n', '\r'], " "), manifest.version);
    let signature = minisign::sign(None, &secret, &bundle.signable()[..], Some(&comment), None)
        .map_err(|e| usage(format!("{}: {e}", key.display())))?;
    Ok(bundle.with_signature(signature.into_string()))
}

fn secret_key(path: &Path) -> Result<SecretKey> {
    let refused = |e: minisign::PError| usage(format!("{}: not a secret key that can be used ({e})", path.display()));
    let text = limbeck_files::read_to_string(path)?;
    let boxed = || SecretKeyBox::from_string(&text).map_err(refused);
    match boxed()?.into_unencrypted_secret_key() {
        Ok(key) => Ok(key),
        Err(_) => boxed()?.into_secret_key(std::env::var(PASSWORD_VARIABLE).ok()).map_err(refused),
    }
}
