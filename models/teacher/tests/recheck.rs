//! Asking a teacher again tells its own answers from others that only claim to be.

use limbeck_answers::{Answers, AnswersWriter, View};
use limbeck_data::{Dataset, SceneConfig, Scenes, Shift, Unwatched};
use limbeck_engine::onnx::Model;
use limbeck_teacher::{HeadSpec, RecheckOptions, TeachOptions, recheck, teach};
use limbeck_zoo::{scenes_card, shipped};

#[test]
fn answers_of_this_teacher_pass_and_one_changed_logit_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, file) = (folder.path().join("teacher.onnx"), folder.path().join("a.answers"));
    Model::parse(shipped::TEACHER.onnx, shipped::TEACHER.name.as_ref()).unwrap().write(&teacher).unwrap();
    let scenes = Scenes::new(SceneConfig { seed: 4, size: 32, samples: 12, shift: Shift::default() }).unwrap();
    let card = scenes_card(scenes.labels());
    let options = TeachOptions {
        views: vec![View::Identity, View::Flip],
        augment: None,
        heads: vec![HeadSpec::logits_f32()],
        part: None,
        threads: 2,
    };
    teach(&teacher, &card, &scenes, &file, &options, &Unwatched).unwrap();
    let answers = Answers::open(&file).unwrap();
    let again = |answers: &Answers, n| {
        let options = RecheckOptions { answers: n, seed: 1, threads: 2 };
        recheck(answers, &teacher, &card, &scenes, &options, &Unwatched).unwrap()
    };
    let found = again(&answers, 7);
    assert_eq!((found.answers, found.passes()), (7, true), "{found:?}");
    assert_eq!(found.heads[0].other_choice, Some(0));

    // The same manifest, hashes and all, over one answer that the teacher did not give.
    let forged = folder.path().join("forged.answers");
    let mut writer = AnswersWriter::create_or_resume(&forged, answers.manifest().clone()).unwrap();
    let mut logits = vec![0.0; answers.classes()];
    for sample in 0..12 {
        for view in [View::Identity, View::Flip] {
            answers.logits_into(sample, view, &mut logits).unwrap();
            if (sample, view) == (5, View::Flip) {
                logits[2] += 1.0;
            }
            writer.put(sample, view, None, &[&logits]).unwrap();
        }
    }
    writer.finish().unwrap();
    let forged = Answers::open(&forged).unwrap();
    forged.verify().unwrap();
    let found = again(&forged, 24);
    assert!(!found.passes(), "{found:?}");
    assert!((found.heads[0].max_difference - 1.0).abs() < 1e-3, "{found:?}");
}
