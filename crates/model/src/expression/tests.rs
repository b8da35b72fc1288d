//! Expressions at a node: what they see, what they give, and what is told when they cannot.

use super::*;
use crate::ids::Version;
use std::collections::BTreeSet;

fn scope() -> ExpressionScope {
    ExpressionScope {
        event: [].into(),
        vars: [
            ("base", "7100"),
            ("name", "blue"),
            ("zero", "007"),
            ("on", "true"),
        ]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Variable::from(text)))
        .collect(),
        node: NodeScope {
            name: "n1".to_owned(),
            class: "storage".to_owned(),
            attributes: [("tier".to_owned(), "hot".to_owned())].into(),
        },
        ports: [("data".to_owned(), 7101)].into(),
        software: Some("/s".to_owned()),
        state: Some("/d/current".to_owned()),
        bundle: Some("/b".to_owned()),
        version: Version(3),
    }
}

fn allowed() -> Allowed {
    Allowed::everything(BTreeSet::from(["data".to_owned()]))
}

fn text(source: &str) -> String {
    match Template::compile("key", source, &allowed()) {
        Ok(template) => template
            .render(&scope())
            .unwrap_or_else(|error| error.to_string()),
        Err(error) => error.to_string(),
    }
}

fn expression(source: &str) -> Expression {
    Expression::compile("key", source, &allowed()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn strings_are_filled_in_at_the_node() {
    assert_eq!(text("plain $HOME $$ {}"), "plain $HOME $$ {}");
    assert_eq!(text("$${plain} ${version}"), "${plain} 3");
    assert_eq!(
        text("${software}/a --data=${state} ${bundle}"),
        "/s/a --data=/d/current /b"
    );
    assert_eq!(text("${ports.data + 1}${node.name}"), "7102n1");
    assert_eq!(text("${vars.name == 'blue' ? '}' : '{'}"), "}");
    assert_eq!(text("${{'a': vars.zero}['a']}"), "007");
    assert_eq!(text("${vars.on} ${[1, 2].map(x, x * 2).size()}"), "true 2");
    assert_eq!(
        text("${attributes.tier}${node.attributes['tier']}"),
        "hothot"
    );
    assert_eq!(text(""), "");
}

#[test]
fn what_is_not_there_is_told() {
    assert_eq!(
        text("${vars.bas}"),
        "key: `vars.bas`: this node has no `bas`; give it to the node, or ask with has(...) first"
    );
    assert_eq!(text("${has(vars.bas) ? vars.bas : 1}"), "1");
    assert_eq!(
        text("${vers}"),
        "key: `vers`: `vers` is not known here (known: attributes, bundle, node, ports, software, state, vars, version); did you mean `vars`?"
    );
    assert_eq!(
        text("${node.nam}"),
        "key: `node.nam`: `node` has no `nam` (it has: name, class, attributes); did you mean `name`?"
    );
    assert_eq!(text("${vars}"), "key: `vars`: gives map, which has no text");
    assert_eq!(
        text("${nope(1)}"),
        "key: `nope(1)`: Undeclared reference to 'nope'"
    );
    assert_eq!(text("${ }"), "key: ` `: the expression is empty");
}

#[test]
fn ports_and_truths_are_what_they_say() {
    assert_eq!(expression("vars.base + 1").port(&scope()), Ok(7101));
    assert_eq!(expression("uint(80)").port(&scope()), Ok(80));
    for source in ["0", "-1", "65536", "'80'", "vars.name"] {
        assert!(expression(source).port(&scope()).is_err(), "{source}");
    }
    assert_eq!(
        expression("attributes.tier == 'hot'").truth(&scope()),
        Ok(true)
    );
    assert_eq!(
        expression("1")
            .truth(&scope())
            .expect_err("a number")
            .to_string(),
        "key: `1`: gives int, not true or false"
    );
}

#[test]
fn long_and_deep_expressions_are_refused_without_harm() {
    let long = format!("'{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    assert!(Expression::compile("key", &long, &allowed()).is_err());
    let deep = format!("{}1{}", "(".repeat(900), ")".repeat(900));
    assert!(Expression::compile("key", &deep, &allowed()).is_err());
    let lists = format!("{}1{}", "[".repeat(900), "]".repeat(900));
    assert!(Expression::compile("key", &lists, &allowed()).is_err());
    let wide = vec!["1"; 900].join("+");
    let _ = Expression::compile("key", &wide, &allowed()).map(|sum| sum.text(&scope()));
    let nots = format!("{}true", "!".repeat(1900));
    let _ = Expression::compile("key", &nots, &allowed()).map(|not| not.truth(&scope()));
    let steps = format!("vars{}", ".a".repeat(1000));
    let _ = Expression::compile("key", &steps, &allowed()).map(|step| step.text(&scope()));
}

/// `[...].map(a0, [...].map(a1, ... inner))`, over ten items each.
fn nested(times: usize, inner: &str) -> String {
    (0..times).fold(inner.to_owned(), |inner, at| {
        format!("[1,2,3,4,5,6,7,8,9,10].map(a{at}, {inner})")
    })
}

fn problem(source: &str) -> String {
    match expression(source).judge() {
        Ok(()) => "sound".to_owned(),
        Err(error) => error.problem,
    }
}

#[test]
fn what_takes_too_long_at_every_node_is_refused_when_it_is_written() {
    for source in [
        format!("size({})", nested(8, "a0")),
        format!("size({}) + vars.base", nested(8, "a0")),
        format!("size({})", nested(9, "vars.base")),
        format!("vars.on ? 1 : size({})", nested(4, "a0")),
        format!("{} == [] || attributes.tier == 'hot'", nested(9, "a0")),
        format!("[vars.base].all(x, size({}) > x)", nested(4, "a0")),
    ] {
        let problem = problem(&source);
        assert!(problem.contains("more than 2000"), "{source}: {problem}");
    }
    assert_eq!(
        problem(&format!("size({})", nested(2, "a0 + vars.base"))),
        "sound"
    );
}

#[test]
fn what_an_expression_costs_at_a_node_is_bounded() {
    let mut scope = scope();
    let many = (0..60).map(|at| (format!("a{at}"), "x".repeat(100)));
    scope.node.attributes.extend(many);
    let cubed = "attributes.all(a, attributes.all(b, attributes.all(c, a + b + c != '')))";
    for source in [cubed.to_owned(), format!("{cubed} || true")] {
        let told = expression(&source).truth(&scope).expect_err(&source);
        assert_eq!(told.problem, "it takes more than 2000 steps", "{source}");
    }
    assert_eq!(
        expression("attributes.all(a, a != '')").truth(&scope),
        Ok(true)
    );
    let all = Template::compile(
        "key",
        &"${attributes.map(a, a).size()}".repeat(60),
        &allowed(),
    );
    let told = all.expect("sound").render(&scope).expect_err("all of them");
    assert_eq!(told.problem, "it takes more than 2000 steps");
}

#[test]
fn what_can_only_fail_is_refused_when_it_is_written() {
    for (source, why) in [
        ("9223372036854775807 + 1", "Overflow"),
        ("vars.base + 1 / 0", "ivi"),
        ("'a' + 1", "it can only fail"),
    ] {
        let problem = problem(source);
        assert!(problem.contains(why), "{source}: {problem}");
    }
    for source in [
        "vars.on ? 1 / 0 : 1",
        "vars.on || 1 / 0 == 1",
        "vars.base / 2",
    ] {
        assert_eq!(problem(source), "sound", "{source}");
    }
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever people write is compiled or told, never a panic.
        #[test]
        fn is_compiled_or_told(source in "[ -~]{0,60}|(\\$\\{|\\}|\"|'|\\[|\\(|[a-z.+!?:]|[0-9]|é){0,40}") {
            if let Ok(template) = Template::compile("key", &source, &allowed()) {
                let _ = template.render(&scope());
            }
            let _ = Expression::compile("key", &source, &allowed()).map(|made| made.truth(&scope()));
        }
    }
}
