//! `limbeck key new`: a key pair to sign bundles with, as minisign has them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::console::Console;
use crate::exit::usage;

/// Where the password of a secret key may stand, for programs; people are asked for it.
pub const PASSWORD_VARIABLE: &str = "LIMBECK_KEY_PASSWORD";

/// Make a key pair to sign with.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// A new pair: NAME.key, which signs and is yours alone, and NAME.pub, which boards trust. minisign reads both.
    New {
        /// Where: `keys/limbeck` makes `keys/limbeck.key` and `keys/limbeck.pub`.
        #[arg(long, value_name = "NAME")]
        out: PathBuf,
        /// Write the secret key unencrypted, for a machine that signs by itself.
        #[arg(long)]
        no_password: bool,
    },
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let Verb::New { out, no_password } = &arguments.verb;
    let with = |ending: &str| {
        let mut path = out.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let (secret_path, public_path) = (with(".key"), with(".pub"));
    if let Some(there) = [&secret_path, &public_path].into_iter().find(|p| p.symlink_metadata().is_ok()) {
        return Err(usage(format!(
            "{}: is there already; a key is not replaced, choose another name",
            there.display()
        )));
    }
    let failed = |e: minisign::PError| usage(format!("the key pair: {e}"));
    let pair = match no_password {
        true => minisign::KeyPair::generate_unencrypted_keypair(),
        false => minisign::KeyPair::generate_encrypted_keypair(std::env::var(PASSWORD_VARIABLE).ok()),
    };
    let pair = pair.map_err(failed)?;
    let secret = pair.sk.to_box(Some("limbeck secret key")).map_err(failed)?.into_string();
    let public = pair.pk.to_box().map_err(failed)?.into_string();
    if let Some(folder) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
        limbeck_files::create_dir(folder)?;
    }
    write_private(&secret_path, &secret)?;
    limbeck_files::write_atomic(&public_path, |w| w.write_all(public.as_bytes()))?;
    let record = json!({ "secret": secret_path, "public": public_path, "key": public.lines().last() });
    console.result("key", &record, || {
        let (secret, public) = (secret_path.display(), public_path.display());
        format!("{secret}: the secret key; keep it, and keep it to yourself\n{public}: the key that boards trust (deploy --trust)")
    })
}

/// Nobody else may read it, at no time.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let failed = |source| limbeck_files::FileError { path: path.to_owned(), doing: "write", source };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(())
}
