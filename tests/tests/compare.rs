//! Recipes with the real program: compared, stopped, gone on with, and told what they lack.

use limbeck_tests::world::World;

const TRAIN: &str = "scenes:seed=5,samples=96,shift=strong";
const TEST: &str = "scenes:seed=6,samples=64,shift=strong";

/// Attention at the two resolutions that the models here have.
const MINE: &str = "version = 1\nname = \"mine\"\n[[loss]]\nkind = \"kd\"\n[[loss]]\nkind = \"at\"\nweight = 100.0\n\
                    student = [\"stage:1\", \"stage:2\"]\nteacher = [\"attention:stage:1\", \"attention:stage:2\"]\n";

fn taught() -> World {
    let world = World::new();
    world.write("mine.toml", MINE);
    let heads = "--head logits --head attention:stage:1 --head attention:stage:2";
    world.run(&format!("teach --teacher teacher.onnx --data {TRAIN} {heads} --out train.answers")).expect(0, &[]);
    world.run(&format!("teach --teacher teacher.onnx --data {TEST} --out test.answers")).expect(0, &[]);
    world
}

fn compare(recipes: &str, more: &str) -> String {
    format!(
        "compare --student student.onnx --data {TRAIN} --answers train.answers --test {TEST} --test-answers test.answers \
         --recipes {recipes} --epochs 1 --batch 16 --rate 1e-4 --out compared {more}"
    )
}

#[test]
fn a_comparison_goes_on_where_it_was_and_ends_in_a_table_and_a_page() {
    let world = taught();
    let first = world.run(&compare("kd,mine.toml", "--seeds 1")).expect(0, &["mine.toml "]);
    for row in ["teacher", "untouched student", "kd", "mine.toml"] {
        assert!(first.stdout.lines().any(|line| line.starts_with(row)), "{row} in\n{}", first.stdout);
    }
    let kept = world.read("compared/mine.toml-0.json");
    // One more seed and one more recipe: what is there is not trained again.
    let again = world.run(&compare("kd,mine.toml,dist", "--seeds 2 --report report.json")).expect(0, &["dist "]);
    assert_eq!(world.read("compared/mine.toml-0.json"), kept, "the seconds of training stand in it");
    assert!(!again.stderr.contains("mine.toml  seed 0"), "{}", again.stderr);
    assert!(again.stderr.contains("seed 1"), "{}", again.stderr);
    let report: serde_json::Value = serde_json::from_slice(&world.read("report.json")).unwrap();
    let recipes = report["comparison"]["recipes"].as_array().unwrap();
    let runs: Vec<usize> = recipes.iter().map(|r| r["runs"].as_array().unwrap().len()).collect();
    assert_eq!(runs, [2, 2, 2]);
    let share = recipes[0]["runs"][0]["float"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share), "{share}");
    assert!(String::from_utf8(world.read("report.html")).unwrap().contains("Recipes compared"));
    // The folder is of this comparison.
    let other = compare("kd", "--seeds 1").replace("--rate 1e-4", "--rate 2e-4");
    world.run(&other).expect(2, &["kd-0.json", "another comparison"]);
}

#[test]
fn a_recipe_says_what_it_lacks_before_anything_runs() {
    let world = taught();
    let cases = [
        ("fitnets", 9, "feat:last"),
        ("kdd", 2, "no recipe `kdd`"),
        ("kd@many", 2, "--answers many=FILE"),
        ("route", 9, "--answers early=FILE"),
        ("teacher-assistant", 9, "--assistant"),
        ("kd,kd", 2, "there twice"),
    ];
    for (recipes, code, says) in cases {
        world.run(&compare(recipes, "--seeds 1")).expect(code, &[says]);
    }
    let distil = "distill --student student.onnx --answers train.answers --out better.onnx";
    let distil = |more: &str| world.run(&format!("{distil} --data {TRAIN} --epochs 1 --batch 32 {more}"));
    distil("--recipe mine.toml --temperature 2").expect(2, &["--temperature"]);
    distil("--recipe mutual").expect(9, &["--exchange"]);
    distil("--answers train.answers").expect(2, &["two files are called `teacher`"]);
    distil("--recipe mine.toml").expect(0, &["better.onnx"]);
    let listed = world.run("recipes").expect(0, &[]).stdout;
    assert!(listed.lines().count() > 30 && listed.contains("Zagoruyko"), "{listed}");
    assert!(world.run("recipes at").expect(0, &[]).stdout.contains("[[loss]]"));
    world.run("recipes no-such").expect(2, &["no recipe"]);
}
