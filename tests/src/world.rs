//! A folder with everything a run of `limbeck` needs: models with cards, and images.

use std::path::{Path, PathBuf};

use limbeck_answers::Card;
use limbeck_data::scenes::LABELS;
use limbeck_engine::onnx::Model;
use limbeck_zoo::{Plan, Stage, build, scenes_card};

use crate::limbeck::{Ended, limbeck};

/// A temporary folder that `limbeck` is run in; gone when dropped.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// `teacher.onnx` and `student.onnx` with cards for scenes, untrained; an empty folder `out`.
    pub fn new() -> World {
        let world = World { folder: tempfile::tempdir().expect("a temporary folder") };
        let labels: Vec<String> = LABELS.iter().map(ToString::to_string).collect();
        world.model("teacher", &build(&teacher(), 32, 1), &scenes_card(&labels));
        world.model("student", &build(&student(), 32, 2), &scenes_card(&labels));
        world.folder("out");
        world
    }

    /// A path in here.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Make a folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        std::fs::create_dir_all(self.path(name)).expect("a folder");
        self.path(name)
    }

    /// Write a file, and the folder it is in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a name in here")).expect("a folder");
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// The bytes of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Write `<name>.onnx` and its card.
    pub fn model(&self, name: &str, model: &Model, card: &Card) {
        self.write(&format!("{name}.onnx"), model.emit());
        self.write(&format!("{name}.toml"), card.to_toml());
    }

    /// Change the card `<name>.toml` of a model.
    pub fn change_card(&self, name: &str, change: impl FnOnce(&mut Card)) {
        let path = self.path(&format!("{name}.toml"));
        let mut card = Card::read(&path).expect("a card");
        change(&mut card);
        std::fs::write(path, card.to_toml()).expect("a card");
    }

    /// A picture of `width` × `height`; the ending of `name` says JPEG or PNG.
    pub fn picture(&self, name: &str, [width, height]: [u32; 2]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a name in here")).expect("a folder");
        let seed = name.bytes().map(u32::from).sum::<u32>();
        let pixel = |x, y| image::Rgb([(seed + 5 * x) as u8, (7 * y) as u8, (x * y) as u8]);
        image::RgbImage::from_fn(width, height, pixel).save(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// `pictures/<class>/0.png`, 32×32, one of each of the first `classes` classes of scenes.
    pub fn pictures(&self, classes: usize) {
        for label in &LABELS[..classes] {
            self.picture(&format!("pictures/{label}/0.png"), [32, 32]);
        }
    }

    /// Run `limbeck` in here; `args` are separated by spaces.
    pub fn run(&self, args: &str) -> Ended {
        Ended::of(&mut self.command(args))
    }

    /// The same, not started yet.
    pub fn command(&self, args: &str) -> std::process::Command {
        limbeck(self.folder.path(), &args.split_whitespace().collect::<Vec<_>>())
    }

    /// The teacher's answers over 40 scenes: `train.answers`.
    pub fn teach(&self) {
        self.run("teach --teacher teacher.onnx --data scenes:samples=40 --out train.answers").expect(0, &[]);
    }

    /// Every file in a folder and below, by its path from there.
    pub fn files(&self, name: &str) -> Vec<String> {
        let root = self.path(name);
        let (mut files, mut folders) = (vec![], vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
                let path = entry.expect("an entry").path();
                if path.is_dir() && !path.is_symlink() { folders.push(path) } else { files.push(below(&path, &root)) }
            }
        }
        files.sort();
        files
    }

    /// Run `limbeck`, which must refuse with `code`, say every part of `says`, and leave nothing in `out` or elsewhere.
    #[track_caller]
    pub fn refuses(&self, args: &str, code: i32, says: &[&str]) {
        let before = self.files(".");
        self.run(args).expect(code, says);
        assert_eq!(self.files("."), before, "files appeared or went: {args}");
    }
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}

fn below(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// Small enough for a test, with every kind of layer that the demo's teacher has.
fn teacher() -> Plan {
    Plan { classes: LABELS.len(), stem: 8, stages: vec![Stage::Residual { channels: 12, stride: 2 }] }
}

/// The same for the demo's student.
fn student() -> Plan {
    let stages = vec![Stage::Separable { channels: 12, stride: 2 }, Stage::Separable { channels: 12, stride: 1 }];
    Plan { classes: LABELS.len(), stem: 8, stages }
}
