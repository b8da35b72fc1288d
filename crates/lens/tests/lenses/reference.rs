//! The examples of docs/reference/lenses.md hold as written.

use lens::Lens;

#[test]
fn every_example_of_the_reference_holds() {
    let text = include_str!("../../../../docs/reference/lenses.md");
    let mut blocks = text.split("```").skip(1).step_by(2).peekable();
    let (mut files, mut rules) = (0, 0);
    while let Some(block) = blocks.next() {
        let Some(block) = block.strip_prefix("toml\n") else {
            panic!("no TOML before {block}")
        };
        match blocks.next_if(|next| next.starts_with("json\n")) {
            Some(bodies) => {
                let mut bodies = bodies.lines().skip(1);
                let (old, new) = (bodies.next().expect("old"), bodies.next().expect("new"));
                crate::support::rule(block.trim(), old, new);
                rules += 1;
            }
            None => {
                Lens::parse("lenses.md", block).unwrap_or_else(|error| panic!("{error}"));
                files += 1;
            }
        }
    }
    assert!(files >= 2 && rules >= 12, "{files} files and {rules} rules");
}
