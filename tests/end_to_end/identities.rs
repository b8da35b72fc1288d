//! A node is its key: enrolled with a one-time token, renewed, revoked, and serving whatever becomes of its certificate.

use harness::{Boxes, Caller, Commands, NodeOptions, System, program, write_token};
use identity::CredentialFolder;
use kit::programs::{Running, printed};
use kit::{until_ok, wait_for};
use model::api::{InviteRequest, Principal};
use network::Pair;
use std::ffi::OsString;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Short enough that a certificate is renewed several times in a test.
const CERTIFICATE_MS: &str = "2000";

/// A system whose certificates count for a moment.
fn short_lived() -> System {
    System::start_with_options(&["--certificate-ms", CERTIFICATE_MS])
}

fn invited(system: &System, name: &str) -> String {
    let request = InviteRequest {
        principal: Principal::node(name),
        role: None,
        networks: Vec::new(),
        valid_ms: 3_600_000,
    };
    system.ask(system.client.invite(&request)).token
}

/// The how manieth certificate lies in a node's data directory; zero where none does.
fn counter(data: &Path) -> u64 {
    let own = CredentialFolder::find(&data.join("identity")).expect("readable");
    let credential = own.and_then(|own| own.credential().expect("a certificate"));
    credential.map_or(0, |credential| credential.says().counter)
}

fn served(port: u16) {
    until_ok("the software to serve", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
}

#[test]
fn a_node_that_was_invited_goes_on_by_its_key_and_renews_its_certificate() {
    let mut system = short_lived();
    system.publish(&Boxes::version(1).bundle());
    let port = system.port(1);
    let token = invited(&system, "a");
    let options = NodeOptions::new("a", port).environment("UPSTART_TOKEN", OsString::from(token));
    let mut node = system.node(options);
    system.until_settled(&node, 1);
    // The token is used up; what is renewed is renewed by the key.
    node.options.environment.clear();
    wait_for("a second certificate", || counter(&node.data) >= 2);
    let listed = system.ask(system.client.identities());
    assert_eq!(listed.invitations, []);
    assert!(
        listed.identities[0].networks.is_empty(),
        "an invitation gives no address"
    );
    // The server is away until the certificate has expired, and the node is started without it.
    system.server.kill();
    node.end_agent();
    node.stop_software();
    node.start_agent();
    served(port);
    let before = counter(&node.data);
    wait_for("the certificate to expire", || {
        let own = CredentialFolder::find(&node.data.join("identity")).expect("readable");
        let credential = own.and_then(|own| own.credential().expect("a certificate"));
        let expires_at_ms = credential.expect("kept").says().expires_at_ms;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("after 1970").as_millis() > u128::from(expires_at_ms)
    });
    system.server.resume();
    wait_for("a certificate after its expiry", || {
        counter(&node.data) > before
    });
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

/// A node whose key is revoked takes part in nothing any more, and its software serves; another invitation takes it in again.
#[test]
fn a_revoked_node_serves_on_and_comes_back_with_another_token() {
    let system = System::with(&Boxes::version(1).bundle());
    let port = system.port(1);
    let token = invited(&system, "a");
    let options = NodeOptions::new("a", port).environment("UPSTART_TOKEN", OsString::from(token));
    let mut node = system.node(options);
    system.until_settled(&node, 1);
    system.ask(system.client.revoke(&Principal::node("a")));
    node.until_said("the key of node:a is revoked");
    assert_eq!(system.view().revoked, ["a"]);
    served(port);
    system.publish(&Boxes::version(2).bundle());
    node.kill_agent();
    node.start_agent();
    served(port);
    node.until_said("it goes on as its journal says");
    node.kill_agent();
    let token = OsString::from(invited(&system, "a"));
    node.options.environment = vec![("UPSTART_TOKEN".to_owned(), token)];
    node.start_agent();
    system.until_settled(&node, 2);
    assert!(system.view().revoked.is_empty());
}

/// A key that cannot be read, or a certificate, keeps no software from running; what is put right is used at the next start.
#[test]
fn a_node_with_a_damaged_key_serves_on_and_says_so() {
    let system = System::with(&Boxes::version(1).bundle());
    let port = system.port(1);
    let token = invited(&system, "a");
    let options = NodeOptions::new("a", port).environment("UPSTART_TOKEN", OsString::from(token));
    let mut node = system.node(options);
    system.until_settled(&node, 1);
    node.options.environment.clear();
    let key = node.data.join("identity/key.pem");
    let kept = std::fs::read(&key).expect("a key");
    node.end_agent();
    node.stop_software();
    std::fs::write(&key, "no key").expect("damaged");
    node.start_agent();
    served(port);
    node.until_said("the node's own key is of no use");
    node.kill_agent();
    std::fs::write(&key, kept).expect("put right");
    node.start_agent();
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

/// Somebody gave the agent the token of another node: the certificate that is there is as good as before.
#[test]
fn the_token_of_another_node_takes_nothing_from_one_that_is_known() {
    let system = System::with(&Boxes::version(1).bundle());
    let token = invited(&system, "a");
    let options = NodeOptions::new("a", system.port(1));
    let mut node = system.node(options.environment("UPSTART_TOKEN", OsString::from(token)));
    system.until_settled(&node, 1);
    let others = OsString::from(invited(&system, "b"));
    node.options.environment = vec![("UPSTART_TOKEN".to_owned(), others)];
    node.kill_agent();
    node.start_agent();
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

/// A password in clear on a network is everybody's: other hosts are told to come over TLS, and this host is answered.
#[test]
fn from_other_hosts_a_server_is_asked_over_tls_only() {
    let Some(pair) = Pair::make("from_other_hosts_a_server_is_asked_over_tls_only") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (data, file) = (folder.path().join("server"), folder.path().join("token"));
    let token = write_token(&data, &file).expect("written");
    let listen = format!("{}:7070", pair.servers_at[0]);
    let commands = Commands {
        server: format!("https://{listen}"),
        token_file: Some(file),
        keys: folder.path().join("keys"),
    };
    let serving = pair.servers.command(program());
    let server = Running::start(&mut commands.serve(serving, &listen, &data));
    wait_for("the server to answer another host", || {
        let asking = pair.callers.command(program());
        let status = commands.ask(asking, &["status", "--json"]).output();
        status.is_ok_and(|output| output.status.success())
    });
    let plainly = |host: &network::Namespace| {
        let mut curl = host.command("curl");
        let secret = token.split('.').next().expect("a secret");
        curl.args(["-sS", "-w", " %{http_code}", "-H"])
            .arg(format!("Authorization: Bearer {secret}"))
            .arg(format!("http://{listen}/v1/system"));
        printed(&mut curl)
    };
    let refused = plainly(&pair.callers);
    assert!(refused.ends_with(" 403"), "{refused}");
    assert!(refused.contains("https://HOST:PORT"), "{refused}");
    let answered = plainly(&pair.servers);
    assert!(answered.ends_with(" 200"), "{answered}");
    drop(server);
}

/// The server has lost its database, and the node was given another token: it comes in as soon as there is a system again.
#[test]
fn a_node_with_a_token_comes_in_when_a_server_that_lost_everything_has_a_system_again() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let token = invited(&system, "a");
    let options = NodeOptions::new("a", system.port(1));
    let mut node = system.node(options.environment("UPSTART_TOKEN", OsString::from(token)));
    system.until_settled(&node, 1);
    node.kill_agent();
    system.server.kill();
    for ending in ["", "-wal", "-shm"] {
        let file = format!("server/udb.sqlite{ending}");
        let _ = std::fs::remove_file(system.folder().join(file));
    }
    system.server.resume();
    let again = OsString::from(invited(&system, "a"));
    node.options.environment = vec![("UPSTART_TOKEN".to_owned(), again)];
    node.start_agent();
    node.until_said("it goes on as its journal says");
    node.until_said("A one-time token only makes its holder known");
    system.publish(&Boxes::version(1).bundle());
    system.until_settled(&node, 1);
}
