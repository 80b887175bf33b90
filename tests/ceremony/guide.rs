//! The guide's commands, run as they stand in `docs/ceremony.md`.

use crate::scene::Scene;

/// The blocks marked `sh` of the guide, and the file blocks named in their first line.
const GUIDE: &str = include_str!("../../docs/ceremony.md");

#[test]
fn the_guide_can_be_typed_from_its_first_line_to_its_last() {
    let scene = Scene::new();
    let mut typed = 0;
    for block in GUIDE.split("```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap();
        match kind.split_once(' ') {
            Some(("toml", file)) => scene.write(file, text),
            None if kind == "sh" => {
                scene.ok(text);
                typed += text.lines().filter(|line| line.starts_with("demarche ")).count();
            }
            _ => {}
        }
    }
    assert!(typed >= 20, "only {typed} commands were found in the guide");
    assert_eq!(scene.json("demarche officer list --data washington --channel memo26")[0]["state"], "revoked");
}
