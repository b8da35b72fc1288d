//! Operators who come in by the web tokens of a real issuer: node-oidc-provider, asked for its keys as OpenID Connect says.

use crate::upstart::{Server, free_port, run, upstart};
use kit::programs::{Running, find, printed};
use kit::wait_for;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the issuer's program is, or a line that says why the test is skipped.
fn provider(test: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/oidc-provider");
    if !folder.join("node_modules/oidc-provider").is_dir() {
        println!(
            "SKIPPED: {test}: oidc-provider is not installed; `cargo xtask test --install-only` does it"
        );
        return None;
    }
    find(test, "node").map(|_| folder)
}

struct Issuer {
    folder: PathBuf,
    port: u16,
    running: Option<Running>,
}

impl Issuer {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            port: free_port(),
            running: None,
        }
    }

    fn start(&mut self) {
        let mut node = Command::new("node");
        node.arg(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command_line/issuer/provider.mjs"),
        )
        .arg(&self.folder)
        .arg(self.port.to_string());
        self.running = Some(Running::start(&mut node));
        let url = format!("{}/.well-known/openid-configuration", self.url());
        wait_for("the issuer to answer", || {
            let asked = Command::new("curl").args(["-sf", &url]).output();
            asked.is_ok_and(|answer| answer.status.success())
        });
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The token that a client is given.
    fn token(&self, client: &str) -> String {
        let mut ask = Command::new("curl");
        ask.args(["-sf", "-u", &format!("{client}:secret-of-{client}")])
            .args(["-d", "grant_type=client_credentials"])
            .arg(format!("{}/token", self.url()));
        let answer: serde_json::Value =
            serde_json::from_str(&printed(&mut ask)).expect("an answer");
        let token = answer["access_token"].as_str();
        token.expect("a token").to_owned()
    }

    /// The rules by which a server lets its clients in.
    fn rules(&self, folder: &Path) -> PathBuf {
        self.rules_with(folder, "claims.client_id")
    }

    /// The same, which name them so.
    fn rules_with(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join("issuer.toml");
        let rules = format!(
            "issuer = \"{}\"\naudience = \"upstart\"\nname = \"{name}\"\nrole = \"'operators' in claims.groups ? 'operator' : ''\"\n",
            self.url()
        );
        std::fs::write(&file, rules).expect("written");
        file
    }
}

/// A command with this token.
fn with(server: &Server, token: &str) -> Command {
    let mut command = upstart();
    command
        .env("UPSTART_SERVER", server.url())
        .env("UPSTART_TOKEN", token);
    command
}

#[test]
fn whom_a_real_issuer_names_does_what_the_role_allows() {
    let test = "whom_a_real_issuer_names_does_what_the_role_allows";
    let Some(folder) = provider(test) else {
        return;
    };
    let place = tempfile::tempdir().expect("a folder");
    let mut issuer = Issuer::new(folder);
    let rules = issuer.rules(place.path());
    let server = Server::start_with(&["--issuer", rules.to_str().expect("text")]);
    // The issuer is away, and its keys are not known yet.
    let unheard = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.c2ln";
    let said = run(with(&server, unheard).arg("status")).expect_advice(2);
    assert!(said.stderr().contains("cannot be had"), "{}", said.stderr());
    issuer.start();
    wait_for("the server to ask again", || {
        let said = run(with(&server, unheard).arg("status")).stderr();
        said.contains("lets nobody in")
    });
    let robot = issuer.token("release-robot");
    run(with(&server, &robot).arg("status")).expect(0);
    run(with(&server, &robot).args(["pause", "a release"])).expect(0);
    let history = run(with(&server, &robot).args(["events", "--json"])).expect(0);
    let paused = history.json_lines();
    let paused = paused.iter().find(|event| event["kind"] == "system.paused");
    assert_eq!(paused.expect("told")["author"], "release-robot");
    let mut invite = with(&server, &robot);
    invite.args(["invite", "operator", "bob", "--role", "viewer"]);
    let refused = run(&mut invite).expect_advice(2);
    assert!(refused.stderr().contains("needs the role admin"));
    // Nobody gets a key, or speaks for a node.
    let login = run(with(&server, &robot).arg("login")).expect_advice(2);
    assert!(
        login.stderr().contains("certifies no key"),
        "{}",
        login.stderr()
    );
    let guest = issuer.token("guest");
    let refused = run(with(&server, &guest).arg("status")).expect_advice(2);
    assert!(refused.stderr().contains("no role"), "{}", refused.stderr());
    // Without the issuer whoever is let in stays so.
    issuer.running = None;
    run(with(&server, &robot).arg("resume")).expect(0);
}

/// Somebody has a key of that name: the history must not show one as the other.
#[test]
fn a_name_that_has_a_key_is_nobody_elses() {
    let Some(folder) = provider("a_name_that_has_a_key_is_nobody_elses") else {
        return;
    };
    let place = tempfile::tempdir().expect("a folder");
    let mut issuer = Issuer::new(folder);
    issuer.start();
    let rules = issuer.rules(place.path());
    let server = Server::start_with(&["--issuer", rules.to_str().expect("text")]);
    let token = place.path().join("token");
    let mut invite = server.upstart();
    invite.args([
        "invite",
        "operator",
        "release-robot",
        "--role",
        "viewer",
        "--to",
    ]);
    run(invite.arg(&token)).expect(0);
    // Who is only invited is somebody already.
    let robot = issuer.token("release-robot");
    let refused = run(with(&server, &robot).arg("status")).expect_advice(2);
    let said = refused.stderr();
    assert!(
        said.contains("operator:release-robot, who is invited"),
        "{said}"
    );
    let mut login = upstart();
    login.env("UPSTART_SERVER", server.url());
    login.args(["login", "--token-file"]).arg(&token);
    run(login.arg("--identity").arg(place.path().join("own"))).expect(0);
    let refused = run(with(&server, &robot).arg("status")).expect_advice(2);
    assert!(
        refused.stderr().contains("is known by a key"),
        "{}",
        refused.stderr()
    );
}

#[test]
fn a_name_of_an_invited_node_or_of_the_servers_own_host_is_nobody_elses() {
    let test = "a_name_of_an_invited_node_or_of_the_servers_own_host_is_nobody_elses";
    let Some(folder) = provider(test) else {
        return;
    };
    let place = tempfile::tempdir().expect("a folder");
    let mut issuer = Issuer::new(folder);
    issuer.start();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let host = host.trim().to_uppercase();
    let name = format!("claims.client_id + '@{host}'");
    let rules = issuer.rules_with(place.path(), &name);
    let server = Server::start_with(&["--issuer", rules.to_str().expect("text")]);
    let robot = issuer.token("release-robot");
    let refused = run(with(&server, &robot).arg("status")).expect_advice(2);
    let said = refused.stderr();
    assert!(
        said.contains("the server's own token on its host"),
        "{said}"
    );

    let rules = issuer.rules_with(place.path(), "claims.client_id");
    let server = Server::start_with(&["--issuer", rules.to_str().expect("text")]);
    run(with(&server, &robot).arg("status")).expect(0);
    let mut invite = server.upstart();
    invite.args(["invite", "node", "release-robot", "--to"]);
    run(invite.arg(place.path().join("token"))).expect(0);
    let refused = run(with(&server, &robot).arg("status")).expect_advice(2);
    let said = refused.stderr();
    assert!(
        said.contains("node:release-robot, who is invited"),
        "{said}"
    );
}

#[test]
fn rules_of_an_issuer_that_cannot_be_keep_the_server_from_starting() {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("issuer.toml");
    std::fs::write(&file, "issuer = \"ftp://a\"\n").expect("written");
    let mut server = upstart();
    server
        .args(["server", "--data"])
        .arg(place.path().join("data"));
    let said = run(server.arg("--issuer").arg(&file)).expect_advice(2);
    assert!(said.stderr().contains("issuer.toml"), "{}", said.stderr());
}

/// Whoever can write them says who is an admin.
#[test]
fn files_of_an_issuer_that_others_can_write_keep_the_server_from_starting() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("issuer");
    std::fs::create_dir(&folder).expect("a folder");
    let (file, keys) = (folder.join("issuer.toml"), folder.join("keys.json"));
    let rules = format!(
        "issuer = \"https://issuer.example\"\naudience = \"a\"\nname = \"claims.sub\"\nrole = \"'viewer'\"\nkeys = \"{}\"\n",
        keys.display()
    );
    std::fs::write(&file, rules).expect("written");
    std::fs::write(&keys, "{\"keys\": []}").expect("written");
    let mode = |path: &Path, bits| {
        let permissions = std::fs::Permissions::from_mode(bits);
        std::fs::set_permissions(path, permissions).expect("a mode");
    };
    for (path, open, closed) in [
        (&file, 0o666, 0o644),
        (&keys, 0o662, 0o644),
        (&folder, 0o777, 0o755),
    ] {
        mode(path, open);
        let mut server = upstart();
        server
            .args(["server", "--listen", "127.0.0.1:1", "--data"])
            .arg(place.path().join("data"));
        let said = run(server.arg("--issuer").arg(&file)).expect_advice(2);
        let said = said.stderr();
        let names_it = said.contains(&path.display().to_string());
        assert!(names_it && said.contains("who may do what"), "{said}");
        mode(path, closed);
    }
}
